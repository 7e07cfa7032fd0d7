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

/// Sessions of clients that are gone which wait to be saved, at most, as while the store is away. Those of clients that are
/// here are as many as there are clients.
const MOST_ENDED: usize = 100_000;
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
    /// How many of them have [ended](Unsaved::ended).
    ended: usize,
    /// Whether ends have been given up since there was room last.
    is_full: bool,
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

impl Waiting {
    /// Sets how a session ended, unless too many wait already: then nothing of it is saved any more.
    fn end(&mut self, pid: ByteString, ended: Ended) {
        if let Some(before) = self.sessions.get_mut(&pid).and_then(|unsaved| unsaved.ended.as_mut()) {
            *before = ended;
        } else if self.ended < MOST_ENDED {
            self.sessions.entry(pid).or_default().ended = Some(ended);
            self.ended += 1;
        } else {
            self.sessions.remove(&pid);
            if !std::mem::replace(&mut self.is_full, true) {
                log::warn!("chat: {MOST_ENDED} sessions wait to be saved: those that end now are given up");
            }
        }
    }

    /// Takes back how a session ended.
    fn take_ended(&mut self, pid: &str) -> Option<Ended> {
        let ended = self.sessions.get_mut(pid)?.ended.take()?;
        self.less_ended();
        Some(ended)
    }

    fn remove(&mut self, pid: &ByteString) -> Option<(ByteString, Unsaved)> {
        let removed = self.sessions.remove_entry(pid)?;
        if removed.1.ended.is_some() {
            self.less_ended();
        }
        Some(removed)
    }

    fn less_ended(&mut self) {
        self.ended -= 1;
        self.is_full = false;
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
        self.waiting.lock().end(pid.clone(), ended);
        self.bell.notify_one();
    }

    /// Takes back how a session ended, for a client that has come again.
    pub(super) fn take_ended(&self, pid: &str) -> Option<Ended> {
        self.waiting.lock().take_ended(pid)
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
        let some = pids.iter().filter_map(|pid| waiting.remove(pid)).collect();
        if waiting.sessions.is_empty() && waiting.sessions.capacity() > MOST_AT_A_TIME {
            waiting.sessions.shrink_to_fit();
        }
        some
    }

    /// Puts back what could not be saved, behind what has been said since.
    pub(super) fn put_back(&self, unsaved: Vec<(ByteString, Unsaved)>) {
        let mut waiting = self.waiting.lock();
        for (pid, Unsaved { ended, told }) in unsaved {
            let newer = waiting.sessions.entry(pid.clone()).or_default();
            told.into_iter().filter(|told| !told.is_closed()).for_each(|told| newer.tell(told));
            if let (None, Some(ended)) = (&newer.ended, ended) {
                waiting.end(pid, ended);
            }
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
    fn ends_are_bounded_and_those_that_wait_may_change() {
        let queue = Queue::default();
        queue.mark((0..10).map(pid));
        for n in 0..MOST_ENDED {
            queue.ended(&pid(n), ended("1"));
        }
        // One of which it is to be saved that it lives, and one that is known to have ended.
        queue.mark([pid(MOST_ENDED)]);
        queue.ended(&pid(MOST_ENDED), ended("too many"));
        queue.ended(&pid(7), ended("2"));
        assert_eq!(queue.waiting.lock().sessions.len(), MOST_ENDED, "nothing is left of the one that was given up");
        assert!(queue.take_ended(&pid(MOST_ENDED)).is_none());
        assert_eq!(queue.take_ended(&pid(7)).unwrap().session.as_deref(), Some("2"));
        // Now there is room for one again, and what comes back does not push out what has been said since.
        let some = queue.some();
        let ends = some.iter().filter(|(_, unsaved)| unsaved.ended.is_some()).count();
        assert_eq!(queue.waiting.lock().ended, MOST_ENDED - 1 - ends);
        let taken = some[0].0.clone();
        queue.ended(&taken, ended("newer"));
        queue.put_back(some);
        assert_eq!(queue.take_ended(&taken).unwrap().session.as_deref(), Some("newer"));
        let counted = queue.waiting.lock().sessions.values().filter(|unsaved| unsaved.ended.is_some()).count();
        assert_eq!(queue.waiting.lock().ended, counted);
    }
}
