//! Messages that wait to be published: each with the space that it takes and whom its result is reported to.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::sync::oneshot;

use crate::stats::Counters;

/// A message to be published.
pub(crate) struct Job {
    pub(crate) channel: String,
    pub(crate) message: Vec<u8>,
    pub(crate) answer: Option<oneshot::Sender<Result<(), String>>>,
    pub(crate) room: Room,
}

impl Job {
    /// Reports the result to the publisher, and counts it.
    pub(crate) fn end(self, counters: &Counters, result: Result<(), String>) {
        let counter = if result.is_ok() { &counters.published } else { &counters.failed };
        counter.inc();
        if let Some(answer) = self.answer {
            let _ = answer.send(result);
        }
    }
}

/// The number of bytes in the queue.
#[derive(Debug, Default)]
pub(crate) struct Waiting(AtomicUsize);

impl Waiting {
    /// Reserves this many bytes, if available. A single message always fits, however large it is.
    pub(crate) fn take(self: &Arc<Self>, bytes: usize, limit: usize) -> Option<Room> {
        let before = self.0.fetch_add(bytes, Ordering::Relaxed);
        let room = Room { bytes, of: self.clone() };
        (before == 0 || before.saturating_add(bytes) <= limit).then_some(room)
    }
}

/// The space of one message in the queue, until it has been sent.
#[derive(Debug)]
pub(crate) struct Room {
    pub(crate) bytes: usize,
    of: Arc<Waiting>,
}

impl Drop for Room {
    fn drop(&mut self) {
        self.of.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_queue_is_bounded() {
        let waiting = Arc::<Waiting>::default();
        let first = waiting.take(60, 100).unwrap();
        let second = waiting.take(40, 100).unwrap();
        assert!(waiting.take(1, 100).is_none());
        drop(first);
        let third = waiting.take(60, 100).unwrap();
        assert!(waiting.take(1, 100).is_none());
        drop((second, third));
        // A message larger than the limit is sent alone.
        let large = waiting.take(1_000, 100).unwrap();
        assert!(waiting.take(1, 100).is_none());
        drop(large);
        assert_eq!(waiting.0.load(Ordering::Relaxed), 0);
    }
}
