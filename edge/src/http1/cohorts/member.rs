//! A parked connection: what is left of it, its place in the order of its cohort, and how it leaves.

use std::{net::TcpStream, task::Waker};

use actix_web::http::StatusCode;
use bytes::{Bytes, BytesMut};
use shared::live::reader::cohort::Place;
use slab::Slab;

use super::super::{
    answer::{Sending, WaitingRequest},
    clock::{Clock, NEVER},
    connection::Remains,
    quiet::Quiet,
    request::Routed,
    sockets::Socket,
};
use crate::{layer::Counted, limits::Slot, metrics::Unparked, response::OwnAnswer, stream::Own};

/// A parked connection. Everything before its place was passed to the kernel.
pub(super) struct Member {
    pub(super) socket: TcpStream,
    pub(super) place: Place,
    /// When its stream ends, in milliseconds of the worker's clock.
    pub(super) end: u64,
    /// When it has to leave, as far as is known.
    pub(super) due: u64,
    pub(super) kept: Kept,
    pub(super) quiet: Quiet,
    /// How often it left because its client took too little, before it was parked again.
    pub(super) slow: u8,
    /// The number of bytes that its client sent although no further request is read.
    pub(super) discarded: usize,
    /// What counts the connection for as long as it lasts.
    pub(super) accepted: Socket,
    /// The key of its cohort.
    pub(super) cohort: usize,
    pub(super) links: Links,
}

/// What a member continues as.
pub(super) enum Kept {
    /// A stream.
    Stream {
        own: Box<dyn Own>,
        counted: Option<Counted>,
        /// Called when others have sent something to its client.
        waker: Option<Waker>,
    },
    /// A request that waits for its answer.
    Answer { own: Box<dyn OwnAnswer>, slot: Slot, request: Box<WaitingRequest> },
}

/// What a connection does that is not parked any more.
pub(super) enum Then {
    /// It sends the rest of a stream.
    Send(Sending),
    /// It answers its request alone.
    Answer(Box<Routed>),
    /// It has been answered, and sends what is left of that; then it serves the next request, or is closed. It waited from
    /// `since` on.
    Next { keeps: bool, guards: (Slot, Counted), since: u64 },
}

/// A connection that is not parked any more.
pub(super) struct Departed {
    pub(super) socket: TcpStream,
    pub(super) accepted: Socket,
    pub(super) remains: Remains,
    pub(super) then: Then,
}

/// How a member leaves.
pub(super) enum Exit {
    /// Its connection is lost.
    Lost,
    /// It continues alone.
    Alone(Unparked),
    /// It continues alone from `place`, once its client has taken `rest`.
    Slow { place: Place, rest: Vec<Bytes> },
    /// It continues alone with what its client has sent.
    Received(BytesMut),
    /// It was answered, with this status, but for `rest`, which its client has not taken yet. Another request may follow.
    Answered { rest: Vec<Bytes>, keeps: bool, status: StatusCode },
}

impl Exit {
    /// What it is counted as.
    pub(super) fn reason(&self) -> Unparked {
        match self {
            Self::Lost => Unparked::Closed,
            Self::Alone(reason) => *reason,
            Self::Slow { .. } => Unparked::Slow,
            Self::Received(_) => Unparked::Received,
            Self::Answered { .. } => Unparked::Answered,
        }
    }
}

impl Member {
    /// When it has to leave: at its end, if its client has not answered by then, or at once if it was ended from outside.
    pub(super) fn next_due(&self, clock: &Clock) -> u64 {
        if self.is_ended() {
            return 0;
        }
        // A moment later, so that it is too late then.
        let deadline = match &self.kept {
            Kept::Stream { own, .. } => own.deadline(),
            Kept::Answer { .. } => None,
        };
        let deadline = deadline.map_or(NEVER, |deadline| clock.millis(deadline).saturating_add(1));
        self.end.min(deadline)
    }

    /// Whether it has been ended from outside.
    pub(super) fn is_ended(&self) -> bool {
        match &self.kept {
            Kept::Stream { own, .. } => own.is_ended(),
            Kept::Answer { own, .. } => own.is_ended(),
        }
    }

    /// Has `waker` called when it is ended from outside.
    pub(super) fn wait_for_end(&self, waker: &Waker) {
        match &self.kept {
            Kept::Stream { own, .. } => own.wait_for_end(waker),
            Kept::Answer { own, .. } => own.wait_for_end(waker),
        }
    }
}

/// The neighbours of a member in the list of its cohort.
#[derive(Clone, Copy)]
pub(super) struct Links {
    before: u32,
    after: u32,
}

/// No member.
const NONE: u32 = u32::MAX;

impl Default for Links {
    fn default() -> Self {
        Self { before: NONE, after: NONE }
    }
}

/// All members of a worker.
pub(super) type Members = Slab<Member>;

/// The members of a cohort in the order of their places, in which they are served: whoever was served last is at the back.
pub(super) struct List {
    front: u32,
    back: u32,
}

impl Default for List {
    fn default() -> Self {
        Self { front: NONE, back: NONE }
    }
}

impl List {
    /// The member that is served next.
    pub(super) fn front(&self) -> Option<u32> {
        (self.front != NONE).then_some(self.front)
    }

    /// The member behind this one.
    pub(super) fn after(members: &Members, key: u32) -> Option<u32> {
        let after = members[key as usize].links.after;
        (after != NONE).then_some(after)
    }

    /// Adds a member at the back. Nobody in the list has a later place.
    pub(super) fn push_back(&mut self, members: &mut Members, key: u32) {
        debug_assert!(
            self.back == NONE || members[self.back as usize].place.cursor() <= members[key as usize].place.cursor(),
            "a member would be passed over"
        );
        members[key as usize].links = Links { before: self.back, after: NONE };
        match self.back {
            NONE => self.front = key,
            back => members[back as usize].links.after = key,
        }
        self.back = key;
    }

    /// Adds a member behind all whose places are not later than its own. `near` is a member that may be its neighbour. Returns whether it is at the back.
    pub(super) fn insert(&mut self, members: &mut Members, key: u32, near: Option<u32>) -> bool {
        let place = members[key as usize].place.cursor();
        let is_before = |one: u32| members[one as usize].place.cursor() <= place;
        let is_last_before =
            |one: &u32| is_before(*one) && Self::after(members, *one).is_none_or(|after| !is_before(after));
        let mut before = near.filter(is_last_before).or((self.back != NONE).then_some(self.back));
        while let Some(one) = before.filter(|one| !is_before(*one)) {
            before = Self::before(members, one);
        }
        let after = before.map_or(self.front, |before| members[before as usize].links.after);
        let before = before.unwrap_or(NONE);
        members[key as usize].links = Links { before, after };
        match before {
            NONE => self.front = key,
            before => members[before as usize].links.after = key,
        }
        match after {
            NONE => self.back = key,
            after => members[after as usize].links.before = key,
        }
        after == NONE
    }

    fn before(members: &Members, key: u32) -> Option<u32> {
        let before = members[key as usize].links.before;
        (before != NONE).then_some(before)
    }

    /// Removes a member, wherever it is.
    pub(super) fn remove(&mut self, members: &mut Members, key: u32) {
        let Links { before, after } = std::mem::take(&mut members[key as usize].links);
        match before {
            NONE => self.front = after,
            before => members[before as usize].links.after = after,
        }
        match after {
            NONE => self.back = before,
            after => members[after as usize].links.before = before,
        }
    }

    /// Moves a member to the back.
    pub(super) fn move_to_back(&mut self, members: &mut Members, key: u32) {
        if self.back != key {
            self.remove(members, key);
            self.push_back(members, key);
        }
    }
}
