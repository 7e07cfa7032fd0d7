//! Small states that outlive the process: keyed values with an expiry, each of a kind that has a limit.

use bytes::Bytes;

/// The key and the value of what a holder of a lease has stored.
pub type Entry = (Vec<u8>, Bytes);
/// A key, and its new value; `None` removes it.
pub type EntryChange = (Vec<u8>, Option<Bytes>);

/// Which of two values of a key applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merge {
    /// The last one.
    Last,
    /// The greater one, compared by bytes, with its end; of equal ones, the one with the later end.
    Greater,
    /// The greater one, until the later end of both.
    Monotone,
}

/// A kind of small state, and the limit of all states of this kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateTable {
    /// Its name, unique among all.
    pub name: &'static str,
    /// Maximum total size of keys and values in bytes, counting 96 more per entry. A table is also limited to an eighth of a segment.
    pub max_bytes: usize,
    /// Whether a change is durable before it is confirmed, whatever `TRIDENT_FSYNC` says.
    pub is_synced: bool,
    /// What a change of a key that has a value leaves there.
    pub merge: Merge,
}

impl StateTable {
    /// A table in which the last change applies, and is as durable as a message.
    #[must_use]
    pub const fn new(name: &'static str, max_bytes: usize) -> Self {
        Self { name, max_bytes, is_synced: false, merge: Merge::Last }
    }
}

/// A small state that outlives the process ([`Publication::states`](super::Publication::states)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredState {
    /// What kind of state it is.
    pub table: StateTable,
    /// What it belongs to, unique within its table.
    pub key: Vec<u8>,
    /// `None` removes it.
    pub value: Option<Vec<u8>>,
    /// When it expires, in milliseconds since the Unix epoch.
    pub until_ms: u64,
}
