//! Messages of the log as Socket.IO events, and clients' messages as messages of the log.

mod placeholders;

use std::sync::OnceLock;

use bytes::Bytes;
use serde::Serialize;
use shared::pure::{Cursor, Gap, Message, Payload, PayloadError, Publisher, stream::StreamEnd};
use socketio::{
    EncodedPacket,
    socket::packet::{Packet, Payload as Args},
};

/// The namespace of the chat.
pub(crate) const NAMESPACE: &str = "/";
/// The prefix of a room's channel.
pub(crate) const CHANNEL_OF_ROOM: &str = "chat.";
/// The event that reports a gap.
const GAP: &str = "gap";
/// The event that reports the end of a stream.
const END: &str = "end";

/// The overhead of an event in bytes, in each of its forms: its name, its `meta`, and their syntax.
const COST_BESIDE_DATA: usize = 512;

/// The metadata of a message: `{id, channel, room, from, time, user?}`.
#[derive(Serialize)]
pub(crate) struct Meta<'a> {
    pub(crate) id: Cursor,
    channel: &'a str,
    /// The room, if the channel belongs to one.
    room: Option<&'a str>,
    /// The author, if a chat client sent it.
    from: Option<&'a str>,
    time: u64,
    /// The user of the publisher's token, if it is shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
}

impl<'a> Meta<'a> {
    pub(crate) fn of(message: &'a Message, publisher: Publisher) -> Self {
        let channel = message.draft.channel.as_str();
        Self {
            id: message.id,
            channel,
            room: channel.strip_prefix(CHANNEL_OF_ROOM),
            from: message.draft.from.as_deref(),
            time: message.time(),
            user: message.draft.user.as_deref().filter(|_| publisher == Publisher::Shown),
        }
    }
}

/// A message as an event, in four forms: with and without the offset for connection state recovery as the last argument (without it, for
/// clients of Socket.IO 2), and with and without the user who published it.
#[derive(Default)]
pub(crate) struct Event([OnceLock<EncodedPacket>; 4]);

impl Event {
    /// The event of a message, encoded once for all sockets that get the same form.
    pub(crate) fn of(message: &Message, is_plain: bool, publisher: Publisher) -> EncodedPacket {
        let publisher = message.publisher(publisher);
        let encode = || event(message, (!is_plain).then(|| message.id.to_string()).as_deref(), publisher);
        let user = message.draft.user.as_ref().map_or(0, |user| user.len());
        // The arguments, and a frame of them in each of the two parsers.
        let cost = 3 * (COST_BESIDE_DATA + user + message.len());
        let known = |Self(forms): &Self| {
            let form = &forms[usize::from(is_plain) + 2 * usize::from(publisher == Publisher::Shown)];
            if form.get().is_none() && !message.has_room(cost) {
                return None;
            }
            let make = || {
                message.count(cost);
                encode()
            };
            Some(form.get_or_init(make).clone())
        };
        let shared = message.packet(size_of::<Self>(), |_| Self::default(), known).flatten();
        shared.unwrap_or_else(encode)
    }
}

/// `[event, data, meta, offset?]`, with the data unchanged.
pub(crate) fn event(message: &Message, offset: Option<&str>, publisher: Publisher) -> EncodedPacket {
    let draft = &message.draft;
    let meta = Meta::of(message, publisher);
    let mut json = format!("[{},{},{}", text(&*draft.event), draft.payload.placeholder_json(), text(&meta));
    if let Some(offset) = offset {
        json.push(',');
        json.push_str(&text(offset));
    }
    json.push(']');
    let args = Args::from_parts(json.into(), draft.payload.attachments().to_vec());
    Packet::event(NAMESPACE.into(), None, args).into()
}

/// Strings and structs of strings and numbers always serialize.
pub(crate) fn text<T: Serialize + ?Sized>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// A gap as an event.
pub(crate) fn gap(gap: &Gap, offset: Option<&str>) -> EncodedPacket {
    notice(GAP, gap, offset)
}

/// The end of a stream as an event.
pub(crate) fn end(end: &StreamEnd, offset: Option<&str>) -> EncodedPacket {
    notice(END, end, offset)
}

fn notice<T: Serialize>(event: &str, data: &T, offset: Option<&str>) -> EncodedPacket {
    let args = match offset {
        Some(offset) => EncodedPacket::event(NAMESPACE, event, &(data, offset)),
        None => EncodedPacket::event(NAMESPACE, event, data),
    };
    // Texts and cursors always serialize.
    args.unwrap_or_else(|_| {
        let args = Args::from_parts(format!("[{}]", text(event)).into(), Vec::new());
        Packet::event(NAMESPACE.into(), None, args).into()
    })
}

/// An argument of a client's event as the payload of a message: the JSON text unchanged, and those of the event's `attachments` that the
/// argument refers to.
pub(crate) fn payload(json: &str, attachments: &[Bytes]) -> Result<Payload, PayloadError> {
    if attachments.is_empty() {
        return Payload::from_json(json.as_bytes());
    }
    let (json, attachments) = placeholders::renumber(json, attachments);
    Payload::with_attachments(json.as_bytes(), attachments)
}

/// An earlier message as JSON text: its `meta`, its event, and its data, in which buffers are written `{"base64":…}`.
pub(crate) fn past(message: &Message, publisher: Publisher) -> String {
    let meta = text(&Meta::of(message, publisher));
    let meta = meta.strip_suffix('}').unwrap_or(&meta);
    let draft = &message.draft;
    format!("{meta},\"event\":{},\"data\":{}}}", text(&*draft.event), draft.payload.plain_json())
}
