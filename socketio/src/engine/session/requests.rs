//! Long-polling: at most one GET and one POST at a time, and the answer to the GET.
//!
//! A browser repeats a request when the reused connection breaks before the answer, and does not notify the page. Neither request is safe
//! to repeat: a GET takes messages, a POST brings them. The query parameter `t`, which clients choose anew for each request, distinguishes
//! a repetition from the next request.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    num::NonZeroU32,
};

use super::{Refused, Session, Transport};
use crate::{DisconnectReason, engine::packet::Packet};

/// The GET of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Poll {
    /// No GET is open.
    Idle,
    /// It waits and may carry anything.
    Open,
    /// It waits and is to be answered with a noop alone.
    Noop,
    /// It waits and is to be answered with the close packet alone.
    Close,
}

/// What a request has as its `t`, shortened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp(NonZeroU32);

impl Stamp {
    /// That of a request with this value of `t`.
    pub(crate) fn of(value: &str) -> Self {
        let mut hasher = DefaultHasher::new();
        value.hash(&mut hasher);
        // Two in four thousand million are mistaken for one another, at the cost of a reconnection.
        Self(NonZeroU32::new((hasher.finish() >> 32) as u32).unwrap_or(NonZeroU32::MAX))
    }
}

/// The stamps of the last GET and the last POST of a session.
#[derive(Debug, Default)]
pub(super) struct Stamps {
    poll: Option<Stamp>,
    post: Option<Stamp>,
    /// The client draws them anew. One that sends the same with each request says nothing by it.
    vary: bool,
}

impl Stamps {
    /// Whether a GET with this stamp is the last one again.
    fn is_repeated_poll(&mut self, stamp: Option<Stamp>) -> bool {
        let last = std::mem::replace(&mut self.poll, stamp);
        self.is_repetition(last, self.post, stamp)
    }

    /// Whether a POST with this stamp is the last one again.
    fn is_repeated_post(&mut self, stamp: Option<Stamp>) -> bool {
        let last = std::mem::replace(&mut self.post, stamp);
        self.is_repetition(last, self.poll, stamp)
    }

    fn is_repetition(&mut self, last: Option<Stamp>, other: Option<Stamp>, stamp: Option<Stamp>) -> bool {
        let Some(stamp) = stamp else { return false };
        self.vary |= [last, other].into_iter().flatten().any(|known| known != stamp);
        self.vary && last == Some(stamp)
    }
}

/// What a POST is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Posted {
    /// It brings packets.
    New,
    /// It is the last one again, whose packets have been taken.
    Repeated,
}

impl Session {
    /// A GET has arrived. On `Err` the session is closed: it was already, or another GET is open, which gets the close packet, or this GET
    /// repeats the last one, whose answer was lost together with its messages.
    pub(crate) fn begin_poll(&mut self, stamp: Option<Stamp>) -> Result<(), Refused> {
        // The session may have moved on since the request was let in.
        if self.is_closed() || self.transport != Transport::Polling {
            return Err(Refused);
        }
        if self.poll != Poll::Idle || self.stamps.is_repeated_poll(stamp) {
            self.finish(DisconnectReason::TransportError);
            return Err(Refused);
        }
        self.poll = Poll::Open;
        Ok(())
    }

    /// Whether a GET waits.
    pub(crate) fn has_poll(&self) -> bool {
        self.poll != Poll::Idle
    }

    /// The answer to the GET is complete.
    pub(crate) fn end_poll(&mut self) {
        self.poll = Poll::Idle;
    }

    /// The client abandoned the GET before it was answered. Packets may be lost, so the session has to end.
    pub(crate) fn abort_poll(&mut self) {
        if self.has_poll() {
            self.poll = Poll::Idle;
            if self.transport == Transport::Polling {
                self.finish(DisconnectReason::TransportError);
            }
        }
    }

    /// A POST has arrived. On `Err` the session is closed.
    pub(crate) fn begin_post(&mut self, stamp: Option<Stamp>) -> Result<Posted, Refused> {
        if self.is_closed() || self.transport != Transport::Polling {
            return Err(Refused);
        }
        if self.posting {
            self.finish(DisconnectReason::TransportError);
            return Err(Refused);
        }
        self.posting = true;
        Ok(if self.stamps.is_repeated_post(stamp) { Posted::Repeated } else { Posted::New })
    }

    /// The POST has ended.
    pub(crate) fn end_post(&mut self) {
        self.posting = false;
    }

    /// Sends the GET home with a noop.
    pub(super) fn release_poll(&mut self) {
        if self.poll == Poll::Open {
            self.poll = Poll::Noop;
        }
    }

    /// The packet that the GET is to be answered with.
    pub(super) fn answer_poll(&mut self) -> Packet {
        match std::mem::replace(&mut self.poll, Poll::Idle) {
            Poll::Close => Packet::Close,
            Poll::Idle | Poll::Open | Poll::Noop => Packet::Noop,
        }
    }
}
