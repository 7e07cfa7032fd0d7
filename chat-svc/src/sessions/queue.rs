//! What has yet to be saved of sessions, and who waits for it.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use bytestring::ByteString;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use super::store::{Holder, Save};

/// Sessions that are saved at a time.
pub(super) const MOST_AT_A_TIME: usize = 128;

/// See the module.
#[derive(Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    bell: Notify,
}

#[derive(Default)]
struct Waiting {
    sessions: HashMap<ByteString, Unsaved>,
}

/// One session that is not saved as it is.
#[derive(Default)]
pub(super) struct Unsaved {
    /// How it ended; before that, it is saved as it is then.
    pub(super) ended: Option<Ended>,
    /// Who waits until it is saved.
    pub(super) told: Vec<oneshot::Sender<()>>,
}

/// A session whose client has gone.
#[derive(Clone, Debug)]
pub(super) struct Ended {
    pub(super) holder: Holder,
    pub(super) before: Option<Holder>,
    /// As it was; `None` when nobody is to come back to it.
    pub(super) session: Option<Arc<str>>,
    pub(super) until: Instant,
}

impl Ended {
    /// What is to be kept of it.
    pub(super) fn save(self, pid: ByteString, now: Instant) -> Save {
        let Self { holder, before, session, until } = self;
        let keep = if session.is_some() { until.saturating_duration_since(now) } else { Duration::ZERO };
        Save { pid, holder, before, session, keep }
    }
}

impl Unsaved {
    /// One more is to be told. Who has given up waiting is forgotten when there is no room for more, so that those who are
    /// kept are never more than twice those who wait.
    fn tell(&mut self, told: oneshot::Sender<()>) {
        if self.told.len() == self.told.capacity() {
            self.told.retain(|other| !other.is_closed());
        }
        self.told.push(told);
    }
}

impl Queue {
    /// The session has changed. What comes back is told when it has been saved.
    pub(super) fn changed(&self, pid: &ByteString) -> oneshot::Receiver<()> {
        let (tx, rx) = oneshot::channel();
        self.waiting.lock().sessions.entry(pid.clone()).or_default().tell(tx);
        self.bell.notify_one();
        rx
    }

    /// The same, with nobody waiting for it.
    pub(super) fn mark(&self, pids: impl IntoIterator<Item = ByteString>) {
        let mut waiting = self.waiting.lock();
        for pid in pids {
            waiting.sessions.entry(pid).or_default();
        }
        drop(waiting);
        self.bell.notify_one();
    }

    /// The session has lost its client.
    pub(super) fn ended(&self, pid: &ByteString, ended: Ended) {
        self.waiting.lock().sessions.entry(pid.clone()).or_default().ended = Some(ended);
        self.bell.notify_one();
    }

    /// Takes back how a session ended, for a client that has come again.
    pub(super) fn take_ended(&self, pid: &str) -> Option<Ended> {
        self.waiting.lock().sessions.get_mut(pid)?.ended.take()
    }

    /// Does not save how a session ended, if that is not saved yet: whether it was so.
    pub(super) fn give_up(&self, pid: &ByteString) -> bool {
        let mut waiting = self.waiting.lock();
        let is_waiting = waiting.sessions.get(pid).is_some_and(|unsaved| unsaved.ended.is_some());
        is_waiting && waiting.sessions.remove(pid).is_some()
    }

    /// What to save next; waits until there is something.
    pub(super) async fn next(&self) -> Vec<(ByteString, Unsaved)> {
        loop {
            let some = self.some();
            if !some.is_empty() {
                return some;
            }
            self.bell.notified().await;
        }
    }

    fn some(&self) -> Vec<(ByteString, Unsaved)> {
        let mut waiting = self.waiting.lock();
        let pids: Vec<ByteString> = waiting.sessions.keys().take(MOST_AT_A_TIME).cloned().collect();
        let some = pids.iter().filter_map(|pid| waiting.sessions.remove_entry(pid)).collect();
        if waiting.sessions.is_empty() && waiting.sessions.capacity() > MOST_AT_A_TIME {
            waiting.sessions.shrink_to_fit();
        }
        some
    }

    /// Puts back what could not be saved, behind what has been said since.
    pub(super) fn put_back(&self, unsaved: Vec<(ByteString, Unsaved)>) {
        let mut waiting = self.waiting.lock();
        for (pid, Unsaved { ended, told }) in unsaved {
            let newer = waiting.sessions.entry(pid).or_default();
            told.into_iter().filter(|told| !told.is_closed()).for_each(|told| newer.tell(told));
            newer.ended = newer.ended.take().or(ended);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    impl Queue {
        /// How many are kept who are to be told.
        pub(in crate::sessions) fn those_told(&self) -> usize {
            self.waiting.lock().sessions.values().map(|unsaved| unsaved.told.len()).sum()
        }
    }

    fn ended(text: &str) -> Ended {
        let until = Instant::now() + Duration::from_secs(60);
        Ended { holder: Holder::draw(), before: None, session: Some(text.into()), until }
    }

    fn pid(n: usize) -> ByteString {
        format!("pid-{n}").into()
    }

    /// Each of a client's joins asked to be told, and stayed in here for as long as Redis was away.
    #[test]
    fn those_who_have_given_up_waiting_take_no_room() {
        let queue = Queue::default();
        let waits = queue.changed(&pid(0));
        for _ in 0..10_000 {
            drop(queue.changed(&pid(0)));
            queue.put_back(queue.some());
        }
        let some = queue.some();
        assert_eq!(some.len(), 1);
        let told = &some[0].1.told;
        assert!(told.capacity() <= 8, "{} are kept", told.capacity());
        assert!(told.iter().any(|told| !told.is_closed()), "who still waits is still told");
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
        assert_eq!(queue.take_ended(&pid(3)).unwrap().session.as_deref(), Some("2"));
        // Of one that is to be saved because it lives there is nothing to give up.
        assert!(queue.give_up(&pid(4)) && !queue.give_up(&pid(4)) && !queue.give_up(&pid(9)));
        // What comes back does not push out what has been said since.
        let some = queue.some();
        assert_eq!(some.len(), 9, "nothing is left of the one that was given up");
        let taken = some[0].0.clone();
        queue.ended(&taken, ended("newer"));
        queue.put_back(some);
        assert_eq!(queue.take_ended(&taken).unwrap().session.as_deref(), Some("newer"));
    }
}
