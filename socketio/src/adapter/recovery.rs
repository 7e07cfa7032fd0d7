//! The adapter of one server alone, with recovery from its own memory.
//!
//! ```text
//! event ─▶ offset appended ─▶ kept (bounded) ─▶ delivered ┐ under one lock, so that no two sockets
//! reconnect ─▶ kept after the offset ─▶ socket in rooms   ┘ see two events in different orders
//! ```

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bytestring::ByteString;

use super::{Adapter, AdapterError, Admit, BoxFuture, Broadcast, Local, Restored, Session};
use crate::{EncodedPacket, Recovery, Selector, engine::Sid};

/// Serves one server alone. With [`Config::recovery`](crate::Config::recovery) it keeps the latest packets of each namespace in memory.
#[derive(Default)]
pub struct LocalAdapter {
    recovery: Option<Recovery>,
    stores: Mutex<HashMap<ByteString, Arc<Mutex<Store>>>>,
}

/// What one namespace keeps.
struct Store {
    /// Begins every offset: offsets of an earlier life of this server are no offsets.
    epoch: Sid,
    /// The number of the oldest packet held.
    first: u64,
    packets: VecDeque<Kept>,
    bytes: usize,
    sessions: HashMap<ByteString, Away>,
    /// When sessions are next looked through for old ones.
    sweep: Option<Instant>,
}

struct Kept {
    packet: EncodedPacket,
    to: Selector,
    at: Instant,
}

struct Away {
    session: Session,
    until: Instant,
}

impl LocalAdapter {
    /// An adapter that keeps packets for recovery, if wanted.
    pub fn new(recovery: Option<Recovery>) -> Self {
        Self { recovery, stores: Mutex::default() }
    }

    fn store(&self, nsp: &ByteString) -> Option<(&Recovery, Arc<Mutex<Store>>)> {
        let recovery = self.recovery.as_ref()?;
        let mut stores = self.stores.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(store) = stores.get(nsp) {
            return Some((recovery, store.clone()));
        }
        let store = Arc::new(Mutex::new(Store::new(Sid::random().ok()?)));
        stores.insert(nsp.clone(), store.clone());
        Some((recovery, store))
    }
}

fn lock(store: &Mutex<Store>) -> MutexGuard<'_, Store> {
    store.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Store {
    fn new(epoch: Sid) -> Self {
        Self { epoch, first: 0, packets: VecDeque::new(), bytes: 0, sessions: HashMap::new(), sweep: None }
    }

    /// Keeps a packet; what comes back is the one to send, with its offset.
    fn keep(&mut self, packet: &EncodedPacket, to: Selector, limits: &Recovery, now: Instant) -> EncodedPacket {
        let number = self.first + self.packets.len() as u64;
        let packet = packet.with_offset(&format!("{}.{number}", self.epoch));
        self.bytes += packet.size();
        self.packets.push_back(Kept { packet: packet.clone(), to, at: now });
        while let Some(oldest) = self.packets.front()
            && (self.packets.len() > limits.max_packets
                || self.bytes > limits.max_bytes
                || oldest.at + limits.max_disconnection < now)
        {
            self.bytes -= oldest.packet.size();
            self.packets.pop_front();
            self.first += 1;
        }
        packet
    }

    /// The place behind the packet with this offset, if all that came after it is still held.
    fn position(&self, offset: &str) -> Option<usize> {
        let (epoch, number) = offset.split_once('.')?;
        if epoch != self.epoch.as_str() {
            return None;
        }
        let next = number.parse::<u64>().ok()?.checked_add(1)?;
        let at = usize::try_from(next.checked_sub(self.first)?).ok()?;
        (at <= self.packets.len()).then_some(at)
    }

    /// What a session missed, if nothing of it is lost.
    fn missed(&self, session: &Session, offset: &str) -> Option<Vec<EncodedPacket>> {
        let at = self.position(offset)?;
        Some(
            self.packets
                .range(at..)
                .filter(|kept| kept.to.matches(&session.sid, &session.rooms))
                .map(|kept| kept.packet.clone())
                .collect(),
        )
    }

    fn forget_old(&mut self, keep: Duration, now: Instant) {
        if self.sweep.is_none_or(|at| at <= now) {
            self.sessions.retain(|_, away| away.until > now);
            self.sweep = Some(now + keep / 4);
        }
    }
}

impl Adapter for LocalAdapter {
    fn broadcast<'a>(&'a self, local: &'a Local, broadcast: Broadcast) -> BoxFuture<'a, Result<(), AdapterError>> {
        let Broadcast { packet, to, volatile, .. } = broadcast;
        match self.store(local.name()).filter(|_| !volatile) {
            Some((limits, store)) => {
                let mut store = lock(&store);
                let packet = store.keep(&packet, to.clone(), limits, Instant::now());
                local.deliver(&to, &packet, false);
            }
            None => {
                local.deliver(&to, &packet, volatile);
            }
        }
        Box::pin(std::future::ready(Ok(())))
    }

    fn send(&self, local: &Local, sid: &ByteString, packet: EncodedPacket, volatile: bool) -> bool {
        let wants_offset = !volatile && packet.packet().id.is_none();
        match self.store(local.name()).filter(|_| wants_offset) {
            Some((limits, store)) => {
                let mut store = lock(&store);
                let packet = store.keep(&packet, Selector::one(sid.clone()), limits, Instant::now());
                local.send(sid, &packet, false)
            }
            None => local.send(sid, &packet, volatile),
        }
    }

    fn persist_session(&self, local: &Local, session: Session, keep: Duration) {
        if let Some((_, store)) = self.store(local.name()) {
            let now = Instant::now();
            let mut store = lock(&store);
            store.forget_old(keep, now);
            store.sessions.insert(session.pid.clone(), Away { session, until: now + keep });
        }
    }

    fn restore_session<'a>(
        &'a self,
        local: &'a Local,
        pid: &'a str,
        offset: &'a str,
    ) -> BoxFuture<'a, Option<Restored>> {
        let restored = self.store(local.name()).and_then(|(_, store)| {
            let mut store = lock(&store);
            let away = store.sessions.remove(pid)?;
            if away.until <= Instant::now() {
                return None;
            }
            let missed = store.missed(&away.session, offset)?;
            // An offset was found, so there has been a packet, and this names the last.
            let last = store.first + store.packets.len() as u64 - 1;
            let offset = format!("{}.{last}", store.epoch);
            Some(Restored { session: away.session, offset, missed })
        });
        Box::pin(std::future::ready(restored))
    }

    fn resume(&self, local: &Local, restored: Restored, admit: Admit<'_>) {
        let Some((_, store)) = self.store(local.name()) else {
            return admit(restored.missed);
        };
        let store = lock(&store);
        // What has come while middlewares looked at the socket.
        let mut missed = restored.missed;
        match store.missed(&restored.session, &restored.offset) {
            Some(later) => missed.extend(later),
            None => log::warn!("a middleware took so long that events were dropped before the socket could be resumed"),
        }
        admit(missed);
    }
}

impl std::fmt::Debug for LocalAdapter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocalAdapter").field("recovery", &self.recovery).finish_non_exhaustive()
    }
}
