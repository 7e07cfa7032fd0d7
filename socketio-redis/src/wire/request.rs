//! Requests and commands between servers: JSON, except for events, which may be binary.

use std::time::Duration;

use bytestring::ByteString;
use rmp::encode::buffer::ByteBuf;
use serde::Serialize;
use socketio::{
    Room, Selector, Value,
    adapter::Broadcast,
    socket::packet::{Packet, Payload},
};

use super::{
    Budget, WireError,
    event::{read_packet, write_packet, write_selector},
    event_payload, flag,
    msgpack::{self, write_map, write_str, write_uint},
    number, read, rooms, selector, text,
};

/// The numbers of the requests. 8 and 9 are answers to 7.
pub(crate) mod kind {
    pub(crate) const SOCKETS: u64 = 0;
    pub(crate) const ALL_ROOMS: u64 = 1;
    pub(crate) const JOIN: u64 = 2;
    pub(crate) const LEAVE: u64 = 3;
    pub(crate) const DISCONNECT: u64 = 4;
    pub(crate) const FETCH: u64 = 5;
    pub(crate) const SERVER_SIDE_EMIT: u64 = 6;
    pub(crate) const BROADCAST: u64 = 7;
    pub(crate) const CLIENT_COUNT: u64 = 8;
    pub(crate) const ACK: u64 = 9;
}

/// A request of another server, or of this one: it receives its own.
#[derive(Debug, PartialEq)]
pub(crate) struct Request {
    /// The sender. Emitters omit it, or send `emitter`.
    pub(crate) uid: Option<String>,
    /// The id for the answers.
    pub(crate) id: Option<String>,
    pub(crate) what: What,
}

#[derive(Debug, PartialEq)]
pub(crate) enum What {
    /// The ids of sockets.
    Sockets(Selector),
    AllRooms,
    Join(Target, Vec<Room>),
    Leave(Target, Vec<Room>),
    Disconnect(Target, bool),
    /// Sockets with their data.
    Fetch(Selector),
    /// An event for the application.
    ServerSideEmit(Payload),
    /// An event for sockets that are to answer; `None` if it is for another namespace.
    Broadcast(Option<Asking>),
}

/// The selection of sockets.
#[derive(Debug, PartialEq)]
pub(crate) enum Target {
    Many(Selector),
    /// One socket, whose server has to answer. Adapters before version 6 send this.
    One(ByteString),
}

/// An event for sockets that are to answer.
#[derive(Debug, PartialEq)]
pub(crate) struct Asking {
    pub(crate) packet: Packet,
    pub(crate) to: Selector,
    /// The timeout for the answers, if it was sent.
    pub(crate) timeout: Option<Duration>,
}

/// Reads a request to the namespace `nsp`.
pub(crate) fn decode(message: &[u8], nsp: &str, budget: Budget) -> Result<Request, WireError> {
    let message = read(message, budget)?;
    let member = |name| message.get(name);
    let opts = || selector(member("opts").unwrap_or(&Value::Null));
    let target = || match (member("opts"), member("sid").and_then(text)) {
        (Some(opts), _) => Ok(Target::Many(selector(opts))),
        (None, Some(sid)) => Ok(Target::One(sid)),
        (None, None) => Err(WireError::Shape("the selection of sockets")),
    };
    // Several, or one: `room` goes with `sid`.
    let which = || match member("room").and_then(text) {
        Some(room) => vec![room],
        None => rooms(member("rooms")),
    };
    let what = match number(member("type")).ok_or(WireError::Shape("the request's type"))? {
        kind::SOCKETS => What::Sockets(Selector { rooms: rooms(member("rooms")), except: Vec::new() }),
        kind::ALL_ROOMS => What::AllRooms,
        kind::JOIN => What::Join(target()?, which()),
        kind::LEAVE => What::Leave(target()?, which()),
        kind::DISCONNECT => What::Disconnect(target()?, flag(Some(&message), "close")),
        kind::FETCH => What::Fetch(opts()),
        kind::SERVER_SIDE_EMIT => What::ServerSideEmit(event_payload(member("data"))?),
        kind::BROADCAST => {
            let flags = member("opts").and_then(|opts| opts.get("flags"));
            What::Broadcast(read_packet(member("packet"), nsp)?.map(|packet| Asking {
                packet,
                to: opts(),
                timeout: number(flags.and_then(|flags| flags.get("timeout"))).map(Duration::from_millis),
            }))
        }
        other => return Err(WireError::UnknownRequest(other)),
    };
    Ok(Request {
        uid: member("uid").and_then(Value::as_str).map(str::to_owned),
        id: member("requestId").and_then(Value::as_str).map(str::to_owned),
        what,
    })
}

/// A request in JSON. Missing members are omitted.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Json<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
    r#type: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    opts: Option<Opts<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rooms: Option<&'a [Room]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    close: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<serde_json::Value>,
}

#[derive(Serialize)]
struct Opts<'a> {
    rooms: &'a [Room],
    except: &'a [Room],
}

impl<'a> From<&'a Selector> for Opts<'a> {
    fn from(to: &'a Selector) -> Self {
        Self { rooms: &to.rooms, except: &to.except }
    }
}

/// Asks for all rooms.
pub(crate) fn encode_all_rooms(uid: &str, id: &str) -> Result<Vec<u8>, WireError> {
    json(&Json { uid: Some(uid), request_id: Some(id), r#type: kind::ALL_ROOMS, ..Json::default() })
}

/// Asks for sockets with their data.
pub(crate) fn encode_fetch(uid: &str, id: &str, to: &Selector) -> Result<Vec<u8>, WireError> {
    json(&Json { uid: Some(uid), request_id: Some(id), r#type: kind::FETCH, opts: Some(to.into()), ..Json::default() })
}

/// Puts sockets into rooms. Nobody answers; the id is for the sender, which receives the message, too.
pub(crate) fn encode_join(uid: &str, id: &str, to: &Selector, rooms: &[Room]) -> Result<Vec<u8>, WireError> {
    let opts = Some(to.into());
    json(&Json {
        uid: Some(uid),
        request_id: Some(id),
        r#type: kind::JOIN,
        opts,
        rooms: Some(rooms),
        ..Json::default()
    })
}

/// Removes sockets from rooms, like [`encode_join`].
pub(crate) fn encode_leave(uid: &str, id: &str, to: &Selector, rooms: &[Room]) -> Result<Vec<u8>, WireError> {
    let opts = Some(to.into());
    json(&Json {
        uid: Some(uid),
        request_id: Some(id),
        r#type: kind::LEAVE,
        opts,
        rooms: Some(rooms),
        ..Json::default()
    })
}

/// Disconnects sockets, like [`encode_join`].
pub(crate) fn encode_disconnect(uid: &str, id: &str, to: &Selector, close: bool) -> Result<Vec<u8>, WireError> {
    let opts = Some(to.into());
    json(&Json {
        uid: Some(uid),
        request_id: Some(id),
        r#type: kind::DISCONNECT,
        opts,
        close: Some(close),
        ..Json::default()
    })
}

/// Puts sockets into rooms, as an emitter does: without a sender and without answers.
pub(crate) fn encode_unsigned_join(to: &Selector, rooms: &[Room]) -> Result<Vec<u8>, WireError> {
    json(&Json { r#type: kind::JOIN, opts: Some(to.into()), rooms: Some(rooms), ..Json::default() })
}

/// Removes sockets from rooms, like [`encode_unsigned_join`].
pub(crate) fn encode_unsigned_leave(to: &Selector, rooms: &[Room]) -> Result<Vec<u8>, WireError> {
    json(&Json { r#type: kind::LEAVE, opts: Some(to.into()), rooms: Some(rooms), ..Json::default() })
}

/// Disconnects sockets, like [`encode_unsigned_join`].
pub(crate) fn encode_unsigned_disconnect(to: &Selector, close: bool) -> Result<Vec<u8>, WireError> {
    json(&Json { r#type: kind::DISCONNECT, opts: Some(to.into()), close: Some(close), ..Json::default() })
}

/// Sends an event to the application on the other servers. With an id it requests an answer.
pub(crate) fn encode_emit(uid: &str, id: Option<&str>, event: &Payload) -> Result<Vec<u8>, WireError> {
    let data = Some(node_json(event.to_value()?));
    json(&Json { uid: Some(uid), request_id: id, r#type: kind::SERVER_SIDE_EMIT, data, ..Json::default() })
}

fn json(request: &Json<'_>) -> Result<Vec<u8>, WireError> {
    Ok(serde_json::to_vec(request)?)
}

/// JSON with bytes as Node writes a `Buffer`.
pub(super) fn node_json(value: Value) -> serde_json::Value {
    use serde_json::Value as Json;
    match value {
        Value::Null => Json::Null,
        Value::Bool(value) => Json::Bool(value),
        Value::Number(number) => Json::Number(number),
        Value::String(text) => Json::String(text),
        Value::Array(items) => Json::Array(items.into_iter().map(node_json).collect()),
        Value::Object(members) => {
            Json::Object(members.into_iter().map(|(key, value)| (key, node_json(value))).collect())
        }
        Value::Binary(bytes) => serde_json::json!({ "type": "Buffer", "data": bytes.to_vec() }),
    }
}

/// Sends an event to sockets that are to answer: msgpack, since it may contain binary data.
pub(crate) fn encode_broadcast(
    uid: &str,
    id: &str,
    broadcast: &Broadcast,
    timeout: Duration,
) -> Result<Vec<u8>, WireError> {
    let Broadcast { packet, to, volatile, .. } = broadcast;
    let mut out = ByteBuf::with_capacity(packet.size() + 128);
    write_map(&mut out, 5);
    write_str(&mut out, "uid");
    write_str(&mut out, uid);
    write_str(&mut out, "requestId");
    write_str(&mut out, id);
    write_str(&mut out, "type");
    write_uint(&mut out, kind::BROADCAST);
    write_str(&mut out, "packet");
    write_packet(&mut out, packet.packet())?;
    write_str(&mut out, "opts");
    write_map(&mut out, 3);
    write_selector(&mut out, to);
    write_str(&mut out, "flags");
    write_map(&mut out, 1 + usize::from(*volatile));
    if *volatile {
        write_str(&mut out, "volatile");
        msgpack::write(&mut out, &true.into());
    }
    write_str(&mut out, "timeout");
    write_uint(&mut out, u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX));
    Ok(out.into_vec())
}
