//! How the log is kept on disk.

use std::time::Duration;

/// The largest segment.
pub(super) const MAX_SEGMENT: u64 = 64 << 20;
/// The smallest length at which a segment is sealed.
const MIN_SEGMENT: u64 = 64 << 10;
/// A segment has this part of the disk space for the log: retention removes whole segments.
const SEGMENTS: u64 = 32;

/// When messages are made durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fsync {
    /// Before they are delivered and answered. A power cut loses nothing.
    #[default]
    Always,
    /// Within a second. A power cut loses at most what was published within one second: publishers wait while a sync takes longer.
    EverySecond,
    /// When the operating system does. The end of the process loses nothing; a power cut loses what was not written back.
    Never,
}

/// How the log is kept on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileOptions {
    /// When messages are made durable.
    pub fsync: Fsync,
    /// Bytes on disk; beyond, the oldest segments are removed. `None` is no limit.
    pub total: Option<u64>,
    /// Bytes of memory for idempotency keys. `None` is no limit.
    pub key_bytes: Option<usize>,
    /// The bytes of purged messages leave the disk within this time.
    pub purge_within: Duration,
}

impl Default for FileOptions {
    fn default() -> Self {
        Self { fsync: Fsync::default(), total: None, key_bytes: None, purge_within: Duration::from_secs(24 * 3_600) }
    }
}

impl FileOptions {
    /// The length at which a segment is sealed.
    pub(super) fn segment_bytes(&self) -> u64 {
        self.total.map_or(MAX_SEGMENT, |total| (total / SEGMENTS).clamp(MIN_SEGMENT, MAX_SEGMENT))
    }
}
