//! Socket.IO packets, whatever parser carries them.
//!
//! A packet's data stays as it is on the wire of the default parser: JSON text and the attachments it points to
//! ([`Payload`]). Serde reads the user's types straight out of the text and writes them straight into it.
//!
//! Specification: Socket.IO protocol 5, "Packet types".

use std::borrow::Cow;

use bytes::Bytes;
use bytestring::ByteString;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::args;
pub use super::reserved::{RESERVED_EVENTS, is_reserved};
use crate::value::{self, Value, json};

/// What a packet is for.
///
/// The wire knows two more, "binary event" (5) and "binary ack" (6): these are [`Event`](Self::Event) and
/// [`Ack`](Self::Ack) whose payload has attachments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `0`: joins a namespace; from the server, the confirmation.
    Connect,
    /// `1`: leaves a namespace.
    Disconnect,
    /// `2`: an event with its arguments.
    Event,
    /// `3`: the answer to an event that asked for one.
    Ack,
    /// `4`: the server's refusal of a `Connect`.
    ConnectError,
}

/// One Socket.IO packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// What it is for.
    pub kind: Kind,
    /// Its namespace, with the slash. Clients of Socket.IO 2 may add a query string in a `Connect`.
    pub nsp: ByteString,
    /// The number that ties an event and its acknowledgement together.
    pub id: Option<u64>,
    /// Its data; always there in an `Event` and an `Ack`, where it is an array.
    pub payload: Option<Payload>,
}

impl Packet {
    /// A packet without data or id.
    pub fn new(kind: Kind, nsp: ByteString) -> Self {
        Self { kind, nsp, id: None, payload: None }
    }

    /// An event. With an `id` it asks for an acknowledgement.
    pub fn event(nsp: ByteString, id: Option<u64>, payload: Payload) -> Self {
        Self { kind: Kind::Event, nsp, id, payload: Some(payload) }
    }

    /// The acknowledgement of event `id`.
    pub fn ack(nsp: ByteString, id: u64, payload: Payload) -> Self {
        Self { kind: Kind::Ack, nsp, id: Some(id), payload: Some(payload) }
    }

    /// The name, if this is an event.
    pub fn event_name(&self) -> Option<Cow<'_, str>> {
        match self.kind {
            Kind::Event => self.payload.as_ref()?.event_name(),
            _ => None,
        }
    }

    /// The attachments; none for most packets.
    pub fn attachments(&self) -> &[Bytes] {
        self.payload.as_ref().map_or(&[], |payload| &payload.attachments)
    }
}

/// The data of a packet: JSON text, and the attachments for its placeholders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload {
    json: ByteString,
    attachments: Vec<Bytes>,
}

impl Payload {
    /// A payload of parts. The caller vouches that `json` is JSON and its placeholders name attachments.
    pub fn from_parts(json: ByteString, attachments: Vec<Bytes>) -> Self {
        Self { json, attachments }
    }

    /// Data as it is, without attachments: bytes in it become arrays of numbers. For `Connect` and `ConnectError`.
    ///
    /// # Errors
    /// When `data` fails to serialize.
    pub fn plain<T: Serialize + ?Sized>(data: &T) -> Result<Self, serde_json::Error> {
        Ok(Self::from_parts(serde_json::to_string(data)?.into(), Vec::new()))
    }

    /// The event `name` with its arguments. A tuple in `args` is that many arguments, `()` is no argument, anything else is one.
    ///
    /// Bytes in `args` ([`Binary`](crate::value::Binary)) become attachments.
    ///
    /// # Errors
    /// When `args` fails to serialize.
    pub fn event<T: Serialize + ?Sized>(name: &str, args: &T) -> Result<Self, serde_json::Error> {
        args::write(Some(name), args).map(|(json, attachments)| Self { json, attachments })
    }

    /// The arguments of an acknowledgement, given as in [`event`](Self::event).
    ///
    /// # Errors
    /// When `args` fails to serialize.
    pub fn ack<T: Serialize + ?Sized>(args: &T) -> Result<Self, serde_json::Error> {
        args::write(None, args).map(|(json, attachments)| Self { json, attachments })
    }

    /// A payload of any data; an event's is an array whose first item is the name.
    ///
    /// # Errors
    /// Never, as long as numbers and strings serialize.
    pub fn from_value(data: &Value) -> Result<Self, serde_json::Error> {
        let (json, attachments) = json::write(data)?;
        Ok(Self::from_parts(json.into(), attachments))
    }

    /// The JSON text.
    pub fn json(&self) -> &ByteString {
        &self.json
    }

    /// The attachments that the placeholders in the text refer to, in order.
    pub fn attachments(&self) -> &[Bytes] {
        &self.attachments
    }

    /// Bytes of text and attachments together.
    pub fn len(&self) -> usize {
        self.json.len() + self.attachments.iter().map(Bytes::len).sum::<usize>()
    }

    /// Whether there is neither text nor attachment; no payload of a valid packet is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Splits the payload into its JSON and its attachments.
    pub fn into_parts(self) -> (ByteString, Vec<Bytes>) {
        (self.json, self.attachments)
    }

    /// The name, if this is the payload of an event. A number in its place is read as its digits.
    pub fn event_name(&self) -> Option<Cow<'_, str>> {
        args::name(&self.json)
    }

    /// The arguments behind the name of an event. `T` as in [`event`](Self::event): a tuple takes as many arguments as it has members, `()`
    /// takes none, anything else takes the first. Extra arguments are ignored. A missing argument is null if `T` has an `Option` there.
    ///
    /// # Errors
    /// When an argument is missing or of another shape than `T` says.
    pub fn event_args<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        args::read(&self.json, &self.attachments, 1)
    }

    /// The arguments of an acknowledgement, as in [`event_args`](Self::event_args).
    ///
    /// # Errors
    /// As there.
    pub fn ack_args<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        args::read(&self.json, &self.attachments, 0)
    }

    /// Deserializes the payload into `T`, for example the `auth` of a `Connect`.
    ///
    /// # Errors
    /// When it has another shape than `T`.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        if self.attachments.is_empty() { serde_json::from_str(&self.json) } else { value::from_value(self.to_value()?) }
    }

    /// The whole as a value, to look into data of unknown shape.
    ///
    /// # Errors
    /// When a number exceeds 64-bit floats, a string contains an unpaired surrogate, or nesting is too deep.
    pub fn to_value(&self) -> Result<Value, serde_json::Error> {
        json::parse(&self.json, &self.attachments)
    }

    /// The same event with one more argument, a string, at its end: the offset of connection state recovery.
    ///
    /// What is not an array stays as it is.
    #[must_use]
    pub fn with_string_arg(&self, arg: &str) -> Self {
        Self { json: args::append_string(&self.json, arg), attachments: self.attachments.clone() }
    }
}

#[cfg(test)]
mod tests;
