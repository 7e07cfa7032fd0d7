//! What one namespace keeps for recovery: its latest packets by number, and the sessions of clients that are disconnected.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    mem::size_of,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytestring::ByteString;

use crate::{
    DisconnectReason, EncodedPacket, Outgoing, Recovery, Room, Selector, Source,
    adapter::Session,
    engine::{Connection, Sid},
};

/// What an allocation, a table's entry and a packet's own fields take beside the bytes that are counted.
const ENTRY_COST: usize = 128;

/// The packets and sessions of one namespace.
pub(super) struct Store {
    /// Begins every offset: offsets of an earlier store are no offsets.
    epoch: Sid,
    /// The number of the oldest stored packet. The first of all is 1, so that 0 is an offset before it.
    first: u64,
    packets: VecDeque<StoredPacket>,
    packet_bytes: usize,
    sessions: HashMap<ByteString, Disconnected>,
    /// The same by their deadlines.
    deadlines: BTreeSet<(Instant, ByteString)>,
    session_bytes: usize,
    /// Whether the namespace is there. Without it the store stays for its sessions alone.
    pub(super) is_open: bool,
    /// Whether the store is in the list no more: its next user is to look again.
    pub(super) is_removed: bool,
}

struct StoredPacket {
    packet: EncodedPacket,
    to: Selector,
    at: Instant,
}

impl StoredPacket {
    fn bytes(&self) -> usize {
        let rooms = self.to.rooms.iter().chain(&self.to.except);
        self.packet.size() + rooms.map(|room| room.len() + size_of::<Room>()).sum::<usize>() + ENTRY_COST
    }
}

struct Disconnected {
    session: Session,
    since: Instant,
    until: Instant,
}

impl Disconnected {
    fn bytes(&self) -> usize {
        let Session { sid, pid, rooms, data, start } = &self.session;
        let rooms = rooms.iter().map(|room| room.len() + size_of::<Room>()).sum::<usize>();
        let start = start.as_deref().map_or(0, str::len);
        let entries = size_of::<Self>() + size_of::<(Instant, ByteString)>() + ENTRY_COST;
        sid.len() + 2 * pid.len() + rooms + data.as_str().len() + start + entries
    }
}

pub(super) fn lock(store: &Mutex<Store>) -> MutexGuard<'_, Store> {
    store.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Store {
    pub(super) fn new(epoch: Sid) -> Self {
        Self {
            epoch,
            first: 1,
            packets: VecDeque::new(),
            packet_bytes: 0,
            sessions: HashMap::new(),
            deadlines: BTreeSet::new(),
            session_bytes: 0,
            is_open: true,
            is_removed: false,
        }
    }

    /// The approximate size in bytes, including the store itself.
    pub(super) fn bytes(&self) -> usize {
        self.packet_bytes + self.session_bytes + size_of::<Self>() + ENTRY_COST
    }

    pub(super) fn sessions(&self) -> usize {
        self.sessions.len()
    }

    pub(super) fn packets(&self) -> usize {
        self.packets.len()
    }

    fn last(&self) -> u64 {
        self.first + self.packets.len() as u64 - 1
    }

    fn offset(&self, number: u64) -> String {
        format!("{}.{number}", self.epoch)
    }

    /// The offset of the latest packet.
    pub(super) fn latest(&self) -> String {
        self.offset(self.last())
    }

    /// A packet with the offset that it will have when it is [kept](Self::keep), if no other is kept before.
    pub(super) fn number(&self, packet: &EncodedPacket) -> EncodedPacket {
        packet.with_offset(&self.offset(self.last() + 1))
    }

    /// Keeps a packet that was [numbered](Self::number).
    pub(super) fn keep(&mut self, packet: EncodedPacket, to: Selector, limits: &Recovery, now: Instant) {
        let kept = StoredPacket { packet, to, at: now };
        self.packet_bytes += kept.bytes();
        self.packets.push_back(kept);
        while self.packets.len() > limits.max_packets || self.packet_bytes > limits.max_bytes {
            self.drop_packet();
        }
        while self.is_front_old(limits.max_disconnection, now) {
            self.drop_packet();
        }
    }

    /// A packet that is not stored. Clients take any string at the end of an event for an offset. A packet that ends in a string therefore
    /// gets the offset of the latest packet, which is correct: a client that receives this one has received that one.
    pub(super) fn guard(&self, packet: EncodedPacket) -> EncodedPacket {
        if packet.ends_in_string() { packet.with_offset(&self.latest()) } else { packet }
    }

    /// The number in an offset of this store.
    fn number_in(&self, offset: &str) -> Option<u64> {
        let (epoch, number) = offset.split_once('.')?;
        if epoch != self.epoch.as_str() {
            return None;
        }
        number.parse().ok().filter(|number| *number <= self.last())
    }

    /// Where a requested session resumes, if all later packets are still stored: after the offset that the client sent, but not before the
    /// session began. A client that has received no offset in this session sends an earlier one, or none.
    pub(super) fn find(&self, pid: &str, offset: Option<&str>, now: Instant) -> Option<(Session, u64)> {
        let Disconnected { session, until, .. } = self.sessions.get(pid)?;
        let start = session.start.as_deref().and_then(|start| self.number_in(start));
        let last_seen = match offset {
            Some(offset) => self.number_in(offset)?.max(start.unwrap_or(0)),
            None => start?,
        };
        (last_seen + 1 >= self.first && *until > now).then(|| (session.clone(), last_seen + 1))
    }

    /// Whether this is an offset that a client of the namespace may have.
    pub(super) fn is_offset(&self, offset: &str) -> bool {
        self.number_in(offset).is_some()
    }

    pub(super) fn has_session(&self, pid: &str) -> bool {
        self.sessions.contains_key(pid)
    }

    pub(super) fn insert(&mut self, session: Session, keep: Duration, now: Instant) {
        self.remove(&session.pid);
        let pid = session.pid.clone();
        let disconnected = Disconnected { session, since: now, until: now + keep };
        self.session_bytes += disconnected.bytes();
        self.deadlines.insert((disconnected.until, pid.clone()));
        self.sessions.insert(pid, disconnected);
    }

    pub(super) fn remove(&mut self, pid: &str) {
        if let Some((pid, disconnected)) = self.sessions.remove_entry(pid) {
            self.session_bytes -= disconnected.bytes();
            self.deadlines.remove(&(disconnected.until, pid));
        }
        if self.sessions.capacity() > 64 && self.sessions.len() * 4 < self.sessions.capacity() {
            self.sessions.shrink_to_fit();
        }
    }

    /// Drops at most this many expired sessions and packets; returns how many.
    pub(super) fn expire(&mut self, keep: Duration, now: Instant, most: usize) -> usize {
        let mut dropped = 0;
        while dropped < most
            && let Some((until, pid)) = self.deadlines.first()
            && *until <= now
        {
            let pid = pid.clone();
            self.remove(&pid);
            dropped += 1;
        }
        while dropped < most && self.is_front_old(keep, now) {
            self.drop_packet();
            dropped += 1;
        }
        if self.packets.capacity() > 64 && self.packets.len() * 4 < self.packets.capacity() {
            self.packets.shrink_to_fit();
        }
        dropped
    }

    /// Whether the oldest packet is older than the disconnection of every session that can still be recovered.
    fn is_front_old(&self, keep: Duration, now: Instant) -> bool {
        self.packets.front().is_some_and(|oldest| oldest.at + keep < now)
    }

    fn drop_packet(&mut self) {
        if let Some(oldest) = self.packets.pop_front() {
            self.packet_bytes -= oldest.bytes();
            self.first += 1;
        }
    }

    /// Drops the oldest packets and sessions until the size is at most this many bytes, or nothing is left.
    pub(super) fn trim(&mut self, bytes: usize) {
        if self.bytes() <= bytes {
            return;
        }
        while self.bytes() > bytes {
            let oldest = self.deadlines.first().and_then(|(_, pid)| Some((self.sessions.get(pid)?.since, pid.clone())));
            match (self.packets.front().map(|kept| kept.at), oldest) {
                (Some(packet), Some((session, _))) if packet <= session => self.drop_packet(),
                (Some(_), None) => self.drop_packet(),
                (_, Some((_, pid))) => self.remove(&pid),
                (None, None) => break,
            }
        }
    }
}

/// What a restored session missed, pulled from the store as the client takes it.
pub(super) struct Backlog {
    store: Arc<Mutex<Store>>,
    sid: ByteString,
    rooms: Vec<Room>,
    next: u64,
    /// Behind the last packet that is not sent to the socket directly.
    end: u64,
    connection: Option<Connection>,
}

impl Backlog {
    /// From `next` to the latest packet of now; to be made with the store locked.
    pub(super) fn new(shared: &Arc<Mutex<Store>>, store: &Store, session: &Session, next: u64) -> Self {
        Self {
            store: shared.clone(),
            sid: session.sid.clone(),
            rooms: session.rooms.clone(),
            next,
            end: store.last() + 1,
            connection: None,
        }
    }

    /// About `budget` bytes of packets; `None` if some were dropped before they could be taken.
    fn pull(&mut self, budget: usize) -> Option<Vec<EncodedPacket>> {
        let store = lock(&self.store);
        let mut pulled = Vec::new();
        let mut bytes = 0;
        while self.next < self.end && bytes < budget {
            let at = usize::try_from(self.next.checked_sub(store.first)?).ok()?;
            let kept = store.packets.get(at)?;
            if kept.to.matches(&self.sid, &self.rooms) {
                bytes += kept.packet.size();
                pulled.push(kept.packet.clone());
            }
            self.next += 1;
        }
        Some(pulled)
    }
}

impl Source for Backlog {
    fn poll_next(&mut self, _: &mut Context<'_>, budget: usize) -> Poll<Vec<Outgoing>> {
        let pulled = self.pull(budget);
        if pulled.is_none()
            && let Some(connection) = &self.connection
        {
            // The client was promised all of it. When it reconnects, it learns that this is no longer possible.
            connection.finish(DisconnectReason::OutboxOverflow);
        }
        Poll::Ready(pulled.into_iter().flatten().map(Outgoing::from).collect())
    }

    fn attached(&mut self, connection: &Connection) {
        self.connection = Some(connection.clone());
    }
}
