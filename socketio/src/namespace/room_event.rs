//! Changes of the rooms of a namespace on this server, reported to the application in the order in which they were made.
//!
//! A change is recorded under the lock under which it is made, and reported afterwards, without a lock: so a handler may join and leave
//! rooms itself. One thread at a time reports the changes of a namespace.

use std::collections::VecDeque;

use bytestring::ByteString;

use super::{Handlers, Namespace, all};
use crate::{Room, engine::Connection, panics::guard};

/// A change of a room on this server: what Node's adapter emits. The room of each socket's own id is not reported.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RoomEvent {
    /// The first socket is joining: `create-room`.
    Created {
        /// The room.
        room: Room,
    },
    /// A socket has joined: `join-room`.
    Joined {
        /// The room.
        room: Room,
        /// The socket's id.
        socket: ByteString,
    },
    /// A socket has left, or disconnected: `leave-room`.
    Left {
        /// The room.
        room: Room,
        /// The socket's id.
        socket: ByteString,
    },
    /// The last socket has left: `delete-room`.
    Deleted {
        /// The room.
        room: Room,
    },
}

/// Changes that have not been reported yet.
#[derive(Default)]
pub(crate) struct RoomEvents {
    pending: VecDeque<RoomEvent>,
    is_reporting: bool,
}

impl RoomEvents {
    /// `socket` has joined `room`; it is the first there, or not.
    pub(in crate::namespace) fn joined(&mut self, room: &Room, socket: &ByteString, is_first: bool) {
        if is_first {
            self.pending.push_back(RoomEvent::Created { room: room.clone() });
        }
        self.pending.push_back(RoomEvent::Joined { room: room.clone(), socket: socket.clone() });
    }

    /// `socket` has left `room`; it was the last there, or not.
    pub(in crate::namespace) fn left(&mut self, room: &Room, socket: &ByteString, was_last: bool) {
        self.pending.push_back(RoomEvent::Left { room: room.clone(), socket: socket.clone() });
        if was_last {
            self.pending.push_back(RoomEvent::Deleted { room: room.clone() });
        }
    }

    /// What a thread that wants to begin to report has to report: nothing if another thread does it.
    pub(super) fn begin(&mut self) -> VecDeque<RoomEvent> {
        if self.is_reporting { VecDeque::new() } else { self.next() }
    }

    /// What the reporting thread reports next. With nothing, it has ended.
    pub(super) fn next(&mut self) -> VecDeque<RoomEvent> {
        self.is_reporting = !self.pending.is_empty();
        std::mem::take(&mut self.pending)
    }

    pub(in crate::namespace) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }
}

impl Namespace {
    /// Reports recorded changes soon, on the thread of `connection`.
    pub(crate) fn report_rooms(&self, connection: &Connection) {
        if self.handlers().watches_rooms() && self.local().has_room_events() {
            let this = self.clone();
            connection.queue(Box::new(move || this.report_rooms_now()));
        }
    }

    fn report_rooms_now(&self) {
        let mut events = self.local().room_events(RoomEvents::begin);
        while !events.is_empty() {
            let handlers = all(&self.handlers().rooms);
            for event in events {
                for handler in &handlers {
                    guard("on_room_event", || handler(self, &event));
                }
            }
            events = self.local().room_events(RoomEvents::next);
        }
    }
}

impl Handlers {
    /// Whether anybody wants to know of changes of rooms.
    pub(crate) fn watches_rooms(&self) -> bool {
        self.watches_rooms.load(std::sync::atomic::Ordering::Acquire)
    }
}
