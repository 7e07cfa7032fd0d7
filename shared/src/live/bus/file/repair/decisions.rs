//! What was decided about clients and messages after the place where a repair cuts the log: revocations, refused users and purges. Messages
//! are lost from there on; a decision is not, as far as it can be read.
//!
//! What is damaged is skipped up to the next write. Each segment begins with all states, so what its damaged predecessors had is known then, and what
//! they removed.

use std::{
    collections::{BTreeMap, BTreeSet},
    io, mem,
};

use crate::{
    live::bus::file::{
        disk::DiskFile,
        purge,
        record::{self, Change, Encoder, Framed, Hole, Record},
        records,
        segment::{self, Found, HEAD, Head, Visit},
    },
    pure::Cursor,
};

/// The tables of decisions.
const TABLES: [&str; 3] = [records::MONOTONE.name, records::NEWEST.name, purge::TABLE.name];

/// A table, and a key in it.
type Place = (&'static str, Vec<u8>);

/// Which decisions a repair may have lost in unreadable bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lack {
    /// None.
    #[default]
    None,
    /// Some of those after the damage.
    Later,
    /// Some of all that were ever made: what the log keeps does not repeat those of removed segments.
    All,
}

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decisions {
    /// The last value at each place, and when it expires; `None` if one that was there before the damage is not any more.
    last: BTreeMap<Place, Option<(Vec<u8>, u64)>>,
    /// Which others may be lost.
    pub lack: Lack,
}

impl Decisions {
    fn count(&self, table: &str) -> usize {
        self.last.iter().filter(|((name, _), value)| *name == table && value.is_some()).count()
    }

    /// How many revocations of tokens there are.
    #[must_use]
    pub fn revocations(&self) -> usize {
        self.count(records::MONOTONE.name)
    }

    /// How many users there are whose connections were ended or refused.
    #[must_use]
    pub fn refused_users(&self) -> usize {
        self.count(records::NEWEST.name)
    }

    /// How many purges there are whose bytes may still be on disk.
    #[must_use]
    pub fn purges(&self) -> usize {
        self.count(purge::TABLE.name)
    }

    /// As changes of states.
    pub(in crate::live::bus::file) fn changes(&self) -> impl Iterator<Item = Change<'_>> {
        self.last.iter().map(|((table, key), value)| Change {
            table,
            key,
            value: value.as_ref().map(|(value, _)| &**value),
            until_ms: value.as_ref().map_or(0, |(_, until_ms)| *until_ms),
        })
    }

    /// As bytes, for a plan.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut encoder = Encoder::new(0, 0);
        for change in self.changes() {
            encoder.state(change, true);
        }
        encoder.bytes().to_vec()
    }

    /// What [`encode`](Self::encode) wrote; `None` if it did not.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (mut decisions, mut at) = (Self::default(), 0);
        while at < bytes.len() {
            let Framed::Whole { body, length } = record::framed(&bytes[at..], 0, at as u64) else { return None };
            let Some(Record::State { fields, .. }) = record::parse(body) else { return None };
            let change = record::change(fields)?;
            if let Some(place) = place(&change) {
                decisions.last.insert(place, value(&change));
            }
            at += length;
        }
        Some(decisions)
    }
}

/// Where a change is, if it is one of a decision.
fn place(change: &Change<'_>) -> Option<Place> {
    let table = TABLES.into_iter().find(|table| *table == change.table)?;
    Some((table, change.key.to_vec()))
}

fn value(change: &Change<'_>) -> Option<(Vec<u8>, u64)> {
    change.value.map(|value| (value.to_vec(), change.until_ms))
}

/// Collects decisions, first those before the damage, then those after it.
#[derive(Debug, Default)]
pub(super) struct Collecting {
    found: Decisions,
    /// What was there before the damage.
    before: BTreeSet<Place>,
    /// What the write has that is being read.
    repeated: BTreeSet<Place>,
    has_checkpoint: bool,
    /// Whether the log knows all decisions up to the damage.
    is_known: bool,
    /// The newest id after the damage, as far as it can be read, and the newest that may have been handed out.
    pub(super) newest: Cursor,
}

impl Collecting {
    /// The log is cut here: what was found until now, it knows. A segment may be missing, too.
    pub(super) fn cut(&mut self, is_missing: bool) {
        let before = mem::take(&mut self.found.last).into_iter();
        self.before = before.filter_map(|(place, value)| value.map(|_| place)).collect();
        self.is_known = self.has_checkpoint;
        self.found.lack = if is_missing { Lack::Later } else { Lack::None };
    }

    /// Reads what a segment has from `from` on, which is 0 if its head cannot be read. After the newest segment, an incomplete write is none.
    ///
    /// # Errors
    /// When the file cannot be read, except for damage.
    pub(super) fn read(&mut self, file: &dyn DiskFile, from: u64, is_newest: bool) -> io::Result<()> {
        let Some(Head { salt, .. }) = Head::read(file)? else {
            self.found.lack = Lack::Later;
            return Ok(());
        };
        let mut from = from.max(HEAD);
        loop {
            let scanned = segment::scan(file, salt, from, self)?;
            let reserved_ms = scanned.group.reserved_ms;
            let reserved = if reserved_ms > 0 { Cursor::new(reserved_ms, u64::MAX) } else { Cursor::ZERO };
            self.newest = self.newest.max(reserved);
            let Some(bad) = scanned.bad else { break };
            let next = segment::find_group(file, salt, bad, |_| true)?;
            if !is_newest || next.at.is_some() || next.is_unreadable {
                self.found.lack = Lack::Later;
            }
            let Some(at) = next.at else { break };
            from = at;
        }
        Ok(())
    }

    /// Those after the damage.
    pub(super) fn into_decisions(self) -> Decisions {
        let lack = match self.found.lack {
            Lack::Later if !self.is_known => Lack::All,
            lack => lack,
        };
        Decisions { lack, ..self.found }
    }
}

impl Visit for Collecting {
    fn message(&mut self, found: Found<'_>) -> io::Result<()> {
        self.newest = self.newest.max(found.id);
        Ok(())
    }

    fn state(&mut self, fields: &[u8], _: u64, _: u64) -> io::Result<()> {
        let change = record::change(fields).ok_or(io::ErrorKind::InvalidData)?;
        if let Some(place) = place(&change) {
            self.repeated.insert(place.clone());
            if change.value.is_some() || self.before.contains(&place) {
                self.found.last.insert(place, value(&change));
            } else {
                self.found.last.remove(&place);
            }
        }
        Ok(())
    }

    fn hole(&mut self, hole: Hole) {
        self.newest = self.newest.max(hole.up_to);
    }

    fn write(&mut self) {
        self.repeated.clear();
    }

    /// What is not repeated is not there any more: its end may be in what cannot be read, and nothing says that it has expired.
    fn checkpoint(&mut self) {
        self.has_checkpoint = true;
        self.found.lack = Lack::None;
        self.found.last.retain(|place, _| self.repeated.contains(place));
        let gone = self.before.difference(&self.repeated);
        self.found.last.extend(gone.map(|place| (place.clone(), None)));
    }
}
