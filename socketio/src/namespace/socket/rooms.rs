//! The rooms of a socket, and sending to other sockets in them.

use super::{Phase, Socket};
use crate::{BroadcastOperator, IntoRooms, Room, TooManyRooms, rate::OncePerSecond};

static TOO_MANY_WARNINGS: OncePerSecond = OncePerSecond::new();

impl Socket {
    /// Joins rooms. A disconnected socket joins nothing. If its middlewares are still running, the socket is in the rooms once it is
    /// connected.
    ///
    /// # Errors
    /// When the socket would be in more than [`Config::max_rooms`](crate::Config::max_rooms); those before the limit are joined.
    pub fn join(&self, rooms: impl IntoRooms) -> Result<(), TooManyRooms> {
        let limit = self.0.namespace.config().max_rooms;
        let local = self.0.namespace.local();
        let (joined, result) = local.join_one(self, &rooms.into_rooms(), limit);
        if !joined.is_empty() {
            self.0.namespace.adapter().joined(local, &self.0.id, &joined);
            self.0.namespace.report_rooms(&self.0.connection);
        }
        if let Err(error) = result {
            self.0.namespace.counters().rooms_refused.inc();
            TOO_MANY_WARNINGS.log(|more| log::warn!("{}: {error}{more}", self.0.id));
        }
        result
    }

    /// Leaves rooms.
    pub fn leave(&self, rooms: impl IntoRooms) {
        let local = self.0.namespace.local();
        let left = local.leave_one(self, &rooms.into_rooms());
        if !left.is_empty() {
            self.0.namespace.adapter().left(local, &self.0.id, &left);
            self.0.namespace.report_rooms(&self.0.connection);
        }
    }

    /// Its rooms, except its own.
    pub fn rooms(&self) -> Vec<Room> {
        self.0.namespace.local().rooms_of_socket(self)
    }

    /// Changes the rooms that the socket will be in once it is admitted. The rooms that it is in by then are not included.
    pub(crate) fn early_rooms<R>(&self, change: impl FnOnce(&mut Vec<Room>) -> R) -> Option<R> {
        let mut state = self.state();
        if !matches!(state.phase, Phase::Connecting | Phase::Entering) {
            return None;
        }
        if let Some(listeners) = &mut state.listeners {
            return Some(change(&mut listeners.early_rooms));
        }
        let mut rooms = Vec::new();
        let result = change(&mut rooms);
        if !rooms.is_empty() {
            state.listeners.get_or_insert_default().early_rooms = rooms;
        }
        Some(result)
    }

    /// Selects all other sockets in these rooms.
    pub fn to(&self, rooms: impl IntoRooms) -> BroadcastOperator {
        self.broadcast().to(rooms)
    }

    /// The same as [`to`](Self::to).
    pub fn in_(&self, rooms: impl IntoRooms) -> BroadcastOperator {
        self.to(rooms)
    }

    /// Selects all other sockets except those in these rooms.
    pub fn except(&self, rooms: impl IntoRooms) -> BroadcastOperator {
        self.broadcast().except(rooms)
    }

    /// Selects all other sockets in the namespace.
    pub fn broadcast(&self) -> BroadcastOperator {
        BroadcastOperator::new(self.0.namespace.clone()).except(self.0.id.clone())
    }
}
