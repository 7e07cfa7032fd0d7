//! What has yet to be saved of sessions, and who waits for it.

use std::{collections::HashMap, sync::Arc, time::Instant};

use bytestring::ByteString;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use super::store::Holder;

/// Sessions of clients that are gone which wait to be saved, at most, as while the store is away.
const MOST_ENDED: usize = 100_000;
/// Sessions that are saved at a time.
pub(super) const MOST_AT_A_TIME: usize = 128;

/// See the module.
#[derive(Default)]
pub(super) struct Queue {
    waiting: Mutex<HashMap<ByteString, Unsaved>>,
    bell: Notify,
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

impl Queue {
    /// The session has changed. What comes back is told when it has been saved.
    pub(super) fn changed(&self, pid: &ByteString) -> oneshot::Receiver<()> {
        let (tx, rx) = oneshot::channel();
        self.waiting.lock().entry(pid.clone()).or_default().told.push(tx);
        self.bell.notify_one();
        rx
    }

    /// The same, with nobody waiting for it.
    pub(super) fn mark(&self, pids: impl IntoIterator<Item = ByteString>) {
        let mut waiting = self.waiting.lock();
        for pid in pids {
            waiting.entry(pid).or_default();
        }
        drop(waiting);
        self.bell.notify_one();
    }

    /// The session has lost its client.
    pub(super) fn ended(&self, pid: &ByteString, ended: Ended) {
        let mut waiting = self.waiting.lock();
        if waiting.len() >= MOST_ENDED {
            log::warn!("too many sessions wait to be saved: one is given up");
            return;
        }
        waiting.entry(pid.clone()).or_default().ended = Some(ended);
        drop(waiting);
        self.bell.notify_one();
    }

    /// Takes back how a session ended, for a client that has come again.
    pub(super) fn take_ended(&self, pid: &str) -> Option<Ended> {
        self.waiting.lock().get_mut(pid)?.ended.take()
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
        let pids: Vec<ByteString> = waiting.keys().take(MOST_AT_A_TIME).cloned().collect();
        let some = pids.into_iter().filter_map(|pid| waiting.remove_entry(&pid)).collect();
        if waiting.is_empty() && waiting.capacity() > MOST_AT_A_TIME {
            waiting.shrink_to_fit();
        }
        some
    }

    /// Puts back what could not be saved, behind what has been said since.
    pub(super) fn put_back(&self, unsaved: Vec<(ByteString, Unsaved)>) {
        let mut waiting = self.waiting.lock();
        for (pid, Unsaved { ended, told }) in unsaved {
            let newer = waiting.entry(pid).or_default();
            newer.told.extend(told);
            newer.ended = newer.ended.take().or(ended);
        }
    }
}
