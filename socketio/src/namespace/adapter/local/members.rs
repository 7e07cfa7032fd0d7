//! The sockets of a namespace and their rooms, under the lock of [`Local`](super::Local).

use std::{
    borrow::Borrow,
    hash::{Hash, Hasher},
};

use crate::{
    Room, Selector, Socket,
    namespace::room_event::RoomEvents,
    rooms::{Rooms, TooManyRooms, choice},
};

#[derive(Default)]
pub(super) struct Members {
    pub(super) rooms: Rooms<Known>,
    /// Changes of `rooms` that the application wants to know, and does not yet.
    pub(super) events: RoomEvents,
}

/// A socket, which is found by its id: another with the same id takes its place.
#[derive(Clone)]
pub(super) struct Known(pub(super) Socket);

impl Borrow<str> for Known {
    fn borrow(&self) -> &str {
        self.0.id()
    }
}

impl Hash for Known {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (**self.0.id()).hash(state);
    }
}

impl PartialEq for Known {
    fn eq(&self, other: &Self) -> bool {
        self.0.id() == other.0.id()
    }
}

impl Eq for Known {}

impl Members {
    pub(super) fn get(&self, sid: &str) -> Option<&Socket> {
        self.rooms.get(sid).map(|known| &known.0)
    }

    pub(super) fn join(&mut self, socket: &Socket, room: &Room, limit: usize) -> Result<bool, TooManyRooms> {
        let joined = self.rooms.join(socket.id(), room.clone(), limit)?;
        if joined && socket.namespace().handlers().watches_rooms() {
            let is_first = self.rooms.members(room).nth(1).is_none();
            self.events.joined(room, socket.id(), is_first);
        }
        Ok(joined)
    }

    pub(super) fn leave(&mut self, socket: &Socket, room: &Room) -> bool {
        let left = self.rooms.leave(socket.id(), room);
        if left {
            self.left(socket, std::slice::from_ref(room));
        }
        left
    }

    /// The socket has left these rooms.
    pub(super) fn left(&mut self, socket: &Socket, rooms: &[Room]) {
        if socket.namespace().handlers().watches_rooms() {
            for room in rooms {
                let was_last = self.rooms.members(room).next().is_none();
                self.events.left(room, socket.id(), was_last);
            }
        }
    }

    /// Whether exactly this socket is here: a recovered one has the id of its predecessor.
    pub(super) fn contains(&self, socket: &Socket) -> bool {
        self.get(socket.id()).is_some_and(|known| known == socket)
    }

    /// Calls `f` once for each matching socket.
    pub(super) fn each(&self, to: &Selector, mut f: impl FnMut(&Socket)) {
        choice::each(&self.rooms, to, |known| f(&known.0));
    }
}
