//! What backends have decided about clients, and what holders of leases have stored, as states of the log.

use bytes::Bytes;

use super::states::{States, most};
use crate::live::bus::{Entry, Merge, Record, StateTable, StoredState};

/// Records such as users who are refused, of which the newest applies. They are few, and each decides who may do what: a power cut loses none.
pub(super) const NEWEST: StateTable =
    StateTable { is_synced: true, merge: Merge::Greater, ..StateTable::new("record", 8 << 20) };
/// Records such as revocations, of which the strictest applies.
pub(super) const MONOTONE: StateTable = StateTable { name: "monotone", merge: Merge::Monotone, ..NEWEST };
/// What the holder of a lease has stored, such as the position of webhooks.
const LEASES: StateTable = StateTable::new("lease", 1 << 20);

/// Entries of leases, such as subscriptions of streams.
const ENTRIES: StateTable = StateTable::new("entry", 8 << 20);

/// A record as a state.
pub(super) fn state_of(Record { name, value, expires_ms, is_monotone }: Record) -> StoredState {
    StoredState {
        table: if is_monotone { MONOTONE } else { NEWEST },
        key: name.into_bytes(),
        // The bytes have the order of the numbers.
        value: Some(value.to_be_bytes().to_vec()),
        until_ms: expires_ms,
    }
}

/// All records that have not expired.
pub(super) fn all(states: &States, now_ms: u64) -> Vec<Record> {
    let of = |table: StateTable| {
        let is_monotone = table.merge == Merge::Monotone;
        states.of(table, now_ms).into_iter().filter_map(move |state| {
            let value = u64::from_be_bytes(state.value?.try_into().ok()?);
            let name = String::from_utf8(state.key).ok()?;
            Some(Record { name, value, expires_ms: state.until_ms, is_monotone })
        })
    };
    of(NEWEST).chain(of(MONOTONE)).collect()
}

/// What the holder of the lease `name` has stored, as a state.
pub(super) fn lease(name: &str, value: &[u8]) -> StoredState {
    StoredState { table: LEASES, key: name.into(), value: Some(value.to_vec()), until_ms: u64::MAX }
}

/// What the last holder of the lease `name` has stored.
pub(super) fn of_lease(states: &States, name: &str) -> Option<Bytes> {
    states.value(LEASES, name.as_bytes()).map(Bytes::copy_from_slice)
}

/// How many bytes the entries of all leases can have, in segments of this length.
pub(super) fn entry_space(segment_bytes: u64) -> usize {
    most(ENTRIES, segment_bytes)
}

/// What the keys of the entries of the lease `name` begin with.
fn prefix(name: &str) -> Vec<u8> {
    [name.as_bytes(), b"\0"].concat()
}

/// A change of an entry of the lease `name`, as a state.
pub(super) fn entry(name: &str, key: &[u8], value: Option<Bytes>) -> StoredState {
    let key = [&prefix(name), key].concat();
    StoredState { table: ENTRIES, key, value: value.map(Vec::from), until_ms: u64::MAX }
}

/// The entries of the lease `name`.
pub(super) fn entries_of(states: &States, name: &str) -> Vec<Entry> {
    let prefix = prefix(name);
    let read = |state: StoredState| Some((state.key.get(prefix.len()..)?.to_vec(), state.value?.into()));
    states.beginning_with(ENTRIES, &prefix).into_iter().filter_map(read).collect()
}
