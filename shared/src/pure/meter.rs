//! How much memory a log holds, counted by whoever takes it and gives it back.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Bytes that a log holds: its messages, their wire forms, its channels.
///
/// Messages and channels are always taken in and the oldest go for them. A wire form is worth keeping only where there is
/// room, since it can be made again; were it kept without asking, whoever reads the whole history in every form at once
/// would multiply it. An eighth beyond the limit is free for that: just below it there is never room when the log is full.
#[derive(Debug)]
pub(crate) struct Meter {
    used: AtomicUsize,
    most: usize,
}

impl Meter {
    /// Counts up to `most` bytes; `None` is no limit.
    pub(crate) fn new(most: Option<usize>) -> Self {
        Self { used: AtomicUsize::new(0), most: most.unwrap_or(usize::MAX) }
    }

    pub(crate) fn add(&self, bytes: usize) {
        self.used.fetch_add(bytes, Relaxed);
    }

    pub(crate) fn take(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Relaxed);
    }

    /// Bytes that are held.
    pub(crate) fn used(&self) -> usize {
        self.used.load(Relaxed)
    }

    /// Whether something has to go.
    pub(crate) fn is_over(&self) -> bool {
        self.used() > self.most
    }

    /// Whether `bytes` that can be done without may be taken.
    pub(crate) fn has_room(&self, bytes: usize) -> bool {
        self.used().saturating_add(bytes) <= self.most.saturating_add(self.most / 8)
    }
}
