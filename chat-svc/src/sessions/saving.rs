//! Sessions on their way to the store: at once when they change, and again and again while their clients are connected.

use std::{
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant},
};

use bytestring::ByteString;
use socketio::Socket;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::{
    Kept, Live, PAUSE, Sessions,
    queue::{MOST_AT_A_TIME, Unsaved},
    store::{Away, Held, Save},
};
use crate::member::Member;

/// How often the time of sessions whose clients are connected is prolonged.
const REFRESH: Duration = Duration::from_secs(15);
/// How often sessions in memory are looked through for old ones.
const SWEEP: Duration = Duration::from_secs(5);
/// How long an ack waits for what it says to be saved.
const SAVED_WITHIN: Duration = Duration::from_millis(500);

impl Sessions {
    /// Something that a session keeps has changed; nobody waits for it.
    pub(crate) fn changed(&self, socket: &Socket) {
        if let Some(pid) = socket.pid().filter(|_| self.0.store.outlives_us()) {
            self.0.queue.mark([pid.clone()]);
        }
    }

    /// The same, until it has been saved, or cannot be for now.
    pub(crate) async fn saved(&self, socket: &Socket) {
        if let Some(pid) = socket.pid() {
            self.saved_as(pid).await;
        }
    }

    pub(super) async fn saved_as(&self, pid: &ByteString) {
        if !self.0.store.outlives_us() {
            return;
        }
        if self.0.is_away.load(Relaxed) {
            return self.0.queue.mark([pid.clone()]);
        }
        // Too late is no fault of the client's: the change has been made, and is saved when that can be done.
        let _ = timeout(SAVED_WITHIN, self.0.queue.changed(pid)).await;
    }

    /// Saves what has changed and frees what is too old, for as long as the process lives.
    pub(crate) async fn run(self) {
        let period = if self.0.store.outlives_us() { REFRESH } else { SWEEP };
        let mut tick = interval(period);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                _ = tick.tick() => {
                    self.sweep(Instant::now());
                    if self.0.store.outlives_us() {
                        self.refresh().await;
                    }
                }
                unsaved = self.0.queue.next() => self.save(unsaved).await,
            }
        }
    }

    /// Frees what is kept of sessions whose time is over.
    fn sweep(&self, now: Instant) {
        self.0.ledger.lock().expire(now);
        self.0.store.sweep();
    }

    async fn save(&self, mut unsaved: Vec<(ByteString, Unsaved)>) {
        let now = Instant::now();
        let saves: Vec<Save> = unsaved.iter().filter_map(|(pid, unsaved)| self.what(pid, unsaved, now)).collect();
        if saves.is_empty() {
            return;
        }
        match self.0.store.save(&saves).await {
            Ok(held) => {
                self.heard(&saves, &held);
                for (_, unsaved) in &mut unsaved {
                    for told in unsaved.told.drain(..) {
                        // Nobody may be waiting any more.
                        let _ = told.send(());
                    }
                }
            }
            Err(error) => {
                self.0.queue.put_back(unsaved);
                self.away(&error);
                sleep(PAUSE).await;
            }
        }
    }

    /// What of a session is to be saved, at this moment.
    fn what(&self, pid: &ByteString, unsaved: &Unsaved, now: Instant) -> Option<Save> {
        let pid = pid.clone();
        let live = {
            let live = self.0.live.lock();
            live.get(&pid).map(|live| (live.socket.clone(), live.holder, live.before))
        };
        // Of one that is connected, an end that is still to be saved is that of an earlier socket.
        let Some((socket, holder, before)) = live else {
            return Some(unsaved.ended.clone()?.save(pid, now));
        };
        let session = Some(Kept::of(&socket, &*socket.get::<Member>()?, true).text());
        Some(Save { pid, holder, before, session, keep: self.0.keep + REFRESH })
    }

    /// Prolongs the time of the sessions whose clients are connected.
    async fn refresh(&self) {
        let all: Vec<Save> = {
            let live = self.0.live.lock();
            let touch = |(pid, live): (&ByteString, &Live)| Save {
                pid: pid.clone(),
                holder: live.holder,
                before: live.before,
                session: None,
                keep: self.0.keep + REFRESH,
            };
            live.iter().map(touch).collect()
        };
        for some in all.chunks(MOST_AT_A_TIME) {
            match self.0.store.save(some).await {
                Ok(held) => self.heard(some, &held),
                Err(error) => return self.away(&error),
            }
        }
    }

    fn heard(&self, saves: &[Save], held: &[Held]) {
        if self.0.is_away.swap(false, Relaxed) {
            log::info!("chat: sessions are saved again");
            // It may have come back with less than it had.
            let all: Vec<ByteString> = self.0.live.lock().keys().cloned().collect();
            self.0.queue.mark(all);
        }
        for (save, held) in saves.iter().zip(held) {
            match held {
                Held::Yes if save.session.is_some() => {
                    if let Some(live) = self.0.live.lock().get_mut(&save.pid).filter(|live| live.holder == save.holder)
                    {
                        live.before = None;
                    }
                }
                Held::Yes => {}
                Held::Missing => self.0.queue.mark([save.pid.clone()]),
                Held::Lost => self.superseded(&save.pid, save.holder),
            }
        }
    }

    fn away(&self, error: &Away) {
        if !self.0.is_away.swap(true, Relaxed) {
            log::warn!("{error}; the chat goes on, and saves them later");
        }
    }
}
