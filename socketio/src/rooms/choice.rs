//! Who is chosen by rooms: each socket once, in about as many steps as there are rooms and members.

use std::collections::{HashMap, HashSet};

use bytestring::ByteString;

use super::{Room, Rooms, Selector};

/// Calls `f` once for each of `sockets` that matches.
pub(crate) fn each<T>(sockets: &HashMap<ByteString, T>, rooms: &Rooms, to: &Selector, mut f: impl FnMut(&T)) {
    let except = Except::new(rooms, &to.except);
    let mut call = |sid: &ByteString| {
        if let (false, Some(socket)) = (except.contains(sid), sockets.get(sid)) {
            f(socket);
        }
    };
    match to.rooms.as_slice() {
        [] => sockets.keys().for_each(call),
        [room] => members(sockets, rooms, room).for_each(call),
        several => {
            let mut met = HashSet::new();
            for sid in several.iter().flat_map(|room| members(sockets, rooms, room)) {
                if met.insert(sid) {
                    call(sid);
                }
            }
        }
    }
}

/// The members of a room, which may be a socket's own.
fn members<'a, T>(
    sockets: &'a HashMap<ByteString, T>,
    rooms: &'a Rooms,
    room: &'a Room,
) -> impl Iterator<Item = &'a ByteString> {
    sockets.get_key_value(room).map(|(sid, _)| sid).into_iter().chain(rooms.members(room))
}

/// Who is left out.
enum Except<'a> {
    /// A few rooms: asked one by one.
    Rooms(&'a Rooms, &'a [Room]),
    /// The members of many.
    Sockets(HashSet<&'a str>),
}

/// Up to this many rooms, looking into each costs less than collecting their members.
const A_FEW: usize = 4;

impl<'a> Except<'a> {
    fn new(rooms: &'a Rooms, except: &'a [Room]) -> Self {
        if except.len() <= A_FEW {
            return Self::Rooms(rooms, except);
        }
        let own = except.iter().map(|room| &**room);
        let members = except.iter().flat_map(|room| rooms.members(room)).map(|sid| &**sid);
        Self::Sockets(own.chain(members).collect())
    }

    fn contains(&self, sid: &ByteString) -> bool {
        match self {
            Self::Rooms(rooms, except) => except.iter().any(|room| rooms.contains(room, sid)),
            Self::Sockets(sockets) => sockets.contains(&**sid),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::LOOKUPS;
    use super::*;

    /// As many sockets as rooms, socket `n` in room `n` alone.
    fn world(count: usize) -> (HashMap<ByteString, usize>, Rooms, Vec<Room>) {
        let (mut sockets, mut rooms, mut names) = (HashMap::new(), Rooms::default(), Vec::new());
        for n in 0..count {
            let (sid, room) = (ByteString::from(format!("sid-{n}")), ByteString::from(format!("room-{n}")));
            assert_eq!(rooms.join(&sid, room.clone(), 0), Ok(true));
            sockets.insert(sid, n);
            names.push(room);
        }
        (sockets, rooms, names)
    }

    fn chosen(world: &(HashMap<ByteString, usize>, Rooms, Vec<Room>), to: &Selector) -> (usize, usize) {
        let before = LOOKUPS.get();
        let mut met = HashSet::new();
        each(&world.0, &world.1, to, |socket| assert!(met.insert(*socket), "{socket} is met twice"));
        (met.len(), LOOKUPS.get() - before)
    }

    /// Case 11.3: the steps of a broadcast to many rooms, or to all but many, grow with the rooms and not with their square.
    #[test]
    fn many_rooms_are_looked_up_once_each() {
        const COUNT: usize = 4_000;
        let world = world(COUNT);
        let all = world.2.clone();
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
        let several = Selector { rooms: vec![own[0].clone(), world.2[0].clone(), own[1].clone()], except: vec![] };
        assert_eq!(chosen(&world, &several).0, 2);
        assert_eq!(chosen(&world, &Selector::one(own[3].clone())).0, 1);
        assert_eq!(chosen(&world, &Selector { rooms: vec![], except: own[..6].to_vec() }).0, 4);
        assert_eq!(chosen(&world, &Selector { rooms: vec![], except: own[..2].to_vec() }).0, 8);
    }
}
