//! The sockets of one namespace on this server, and the operations of adapters on them.

mod members;

use std::sync::{
    Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
    atomic::{AtomicU64, Ordering},
};

use bytestring::ByteString;

use self::members::{Known, Members};
use crate::{
    AckSink, EncodedPacket, Outgoing, Room, Selector, Socket, SocketData,
    engine::{Party, SendError},
    namespace::room_event::RoomEvents,
    rooms::TooManyRooms,
    stats::Counters,
};

/// The sockets of one namespace on this server, with their rooms.
///
/// No call runs a handler. Consequences, such as the end of a client that is too slow, reach the application later. An adapter may
/// therefore hold a lock of its own during any of these calls.
pub struct Local {
    name: ByteString,
    /// With this a connection finds its socket of this namespace.
    party: Party,
    members: RwLock<Members>,
    ack_ids: AtomicU64,
    counters: Arc<Counters>,
}

/// A socket, on this server or another, at the time of the query.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct SocketInfo {
    /// Its id.
    pub id: ByteString,
    /// Its rooms, including its own.
    pub rooms: Vec<Room>,
    /// The value of [`Socket::set_data`].
    pub data: SocketData,
    /// The address of its client, if known.
    pub address: Option<std::net::IpAddr>,
    /// When its connection opened, in milliseconds since 1970.
    pub issued: u64,
}

impl SocketInfo {
    /// A socket of another server.
    pub fn remote(id: impl Into<ByteString>, rooms: Vec<Room>, data: SocketData) -> Self {
        Self { id: id.into(), rooms, data, address: None, issued: 0 }
    }

    fn of(socket: &Socket, rooms: &[Room]) -> Self {
        let mut all = vec![socket.id().clone()];
        all.extend_from_slice(rooms);
        Self {
            id: socket.id().clone(),
            rooms: all,
            data: socket.data(),
            address: socket.handshake().address,
            issued: socket.handshake().issued(),
        }
    }
}

impl Local {
    pub(crate) fn new(name: ByteString, counters: Arc<Counters>) -> Self {
        Self { name, party: Party::new(), members: RwLock::default(), ack_ids: AtomicU64::new(0), counters }
    }

    pub(crate) fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    fn read(&self) -> RwLockReadGuard<'_, Members> {
        self.members.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Members> {
        self.members.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The name of the namespace.
    pub fn name(&self) -> &ByteString {
        &self.name
    }

    pub(crate) fn party(&self) -> Party {
        self.party
    }

    fn message(&self, packet: &EncodedPacket, volatile: bool) -> Outgoing {
        let message = Outgoing::from(packet).of(self.party);
        if volatile { message.volatile() } else { message }
    }

    /// Sends a packet to the matching sockets; returns their number. A socket with too many queued bytes is disconnected, so that its
    /// client does not miss a packet without knowing it.
    pub fn deliver(&self, to: &Selector, packet: &EncodedPacket, volatile: bool) -> usize {
        let message = self.message(packet, volatile).charged(&self.counters);
        let mut count = 0;
        self.read().each(to, |socket| {
            // A socket that has no room for it is disconnected, and recovers.
            if socket.connection().send_or_end(message.clone()).is_ok() {
                socket.sent(packet);
            }
            count += 1;
        });
        count
    }

    /// Sends a packet to one socket.
    ///
    /// # Errors
    /// When it is not on this server, or its connection rejects the packet.
    pub fn send(&self, sid: &ByteString, packet: &EncodedPacket, volatile: bool) -> Result<(), SendError> {
        let message = self.message(packet, volatile);
        match self.read().get(sid) {
            Some(socket) => {
                let sent = socket.connection().send(message);
                if sent.is_ok() {
                    socket.sent(packet);
                }
                sent
            }
            None => Err(SendError::Closed),
        }
    }

    /// Whether a message of `len` bytes would go to a socket whose transport has not run since its outbox began to fill: then the sender is
    /// too fast, and gets the error before the message reaches anyone.
    pub(crate) fn is_filled_by_a_burst(&self, to: &Selector, len: usize, limit: usize) -> bool {
        // The limit of one client cannot exceed the limit of all.
        if limit == 0 || self.counters.pending_bytes.get() as usize + len < limit {
            return false;
        }
        let mut found = false;
        self.read().each(to, |socket| found = found || socket.connection().is_filled_by_a_burst(len));
        found
    }

    /// Sends a packet with an id to the matching sockets, with their answers to `acks`; returns their number.
    pub fn deliver_with_ack(&self, to: &Selector, packet: &EncodedPacket, acks: &AckSink) -> usize {
        let Some(id) = packet.packet().id else {
            return 0;
        };
        let mut count = 0;
        self.read().each(to, |socket| {
            let (sink, sid) = (acks.clone(), socket.id().clone());
            if socket.expect_ack(id, Box::new(move |answer| (sink.0)(Some(sid), answer))).is_ok() {
                count += 1;
                // A socket that has ended in the meantime counts as asked, and so does one that had no room for it: an error was passed to
                // `acks`.
                match socket.connection().send(packet) {
                    Ok(()) => socket.sent(packet),
                    Err(SendError::Full) if socket.forget_ack(id) => acks.missing(),
                    Err(_) if socket.forget_ack(id) => count -= 1,
                    Err(_) => {}
                }
            }
        });
        count
    }

    /// The number that connects an event with its answers: one for a broadcast, however many answer. Numbers of other servers have no
    /// meaning here, so their events get a new one: [`EncodedPacket::with_ack_id`].
    pub fn next_ack_id(&self) -> u64 {
        self.ack_ids.fetch_add(1, Ordering::Relaxed)
    }

    /// Answers that have not arrived by now are ignored.
    pub fn forget_acks(&self, to: &Selector, id: u64) {
        for socket in self.handles(to) {
            socket.forget_ack(id);
        }
    }

    /// The matching sockets.
    pub fn sockets(&self, to: &Selector) -> Vec<SocketInfo> {
        let members = self.read();
        let mut found = Vec::new();
        members.each(to, |socket| found.push(SocketInfo::of(socket, members.rooms.of(socket.id()))));
        found
    }

    /// Handles to the matching sockets.
    pub fn handles(&self, to: &Selector) -> Vec<Socket> {
        let mut found = Vec::new();
        self.read().each(to, |socket| found.push(socket.clone()));
        found
    }

    /// One socket.
    pub fn socket(&self, sid: &str) -> Option<Socket> {
        self.read().get(sid).cloned()
    }

    /// The first socket that the function accepts.
    pub(crate) fn find(&self, mut is_it: impl FnMut(&Socket) -> bool) -> Option<Socket> {
        self.read().rooms.sockets().map(|known| &known.0).find(|socket| is_it(socket)).cloned()
    }

    /// The number of sockets.
    pub fn len(&self) -> usize {
        self.read().rooms.len()
    }

    /// Whether there are no sockets.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The rooms with members, and their numbers, except for sockets' own rooms.
    pub fn rooms(&self) -> Vec<(Room, usize)> {
        self.read().rooms.all().map(|(room, size)| (room.clone(), size)).collect()
    }

    /// Whether a room, which may be a socket's own, has members: messages to an empty one can be ignored here.
    pub fn has_room(&self, room: &str) -> bool {
        let members = self.read();
        members.get(room).is_some() || members.rooms.members(room).next().is_some()
    }

    /// The rooms of a socket, except its own.
    pub fn rooms_of(&self, sid: &str) -> Vec<Room> {
        self.read().rooms.of(sid).to_vec()
    }

    pub(crate) fn rooms_of_socket(&self, socket: &Socket) -> Vec<Room> {
        let members = self.read();
        if members.contains(socket) {
            return members.rooms.of(socket.id()).to_vec();
        }
        socket.early_rooms(|early| early.clone()).unwrap_or_default()
    }

    /// Changes of rooms that the application is to know.
    pub(in crate::namespace) fn room_events<R>(&self, take: impl FnOnce(&mut RoomEvents) -> R) -> R {
        take(&mut self.write().events)
    }

    pub(in crate::namespace) fn has_room_events(&self) -> bool {
        !self.read().events.is_empty()
    }

    /// Puts the matching sockets into rooms.
    pub fn join(&self, to: &Selector, rooms: &[Room]) {
        for socket in self.handles(to) {
            // A socket that is in too many rooms has been counted and logged.
            let _ = socket.join(rooms);
        }
    }

    /// Removes the matching sockets from rooms.
    pub fn leave(&self, to: &Selector, rooms: &[Room]) {
        for socket in self.handles(to) {
            socket.leave(rooms);
        }
    }

    /// Disconnects the matching sockets, or their connections if `close`.
    pub fn disconnect(&self, to: &Selector, close: bool) {
        for socket in self.handles(to) {
            if close {
                socket.close_connection();
            } else {
                socket.disconnect();
            }
        }
    }

    /// Adds a socket, with the rooms of its session and those that it joined before. Returns all its rooms.
    pub(crate) fn insert(&self, socket: &Socket, rooms: &[Room]) -> Vec<Room> {
        let mut members = self.write();
        members.rooms.insert(Known(socket.clone()));
        // Under the lock under which `join_one` adds to them: none can be added afterwards.
        let early = socket.early_rooms(std::mem::take).unwrap_or_default();
        for room in rooms.iter().chain(&early) {
            // The session's rooms were within the limit before, and the others are as they were added.
            let _ = members.join(socket, room, 0);
        }
        members.rooms.of(socket.id()).to_vec()
    }

    /// Removes a socket and returns its rooms. Does nothing if another socket has taken over its id: the session can be resumed before the
    /// old socket has ended.
    pub(crate) fn remove(&self, socket: &Socket) -> Vec<Room> {
        let sid = socket.id();
        let mut members = self.write();
        if !members.contains(socket) {
            return Vec::new();
        }
        let rooms = members.rooms.remove(sid);
        members.left(socket, &rooms);
        rooms
    }

    /// Joins rooms, unless the socket is no longer here; returns the new ones, and the error that prevented the rest.
    pub(crate) fn join_one(
        &self,
        socket: &Socket,
        rooms: &[Room],
        limit: usize,
    ) -> (Vec<Room>, Result<(), TooManyRooms>) {
        let mut joined = Vec::new();
        let mut members = self.write();
        // Looked up under the lock that its end takes: a late join cannot leak.
        if !members.contains(socket) {
            let result = socket.early_rooms(|early| join_early(early, rooms, limit)).unwrap_or(Ok(()));
            return (joined, result);
        }
        for room in rooms {
            match members.join(socket, room, limit) {
                Ok(true) => joined.push(room.clone()),
                Ok(false) => {}
                Err(error) => return (joined, Err(error)),
            }
        }
        (joined, Ok(()))
    }

    pub(crate) fn leave_one(&self, socket: &Socket, rooms: &[Room]) -> Vec<Room> {
        let mut members = self.write();
        if !members.contains(socket) {
            socket.early_rooms(|early| early.retain(|room| !rooms.contains(room)));
            return Vec::new();
        }
        rooms.iter().filter(|room| members.leave(socket, room)).cloned().collect()
    }
}

/// Adds rooms to those of a socket that is not here yet.
fn join_early(early: &mut Vec<Room>, rooms: &[Room], limit: usize) -> Result<(), TooManyRooms> {
    for room in rooms {
        if early.contains(room) {
            continue;
        }
        if limit > 0 && early.len() >= limit {
            return Err(TooManyRooms(limit));
        }
        early.push(room.clone());
    }
    Ok(())
}

impl std::fmt::Debug for Local {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Local").field("name", &self.name).finish_non_exhaustive()
    }
}
