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

/// The cohorts and the members that were woken.
#[derive(Default)]
pub(super) struct Woken {
    keys: Mutex<Vec<usize>>,
    /// The members to whose clients others have sent something.
    members: Mutex<Vec<u32>>,
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

    /// The members that were woken since the last call, by key. A member may be in it several times.
    pub(super) fn take_members(&self) -> Vec<u32> {
        std::mem::take(&mut self.members.lock())
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

/// The waker of one member. The member of its key may be another one meanwhile, which then has nothing to send.
pub(super) struct MemberWaker {
    key: u32,
    woken: Arc<Woken>,
}

impl MemberWaker {
    pub(super) fn waker(key: u32, woken: &Arc<Woken>) -> Waker {
        Arc::new(Self { key, woken: woken.clone() }).into()
    }
}

impl Wake for MemberWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.members.lock().push(self.key);
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
