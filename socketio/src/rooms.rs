//! Rooms: an index in both directions, and the selection of sockets by rooms.

pub(crate) mod choice;

use std::{
    borrow::Borrow,
    collections::{HashMap, HashSet},
    hash::Hash,
};

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

/// The sockets of one namespace and their rooms. `S` is a socket, equal to another if their ids are. A socket's own room is implied and takes
/// no memory here.
#[derive(Debug)]
pub(crate) struct Rooms<S> {
    /// All sockets, with their rooms.
    sockets: HashMap<S, Vec<Room>>,
    members: HashMap<Room, HashSet<S>>,
}

impl<S> Default for Rooms<S> {
    fn default() -> Self {
        Self { sockets: HashMap::new(), members: HashMap::new() }
    }
}

/// A socket is in the maximum number of rooms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the socket is in {0} rooms already")]
pub struct TooManyRooms(pub usize);

impl<S: Clone + Eq + Hash + Borrow<str>> Rooms<S> {
    /// Adds a socket. It takes the place of another with its id, in the same rooms.
    pub(crate) fn insert(&mut self, socket: S) {
        let rooms = self.sockets.remove(socket.borrow()).unwrap_or_default();
        for room in &rooms {
            if let Some(members) = self.members.get_mut(room) {
                members.replace(socket.clone());
            }
        }
        self.sockets.insert(socket, rooms);
    }

    /// Removes a socket from all its rooms, and returns them.
    pub(crate) fn remove(&mut self, sid: &str) -> Vec<Room> {
        let rooms = self.sockets.remove(sid).unwrap_or_default();
        if self.sockets.capacity() > 64 && self.sockets.len() * 4 < self.sockets.capacity() {
            self.sockets.shrink_to_fit();
        }
        for room in &rooms {
            self.remove_member(room, sid);
        }
        rooms
    }

    /// The socket with this id.
    pub(crate) fn get(&self, sid: &str) -> Option<&S> {
        self.sockets.get_key_value(sid).map(|(socket, _)| socket)
    }

    /// All sockets.
    pub(crate) fn sockets(&self) -> impl Iterator<Item = &S> {
        self.sockets.keys()
    }

    /// The number of sockets.
    pub(crate) fn len(&self) -> usize {
        self.sockets.len()
    }

    /// Puts a socket that is here into a room; joining twice has no further effect. `limit` 0 means no limit.
    pub(crate) fn join(&mut self, sid: &str, room: Room, limit: usize) -> Result<bool, TooManyRooms> {
        if self.contains(&room, sid) {
            return Ok(false);
        }
        let Some((socket, rooms)) =
            self.sockets.get_key_value(sid).map(|(socket, rooms)| (socket.clone(), rooms.len()))
        else {
            return Ok(false);
        };
        if limit > 0 && rooms >= limit {
            return Err(TooManyRooms(limit));
        }
        // One text for all its members.
        let room = self.members.get_key_value(&room).map_or(room, |(known, _)| known.clone());
        if let Some(rooms) = self.sockets.get_mut(sid) {
            if rooms.is_empty() {
                // Most sockets are in one room, and there are many of them.
                rooms.reserve_exact(1);
            }
            rooms.push(room.clone());
        }
        self.members.entry(room).or_default().insert(socket);
        Ok(true)
    }

    /// Removes a socket from a room. False if it was not in it.
    pub(crate) fn leave(&mut self, sid: &str, room: &Room) -> bool {
        let Some(rooms) = self.sockets.get_mut(sid) else {
            return false;
        };
        let before = rooms.len();
        rooms.retain(|joined| joined != room);
        let left = rooms.len() < before;
        if rooms.is_empty() {
            *rooms = Vec::new();
        }
        self.remove_member(room, sid);
        left
    }

    fn remove_member(&mut self, room: &Room, sid: &str) {
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
        self.sockets.get(sid).map_or(&[], Vec::as_slice)
    }

    /// The members of a room that is not a socket's own.
    pub(crate) fn members(&self, room: &str) -> impl Iterator<Item = &S> {
        self.members.get(room).into_iter().flatten()
    }

    /// All rooms with their sizes.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&Room, usize)> {
        self.members.iter().map(|(room, members)| (room, members.len()))
    }

    /// Whether a socket is in a room, which may be its own.
    pub(crate) fn contains(&self, room: &Room, sid: &str) -> bool {
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
        assert_eq!(rooms.join("a", sid("x"), 0), Ok(false), "no such socket");
        rooms.insert(sid("a"));
        rooms.insert(sid("b"));
        assert_eq!(rooms.join("a", sid("x"), 0), Ok(true));
        assert_eq!(rooms.join("a", sid("x"), 0), Ok(false));
        assert_eq!(rooms.join("b", sid("x"), 0), Ok(true));
        assert_eq!(rooms.join("a", sid("a"), 0), Ok(false));
        assert_eq!(rooms.members("x").count(), 2);
        assert_eq!(rooms.of("a"), [sid("x")]);
        assert!(rooms.contains(&sid("x"), "b") && rooms.contains(&sid("b"), "b"));
        assert!(rooms.leave("a", &sid("x")) && !rooms.leave("a", &sid("x")));
        assert_eq!(rooms.remove("b"), [sid("x")]);
        assert_eq!((rooms.remove("a"), rooms.len()), (vec![], 0));
        assert!(rooms.members.is_empty());
    }

    #[test]
    fn a_socket_takes_the_place_of_another_with_its_id() {
        /// Equal by the id alone.
        #[derive(Clone, Debug)]
        struct Numbered(&'static str, u32);
        impl PartialEq for Numbered {
            fn eq(&self, other: &Self) -> bool {
                self.0 == other.0
            }
        }
        impl Eq for Numbered {}
        impl Hash for Numbered {
            fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
                self.0.hash(state);
            }
        }
        impl Borrow<str> for Numbered {
            fn borrow(&self) -> &str {
                self.0
            }
        }

        let mut rooms = Rooms::default();
        rooms.insert(Numbered("a", 1));
        assert_eq!(rooms.join("a", sid("x"), 0), Ok(true));
        rooms.insert(Numbered("a", 2));
        assert_eq!(rooms.of("a"), [sid("x")]);
        let numbers = |sockets: Vec<&Numbered>| sockets.iter().map(|socket| socket.1).collect::<Vec<_>>();
        assert_eq!(numbers(rooms.members("x").collect()), [2]);
        assert_eq!(numbers(rooms.sockets().collect()), [2]);
        assert_eq!(rooms.get("a").map(|socket| socket.1), Some(2));
    }

    #[test]
    fn a_socket_joins_at_most_the_maximum_of_rooms() {
        let mut rooms = Rooms::default();
        rooms.insert(sid("a"));
        assert_eq!(rooms.join("a", sid("x"), 1), Ok(true));
        assert_eq!(rooms.join("a", sid("x"), 1), Ok(false));
        assert_eq!(rooms.join("a", sid("y"), 1), Err(TooManyRooms(1)));
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
