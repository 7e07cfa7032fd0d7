//! Small states that outlive the process: the value of a key in a table, until a time.
//!
//! A change is a record of the log. The first write of each segment repeats all states ([checkpoint](super::record)), so they outlive the segments
//! before, and the last segment has everything that a start needs.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
    ops::Bound,
};

use super::record::{Change, Encoder};
use crate::live::bus::{BusError, Merge, StateTable, StoredState};

/// A table has at most this part of a segment, which begins with all of them.
const PART_OF_SEGMENT: u64 = 8;
/// The memory of a state, besides its key and its value.
const OVERHEAD: usize = 96;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct States {
    tables: BTreeMap<Box<str>, Table>,
}

#[derive(Debug)]
struct Table {
    states: BTreeMap<Box<[u8]>, Stored>,
    bytes: usize,
    /// None of them expires before this time.
    earliest_ms: u64,
}

#[derive(Debug)]
struct Stored {
    value: Box<[u8]>,
    until_ms: u64,
}

impl Stored {
    fn state(&self, table: StateTable, key: &[u8]) -> StoredState {
        StoredState { table, key: key.to_vec(), value: Some(self.value.to_vec()), until_ms: self.until_ms }
    }
}

/// The bytes of a state, as tables count them.
pub(super) fn size(key: &[u8], value: &[u8]) -> usize {
    OVERHEAD + key.len() + value.len()
}

/// Maximum number of bytes of a table.
pub(super) fn most(table: StateTable, segment_bytes: u64) -> usize {
    table.max_bytes.min(usize::try_from(segment_bytes / PART_OF_SEGMENT).unwrap_or(usize::MAX))
}

/// Changes that are written together, and how they change the size of each table.
#[derive(Clone, Debug, Default)]
pub(super) struct Pending {
    pub(super) changes: Vec<StoredState>,
    /// For each change, by how many bytes its table grows, and the change of the same key before.
    effects: Vec<(isize, Option<usize>)>,
    /// The last change of each key.
    last: HashMap<(&'static str, Vec<u8>), usize>,
    growth: HashMap<&'static str, isize>,
}

impl Pending {
    /// The last change of a key.
    fn of(&self, table: StateTable, key: &[u8]) -> Option<&StoredState> {
        // Most publications change nothing, and few have more than one change.
        let at = if self.changes.is_empty() { None } else { self.last.get(&(table.name, key.to_vec())) };
        at.and_then(|at| self.changes.get(*at))
    }

    fn growth(&self, table: StateTable) -> isize {
        self.growth.get(table.name).copied().unwrap_or_default()
    }

    fn push(&mut self, change: StoredState, grows_by: isize) {
        let before = self.last.insert((change.table.name, change.key.clone()), self.changes.len());
        *self.growth.entry(change.table.name).or_default() += grows_by;
        self.effects.push((grows_by, before));
        self.changes.push(change);
    }

    /// Forgets the changes after the first `count`.
    pub(super) fn take_back(&mut self, count: usize) {
        while self.changes.len() > count
            && let (Some(change), Some((grows_by, before))) = (self.changes.pop(), self.effects.pop())
        {
            *self.growth.entry(change.table.name).or_default() -= grows_by;
            let key = (change.table.name, change.key);
            match before {
                Some(before) => self.last.insert(key, before),
                None => self.last.remove(&key),
            };
        }
    }
}

impl States {
    fn stored(&self, table: StateTable, key: &[u8]) -> Option<&Stored> {
        self.tables.get(table.name)?.states.get(key)
    }

    /// Adds a change to those that are pending, if there is space, in segments of `segment_bytes`.
    ///
    /// # Errors
    /// The limit.
    pub(super) fn plan(&self, change: StoredState, pending: &mut Pending, segment_bytes: u64) -> Result<(), BusError> {
        let most = most(change.table, segment_bytes);
        self.plan_within(change, pending, most)
    }

    /// The same with a limit of `most` bytes for its table.
    ///
    /// # Errors
    /// The limit.
    pub(super) fn plan_within(&self, change: StoredState, pending: &mut Pending, most: usize) -> Result<(), BusError> {
        let change = self.merged(change, pending);
        let table = change.table;
        let size_of = |value: Option<&[u8]>| value.map_or(0, |value| size(&change.key, value)).cast_signed();
        let before = size_of(self.replaced(&change, pending).map(|(value, _)| value));
        let grows_by = size_of(change.value.as_deref()) - before;
        let stored = self.tables.get(table.name).map_or(0, |table| table.bytes);
        let stored = stored.saturating_add_signed(pending.growth(table));
        // Whatever there is, removal is possible.
        if grows_by > 0 && stored.saturating_add_signed(grows_by) > most {
            return Err(BusError::StatesFull(format!(
                "{stored} bytes of `{}` are stored, and the log on disk stores at most {most}",
                table.name
            )));
        }
        pending.push(change, grows_by);
        Ok(())
    }

    /// The value that a change replaces, and when it expires.
    fn replaced<'a>(&'a self, change: &StoredState, pending: &'a Pending) -> Option<(&'a [u8], u64)> {
        match pending.of(change.table, &change.key) {
            Some(before) => before.value.as_deref().map(|value| (value, before.until_ms)),
            None => self.stored(change.table, &change.key).map(|before| (&*before.value, before.until_ms)),
        }
    }

    /// A change as its table [merges](Merge) it with what it replaces.
    fn merged(&self, mut change: StoredState, pending: &Pending) -> StoredState {
        if change.table.merge == Merge::Last {
            return change;
        }
        let before = self.replaced(&change, pending).map(|(value, until_ms)| (value.to_vec(), until_ms));
        let (Some(value), Some(before)) = (&change.value, before) else { return change };
        let given = (value.clone(), change.until_ms);
        let until_ms = given.1.max(before.1);
        let (value, end) = given.max(before);
        change.value = Some(value);
        change.until_ms = if change.table.merge == Merge::Monotone { until_ms } else { end };
        change
    }

    /// Applies a change.
    pub(super) fn apply(&mut self, change: Change<'_>) {
        let Change { table, key, value, until_ms } = change;
        let table = self.tables.entry(table.into()).or_insert_with(|| Table {
            states: BTreeMap::new(),
            bytes: 0,
            earliest_ms: u64::MAX,
        });
        if let Some(before) = table.states.remove(key) {
            table.bytes -= size(key, &before.value);
        }
        if let Some(value) = value {
            table.bytes += size(key, value);
            table.earliest_ms = table.earliest_ms.min(until_ms);
            table.states.insert(key.into(), Stored { value: value.into(), until_ms });
        }
    }

    /// Removes those that have expired.
    pub(super) fn expire(&mut self, now_ms: u64) {
        for Table { states, bytes, earliest_ms } in self.tables.values_mut() {
            if *earliest_ms > now_ms {
                continue;
            }
            *earliest_ms = u64::MAX;
            states.retain(|key, Stored { value, until_ms }| {
                let is_kept = *until_ms > now_ms;
                if is_kept {
                    *earliest_ms = (*earliest_ms).min(*until_ms);
                } else {
                    *bytes -= size(key, value);
                }
                is_kept
            });
        }
        self.tables.retain(|_, table| !table.states.is_empty());
    }

    /// Writes all of them.
    pub(super) fn encode(&self, encoder: &mut Encoder) {
        for (table, Table { states, .. }) in &self.tables {
            for (key, Stored { value, until_ms }) in states {
                let change = Change { table, key, value: Some(value), until_ms: *until_ms };
                encoder.state(change, true);
            }
        }
    }

    /// The bytes of all tables.
    pub(super) fn bytes(&self) -> usize {
        self.tables.values().map(|table| table.bytes).sum()
    }

    /// The name and the bytes of each table, the largest first.
    pub(super) fn sizes(&self) -> Vec<(String, usize)> {
        let mut sizes: Vec<_> = self.tables.iter().map(|(name, table)| (name.to_string(), table.bytes)).collect();
        sizes.sort_by_key(|(_, bytes)| Reverse(*bytes));
        sizes
    }

    /// The values of a table, in the order of their keys.
    pub(super) fn values(&self, table: StateTable) -> impl Iterator<Item = &[u8]> {
        self.tables.get(table.name).into_iter().flat_map(|table| table.states.values().map(|stored| &*stored.value))
    }

    /// How many bytes of a table there are, and may be, in segments of `segment_bytes`.
    pub(super) fn fill(&self, table: StateTable, segment_bytes: u64) -> (usize, usize) {
        (self.tables.get(table.name).map_or(0, |table| table.bytes), most(table, segment_bytes))
    }

    /// The value of a key that does not expire.
    pub(super) fn value(&self, table: StateTable, key: &[u8]) -> Option<&[u8]> {
        self.stored(table, key).map(|stored| &*stored.value)
    }

    /// Those of a table that have not expired, in the order of their keys.
    pub(super) fn of(&self, table: StateTable, now_ms: u64) -> Vec<StoredState> {
        let states = self.tables.get(table.name).into_iter().flat_map(|table| &table.states);
        let valid = states.filter(|(_, Stored { until_ms, .. })| *until_ms > now_ms);
        valid.map(|(key, stored)| stored.state(table, key)).collect()
    }

    /// Those of a table whose keys begin with `beginning`.
    pub(super) fn beginning_with(&self, table: StateTable, beginning: &[u8]) -> Vec<StoredState> {
        let Some(Table { states, .. }) = self.tables.get(table.name) else { return Vec::new() };
        let from = states.range::<[u8], _>((Bound::Included(beginning), Bound::Unbounded));
        let found = from.take_while(|(key, _)| key.starts_with(beginning));
        found.map(|(key, stored)| stored.state(table, key)).collect()
    }
}
