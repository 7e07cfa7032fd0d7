//! Small states: revocations, refused users, positions of leases, and sessions.

use std::collections::BTreeMap;

use shared::live::bus::{Publication, Published, Record, StateTable, StoredState};

use super::{
    World,
    publish::{PART_OF_SEGMENT, Waiting},
};
use crate::{
    states::{Change, TABLES, Value},
    time,
};

/// The keys of each table.
const KEYS: u64 = 3;
/// The lease whose holder stores something.
const LEASE: &str = "sim";

impl World {
    /// Stores a small state.
    pub(crate) fn store_state(&mut self) -> Result<(), String> {
        let table = self.random.index(TABLES.len());
        let is_lease = TABLES[table].name == "lease";
        let key = if is_lease { LEASE.to_owned() } else { format!("k{}", self.random.below(KEYS)) };
        let now_ms = time::now().time_ms;
        // After a jump of the clock it is unknown what has expired.
        let is_for_ever = is_lease || self.config.jumps || self.random.percent(50);
        let until_ms = if is_for_ever { u64::MAX } else { now_ms + 1_000 + self.random.below(100_000) };
        let number = self.random.below(1_000);
        let value = if table < 2 {
            number.to_be_bytes().to_vec()
        } else {
            number.to_string().repeat(1 + self.random.index(9)).into()
        };
        let is_removed = TABLES[table].name == "session" && self.random.percent(20);
        let change = Change { table, key, value: Some((value, until_ms)).filter(|_| !is_removed) };
        self.trace.line(format_args!("store {change:?}"));
        self.states.sent(&change);
        let (bus, sent) = (self.bus()?, change.clone());
        let answer = Box::pin(async move {
            let Change { key, value, .. } = sent;
            let stored = match (value, table) {
                (Some((value, expires_ms)), 0 | 1) => {
                    let value = value.try_into().map_or(0, u64::from_be_bytes);
                    bus.store(vec![Record { name: key, value, expires_ms, is_monotone: table == 1 }]).await
                }
                (Some((value, _)), 2) => bus.write_state(LEASE, value.into()).await,
                (value, _) => {
                    let until_ms = value.as_ref().map_or(0, |(_, until_ms)| *until_ms);
                    let value = value.map(|(value, _)| value);
                    let state = StoredState { table: TABLES[table], key: key.into_bytes(), value, until_ms };
                    bus.publish(Publication::of_states(vec![state])).await.map(drop)
                }
            };
            stored.map(|()| Published::default())
        });
        let failures = self.disk.failures();
        self.waiting.push(Waiting { answer, sent: Vec::new(), key: None, purge: None, state: Some(change), failures });
        self.answers()
    }

    /// Whether a table may be full.
    pub(crate) fn may_be_full(&self, table: usize) -> bool {
        self.states.bound(table) as u64 > self.config.segment_bytes / PART_OF_SEGMENT
    }

    /// A state was stored, or it is unknown whether it was.
    pub(crate) fn state_changed(&mut self, change: &Change, is_unknown: bool) {
        self.states.change(change, is_unknown, self.disk.changes(), time::now().time_ms);
    }

    fn found(&self, table: usize) -> Result<BTreeMap<String, Value>, String> {
        let states = self.bus()?.states(TABLES[table]).into_iter();
        let found = states.filter_map(|StoredState { key, value, until_ms, .. }| {
            Some((String::from_utf8(key).ok()?, (value?, until_ms)))
        });
        Ok(found.collect())
    }

    /// Compares all states.
    pub(crate) fn verify_states(&self) -> Result<(), String> {
        (0..TABLES.len()).try_for_each(|table| self.states.check(table, &self.found(table)?, time::now().time_ms))
    }

    /// Compares all states with those of the last process. `durable` is the change of the disk after which they may be lost, if they may, and `is_cut` says
    /// that a repair may have cut any of them.
    pub(crate) fn resolve_states(&mut self, durable: Option<u64>, is_cut: bool) -> Result<(), String> {
        for (table, StateTable { is_synced, .. }) in TABLES.iter().enumerate() {
            let found = self.found(table)?;
            if is_cut {
                self.states.reset(table, &found);
            }
            let durable = durable.filter(|_| !is_synced && !is_cut);
            self.states.resolve(table, &found, durable, time::now().time_ms)?;
        }
        Ok(())
    }
}
