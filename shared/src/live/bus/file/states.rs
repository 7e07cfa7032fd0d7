//! Small states that outlive the process: the value of a key in a table, until a time.
//!
//! A change is a record of the log. The first write of each segment repeats all of them, so they outlive the segments before, and the last
//! segment has everything that a start needs.

use std::collections::BTreeMap;

use super::record::{Change, Encoder};
use crate::live::bus::{BusError, StoredState};

/// Maximum number of bytes of a table, and of this part of a segment. Each has its own limit: clients choose the size of some of them.
const MAX_BYTES: usize = 4 << 20;
const PART_OF_SEGMENT: u64 = 8;
/// The memory of a state, besides its key and its value.
const OVERHEAD: usize = 96;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct States {
    tables: BTreeMap<Box<str>, Table>,
}

#[derive(Debug, Default)]
struct Table {
    states: BTreeMap<Box<[u8]>, Stored>,
    bytes: usize,
}

#[derive(Debug)]
struct Stored {
    value: Box<[u8]>,
    until_ms: u64,
}

fn size(key: &[u8], value: &[u8]) -> usize {
    OVERHEAD + key.len() + value.len()
}

impl States {
    /// Whether there is space for one more after `others`, in segments of `segment_bytes`.
    ///
    /// # Errors
    /// The limit.
    pub(super) fn require_room(
        &self,
        state: &StoredState,
        others: &[StoredState],
        segment_bytes: u64,
    ) -> Result<(), BusError> {
        let part = usize::try_from(segment_bytes / PART_OF_SEGMENT).unwrap_or(usize::MAX);
        let most = MAX_BYTES.min(part);
        let added = |state: &StoredState| state.value.as_ref().map_or(0, |value| size(&state.key, value));
        let table = self.tables.get(state.table);
        let replaced = table.and_then(|table| table.states.get(&state.key[..]));
        let replaced = replaced.map_or(0, |before| size(&state.key, &before.value));
        let others: usize = others.iter().filter(|other| other.table == state.table).map(added).sum();
        let stored = table.map_or(0, |table| table.bytes).saturating_sub(replaced) + others;
        let more = added(state);
        if more > 0 && stored + more > most {
            return Err(BusError::StatesFull(format!(
                "{stored} bytes of `{}` are stored, and the log on disk stores at most {most}",
                state.table
            )));
        }
        Ok(())
    }

    /// Applies a change.
    pub(super) fn apply(&mut self, change: Change<'_>) {
        let Change { table, key, value, until_ms } = change;
        let table = self.tables.entry(table.into()).or_default();
        if let Some(before) = table.states.remove(key) {
            table.bytes -= size(key, &before.value);
        }
        if let Some(value) = value {
            table.bytes += size(key, value);
            table.states.insert(key.into(), Stored { value: value.into(), until_ms });
        }
    }

    /// Removes those that have expired.
    pub(super) fn expire(&mut self, now_ms: u64) {
        for Table { states, bytes } in self.tables.values_mut() {
            states.retain(|key, Stored { value, until_ms }| {
                let is_kept = *until_ms > now_ms;
                *bytes -= if is_kept { 0 } else { size(key, value) };
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

    pub(super) fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }

    /// Those of a table that have not expired, in the order of their keys.
    pub(super) fn of(&self, table: &'static str, now_ms: u64) -> Vec<StoredState> {
        let states = self.tables.get(table).into_iter().flat_map(|table| &table.states);
        let valid = states.filter(|(_, Stored { until_ms, .. })| *until_ms > now_ms);
        valid
            .map(|(key, Stored { value, until_ms })| StoredState {
                table,
                key: key.to_vec(),
                value: Some(value.to_vec()),
                until_ms: *until_ms,
            })
            .collect()
    }
}
