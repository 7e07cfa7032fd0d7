//! Rooms: an index in both directions, and the selection of sockets by rooms.

pub(crate) mod choice;

use std::collections::{HashMap, HashSet};

use bytestring::ByteString;

/// The name of a room.
pub type Room = ByteString;

/// Anything that names one or several rooms.
pub trait IntoRooms {
    /// The names.
    fn into_rooms(self) -> Vec<Room>;
}

impl IntoRooms for &str {
    fn into_rooms(self) -> Vec<Room> {
        vec![self.into()]
    }
}

impl IntoRooms for String {
    fn into_rooms(self) -> Vec<Room> {
        vec![self.into()]
    }
}

impl IntoRooms for &String {
    fn into_rooms(self) -> Vec<Room> {
        vec![self.as_str().into()]
    }
}

impl IntoRooms for Room {
    fn into_rooms(self) -> Vec<Room> {
        vec![self]
    }
}

impl IntoRooms for &Room {
    fn into_rooms(self) -> Vec<Room> {
        vec![self.clone()]
    }
}

impl<T: Into<Room>> IntoRooms for Vec<T> {
    fn into_rooms(self) -> Vec<Room> {
        self.into_iter().map(Into::into).collect()
    }
}

impl<T: Into<Room>, const N: usize> IntoRooms for [T; N] {
    fn into_rooms(self) -> Vec<Room> {
        self.into_iter().map(Into::into).collect()
    }
}

impl<T: Into<Room> + Clone> IntoRooms for &[T] {
    fn into_rooms(self) -> Vec<Room> {
        self.iter().cloned().map(Into::into).collect()
    }
}

/// A selection of sockets: those in any of `rooms` (all sockets if it is empty) and in none of `except`. A socket's id is a room with only
/// that socket in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    /// Union of rooms.
    pub rooms: Vec<Room>,
    /// Union of rooms to exclude.
    pub except: Vec<Room>,
}

impl Selector {
    /// Selects the one socket with this id.
    pub fn one(sid: impl Into<Room>) -> Self {
        Self { rooms: vec![sid.into()], except: Vec::new() }
    }

    /// Whether a socket with this id and these rooms is selected.
    pub fn matches(&self, sid: &str, rooms: &[Room]) -> bool {
        // Avoids comparing each member of one long list with each of the other.
        let set: Option<HashSet<&str>> = (rooms.len() > 8 && self.rooms.len().max(self.except.len()) > 8)
            .then(|| rooms.iter().map(|room| &**room).collect());
        let is_in = |room: &Room| match &set {
            Some(set) => set.contains(&**room),
            None => rooms.contains(room),
        };
        let within = |list: &[Room]| list.iter().any(|room| room == sid || is_in(room));
        (self.rooms.is_empty() || within(&self.rooms)) && !within(&self.except)
    }
}

/// The rooms of the sockets of one namespace. A socket's own room is implied and takes no memory here.
#[derive(Debug, Default)]
pub(crate) struct Rooms {
    members: HashMap<Room, HashSet<ByteString>>,
    joined: HashMap<ByteString, Vec<Room>>,
}

/// A socket is in the maximum number of rooms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the socket is in {0} rooms already")]
pub struct TooManyRooms(pub usize);

impl Rooms {
    /// Puts a socket into a room; joining twice has no further effect. `limit` 0 means no limit.
    pub(crate) fn join(&mut self, sid: &ByteString, room: Room, limit: usize) -> Result<bool, TooManyRooms> {
        if room == *sid {
            return Ok(false);
        }
        if self.contains(&room, sid) {
            return Ok(false);
        }
        let rooms = self.joined.entry(sid.clone()).or_default();
        if limit > 0 && rooms.len() >= limit {
            return Err(TooManyRooms(limit));
        }
        if rooms.is_empty() {
            // Most sockets are in one room, and there are many of them.
            rooms.reserve_exact(1);
        }
        rooms.push(room.clone());
        self.members.entry(room).or_default().insert(sid.clone());
        Ok(true)
    }

    /// Removes a socket from a room. False if it was not in it.
    pub(crate) fn leave(&mut self, sid: &ByteString, room: &Room) -> bool {
        let Some(rooms) = self.joined.get_mut(sid) else {
            return false;
        };
        let before = rooms.len();
        rooms.retain(|joined| joined != room);
        let left = rooms.len() < before;
        if rooms.is_empty() {
            self.joined.remove(sid);
        }
        self.drop_member(room, sid);
        left
    }

    /// Removes a socket from all its rooms and returns them.
    pub(crate) fn leave_all(&mut self, sid: &ByteString) -> Vec<Room> {
        let rooms = self.joined.remove(sid).unwrap_or_default();
        for room in &rooms {
            self.drop_member(room, sid);
        }
        rooms
    }

    fn drop_member(&mut self, room: &Room, sid: &ByteString) {
        if let Some(members) = self.members.get_mut(room) {
            members.remove(sid);
            if members.is_empty() {
                self.members.remove(room);
            } else if members.capacity() > 64 && members.len() * 4 < members.capacity() {
                members.shrink_to_fit();
            }
        }
    }

    /// The rooms of a socket besides its own.
    pub(crate) fn of(&self, sid: &str) -> &[Room] {
        self.joined.get(sid).map_or(&[], Vec::as_slice)
    }

    /// The members of a room.
    pub(crate) fn members(&self, room: &str) -> impl Iterator<Item = &ByteString> {
        self.members.get(room).into_iter().flatten()
    }

    /// All rooms with their sizes.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&Room, usize)> {
        self.members.iter().map(|(room, members)| (room, members.len()))
    }

    /// Whether a socket is in a room, which may be its own.
    pub(crate) fn contains(&self, room: &Room, sid: &ByteString) -> bool {
        #[cfg(test)]
        LOOKUPS.set(LOOKUPS.get() + 1);
        room == sid || self.members.get(room).is_some_and(|members| members.contains(sid))
    }
}

#[cfg(test)]
thread_local! {
    /// How often a room has been looked up on this thread, for tests that limit the number.
    pub(crate) static LOOKUPS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sid(text: &str) -> ByteString {
        text.into()
    }

    #[test]
    fn both_ways_and_empty_again() {
        let mut rooms = Rooms::default();
        assert_eq!(rooms.join(&sid("a"), sid("x"), 0), Ok(true));
        assert_eq!(rooms.join(&sid("a"), sid("x"), 0), Ok(false));
        assert_eq!(rooms.join(&sid("b"), sid("x"), 0), Ok(true));
        assert_eq!(rooms.join(&sid("a"), sid("a"), 0), Ok(false));
        assert_eq!(rooms.members("x").count(), 2);
        assert_eq!(rooms.of("a"), [sid("x")]);
        assert!(rooms.contains(&sid("x"), &sid("b")) && rooms.contains(&sid("b"), &sid("b")));
        assert!(rooms.leave(&sid("a"), &sid("x")) && !rooms.leave(&sid("a"), &sid("x")));
        assert_eq!(rooms.leave_all(&sid("b")), [sid("x")]);
        assert!(rooms.members.is_empty() && rooms.joined.is_empty());
    }

    #[test]
    fn a_socket_joins_at_most_the_maximum_of_rooms() {
        let mut rooms = Rooms::default();
        assert_eq!(rooms.join(&sid("a"), sid("x"), 1), Ok(true));
        assert_eq!(rooms.join(&sid("a"), sid("x"), 1), Ok(false));
        assert_eq!(rooms.join(&sid("a"), sid("y"), 1), Err(TooManyRooms(1)));
    }

    #[test]
    fn to_and_except_select_members() {
        for (to, except, expected) in [
            (vec![], vec![], true),
            (vec!["x"], vec![], true),
            (vec!["z", "y"], vec![], true),
            (vec!["z"], vec![], false),
            (vec!["me"], vec![], true),
            (vec![], vec!["x"], false),
            (vec!["x"], vec!["me"], false),
            (vec!["x"], vec!["z"], true),
        ] {
            let selector = Selector { rooms: to.into_rooms(), except: except.into_rooms() };
            assert_eq!(selector.matches("me", &["x".into(), "y".into()]), expected, "{selector:?}");
        }
    }
}
