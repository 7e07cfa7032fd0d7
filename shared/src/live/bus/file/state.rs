//! What the writer reports: problems of the disk, its end, and the time of syncs.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::live::bus::{BusError, SYNC_BUCKETS};

/// Why nothing can be published for now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Problem {
    /// The disk is full.
    Full(String),
    /// Another error of the disk.
    Disk(String),
}

impl Problem {
    /// The answer to publications.
    pub(super) fn error(&self) -> BusError {
        match self {
            Self::Full(message) => BusError::DiskFull(message.clone()),
            Self::Disk(message) => BusError::Unavailable(message.clone()),
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct DiskState {
    pub(super) problem: Mutex<Option<Problem>>,
    /// The reason for which the process has to end.
    pub(super) failure: watch::Sender<Option<String>>,
    /// Whether the writer has ended.
    pub(super) has_ended: watch::Sender<bool>,
    syncs: [AtomicU64; SYNC_BUCKETS.len() + 1],
    sync_micros: AtomicU64,
}

impl Default for DiskState {
    fn default() -> Self {
        Self {
            problem: Mutex::new(None),
            failure: watch::Sender::new(None),
            has_ended: watch::Sender::new(false),
            syncs: Default::default(),
            sync_micros: AtomicU64::new(0),
        }
    }
}

impl DiskState {
    /// Counts a sync.
    pub(super) fn count_sync(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        let bucket = SYNC_BUCKETS.iter().position(|bound| seconds <= *bound).unwrap_or(SYNC_BUCKETS.len());
        self.syncs[bucket].fetch_add(1, Relaxed);
        self.sync_micros.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Relaxed);
    }

    /// The number of syncs in each bucket, and the sum of their durations.
    pub(super) fn syncs(&self) -> ([u64; SYNC_BUCKETS.len() + 1], Duration) {
        let counts = std::array::from_fn(|at| self.syncs[at].load(Relaxed));
        (counts, Duration::from_micros(self.sync_micros.load(Relaxed)))
    }

    /// Why nothing can be published.
    pub(super) fn error(&self) -> Option<BusError> {
        if let Some(failure) = &*self.failure.borrow() {
            return Some(BusError::Unavailable(failure.clone()));
        }
        self.problem.lock().as_ref().map(Problem::error)
    }
}
