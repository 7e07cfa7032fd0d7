//! Counters of the adapter.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What an adapter has done so far, and its state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Whether Redis is connected, and all namespaces are subscribed to.
    pub connected: bool,
    /// Messages that Redis accepted from this server.
    pub published: u64,
    /// Messages that were not published, or whose outcome is unknown: Redis was unavailable, rejected them or could not keep up.
    pub failed: u64,
    /// Messages of other servers that were handled.
    pub received: u64,
    /// Messages that were invalid or too large, in bytes or in values.
    pub ignored: u64,
    /// Times that the connection to Redis was lost.
    pub disconnects: u64,
    /// Times that incoming messages exceeded the limit, and the connection was closed because of that. Each is a lost connection, too.
    pub overrun: u64,
}

#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) published: Counter,
    pub(crate) failed: Counter,
    pub(crate) received: Counter,
    pub(crate) ignored: Counter,
    pub(crate) disconnects: Counter,
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
        let Self { published, failed, received, ignored, disconnects, overrun } = self;
        let read = |counter: &Counter| counter.0.load(Relaxed);
        Stats {
            connected,
            published: read(published),
            failed: read(failed),
            received: read(received),
            ignored: read(ignored),
            disconnects: read(disconnects),
            overrun: read(overrun),
        }
    }
}
