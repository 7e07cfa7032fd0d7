//! How many calls there are at a time, and how much memory they take.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes that a call takes besides its request: its task, its headers, its place in the queue.
pub const CALL_OVERHEAD: usize = 1024;

/// The limits of a [`Gate`].
#[derive(Clone, Copy, Debug)]
pub struct GateLimits {
    /// Calls that are sent at a time. At least 1.
    pub concurrency: usize,
    /// Bytes of all calls, those that wait included. One call always has space.
    pub bytes: usize,
}

/// See the module. Clones share it.
#[derive(Clone, Debug)]
pub struct Gate(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    running: Arc<Semaphore>,
    limits: GateLimits,
    bytes: AtomicUsize,
}

/// The memory of one call, released when it is dropped.
#[derive(Debug)]
pub struct Reservation {
    gate: Gate,
    bytes: usize,
}

impl Gate {
    /// A gate with these limits.
    #[must_use]
    pub fn new(limits: GateLimits) -> Self {
        let running = Arc::new(Semaphore::new(limits.concurrency.clamp(1, Semaphore::MAX_PERMITS)));
        Self(Arc::new(Inner { running, limits, bytes: AtomicUsize::new(0) }))
    }

    /// Memory for a call whose request takes `bytes`. `None` if the calls in progress leave no space for it.
    #[must_use]
    pub fn reserve(&self, bytes: usize) -> Option<Reservation> {
        let bytes = bytes.saturating_add(CALL_OVERHEAD);
        // Added first and subtracted if it was too much: two threads cannot both get the last bytes.
        let before = self.0.bytes.fetch_add(bytes, Relaxed);
        if before > 0 && before.saturating_add(bytes) > self.0.limits.bytes {
            self.0.bytes.fetch_sub(bytes, Relaxed);
            return None;
        }
        Some(Reservation { gate: self.clone(), bytes })
    }

    /// Bytes of all calls.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.bytes.load(Relaxed)
    }

    /// Waits until another call may be sent, in the order of calling.
    pub(crate) async fn enter(&self) -> Option<OwnedSemaphorePermit> {
        self.0.running.clone().acquire_owned().await.ok()
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.gate.0.bytes.fetch_sub(self.bytes, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_share_a_budget_and_one_always_has_space() {
        let gate = Gate::new(GateLimits { concurrency: 1, bytes: 10_000 });
        let first = gate.reserve(50_000).unwrap();
        assert_eq!(gate.bytes(), 50_000 + CALL_OVERHEAD);
        assert!(gate.reserve(0).is_none());
        drop(first);
        let short: Vec<Reservation> = std::iter::from_fn(|| gate.reserve(0)).collect();
        assert_eq!(short.len(), 10_000 / CALL_OVERHEAD, "short ones are counted, too");
        drop(short);
        assert_eq!(gate.bytes(), 0);
    }
}
