//! Sessions: what a client that was cut off comes back to, on whichever replica.
//!
//! ```text
//! begin, changed, ended ─▶ Queue ─▶ run: some at a time ─▶ SessionStore (Redis, for all replicas)
//! ended ─▶ SessionStore (memory)
//! a client with its secret ─▶ take ─▶ the socket of before, if it is still here, or the store
//! ```
//!
//! A session in a store that outlives this process is saved from its beginning and whenever it changes, and its time is
//! prolonged while its client is connected: it outlives the process by the time within which clients may come back. In
//! memory only those are kept whose clients have gone, from the moment at which they go. While the store is away the chat
//! goes on; what was not saved waits here, and everything is saved again when the store is back, since it may have lost what
//! it had.

mod ledger;
mod memory;
mod queue;
mod redis;
mod saving;
mod store;

use std::{
    collections::HashMap,
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, Instant},
};

use bytestring::ByteString;
use edge::settings::BusAddress;
use futures_util::FutureExt as _;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use socketio::{DisconnectReason, Socket};
use tokio::time::sleep;

pub(crate) use self::{ledger::Figures, redis::Unfit, store::Holder};
use self::{
    ledger::Ledger,
    memory::MemoryStore,
    queue::{Ended, Queue},
    redis::RedisStore,
    store::{Away, SessionStore},
};
use crate::member::{Member, Profile};

/// How long a client that comes back waits for a store that is away.
const STORE_WITHIN: Duration = Duration::from_secs(3);
/// The pause before something is tried again.
const PAUSE: Duration = Duration::from_millis(100);
/// Characters of the longest secret that is looked for; ours are 20.
const LONGEST_PID: usize = 64;

/// What is kept of a session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Kept {
    /// The socket's id.
    pub(crate) sid: ByteString,
    /// Whether its client was connected, as far as was known.
    is_live: bool,
    #[serde(flatten)]
    pub(crate) profile: Profile,
}

/// A session that a client has come back to, on its way to a new socket.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Taken {
    pub(crate) kept: Kept,
    holder: Holder,
    /// Who had it, where the store may not have been told.
    before: Option<Holder>,
    /// Milliseconds for which it is kept if it does not come to a new socket.
    left: u64,
    /// Whose socket may still be there, on another replica.
    #[serde(skip)]
    pub(crate) elsewhere: Option<Holder>,
}

/// See the module. Clones are one and the same.
#[derive(Clone)]
pub(crate) struct Sessions(Arc<Inner>);

struct Inner {
    keep: Duration,
    store: Box<dyn SessionStore>,
    live: Mutex<HashMap<ByteString, Live>>,
    queue: Queue,
    /// Of the sessions whose clients have gone.
    ledger: Mutex<Ledger>,
    is_away: AtomicBool,
}

/// A session whose client is connected here.
struct Live {
    socket: Socket,
    holder: Holder,
    before: Option<Holder>,
}

impl Sessions {
    /// Sessions that clients may come back to within `keep`, kept where the bus is. Those of clients that have gone take at most
    /// `max_bytes`, of this process and in Redis each.
    ///
    /// # Errors
    /// When the bus is a Redis whose URL is none, or `authorities` (PEM) are not certificates.
    pub(crate) fn open(
        bus: &BusAddress,
        authorities: Option<&[u8]>,
        keep: Duration,
        max_bytes: Option<usize>,
    ) -> Result<Self, Unfit> {
        let store: Box<dyn SessionStore> = match bus {
            BusAddress::Memory => Box::new(MemoryStore::default()),
            BusAddress::Redis(address) => Box::new(RedisStore::open(address.url(), authorities)?),
        };
        Ok(Self::on(store, keep, max_bytes))
    }

    /// Why sessions cannot be stored for now; `None` when they can.
    pub(crate) fn problem(&self) -> Option<String> {
        self.0.store.problem()
    }

    fn on(store: Box<dyn SessionStore>, keep: Duration, max_bytes: Option<usize>) -> Self {
        Self(Arc::new(Inner {
            keep,
            store,
            live: Mutex::default(),
            queue: Queue::default(),
            ledger: Mutex::new(Ledger::new(max_bytes)),
            is_away: AtomicBool::new(false),
        }))
    }

    /// A socket has entered the chat: with a new session, or with the one that it came back to.
    pub(crate) fn begin(&self, socket: &Socket, taken: Option<&Taken>) {
        let Some(pid) = socket.pid() else { return };
        let (holder, before) = taken.map_or_else(|| (Holder::draw(), None), |taken| (taken.holder, taken.before));
        self.0.live.lock().insert(pid.clone(), Live { socket: socket.clone(), holder, before });
        if self.0.store.outlives_us() {
            self.0.queue.mark([pid.clone()]);
        }
    }

    /// A socket has left the chat.
    pub(crate) fn ended(&self, socket: &Socket, member: &Member, reason: DisconnectReason) {
        let Some(pid) = socket.pid() else { return };
        let session = reason.is_recoverable().then(|| Kept::of(socket, member, false).text());
        let mut live = self.0.live.lock();
        // Its session may have gone on to another socket.
        if live.get(pid).is_none_or(|live| live.socket != *socket) {
            return;
        }
        let Some(Live { holder, before, .. }) = live.remove(pid) else { return };
        if live.capacity() > 64 && live.len() * 4 < live.capacity() {
            live.shrink_to_fit();
        }
        // Before anybody looks who finds it live no more.
        self.keep(pid, Ended { holder, before, session, until: Instant::now() + self.0.keep });
    }

    /// Keeps how a session ended, and drops those that have to go for it.
    fn keep(&self, pid: &ByteString, ended: Ended) {
        let now = Instant::now();
        let gone = {
            let mut ledger = self.0.ledger.lock();
            match &ended.session {
                Some(session) => ledger.add(pid, ended.holder, session.len(), ended.until, now),
                None => {
                    ledger.remove(pid);
                    Vec::new()
                }
            }
        };
        self.store_end(pid, ended);
        for (pid, holder) in gone {
            if !self.0.queue.give_up(&pid) {
                self.store_end(&pid, Ended { holder, before: None, session: None, until: now });
            }
        }
    }

    /// Stores how a session ended: at once where that can be, so that its client finds it in one place or the other.
    fn store_end(&self, pid: &ByteString, ended: Ended) {
        if self.0.store.outlives_us() {
            return self.0.queue.ended(pid, ended);
        }
        // A store in this process has done it when it answers.
        let _ = self.0.store.save(&[ended.save(pid.clone(), Instant::now())]).now_or_never();
    }

    /// What sessions of clients that have gone take.
    pub(crate) fn figures(&self) -> Figures {
        self.0.ledger.lock().figures()
    }

    /// Gets hold of the session with this secret. If its socket of before is still here, it ends.
    pub(crate) async fn take(&self, pid: &str) -> Option<Taken> {
        let is_pid = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if pid.is_empty() || pid.len() > LONGEST_PID || !pid.chars().all(is_pid) {
            return None;
        }
        let until = Instant::now() + STORE_WITHIN;
        loop {
            match self.take_now(pid).await {
                Ok(taken) => {
                    self.0.ledger.lock().remove(pid);
                    return taken;
                }
                Err(Away(why)) if Instant::now() >= until => {
                    log::info!("chat: a session was not found, since {why}");
                    return None;
                }
                Err(_) => sleep(PAUSE).await,
            }
        }
    }

    async fn take_now(&self, pid: &str) -> Result<Option<Taken>, Away> {
        let holder = Holder::draw();
        // In memory, what is here is newer than what is kept. Elsewhere the store decides who has it.
        if !self.0.store.outlives_us()
            && let Some(here) = self.end_here(pid, holder)
        {
            return Ok(Some(here));
        }
        match self.0.store.take(pid, holder).await {
            Ok(Some(found)) => {
                let here = self.end_here(pid, holder);
                // Of its own sessions a replica knows what has not been saved yet.
                let is_same = |here: &Taken| [here.elsewhere, here.before].contains(&Some(found.before));
                if let Some(here) = here.filter(is_same) {
                    return Ok(Some(Taken { before: None, elsewhere: None, ..here }));
                }
                let Ok(kept) = serde_json::from_str::<Kept>(&found.session) else { return Ok(None) };
                let elsewhere = kept.is_live.then_some(found.before);
                let left = u64::try_from(found.left.as_millis()).unwrap_or(u64::MAX);
                Ok(Some(Taken { kept, holder, before: None, left, elsewhere }))
            }
            // The store has lost it, or was never told.
            Ok(None) => Ok(self.end_here(pid, holder).map(|here| Taken { elsewhere: None, ..here })),
            Err(away) => match self.end_here(pid, holder) {
                Some(here) => Ok(Some(Taken { elsewhere: None, ..here })),
                None => Err(away),
            },
        }
    }

    /// The session as it is here, for another holder; its socket ends. `elsewhere` says who had it.
    fn end_here(&self, pid: &str, holder: Holder) -> Option<Taken> {
        let inner = &*self.0;
        let live = inner.live.lock().remove(pid);
        if let Some(Live { socket, holder: old, before }) = live {
            let kept = end(&socket)?;
            let left = u64::try_from(inner.keep.as_millis()).unwrap_or(u64::MAX);
            return Some(Taken { kept, holder, before: before.or(Some(old)), left, elsewhere: Some(old) });
        }
        let ended = inner.queue.take_ended(pid)?;
        let kept = serde_json::from_str(&ended.session?).ok()?;
        let left = ended.until.saturating_duration_since(Instant::now());
        let left = u64::try_from(left.as_millis()).ok().filter(|left| *left > 0)?;
        let before = ended.before.or(Some(ended.holder));
        Some(Taken { kept, holder, before, left, elsewhere: Some(ended.holder) })
    }

    /// The session was not let in: it stays for the time that it had left, so that refused tries do not prolong it.
    pub(crate) fn give_back(&self, pid: &ByteString, taken: &Taken) {
        let Taken { kept, holder, before, left, .. } = taken;
        let until = Instant::now() + Duration::from_millis(*left);
        let session = Some(Kept { is_live: false, ..kept.clone() }.text());
        self.keep(pid, Ended { holder: *holder, before: *before, session, until });
    }

    /// The session cannot be gone on with: nobody is to come back to it.
    pub(crate) fn forget(&self, pid: &ByteString, taken: &Taken) {
        let ended = Ended { holder: taken.holder, before: taken.before, session: None, until: Instant::now() };
        self.keep(pid, ended);
    }

    /// Another replica has the session now: the socket of `holder` ends.
    pub(crate) fn superseded(&self, pid: &str, holder: Holder) {
        let socket = {
            let mut live = self.0.live.lock();
            match live.get(pid) {
                Some(one) if one.holder == holder => live.remove(pid).map(|live| live.socket),
                _ => None,
            }
        };
        if let Some(socket) = socket {
            log::info!("chat: {} goes on elsewhere", socket.id());
            end(&socket);
        }
    }
}

/// Ends a socket whose session goes on with another; what there is of it.
fn end(socket: &Socket) -> Option<Kept> {
    let member = socket.get::<Member>();
    // First, so that nothing that it asks for changes the session any more. Its client, if it is there at all, is the one that
    // has come back: it is not told in a way after which it would stay away.
    socket.close_connection();
    Some(Kept::of(socket, &*member?, true))
}

impl Kept {
    fn of(socket: &Socket, member: &Member, is_live: bool) -> Self {
        Self { sid: socket.id().clone(), is_live, profile: member.profile() }
    }

    fn text(&self) -> Arc<str> {
        // Names and cursors cannot but serialize.
        serde_json::to_string(self).unwrap_or_default().into()
    }
}

#[cfg(test)]
mod tests;
