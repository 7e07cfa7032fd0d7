//! Who is chosen by rooms: each socket once, in about as many steps as there are rooms and members.

use std::{borrow::Borrow, collections::HashSet, hash::Hash};

use super::{Room, Rooms, Selector};

/// Calls `f` once for each socket that matches.
pub(crate) fn each<S: Clone + Eq + Hash + Borrow<str>>(rooms: &Rooms<S>, to: &Selector, mut f: impl FnMut(&S)) {
    let except = Except::new(rooms, &to.except);
    let mut call = |socket: &S| {
        if !except.contains(socket.borrow()) {
            f(socket);
        }
    };
    match to.rooms.as_slice() {
        [] => rooms.sockets().for_each(call),
        [room] => members(rooms, room).for_each(call),
        several => {
            let mut met = HashSet::new();
            for socket in several.iter().flat_map(|room| members(rooms, room)) {
                if met.insert(socket) {
                    call(socket);
                }
            }
        }
    }
}

/// The members of a room, which may be a socket's own.
fn members<'a, S: Clone + Eq + Hash + Borrow<str>>(rooms: &'a Rooms<S>, room: &'a Room) -> impl Iterator<Item = &'a S> {
    rooms.get(room).into_iter().chain(rooms.members(room))
}

/// Who is left out.
enum Except<'a, S> {
    /// A few rooms: asked one by one.
    Rooms(&'a Rooms<S>, &'a [Room]),
    /// The members of many.
    Sockets(HashSet<&'a str>),
}

/// Up to this many rooms, looking into each costs less than collecting their members.
const A_FEW: usize = 4;

impl<'a, S: Clone + Eq + Hash + Borrow<str>> Except<'a, S> {
    fn new(rooms: &'a Rooms<S>, except: &'a [Room]) -> Self {
        if except.len() <= A_FEW {
            return Self::Rooms(rooms, except);
        }
        let own = except.iter().map(|room| &**room);
        let members = except.iter().flat_map(|room| rooms.members(room)).map(Borrow::borrow);
        Self::Sockets(own.chain(members).collect())
    }

    fn contains(&self, sid: &str) -> bool {
        match self {
            Self::Rooms(rooms, except) => except.iter().any(|room| rooms.contains(room, sid)),
            Self::Sockets(sockets) => sockets.contains(sid),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytestring::ByteString;

    use super::super::LOOKUPS;
    use super::*;

    /// As many sockets as rooms, socket `n` in room `n` alone.
    fn world(count: usize) -> (Rooms<ByteString>, Vec<Room>) {
        let (mut rooms, mut names) = (Rooms::default(), Vec::new());
        for n in 0..count {
            let (sid, room) = (ByteString::from(format!("sid-{n}")), ByteString::from(format!("room-{n}")));
            rooms.insert(sid.clone());
            assert_eq!(rooms.join(&sid, room.clone(), 0), Ok(true));
            names.push(room);
        }
        (rooms, names)
    }

    fn chosen(world: &(Rooms<ByteString>, Vec<Room>), to: &Selector) -> (usize, usize) {
        let before = LOOKUPS.get();
        let mut met = HashSet::new();
        each(&world.0, to, |socket| assert!(met.insert(socket.clone()), "{socket} is met twice"));
        (met.len(), LOOKUPS.get() - before)
    }

    /// Case 11.3: the steps of a broadcast to many rooms, or to all but many, grow with the rooms and not with their square.
    #[test]
    fn many_rooms_are_looked_up_once_each() {
        const COUNT: usize = 4_000;
        let world = world(COUNT);
        let all = world.1.clone();
        let (half, rest) = (all[..COUNT / 2].to_vec(), COUNT / 2);
        for (to, except, expected) in [
            (all.clone(), vec![], COUNT),
            (vec![], all.clone(), 0),
            (vec![], half.clone(), rest),
            (all.clone(), half.clone(), rest),
            (all.iter().chain(&all).cloned().collect(), half, rest),
        ] {
            let (met, lookups) = chosen(&world, &Selector { rooms: to, except });
            assert_eq!(met, expected);
            assert!(lookups <= 8 * COUNT, "{lookups} lookups for {COUNT} rooms");
        }
    }

    #[test]
    fn a_socket_is_a_room_too() {
        let world = world(10);
        let own: Vec<Room> = (0..10).map(|n| format!("sid-{n}").into()).collect();
        let several = Selector { rooms: vec![own[0].clone(), world.1[0].clone(), own[1].clone()], except: vec![] };
        assert_eq!(chosen(&world, &several).0, 2);
        assert_eq!(chosen(&world, &Selector::one(own[3].clone())).0, 1);
        assert_eq!(chosen(&world, &Selector { rooms: vec![], except: own[..6].to_vec() }).0, 4);
        assert_eq!(chosen(&world, &Selector { rooms: vec![], except: own[..2].to_vec() }).0, 8);
    }
}
