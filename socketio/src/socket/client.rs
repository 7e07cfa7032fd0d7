//! The Socket.IO side of one connection as a state machine: messages and the time go in, what they ask for comes out.
//!
//! ```text
//! message ─▶ parser (text or msgpack, by the first packet) ─▶ order of packets checked ─▶ Input for a namespace
//! ```
//!
//! It knows which namespaces the client is in and what it may send next, and nothing of sockets, handlers or clocks. After each call
//! that takes `&mut self` the caller looks at [`Client::deadline`] again.

#[cfg(test)]
mod tests;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytestring::ByteString;

#[cfg(feature = "msgpack")]
use super::msgpack;
use super::{
    assemble::{Assembler, Limits},
    packet::{Kind, Packet, Payload},
};
use crate::{
    DisconnectReason,
    engine::{Data, Form},
};

/// Bounds and times, the same for all connections of a server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClientConfig {
    /// How long a connection may stay without ever having joined a namespace.
    pub(crate) connect_timeout: Duration,
    /// How long the attachments of a packet may take.
    pub(crate) binary_timeout: Duration,
    /// Namespaces at one time.
    pub(crate) max_namespaces: usize,
    /// Whether the first packet may be a msgpack one.
    #[cfg(feature = "msgpack")]
    pub(crate) msgpack: bool,
    /// Bounds on one packet.
    pub(crate) limits: Limits,
}

/// What a message asks for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Input {
    /// To join a namespace. The state waits for [`Client::joined`] or [`Client::refused`].
    Connect {
        /// The namespace's name, with a query behind it from clients of Socket.IO 2.
        nsp: ByteString,
        /// An object, if there is one.
        auth: Option<Payload>,
    },
    /// To handle an event.
    Event {
        /// The namespace.
        nsp: ByteString,
        /// The client wants this answered.
        id: Option<u64>,
        /// `["name", …]`.
        payload: Payload,
    },
    /// Receives the answer to one of the server's own events.
    Ack {
        /// The namespace.
        nsp: ByteString,
        /// Which event.
        id: u64,
        /// The answer's arguments.
        payload: Payload,
    },
    /// To leave a namespace, which has been done.
    Disconnect {
        /// The namespace.
        nsp: ByteString,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Member {
    /// Asked to join and is being looked at.
    Joining,
    Joined,
    /// Taken out by the server. What the client had sent before it knew is no offence.
    Removed,
}

#[derive(Debug)]
enum Parser {
    /// No packet yet: the first one shows it by being text or binary.
    Unknown,
    Text(Assembler),
    #[cfg(feature = "msgpack")]
    Msgpack,
}

/// The state of one connection.
#[derive(Debug)]
pub(crate) struct Client {
    config: Arc<ClientConfig>,
    parser: Parser,
    members: Vec<(ByteString, Member)>,
    connect_deadline: Option<Instant>,
    binary_deadline: Option<Instant>,
}

impl Client {
    /// A connection that has just opened.
    pub(crate) fn new(config: Arc<ClientConfig>, now: Instant) -> Self {
        Self {
            parser: Parser::Unknown,
            members: Vec::new(),
            connect_deadline: Some(now + config.connect_timeout),
            config,
            binary_deadline: None,
        }
    }

    /// The encoding that the client speaks, known from its first packet.
    pub(crate) fn form(&self) -> Form {
        match self.parser {
            #[cfg(feature = "msgpack")]
            Parser::Msgpack => Form::Msgpack,
            Parser::Unknown | Parser::Text(_) => Form::Text,
        }
    }

    /// Bytes of a packet whose attachments have not all come.
    pub(crate) fn unfinished(&self) -> usize {
        match &self.parser {
            Parser::Text(assembler) => assembler.bytes(),
            _ => 0,
        }
    }

    /// Takes a message in.
    ///
    /// # Errors
    /// The reason for which the connection is to be closed.
    pub(crate) fn on_message(&mut self, message: Data, now: Instant) -> Result<Option<Input>, DisconnectReason> {
        let packet = self.parse(message).map_err(|error| {
            log::debug!("not a packet: {error}");
            DisconnectReason::ParseError
        })?;
        let waiting = matches!(&self.parser, Parser::Text(assembler) if assembler.is_waiting());
        self.binary_deadline = match (waiting, self.binary_deadline) {
            (false, _) => None,
            (true, None) => Some(now + self.config.binary_timeout),
            (true, since) => since,
        };
        match packet {
            Some(packet) => self.on_packet(packet),
            None => Ok(None),
        }
    }

    fn parse(&mut self, message: Data) -> Result<Option<Packet>, super::text::ParseError> {
        if matches!(self.parser, Parser::Unknown) {
            self.parser = match message {
                #[cfg(feature = "msgpack")]
                Data::Binary(_) if self.config.msgpack => Parser::Msgpack,
                _ => Parser::Text(Assembler::new(self.config.limits)),
            };
        }
        match (&mut self.parser, message) {
            (Parser::Text(assembler), Data::Text(text)) => assembler.text(&text),
            (Parser::Text(assembler), Data::Binary(bytes)) => assembler.binary(bytes),
            #[cfg(feature = "msgpack")]
            (Parser::Msgpack, Data::Binary(bytes)) => msgpack::decode(&bytes, self.config.limits).map(Some),
            // The parser is known by now.
            (_, Data::Binary(_)) => Err(super::text::ParseError::UnexpectedBinary),
            (_, Data::Text(_)) => Err(super::text::ParseError::UnexpectedText),
        }
    }

    fn on_packet(&mut self, packet: Packet) -> Result<Option<Input>, DisconnectReason> {
        let Packet { kind, nsp, id, payload } = packet;
        let member = self.member(&nsp);
        match (kind, member, payload) {
            (Kind::Connect, None | Some(Member::Removed), auth) => {
                // The query that clients of Socket.IO 2 add is no part of the name.
                let bare = match nsp.split_once('?') {
                    Some((name, _)) => ByteString::from(name),
                    None => nsp.clone(),
                };
                if matches!(self.member(&bare), Some(Member::Joining | Member::Joined))
                    || self.members.len() >= self.config.max_namespaces
                {
                    return Err(DisconnectReason::ForcedServerClose);
                }
                self.set(&bare, Some(Member::Joining));
                Ok(Some(Input::Connect { nsp, auth }))
            }
            (Kind::Event, Some(Member::Joined), Some(payload)) => Ok(Some(Input::Event { nsp, id, payload })),
            (Kind::Ack, Some(Member::Joined), Some(payload)) => Ok(id.map(|id| Input::Ack { nsp, id, payload })),
            (Kind::Disconnect, Some(Member::Joined), _) => {
                self.set(&nsp, None);
                Ok(Some(Input::Disconnect { nsp }))
            }
            (Kind::Event | Kind::Ack, Some(Member::Removed), _) => Ok(None),
            (Kind::Disconnect, Some(Member::Removed), _) => {
                self.set(&nsp, None);
                Ok(None)
            }
            _ => Err(DisconnectReason::ForcedServerClose),
        }
    }

    /// Puts the client into a namespace without its asking: what Socket.IO 2 does for `/`.
    pub(crate) fn join_unasked(&mut self, nsp: &ByteString) {
        self.set(nsp, Some(Member::Joining));
    }

    /// The namespace took the client. False: it no longer waits for that.
    pub(crate) fn joined(&mut self, nsp: &ByteString) -> bool {
        let joining = self.member(nsp) == Some(Member::Joining);
        if joining {
            self.set(nsp, Some(Member::Joined));
            self.connect_deadline = None;
        }
        joining
    }

    /// The namespace refused the client.
    pub(crate) fn refused(&mut self, nsp: &ByteString) {
        if self.member(nsp) == Some(Member::Joining) {
            self.set(nsp, None);
        }
    }

    /// The server took the client out.
    pub(crate) fn removed(&mut self, nsp: &ByteString) {
        if self.member(nsp) == Some(Member::Joined) {
            self.set(nsp, Some(Member::Removed));
        }
    }

    /// When [`Client::on_deadline`] is to be called.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match (self.connect_deadline, self.binary_deadline) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// The time is `now`. Returns the reason to close the connection, if there is one.
    pub(crate) fn on_deadline(&mut self, now: Instant) -> Option<Overdue> {
        if self.binary_deadline.is_some_and(|at| at <= now) {
            self.binary_deadline = None;
            return Some(Overdue::Binary);
        }
        if self.connect_deadline.is_some_and(|at| at <= now) {
            self.connect_deadline = None;
            return Some(Overdue::Connect);
        }
        None
    }

    fn member(&self, nsp: &ByteString) -> Option<Member> {
        self.members.iter().find_map(|(name, member)| (name == nsp).then_some(*member))
    }

    fn set(&mut self, nsp: &ByteString, member: Option<Member>) {
        self.members.retain(|(name, _)| name != nsp);
        if let Some(member) = member {
            // Nearly all clients are in one namespace, and in it for good.
            self.members.reserve_exact(1);
            self.members.push((nsp.clone(), member));
        }
    }
}

/// What did not come in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Overdue {
    /// The wish to join any namespace.
    Connect,
    /// The attachments of a packet.
    Binary,
}
