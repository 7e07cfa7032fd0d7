//! Messages of the log as Socket.IO events, and what clients send as messages of the log.

mod placeholders;

use std::sync::OnceLock;

use bytes::Bytes;
use serde::Serialize;
use shared::pure::{Cursor, Gap, Message, Payload, PayloadError};
use socketio::{
    EncodedPacket,
    socket::packet::{Packet, Payload as Args},
};

/// The namespace of the chat.
pub(crate) const NAMESPACE: &str = "/";
/// What the channel of a room is called before the room's name.
pub(crate) const CHANNEL_OF_ROOM: &str = "chat.";
/// The event that says that something is lost.
const GAP: &str = "gap";

/// Bytes that an event takes beside its data, in each of its forms: its name, its `meta`, and what holds them.
const COST_BESIDE_DATA: usize = 512;

/// What comes with each message: `{id, channel, room, from, time}`.
#[derive(Serialize)]
pub(crate) struct Meta<'a> {
    pub(crate) id: Cursor,
    channel: &'a str,
    /// The room whose channel it is, if it is a room's.
    room: Option<&'a str>,
    /// Who said it, if a chat client did.
    from: Option<&'a str>,
    time: u64,
}

impl<'a> Meta<'a> {
    pub(crate) fn of(message: &'a Message) -> Self {
        let channel = message.draft.channel.as_str();
        Self {
            id: message.id,
            channel,
            room: channel.strip_prefix(CHANNEL_OF_ROOM),
            from: message.draft.from.as_deref(),
            time: message.time(),
        }
    }
}

/// A message as an event, in the two forms that clients need: with the offset that connection state recovery wants as the
/// last argument, and without it, for clients of Socket.IO 2.
pub(crate) struct Event {
    with_offset: EncodedPacket,
    plain: OnceLock<EncodedPacket>,
}

impl Event {
    /// The event of a message, encoded once for all sockets.
    pub(crate) fn of(message: &Message, is_plain: bool) -> EncodedPacket {
        let encode = |message: &Message| Self {
            with_offset: event(message, Some(&message.id.to_string())),
            plain: OnceLock::new(),
        };
        // The arguments, and a frame made of them in each of the two parsers that clients may have.
        let cost = 3 * (COST_BESIDE_DATA + message.len());
        let known = |known: &Self| {
            if !is_plain {
                return Some(known.with_offset.clone());
            }
            if known.plain.get().is_none() && !message.has_room(cost) {
                return None;
            }
            let make = || {
                message.count(cost);
                event(message, None)
            };
            Some(known.plain.get_or_init(make).clone())
        };
        let shared = message.packet(cost, encode, known).flatten();
        shared.unwrap_or_else(|| event(message, (!is_plain).then(|| message.id.to_string()).as_deref()))
    }
}

/// `[event, data, meta, offset?]`, the data as it was published.
pub(crate) fn event(message: &Message, offset: Option<&str>) -> EncodedPacket {
    let draft = &message.draft;
    let meta = Meta::of(message);
    let mut json = format!("[{},{},{}", text(&*draft.event), draft.payload.placeholder_json(), text(&meta));
    if let Some(offset) = offset {
        json.push(',');
        json.push_str(&text(offset));
    }
    json.push(']');
    let args = Args::from_parts(json.into(), draft.payload.attachments().to_vec());
    Packet::event(NAMESPACE.into(), None, args).into()
}

/// Strings and structs of strings and numbers, which cannot but serialize.
pub(crate) fn text<T: Serialize + ?Sized>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// A gap as an event.
pub(crate) fn gap(gap: &Gap, offset: Option<&str>) -> EncodedPacket {
    let args = match offset {
        Some(offset) => EncodedPacket::event(NAMESPACE, GAP, &(gap, offset)),
        None => EncodedPacket::event(NAMESPACE, GAP, gap),
    };
    // Cursors cannot but serialize.
    args.unwrap_or_else(|_| {
        Packet::event(NAMESPACE.into(), None, Args::from_parts("[\"gap\"]".into(), Vec::new())).into()
    })
}

/// An argument of a client's event as a message carries it: the JSON text as sent, and of the event's `attachments` those that the
/// argument refers to.
pub(crate) fn payload(json: &str, attachments: &[Bytes]) -> Result<Payload, PayloadError> {
    if attachments.is_empty() {
        return Payload::from_json(json.as_bytes());
    }
    let (json, attachments) = placeholders::renumber(json, attachments);
    Payload::with_attachments(json.as_bytes(), attachments)
}

/// A message of before as JSON text: its `meta`, its event, and its data, in which buffers read `{"base64":…}`.
pub(crate) fn past(message: &Message) -> String {
    let meta = text(&Meta::of(message));
    let meta = meta.strip_suffix('}').unwrap_or(&meta);
    let draft = &message.draft;
    format!("{meta},\"event\":{},\"data\":{}}}", text(&*draft.event), draft.payload.plain_json())
}
