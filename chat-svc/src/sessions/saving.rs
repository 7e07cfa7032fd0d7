//! Saves sessions in the store: immediately when they change, and periodically while their clients are connected.

use std::{
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant},
};

use bytestring::ByteString;
use socketio::Socket;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::{
    Live, PAUSE, SessionRecord, Sessions,
    queue::{MAX_SAVES_PER_CALL, Unsaved},
    store::{Save, SaveOutcome, StoreUnavailable},
};
use crate::member::Member;

/// How often the expiry of sessions of connected clients is extended.
const REFRESH: Duration = Duration::from_secs(15);
/// How often expired sessions in memory are removed.
const SWEEP: Duration = Duration::from_secs(5);
/// How long an ack waits until its change has been saved.
const SAVED_WITHIN: Duration = Duration::from_millis(500);

impl Sessions {
    /// A session has changed; nobody waits for the save.
    pub(crate) fn changed(&self, socket: &Socket) {
        if let Some(pid) = socket.pid().filter(|_| self.0.store.outlives_us()) {
            self.0.queue.mark([pid.clone()]);
        }
    }

    /// The same, and waits until it has been saved, or cannot be saved for now.
    pub(crate) async fn saved(&self, socket: &Socket) {
        if let Some(pid) = socket.pid() {
            self.saved_as(pid).await;
        }
    }

    pub(super) async fn saved_as(&self, pid: &ByteString) {
        if !self.0.store.outlives_us() {
            return;
        }
        if self.0.is_store_unavailable.load(Relaxed) {
            return self.0.queue.mark([pid.clone()]);
        }
        // A timeout is not the client's error: the change has been made, and is saved when possible.
        let _ = timeout(SAVED_WITHIN, self.0.queue.changed(pid)).await;
    }

    /// Saves changes and removes expired sessions, for as long as the process runs.
    pub(crate) async fn run(self) {
        let period = if self.0.store.outlives_us() { REFRESH } else { SWEEP };
        let mut tick = interval(period);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                _ = tick.tick() => {
                    self.sweep(Instant::now()).await;
                    if self.0.store.outlives_us() {
                        self.refresh().await;
                    }
                }
                unsaved = self.0.queue.next() => self.save(unsaved).await,
            }
        }
    }

    /// Frees the memory of expired sessions.
    async fn sweep(&self, now: Instant) {
        self.0.ledger.lock().expire(now);
        self.0.store.sweep().await;
    }

    async fn save(&self, mut unsaved: Vec<(ByteString, Unsaved)>) {
        let now = Instant::now();
        let saves: Vec<Save> = unsaved.iter().filter_map(|(pid, unsaved)| self.to_save(pid, unsaved, now)).collect();
        if saves.is_empty() {
            return;
        }
        match self.0.store.save(&saves).await {
            Ok(outcomes) => {
                self.apply_outcomes(&saves, &outcomes);
                for (_, unsaved) in &mut unsaved {
                    for waiter in unsaved.waiters.drain(..) {
                        // The receiver may have given up.
                        let _ = waiter.send(());
                    }
                }
            }
            Err(error) => {
                self.0.queue.put_back(unsaved);
                self.report_unavailable(&error);
                sleep(PAUSE).await;
            }
        }
    }

    /// The state of a session to save now.
    fn to_save(&self, pid: &ByteString, unsaved: &Unsaved, now: Instant) -> Option<Save> {
        let pid = pid.clone();
        let live = {
            let live = self.0.live.lock();
            live.get(&*pid).map(|live| (live.socket.clone(), live.holder, live.before))
        };
        // If the session is connected, an unsaved end belongs to an earlier socket.
        let Some((socket, holder, before)) = live else {
            return Some(unsaved.ended.clone()?.save(pid, now));
        };
        let session = Some(SessionRecord::of(&socket, &*socket.get::<Member>()?, true).text());
        Some(Save { pid, holder, before, session, keep: self.0.keep + REFRESH, is_live: true })
    }

    /// Extends the expiry of the sessions of connected clients.
    async fn refresh(&self) {
        let all: Vec<Save> = {
            let live = self.0.live.lock();
            let touch = |live: &Live| {
                let Live { socket, holder, before } = live;
                let pid = socket.pid()?.clone();
                let keep = self.0.keep + REFRESH;
                Some(Save { pid, holder: *holder, before: *before, session: None, keep, is_live: true })
            };
            live.iter().filter_map(touch).collect()
        };
        for some in all.chunks(MAX_SAVES_PER_CALL) {
            match self.0.store.save(some).await {
                Ok(outcomes) => self.apply_outcomes(some, &outcomes),
                Err(error) => return self.report_unavailable(&error),
            }
        }
    }

    fn apply_outcomes(&self, saves: &[Save], outcomes: &[SaveOutcome]) {
        if self.0.is_store_unavailable.swap(false, Relaxed) {
            log::info!("chat: sessions are saved again");
            // The store may have lost some of its data.
            let all: Vec<ByteString> =
                self.0.live.lock().iter().filter_map(|live| live.socket.pid().cloned()).collect();
            self.0.queue.mark(all);
        }
        for (save, outcome) in saves.iter().zip(outcomes) {
            match outcome {
                SaveOutcome::Saved if save.session.is_some() => {
                    let mut live = self.0.live.lock();
                    if live.get(&*save.pid).is_some_and(|live| live.holder == save.holder)
                        && let Some(one) = live.take(&*save.pid)
                    {
                        live.insert(Live { before: None, ..one });
                    }
                }
                SaveOutcome::Saved => {}
                SaveOutcome::Missing => self.0.queue.mark([save.pid.clone()]),
                SaveOutcome::TakenOver => self.superseded(&save.pid, save.holder),
            }
        }
    }

    fn report_unavailable(&self, error: &StoreUnavailable) {
        if !self.0.is_store_unavailable.swap(true, Relaxed) {
            log::warn!("{error}; the chat continues and saves them later");
        }
    }
}
