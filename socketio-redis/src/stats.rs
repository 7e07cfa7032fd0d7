//! What is counted.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What an adapter has done so far, and how it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Whether Redis is there, and all namespaces are subscribed to.
    pub connected: bool,
    /// Messages that Redis took from this server.
    pub published: u64,
    /// Messages that were to be published and were not, or not surely: Redis was away, refused them or could not keep up.
    pub failed: u64,
    /// Messages of other servers that were acted upon.
    pub received: u64,
    /// Messages that nobody could make sense of, or that were too large, in bytes or in values.
    pub ignored: u64,
    /// Times that Redis went away.
    pub away: u64,
    /// Times that more came in than may wait, and the connection was given up for it. Each is a time that Redis went away, too.
    pub overrun: u64,
}

#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) published: Counter,
    pub(crate) failed: Counter,
    pub(crate) received: Counter,
    pub(crate) ignored: Counter,
    pub(crate) away: Counter,
    pub(crate) overrun: Counter,
}

#[derive(Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn inc(&self) {
        self.0.fetch_add(1, Relaxed);
    }
}

impl Counters {
    pub(crate) fn snapshot(&self, connected: bool) -> Stats {
        let Self { published, failed, received, ignored, away, overrun } = self;
        let read = |counter: &Counter| counter.0.load(Relaxed);
        Stats {
            connected,
            published: read(published),
            failed: read(failed),
            received: read(received),
            ignored: read(ignored),
            away: read(away),
            overrun: read(overrun),
        }
    }
}
