//! What a bus reports of itself, for metrics.

use std::time::Duration;

/// The number of idempotency keys in memory, and their size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyStats {
    /// Keys.
    pub keys: usize,
    /// Bytes.
    pub bytes: usize,
}

/// The log on disk.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DiskStats {
    /// Bytes of all segments and their indexes.
    pub bytes: u64,
    /// Segments.
    pub segments: usize,
    /// The bytes of each table of [small states](super::Publication::states).
    pub states: Vec<(String, usize)>,
    /// How long ago the oldest purge was whose messages may still be on disk; zero without one.
    pub purge_age: Duration,
    /// Bytes of memory of older messages that were read for clients and not delivered yet.
    pub reading: usize,
    /// The duration of syncs: how many took at most as long as each of [`SYNC_BUCKETS`], and how many took longer.
    pub syncs: [u64; SYNC_BUCKETS.len() + 1],
    /// The sum of the durations of all syncs.
    pub sync_time: Duration,
}

/// The upper bounds of the histogram of syncs, in seconds.
pub const SYNC_BUCKETS: [f64; 12] = [0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 2.0];
