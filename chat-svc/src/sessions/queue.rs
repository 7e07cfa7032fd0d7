//! The queue of unsaved changes of sessions, and those that wait for them.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use bytestring::ByteString;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use super::store::{Holder, Save};

/// Maximum number of sessions in one save.
pub(super) const MAX_SAVES_PER_CALL: usize = 128;

/// See the module.
#[derive(Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    wakeup: Notify,
}

#[derive(Default)]
struct Waiting {
    sessions: HashMap<ByteString, Unsaved>,
}

/// A session with unsaved changes.
#[derive(Default)]
pub(super) struct Unsaved {
    /// Its end, if it has ended; otherwise its state at the time of the save is saved.
    pub(super) ended: Option<EndedSession>,
    /// Notified when it has been saved.
    pub(super) waiters: Vec<oneshot::Sender<()>>,
}

/// A session whose client has disconnected.
#[derive(Clone, Debug)]
pub(super) struct EndedSession {
    pub(super) holder: Holder,
    pub(super) before: Option<Holder>,
    /// Its state at the end; `None` if it must not be resumed.
    pub(super) session: Option<Arc<str>>,
    pub(super) until: Instant,
}

impl EndedSession {
    /// The corresponding save.
    pub(super) fn save(self, pid: ByteString, now: Instant) -> Save {
        let Self { holder, before, session, until } = self;
        let keep = if session.is_some() { until.saturating_duration_since(now) } else { Duration::ZERO };
        Save { pid, holder, before, session, keep, is_live: false }
    }
}

impl Unsaved {
    /// Adds a waiter. Waiters that have given up are removed when there is no space for more, so that the list is never longer than twice
    /// the number of those that wait.
    fn add_waiter(&mut self, waiter: oneshot::Sender<()>) {
        if self.waiters.len() == self.waiters.capacity() {
            self.waiters.retain(|other| !other.is_closed());
        }
        self.waiters.push(waiter);
    }
}

impl Queue {
    /// The session has changed. The returned receiver is notified when it has been saved.
    pub(super) fn changed(&self, pid: &ByteString) -> oneshot::Receiver<()> {
        let (tx, rx) = oneshot::channel();
        self.waiting.lock().sessions.entry(pid.clone()).or_default().add_waiter(tx);
        self.wakeup.notify_one();
        rx
    }

    /// The same, without a waiter.
    pub(super) fn mark(&self, pids: impl IntoIterator<Item = ByteString>) {
        let mut waiting = self.waiting.lock();
        for pid in pids {
            waiting.sessions.entry(pid).or_default();
        }
        drop(waiting);
        self.wakeup.notify_one();
    }

    /// The session's client has disconnected.
    pub(super) fn ended(&self, pid: &ByteString, ended: EndedSession) {
        self.waiting.lock().sessions.entry(pid.clone()).or_default().ended = Some(ended);
        self.wakeup.notify_one();
    }

    /// Takes back the end of a session whose client has reconnected.
    pub(super) fn cancel_end(&self, pid: &str) -> Option<EndedSession> {
        self.waiting.lock().sessions.get_mut(pid)?.ended.take()
    }

    /// Removes the end of a session from the queue, if it has not been saved yet; returns whether it was there.
    pub(super) fn give_up(&self, pid: &ByteString) -> bool {
        let mut waiting = self.waiting.lock();
        let is_waiting = waiting.sessions.get(pid).is_some_and(|unsaved| unsaved.ended.is_some());
        is_waiting && waiting.sessions.remove(pid).is_some()
    }

    /// The next sessions to save; waits until there are some.
    pub(super) async fn next(&self) -> Vec<(ByteString, Unsaved)> {
        loop {
            let some = self.some();
            if !some.is_empty() {
                return some;
            }
            self.wakeup.notified().await;
        }
    }

    fn some(&self) -> Vec<(ByteString, Unsaved)> {
        let mut waiting = self.waiting.lock();
        let pids: Vec<ByteString> = waiting.sessions.keys().take(MAX_SAVES_PER_CALL).cloned().collect();
        let some = pids.iter().filter_map(|pid| waiting.sessions.remove_entry(pid)).collect();
        if waiting.sessions.is_empty() && waiting.sessions.capacity() > MAX_SAVES_PER_CALL {
            waiting.sessions.shrink_to_fit();
        }
        some
    }

    /// Puts back failed saves; newer changes take precedence.
    pub(super) fn put_back(&self, unsaved: Vec<(ByteString, Unsaved)>) {
        let mut waiting = self.waiting.lock();
        for (pid, Unsaved { ended, waiters }) in unsaved {
            let newer = waiting.sessions.entry(pid).or_default();
            waiters.into_iter().filter(|waiter| !waiter.is_closed()).for_each(|waiter| newer.add_waiter(waiter));
            newer.ended = newer.ended.take().or(ended);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    impl Queue {
        /// The length of the list of waiters.
        pub(in crate::sessions) fn waiter_count(&self) -> usize {
            self.waiting.lock().sessions.values().map(|unsaved| unsaved.waiters.len()).sum()
        }
    }

    fn ended(text: &str) -> EndedSession {
        let until = Instant::now() + Duration::from_secs(60);
        EndedSession { holder: Holder::draw(), before: None, session: Some(text.into()), until }
    }

    fn pid(n: usize) -> ByteString {
        format!("pid-{n}").into()
    }

    /// Each of a client's joins added a waiter, which remained for as long as Redis was unavailable.
    #[test]
    fn waiters_that_gave_up_are_removed() {
        let queue = Queue::default();
        let waits = queue.changed(&pid(0));
        for _ in 0..10_000 {
            drop(queue.changed(&pid(0)));
            queue.put_back(queue.some());
        }
        let some = queue.some();
        assert_eq!(some.len(), 1);
        let waiters = &some[0].1.waiters;
        assert!(waiters.capacity() <= 8, "{} are kept", waiters.capacity());
        assert!(waiters.iter().any(|waiter| !waiter.is_closed()), "a waiter that still waits is kept");
        drop((some, waits));
    }

    #[test]
    fn ends_that_wait_may_change_and_be_given_up() {
        let queue = Queue::default();
        queue.mark((0..10).map(pid));
        for n in 0..5 {
            queue.ended(&pid(n), ended("1"));
        }
        queue.ended(&pid(3), ended("2"));
        assert_eq!(queue.cancel_end(&pid(3)).unwrap().session.as_deref(), Some("2"));
        // A periodic save of a live session can be repeated later, so there is nothing to give up.
        assert!(queue.give_up(&pid(4)) && !queue.give_up(&pid(4)) && !queue.give_up(&pid(9)));
        // A failed save does not replace a newer one.
        let some = queue.some();
        assert_eq!(some.len(), 9, "nothing is left of the one that was given up");
        let taken = some[0].0.clone();
        queue.ended(&taken, ended("newer"));
        queue.put_back(some);
        assert_eq!(queue.cancel_end(&taken).unwrap().session.as_deref(), Some("newer"));
    }
}
