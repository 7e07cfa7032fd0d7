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
use crate::{DisconnectReason, EncodedPacket, Recovery, Selector, Socket, engine::Sid};

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
    /// The number of the oldest packet held. The first of all is 1, so that 0 is an offset before it.
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

/// Ends the socket whose session this is, if it is here: a client that comes back, as to another network, may be faster than the
/// news that its old connection is dead. Its end keeps the session.
fn take_over(local: &Local, pid: &str) {
    let is_its = |socket: &Socket| socket.pid().is_some_and(|its| its == pid);
    if let Some(old) = local.handles(&Selector::default()).into_iter().find(is_its) {
        let connection = old.connection().clone();
        old.end(DisconnectReason::TransportClose);
        connection.finish(DisconnectReason::TransportClose);
    }
}

fn lock(store: &Mutex<Store>) -> MutexGuard<'_, Store> {
    store.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Store {
    fn new(epoch: Sid) -> Self {
        Self { epoch, first: 1, packets: VecDeque::new(), bytes: 0, sessions: HashMap::new(), sweep: None }
    }

    /// Keeps a packet; what comes back is the one to send, with its offset.
    fn keep(&mut self, packet: &EncodedPacket, to: Selector, limits: &Recovery, now: Instant) -> EncodedPacket {
        let number = self.first + self.packets.len() as u64;
        let packet = packet.with_offset(&self.offset(number));
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

    fn offset(&self, number: u64) -> String {
        format!("{}.{number}", self.epoch)
    }

    /// The offset of the latest packet.
    fn latest(&self) -> String {
        self.offset(self.first + self.packets.len() as u64 - 1)
    }

    /// A packet that is not kept. Clients take any string at the end of an event for an offset, so one that ends in a string
    /// gets the offset of the latest packet, which is right: whoever sees this one has seen that one.
    fn guard(&self, packet: EncodedPacket) -> EncodedPacket {
        if packet.ends_in_string() { packet.with_offset(&self.latest()) } else { packet }
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
        match self.store(local.name()) {
            Some((limits, store)) => {
                let mut store = lock(&store);
                let packet = if volatile {
                    store.guard(packet)
                } else {
                    store.keep(&packet, to.clone(), limits, Instant::now())
                };
                local.deliver(&to, &packet, volatile);
            }
            None => {
                local.deliver(&to, &packet, volatile);
            }
        }
        Box::pin(std::future::ready(Ok(())))
    }

    fn send(&self, local: &Local, sid: &ByteString, packet: EncodedPacket, volatile: bool) -> bool {
        match self.store(local.name()) {
            Some((limits, store)) => {
                let mut store = lock(&store);
                let packet = if volatile {
                    store.guard(packet)
                } else {
                    store.keep(&packet, Selector::one(sid.clone()), limits, Instant::now())
                };
                local.send(sid, &packet, volatile)
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
            let is_away = {
                let store = lock(&store);
                // Whoever brings an offset that says nothing here is not looked for among those who are.
                store.position(offset)?;
                store.sessions.contains_key(pid)
            };
            if !is_away {
                take_over(local, pid);
            }
            let mut store = lock(&store);
            let away = store.sessions.remove(pid)?;
            if away.until <= Instant::now() {
                return None;
            }
            let missed = store.missed(&away.session, offset)?;
            let offset = store.latest();
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SocketData;

    fn packet(args: &impl serde::Serialize) -> EncodedPacket {
        EncodedPacket::event("/", "e", args).unwrap()
    }

    fn session(rooms: &[&str]) -> Session {
        Session {
            sid: "me".into(),
            pid: "secret".into(),
            rooms: rooms.iter().map(|room| (*room).into()).collect(),
            data: SocketData::default(),
        }
    }

    fn to(room: &str) -> Selector {
        Selector { rooms: vec![room.into()], except: vec![] }
    }

    fn json(packet: &EncodedPacket) -> String {
        packet.packet().payload.as_ref().unwrap().json().to_string()
    }

    #[test]
    fn missed_is_what_came_after_to_the_rooms() {
        let mut store = Store::new(Sid::random().unwrap());
        let (limits, now) = (Recovery::default(), Instant::now());
        let before = store.latest();
        let one = store.keep(&packet(&1), to("a"), &limits, now);
        let _ = store.keep(&packet(&2), to("b"), &limits, now);
        let three = store.keep(&packet(&3), to("me"), &limits, now);
        let excepted = Selector { rooms: vec![], except: vec!["a".into()] };
        let _ = store.keep(&packet(&4), excepted, &limits, now);
        let all = |offset: &str| store.missed(&session(&["a"]), offset).map(|m| m.iter().map(json).collect::<Vec<_>>());
        assert_eq!(all(&before), Some(vec![json(&one), json(&three)]));
        assert_eq!(all(&store.offset(1)), Some(vec![json(&three)]));
        assert_eq!(all(&store.latest()), Some(vec![]));
        for bad in ["", "x", "x.1", &store.offset(5), &store.offset(u64::MAX), &format!("{}.-1", store.epoch)] {
            assert_eq!(all(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_is_dropped_cannot_be_resumed() {
        let mut store = Store::new(Sid::random().unwrap());
        let limits = Recovery { max_packets: 2, ..Recovery::default() };
        let now = Instant::now();
        for n in 0..5 {
            store.keep(&packet(&n), to("a"), &limits, now);
        }
        assert_eq!((store.packets.len(), store.first), (2, 4));
        assert_eq!(store.position(&store.offset(2)), None);
        assert_eq!(store.position(&store.offset(3)), Some(0));
        // Time drops, too.
        store.keep(&packet(&5), to("a"), &limits, now + limits.max_disconnection * 2);
        assert_eq!(store.packets.len(), 1);
        let held: usize = store.packets.iter().map(|kept| kept.packet.size()).sum();
        assert_eq!(store.bytes, held);
    }

    #[test]
    fn strings_at_the_end_are_guarded() {
        let store = Store::new(Sid::random().unwrap());
        let offset = store.latest();
        for (plain, guarded) in [
            (packet(&"bob"), format!(r#"["e","bob","{offset}"]"#)),
            (packet(&()), format!(r#"["e","{offset}"]"#)),
            (packet(&1), r#"["e",1]"#.to_owned()),
            (packet(&("a", true)), r#"["e","a",true]"#.to_owned()),
        ] {
            assert_eq!(json(&store.guard(plain)), guarded);
        }
    }
}
