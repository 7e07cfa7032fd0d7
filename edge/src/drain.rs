//! Draining: announces once that the process is shutting down, and counts the requests in progress.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
};

use tokio::sync::Notify;

type Act = Box<dyn FnOnce() + Send>;

/// Whether the process is shutting down. Clones share it.
#[derive(Clone, Default)]
pub struct Drain(Arc<Inner>);

#[derive(Default)]
struct Inner {
    begun: AtomicBool,
    /// Notified once, when draining begins.
    beginning: Notify,
    /// The callbacks for the beginning. Taken out under the lock, called outside of it.
    acts: Mutex<Option<Vec<Act>>>,
    /// Notified once, when the port is closed.
    closing: Notify,
    closed: AtomicBool,
    in_flight: AtomicUsize,
    /// Work that belongs to no request, and a notification at the end of the last of it.
    working: AtomicUsize,
    idle: Notify,
}

impl Drain {
    /// Calls `act` when draining begins, or immediately if it has begun: to end the log's readers, or to notify Socket.IO.
    ///
    /// Callbacks are called in order, on the thread that begins draining, and must not block.
    pub fn on_begin(&self, act: impl FnOnce() + Send + 'static) {
        {
            let mut acts = self.0.acts.lock().unwrap_or_else(PoisonError::into_inner);
            if !self.is_draining() {
                acts.get_or_insert_default().push(Box::new(act));
                return;
            }
        }
        act();
    }

    /// Begins draining; calling it again has no effect.
    pub fn begin(&self) {
        let acts = {
            // Under the lock that `on_begin` uses: a callback is either in this list or called there.
            let mut acts = self.0.acts.lock().unwrap_or_else(PoisonError::into_inner);
            if self.0.begun.swap(true, SeqCst) {
                return;
            }
            acts.take().unwrap_or_default()
        };
        for act in acts {
            act();
        }
        self.0.beginning.notify_waiters();
    }

    /// Whether draining has begun.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.0.begun.load(SeqCst)
    }

    /// Waits until draining begins.
    pub async fn begun(&self) {
        wait(&self.0.beginning, &self.0.begun).await;
    }

    /// Reports that the port is closed: new connections are refused from now on.
    pub(super) fn close_port(&self) {
        self.0.closed.store(true, SeqCst);
        self.0.closing.notify_waiters();
    }

    /// Waits until the port is closed.
    pub async fn port_closed(&self) {
        wait(&self.0.closing, &self.0.closed).await;
    }

    /// Counts a request as in progress until the guard is dropped.
    pub(super) fn enter(&self) -> InFlight {
        self.0.in_flight.fetch_add(1, SeqCst);
        InFlight(self.clone())
    }

    /// Counts work that belongs to no request until the guard is dropped: the process does not stop its workers meanwhile, for as long as it
    /// may take to shut down.
    #[must_use]
    pub fn work(&self) -> Work {
        self.0.working.fetch_add(1, SeqCst);
        Work(self.clone())
    }

    /// Waits until there is no such work.
    pub(super) async fn idle(&self) {
        loop {
            let mut notified = std::pin::pin!(self.0.idle.notified());
            notified.as_mut().enable();
            if self.0.working.load(SeqCst) == 0 {
                return;
            }
            notified.await;
        }
    }

    /// The number of requests in progress, including their response bodies.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.0.in_flight.load(SeqCst)
    }
}

/// Waits until `is_so` returns true; `notify` is triggered after each change.
async fn wait(notify: &Notify, is_so: &AtomicBool) {
    let mut notified = std::pin::pin!(notify.notified());
    // Registered before the check, or a change between the two would be missed.
    notified.as_mut().enable();
    if !is_so.load(SeqCst) {
        notified.await;
    }
}

impl fmt::Debug for Drain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Drain").field("begun", &self.is_draining()).field("in_flight", &self.in_flight()).finish()
    }
}

/// Work in progress.
#[derive(Debug)]
pub struct Work(Drain);

impl Drop for Work {
    fn drop(&mut self) {
        if self.0.0.working.fetch_sub(1, SeqCst) == 1 {
            self.0.0.idle.notify_waiters();
        }
    }
}

/// One request in progress.
#[derive(Debug)]
pub(super) struct InFlight(Drain);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.0.in_flight.fetch_sub(1, SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn scheduled_acts_run_once_in_order_and_late_ones_immediately() {
        let (drain, order) = (Drain::default(), Arc::new(Mutex::new(Vec::new())));
        for n in 1..=3 {
            let order = order.clone();
            drain.on_begin(move || order.lock().unwrap().push(n));
        }
        assert!(!drain.is_draining() && order.lock().unwrap().is_empty());
        drain.begin();
        drain.begin();
        let late = order.clone();
        drain.on_begin(move || late.lock().unwrap().push(4));
        assert_eq!(*order.lock().unwrap(), [1, 2, 3, 4]);
        drain.begun().await;
    }

    #[tokio::test]
    async fn waiters_for_the_drain_are_woken() {
        let drain = Drain::default();
        let waiting: Vec<_> = (0..3)
            .map(|_| {
                let drain = drain.clone();
                tokio::spawn(async move { drain.begun().await })
            })
            .collect();
        tokio::task::yield_now().await;
        assert!(waiting.iter().all(|waiting| !waiting.is_finished()));
        drain.begin();
        for waiting in waiting {
            waiting.await.unwrap();
        }
        drain.begun().await;
    }

    #[test]
    fn requests_are_counted_while_they_live() {
        let drain = Drain::default();
        let (first, second) = (drain.enter(), drain.enter());
        assert_eq!(drain.in_flight(), 2);
        drop(first);
        drop(second);
        assert_eq!(drain.in_flight(), 0);
    }
}
