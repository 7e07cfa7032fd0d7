//! Sessions, which a disconnected client can resume on any replica.
//!
//! ```text
//! begin, changed, ended ─▶ Queue ─▶ run: some at a time ─▶ SessionStore (Redis, for all replicas; the log on disk, for this process)
//! ended ─▶ SessionStore (memory)
//! a client with its secret ─▶ acquire ─▶ the previous socket, if it is still here, or the store
//! ```
//!
//! A write-behind cache of the session store: with a store that outlives this process, a session is saved from its beginning and whenever
//! it changes, and its expiry is extended while its client is connected. Each session has one holder at a time, which has its lease. A
//! session therefore outlives the process by the time within which clients may reconnect. The store in memory contains only sessions of
//! disconnected clients, from the moment they disconnect. While the store is unavailable, the chat continues. Unsaved changes wait here,
//! and when the store is available again everything is saved again, since it may have lost data.

mod disk;
mod ledger;
mod memory;
mod queue;
mod redis;
mod saving;
mod store;

use std::{
    borrow::Borrow,
    collections::HashSet,
    hash::{Hash, Hasher},
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, Instant},
};

use bytestring::ByteString;
use edge::{
    aged::{Owner, Owners},
    settings::BusAddress,
};
use futures_util::FutureExt as _;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use shared::live::bus::Bus;
use socketio::{DisconnectReason, Socket};
use tokio::time::sleep;

use self::{
    disk::DiskStore,
    ledger::Ledger,
    memory::MemoryStore,
    queue::{EndedSession, Queue},
    redis::RedisStore,
    store::{SessionStore, StoreUnavailable},
};
pub(crate) use self::{ledger::Figures, redis::InvalidRedisConfig, store::Holder};
use crate::member::{Member, Profile};

/// How long a reconnecting client waits for a store that is unavailable.
const STORE_WITHIN: Duration = Duration::from_secs(3);
/// The pause before a retry.
const PAUSE: Duration = Duration::from_millis(100);
/// Maximum number of characters of a client's secret; the server's own have 20.
const MAX_PID_CHARS: usize = 64;

/// The stored data of a session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SessionRecord {
    /// The socket's id.
    pub(crate) sid: ByteString,
    /// Whether its client was connected when it was saved.
    is_live: bool,
    #[serde(flatten)]
    pub(crate) profile: Profile,
}

/// A session that a client is resuming, before the new socket has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ResumedSession {
    pub(crate) kept: SessionRecord,
    holder: Holder,
    /// The previous holder, if the store may not know it yet.
    before: Option<Holder>,
    /// The remaining lifetime in milliseconds, if no new socket takes it.
    left: u64,
    /// Whose it is, if this process knows.
    owner: Option<Owner>,
    /// The previous holder, if its socket may still exist on another replica.
    #[serde(skip)]
    pub(crate) elsewhere: Option<Holder>,
}

/// See the module. Clones are one and the same.
#[derive(Clone)]
pub(crate) struct Sessions(Arc<Inner>);

struct Inner {
    keep: Duration,
    store: Box<dyn SessionStore>,
    live: Mutex<HashSet<Live>>,
    queue: Queue,
    /// The sessions of disconnected clients.
    ledger: Mutex<Ledger>,
    owners: Owners,
    is_store_unavailable: AtomicBool,
}

/// A session whose client is connected here, found by its id, which is that of its socket.
struct Live {
    socket: Socket,
    holder: Holder,
    before: Option<Holder>,
}

impl Live {
    fn pid(&self) -> &str {
        self.socket.pid().map_or("", |pid| pid)
    }
}

impl Borrow<str> for Live {
    fn borrow(&self) -> &str {
        self.pid()
    }
}

impl Hash for Live {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.pid().hash(state);
    }
}

impl PartialEq for Live {
    fn eq(&self, other: &Self) -> bool {
        self.pid() == other.pid()
    }
}

impl Eq for Live {}

impl Sessions {
    /// Sessions that clients may resume within `keep`, stored where `bus` is, at `address`. Those of disconnected clients take at most `max_bytes` in
    /// this process, and at most as much in Redis.
    ///
    /// # Errors
    /// When the bus is a Redis with an invalid URL, or `authorities` (PEM) contains no certificates.
    pub(crate) fn open(
        address: &BusAddress,
        bus: &Arc<dyn Bus>,
        authorities: Option<&[u8]>,
        keep: Duration,
        max_bytes: Option<usize>,
    ) -> Result<Self, InvalidRedisConfig> {
        let store: Box<dyn SessionStore> = match address {
            BusAddress::Memory => Box::new(MemoryStore::default()),
            BusAddress::File(_) => Box::new(DiskStore::open(bus.clone(), keep)),
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
            owners: Owners::default(),
            is_store_unavailable: AtomicBool::new(false),
        }))
    }

    /// A socket has connected to the chat: with a new session, or with the one that it resumed.
    pub(crate) fn begin(&self, socket: &Socket, taken: Option<&ResumedSession>) {
        let Some(pid) = socket.pid() else { return };
        let (holder, before) = taken.map_or_else(|| (Holder::draw(), None), |taken| (taken.holder, taken.before));
        self.0.live.lock().replace(Live { socket: socket.clone(), holder, before });
        if self.0.store.outlives_us() {
            self.0.queue.mark([pid.clone()]);
        }
    }

    /// A socket has disconnected from the chat.
    pub(crate) fn ended(&self, socket: &Socket, member: &Member, reason: DisconnectReason) {
        let Some(pid) = socket.pid() else { return };
        let session = reason.is_recoverable().then(|| SessionRecord::of(socket, member, false).text());
        let mut live = self.0.live.lock();
        // Its session may belong to another socket already.
        if live.get(&**pid).is_none_or(|live| live.socket != *socket) {
            return;
        }
        let Some(Live { holder, before, .. }) = live.take(&**pid) else { return };
        if live.capacity() > 64 && live.len() * 4 < live.capacity() {
            live.shrink_to_fit();
        }
        // Under the lock, before anyone can find that it is not live any more.
        let owner = self.0.owner(member);
        self.keep(pid, Some(owner), EndedSession { holder, before, session, until: Instant::now() + self.0.keep });
    }

    /// Stores the end of a session of the client `owner`, and evicts others to make space.
    fn keep(&self, pid: &ByteString, owner: Option<Owner>, ended: EndedSession) {
        let now = Instant::now();
        let gone = {
            let mut ledger = self.0.ledger.lock();
            match &ended.session {
                Some(session) => ledger.add(pid, (ended.holder, owner), session.len(), ended.until, now),
                None => {
                    ledger.remove(pid);
                    Vec::new()
                }
            }
        };
        self.store_end(pid, ended);
        for (pid, holder) in gone {
            if !self.0.queue.give_up(&pid) {
                self.store_end(&pid, EndedSession { holder, before: None, session: None, until: now });
            }
        }
    }

    /// Stores the end of a session: immediately if possible, so that its client finds it either here or in the store.
    fn store_end(&self, pid: &ByteString, ended: EndedSession) {
        if self.0.store.outlives_us() {
            return self.0.queue.ended(pid, ended);
        }
        // A store in this process has completed the save when it returns.
        let _ = self.0.store.save(&[ended.save(pid.clone(), Instant::now())]).now_or_never();
    }

    /// The memory of sessions of disconnected clients.
    pub(crate) fn figures(&self) -> Figures {
        self.0.ledger.lock().figures()
    }

    /// Takes over the session with this secret. If its previous socket is still here, it ends.
    pub(crate) async fn acquire(&self, pid: &str) -> Option<ResumedSession> {
        let is_pid = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if pid.is_empty() || pid.len() > MAX_PID_CHARS || !pid.chars().all(is_pid) {
            return None;
        }
        let until = Instant::now() + STORE_WITHIN;
        loop {
            match self.acquire_now(pid).await {
                Ok(taken) => {
                    let owner = self.0.ledger.lock().remove(pid);
                    return taken.map(|taken| ResumedSession { owner: taken.owner.or(owner), ..taken });
                }
                Err(StoreUnavailable(why)) if Instant::now() >= until => {
                    log::info!("chat: a session was not found: {why}");
                    return None;
                }
                Err(_) => sleep(PAUSE).await,
            }
        }
    }

    async fn acquire_now(&self, pid: &str) -> Result<Option<ResumedSession>, StoreUnavailable> {
        let holder = Holder::draw();
        // In memory, the live session is newer than a stored one. Otherwise the store decides who holds it.
        if !self.0.store.outlives_us()
            && let Some(here) = self.end_here(pid, holder)
        {
            return Ok(Some(here));
        }
        match self.0.store.acquire(pid, holder).await {
            Ok(Some(found)) => {
                let here = self.end_here(pid, holder);
                // A replica knows changes of its own sessions that have not been saved yet.
                let is_same = |here: &ResumedSession| [here.elsewhere, here.before].contains(&Some(found.before));
                if let Some(here) = here.filter(is_same) {
                    return Ok(Some(ResumedSession { before: None, elsewhere: None, ..here }));
                }
                let Ok(kept) = serde_json::from_str::<SessionRecord>(&found.session) else { return Ok(None) };
                let elsewhere = kept.is_live.then_some(found.before);
                let left = u64::try_from(found.left.as_millis()).unwrap_or(u64::MAX);
                Ok(Some(ResumedSession { kept, holder, before: None, left, owner: None, elsewhere }))
            }
            // The store has lost it, or never had it.
            Ok(None) => Ok(self.end_here(pid, holder).map(|here| ResumedSession { elsewhere: None, ..here })),
            Err(unavailable) => match self.end_here(pid, holder) {
                Some(here) => Ok(Some(ResumedSession { elsewhere: None, ..here })),
                None => Err(unavailable),
            },
        }
    }

    /// The session on this replica, for another holder; its socket ends. `elsewhere` is the previous holder.
    fn end_here(&self, pid: &str, holder: Holder) -> Option<ResumedSession> {
        let inner = &*self.0;
        let live = inner.live.lock().take(pid);
        if let Some(Live { socket, holder: old, before }) = live {
            let owner = socket.get::<Member>().map(|member| inner.owner(&member));
            let (kept, before) = (end(&socket)?, before.or(Some(old)));
            let left = u64::try_from(inner.keep.as_millis()).unwrap_or(u64::MAX);
            return Some(ResumedSession { kept, holder, before, left, owner, elsewhere: Some(old) });
        }
        let ended = inner.queue.cancel_end(pid)?;
        let kept = serde_json::from_str(&ended.session?).ok()?;
        let left = ended.until.saturating_duration_since(Instant::now());
        let left = u64::try_from(left.as_millis()).ok().filter(|left| *left > 0)?;
        let before = ended.before.or(Some(ended.holder));
        Some(ResumedSession { kept, holder, before, left, owner: None, elsewhere: Some(ended.holder) })
    }

    /// The socket was not admitted: the session keeps its remaining lifetime, so that rejected attempts do not extend it.
    pub(crate) fn give_back(&self, pid: &ByteString, taken: &ResumedSession) {
        let ResumedSession { kept, holder, before, left, .. } = taken;
        let until = Instant::now() + Duration::from_millis(*left);
        let session = Some(SessionRecord { is_live: false, ..kept.clone() }.text());
        self.keep(pid, taken.owner, EndedSession { holder: *holder, before: *before, session, until });
    }

    /// The session cannot be continued and must not be resumed.
    pub(crate) fn forget(&self, pid: &ByteString, taken: &ResumedSession) {
        let ended = EndedSession { holder: taken.holder, before: taken.before, session: None, until: Instant::now() };
        self.keep(pid, None, ended);
    }

    /// Another replica holds the session now: the socket of `holder` ends.
    pub(crate) fn superseded(&self, pid: &str, holder: Holder) {
        let socket = {
            let mut live = self.0.live.lock();
            match live.get(pid) {
                Some(one) if one.holder == holder => live.take(pid).map(|live| live.socket),
                _ => None,
            }
        };
        if let Some(socket) = socket {
            log::info!("chat: {} continues on another replica", socket.id());
            end(&socket);
        }
    }
}

impl Inner {
    /// The client whose session this is.
    fn owner(&self, member: &Member) -> Owner {
        self.owners.of(&member.access.identity())
    }
}

/// Ends a socket whose session continues with another; returns its session.
fn end(socket: &Socket) -> Option<SessionRecord> {
    let member = socket.get::<Member>();
    // First, so that none of its requests changes the session any more. Its client, if still connected, is the one that reconnected: it
    // must not get a reason after which it would not reconnect.
    socket.close_connection();
    Some(SessionRecord::of(socket, &*member?, true))
}

impl SessionRecord {
    fn of(socket: &Socket, member: &Member, is_live: bool) -> Self {
        Self { sid: socket.id().clone(), is_live, profile: member.profile() }
    }

    fn text(&self) -> Arc<str> {
        // Names and cursors always serialize.
        serde_json::to_string(self).unwrap_or_default().into()
    }
}

#[cfg(test)]
mod tests;
