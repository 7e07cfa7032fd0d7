//! What the holder of subscriptions reports: metrics, and what does not work.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use edge::{
    health::{Degradation, reason},
    metrics::Figure,
};
use parking_lot::Mutex;

use super::book::{Book, Outcome};

/// See the module. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Status(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    subscriptions: AtomicU64,
    streams: AtomicU64,
    bytes: AtomicU64,
    wakes: AtomicU64,
    failures: AtomicU64,
    unlinked: AtomicU64,
    problem: Mutex<Option<String>>,
}

impl Status {
    /// What this process has; nothing without the lease.
    pub(super) fn set(&self, book: Option<&mut Book>) {
        let [subscriptions, streams, bytes] = book.as_ref().map_or([0; 3], |book| book.figures());
        self.0.subscriptions.store(subscriptions as u64, Relaxed);
        self.0.streams.store(streams as u64, Relaxed);
        self.0.bytes.store(bytes as u64, Relaxed);
        if let Some(book) = book {
            self.0.unlinked.fetch_add(std::mem::take(&mut book.unlinked), Relaxed);
        }
    }

    /// What does not work; the last one of another process, when that has the subscriptions.
    pub(super) fn set_problem(&self, problem: Option<String>) {
        *self.0.problem.lock() = problem;
    }

    /// What does not work, for `/readyz`.
    pub(super) fn degraded(&self) -> Vec<Degradation> {
        let problem = self.0.problem.lock().clone();
        problem.map(|message| Degradation::new(reason::SUBSCRIPTIONS, message)).into_iter().collect()
    }

    /// A wake was sent, or could not be.
    pub(super) fn sent(&self, outcome: Outcome) {
        let counter = if outcome == Outcome::Failed { &self.0.failures } else { &self.0.wakes };
        counter.fetch_add(1, Relaxed);
    }

    pub(super) fn figures(&self) -> Vec<Figure> {
        let Inner { subscriptions, streams, bytes, wakes, failures, unlinked, .. } = &*self.0;
        let figure =
            |name, help, value: &AtomicU64, is_counter| Figure { name, help, value: value.load(Relaxed), is_counter };
        vec![
            figure(
                "trident_stream_subscriptions",
                "Subscriptions to streams, in the process that has them",
                subscriptions,
                false,
            ),
            figure("trident_stream_subscription_streams", "Streams of these subscriptions", streams, false),
            figure("trident_stream_subscription_bytes", "Bytes of memory of these subscriptions", bytes, false),
            figure("trident_stream_wakes", "Wakes of subscriptions that were sent", wakes, true),
            figure("trident_stream_wake_failures", "Attempts to send a wake that failed", failures, true),
            figure(
                "trident_stream_subscription_overflows",
                "Times that a subscription had no space for a stream that its pattern selects",
                unlinked,
                true,
            ),
        ]
    }
}
