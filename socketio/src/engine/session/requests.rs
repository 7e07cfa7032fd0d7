//! Long-polling: at most one GET and one POST at a time, and what the GET is answered with.

use super::{Refused, Session, Transport};
use crate::{DisconnectReason, engine::packet::Packet};

/// The GET of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Poll {
    /// There is none.
    Idle,
    /// It waits and may carry anything.
    Open,
    /// It waits and is to be answered with a noop alone.
    Noop,
    /// It waits and is to be answered with the close packet alone.
    Close,
}

impl Session {
    /// A GET has come. On `Err` the session is closed and the earlier GET gets the close packet.
    pub fn begin_poll(&mut self) -> Result<(), Refused> {
        // The session may have moved on since the request was let in.
        if self.is_closed() || self.transport != Transport::Polling {
            return Err(Refused);
        }
        if self.poll != Poll::Idle {
            self.finish(DisconnectReason::TransportError);
            return Err(Refused);
        }
        self.poll = Poll::Open;
        Ok(())
    }

    /// Whether a GET waits.
    pub fn has_poll(&self) -> bool {
        self.poll != Poll::Idle
    }

    /// The answer to the GET is complete.
    pub fn end_poll(&mut self) {
        self.poll = Poll::Idle;
    }

    /// The client gave up the GET before it was answered: packets may be lost, so the session cannot go on.
    pub fn abort_poll(&mut self) {
        if self.has_poll() {
            self.poll = Poll::Idle;
            if self.transport == Transport::Polling {
                self.finish(DisconnectReason::TransportError);
            }
        }
    }

    /// A POST has come. On `Err` the session is closed.
    pub fn begin_post(&mut self) -> Result<(), Refused> {
        if self.is_closed() || self.transport != Transport::Polling {
            return Err(Refused);
        }
        if self.posting {
            self.finish(DisconnectReason::TransportError);
            return Err(Refused);
        }
        self.posting = true;
        Ok(())
    }

    /// The POST is over.
    pub fn end_post(&mut self) {
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
