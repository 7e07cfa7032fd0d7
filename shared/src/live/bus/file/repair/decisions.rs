//! What was decided about clients and messages after the place where a repair cuts the log: revocations, refused users and purges. Messages
//! are lost from there on; a decision is not, as far as it can be read.
//!
//! What is damaged is skipped up to the next write. Each segment begins with all states, so what its damaged predecessors had is known then.

use std::{collections::BTreeMap, io};

use crate::live::bus::file::{
    disk::DiskFile,
    purge,
    record::{self, Change, Encoder, Framed, Hole, Record},
    records,
    segment::{self, Found, HEAD, Head, Visit},
};

/// The tables of decisions.
const TABLES: [&str; 3] = [records::MONOTONE.name, records::LAST.name, purge::TABLE.name];

/// A table, and a key in it.
type Place = (&'static str, Vec<u8>);

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decisions {
    /// The last value at each place, and when it expires.
    last: BTreeMap<Place, (Vec<u8>, u64)>,
    /// Whether others may be lost, since bytes that cannot be read may have had some.
    pub may_lack: bool,
}

impl Decisions {
    fn count(&self, table: &str) -> usize {
        self.last.keys().filter(|(name, _)| *name == table).count()
    }

    /// How many revocations of tokens there are.
    #[must_use]
    pub fn revocations(&self) -> usize {
        self.count(records::MONOTONE.name)
    }

    /// How many users there are whose connections were ended or refused.
    #[must_use]
    pub fn refused_users(&self) -> usize {
        self.count(records::LAST.name)
    }

    /// How many purges there are whose bytes may still be on disk.
    #[must_use]
    pub fn purges(&self) -> usize {
        self.count(purge::TABLE.name)
    }

    /// As changes of states.
    pub(in crate::live::bus::file) fn changes(&self) -> impl Iterator<Item = Change<'_>> {
        self.last.iter().map(|((table, key), (value, until_ms))| Change {
            table,
            key,
            value: Some(value),
            until_ms: *until_ms,
        })
    }

    fn apply(&mut self, change: Change<'_>) {
        let Some(table) = TABLES.into_iter().find(|table| *table == change.table) else { return };
        let key = (table, change.key.to_vec());
        match change.value {
            Some(value) => drop(self.last.insert(key, (value.to_vec(), change.until_ms))),
            None => drop(self.last.remove(&key)),
        }
    }

    /// Reads what a segment has from `from` on, which is 0 if its head cannot be read. After the newest segment, an incomplete write is none.
    ///
    /// # Errors
    /// When the file cannot be read, except for damage.
    pub(super) fn read(&mut self, file: &dyn DiskFile, from: u64, is_newest: bool) -> io::Result<()> {
        let Some(Head { salt, .. }) = Head::read(file)? else {
            self.may_lack = true;
            return Ok(());
        };
        let mut from = from.max(HEAD);
        while let Some(bad) = segment::scan(file, salt, from, self)?.bad {
            let next = segment::find_group(file, salt, bad, |_| true)?;
            self.may_lack |= !is_newest || next.at.is_some() || next.is_unreadable;
            let Some(at) = next.at else { break };
            from = at;
        }
        Ok(())
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
            decisions.apply(record::change(fields)?);
            at += length;
        }
        Some(decisions)
    }
}

impl Visit for Decisions {
    fn message(&mut self, _: Found<'_>) -> io::Result<()> {
        Ok(())
    }

    fn state(&mut self, fields: &[u8], _: u64, _: u64) -> io::Result<()> {
        self.apply(record::change(fields).ok_or(io::ErrorKind::InvalidData)?);
        Ok(())
    }

    fn hole(&mut self, _: Hole) {}

    fn checkpoint(&mut self) {
        self.may_lack = false;
    }
}
