//! Which cohorts of a worker may have something to send, and whether a connection has to end: reported from any thread.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Wake, Waker},
};

use futures_util::task::AtomicWaker;
use parking_lot::Mutex;

/// The cohorts that were woken.
#[derive(Default)]
pub(super) struct Woken {
    keys: Mutex<Vec<usize>>,
    /// Some members have been ended from outside.
    has_ended: AtomicBool,
    /// The task that serves them.
    pub(super) host: AtomicWaker,
}

impl Woken {
    /// Those that were woken since the last call, by key. Register the [host](Self::host) first.
    pub(super) fn take(&self) -> Vec<usize> {
        std::mem::take(&mut self.keys.lock())
    }

    /// Whether cohorts were woken since the last call of [`take`](Self::take).
    #[cfg(test)]
    pub(super) fn is_waiting(&self) -> bool {
        !self.keys.lock().is_empty()
    }

    /// Whether members have been ended from outside since the last call.
    pub(super) fn take_ended(&self) -> bool {
        self.has_ended.swap(false, Ordering::AcqRel)
    }

    /// The waker for members that are ended from outside: the same for all, since that is rare.
    pub(super) fn end_waker(self: &Arc<Self>) -> Waker {
        Arc::new(EndWaker(self.clone())).into()
    }
}

/// The waker of one cohort. The cohort of its key may be another one meanwhile, which is then served for nothing.
pub(super) struct CohortWaker {
    key: usize,
    woken: Arc<Woken>,
}

impl CohortWaker {
    pub(super) fn waker(key: usize, woken: &Arc<Woken>) -> Waker {
        Arc::new(Self { key, woken: woken.clone() }).into()
    }
}

impl Wake for CohortWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.keys.lock().push(self.key);
        self.woken.host.wake();
    }
}

struct EndWaker(Arc<Woken>);

impl Wake for EndWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.has_ended.store(true, Ordering::Release);
        self.0.host.wake();
    }
}
