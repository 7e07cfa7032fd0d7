//! Answers between servers.

use std::net::IpAddr;

use bytestring::ByteString;
use rmp::encode::buffer::ByteBuf;
use serde::{Serialize, Serializer, ser::SerializeStruct as _};
use socketio::{Room, Socket, SocketData, SocketInfo, Value, socket::packet::Payload};

use super::{
    Budget, WireError,
    msgpack::{self, write_map, write_str, write_uint},
    number, read,
    request::{kind, node_json},
    rooms, text,
};

/// An answer. Its meaning depends on the request.
#[derive(Debug)]
pub(crate) struct Response {
    /// The id of the request.
    pub(crate) id: String,
    body: Value,
}

/// Reads an answer.
pub(crate) fn decode(message: &[u8], budget: Budget) -> Result<Response, WireError> {
    let body = read(message, budget)?;
    let id = body.get("requestId").and_then(Value::as_str).ok_or(WireError::Shape("the request id"))?;
    Ok(Response { id: id.to_owned(), body })
}

impl Response {
    /// The sockets of one server.
    pub(crate) fn sockets(&self) -> Option<Vec<SocketInfo>> {
        let sockets = self.body.get("sockets")?.as_array()?;
        Some(sockets.iter().filter_map(socket).collect())
    }

    /// The rooms of one server.
    pub(crate) fn rooms(&self) -> Option<Vec<Room>> {
        self.body.get("rooms")?.as_array()?;
        Some(rooms(self.body.get("rooms")))
    }

    /// How many sockets of one server were asked.
    pub(crate) fn client_count(&self) -> Option<usize> {
        if number(self.body.get("type")) != Some(kind::CLIENT_COUNT) {
            return None;
        }
        number(self.body.get("clientCount")).and_then(|count| usize::try_from(count).ok())
    }

    /// The answer of one socket: at most one argument, since Node forwards no more.
    pub(crate) fn ack(&self) -> Option<Payload> {
        if number(self.body.get("type")) != Some(kind::ACK) {
            return None;
        }
        let arguments = self.body.get("packet").cloned().into_iter().collect();
        Payload::from_value(&Value::Array(arguments)).ok()
    }

    /// The answer of the application on one server.
    pub(crate) fn data(&self) -> serde_json::Value {
        self.body.get("data").cloned().map_or(serde_json::Value::Null, node_json)
    }
}

fn socket(value: &Value) -> Option<SocketInfo> {
    let id = value.get("id").and_then(text)?;
    let data = value.get("data").cloned().map_or(serde_json::Value::Null, node_json);
    let mut info = SocketInfo::remote(id, rooms(value.get("rooms")), SocketData::from(data));
    let handshake = value.get("handshake");
    let address = handshake.and_then(|handshake| handshake.get("address")).and_then(Value::as_str);
    info.address = address.and_then(|address| address.parse::<IpAddr>().ok()).map(|address| address.to_canonical());
    info.issued = number(handshake.and_then(|handshake| handshake.get("issued"))).unwrap_or_default();
    Some(info)
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Json<'a, T> {
    request_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    r#type: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sockets: Option<T>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rooms: Option<&'a [Room]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_count: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a serde_json::Value>,
}

fn of<T>(request_id: &str) -> Json<'_, T> {
    Json { request_id, r#type: None, sockets: None, rooms: None, client_count: None, data: None }
}

fn json<T: Serialize>(response: &Json<'_, T>) -> Result<Vec<u8>, WireError> {
    Ok(serde_json::to_vec(response)?)
}

/// Answers that the request is done.
pub(crate) fn encode_done(id: &str) -> Result<Vec<u8>, WireError> {
    json::<()>(&of(id))
}

/// Answers with ids.
pub(crate) fn encode_ids(id: &str, sockets: &[ByteString]) -> Result<Vec<u8>, WireError> {
    json(&Json { sockets: Some(sockets), ..of(id) })
}

/// Answers with rooms.
pub(crate) fn encode_rooms(id: &str, rooms: &[Room]) -> Result<Vec<u8>, WireError> {
    json::<()>(&Json { rooms: Some(rooms), ..of(id) })
}

/// A socket in the form that Node uses; built while it is written, so that only one is in memory at a time.
struct Described<'a>(&'a Socket);

impl Serialize for Described<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(socket) = self;
        let rooms: Vec<Room> = std::iter::once(socket.id().clone()).chain(socket.rooms()).collect();
        let mut described = serializer.serialize_struct("Socket", 4)?;
        described.serialize_field("id", socket.id())?;
        described.serialize_field("handshake", &socket.handshake_json())?;
        described.serialize_field("rooms", &rooms)?;
        described.serialize_field("data", &socket.data())?;
        described.end()
    }
}

struct AllDescribed<'a>(&'a [Socket]);

impl Serialize for AllDescribed<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(Described))
    }
}

/// Answers with sockets and their data.
pub(crate) fn encode_sockets(id: &str, sockets: &[Socket]) -> Result<Vec<u8>, WireError> {
    json(&Json { sockets: Some(AllDescribed(sockets)), ..of(id) })
}

/// Answers how many sockets are asked.
pub(crate) fn encode_client_count(id: &str, count: usize) -> Result<Vec<u8>, WireError> {
    json::<()>(&Json { r#type: Some(kind::CLIENT_COUNT), client_count: Some(count), ..of(id) })
}

/// Forwards the answer of one socket: its first argument, like Node, which forwards only that.
pub(crate) fn encode_ack(id: &str, answer: &Payload) -> Result<Vec<u8>, WireError> {
    let answer = answer.to_value()?;
    let first = answer.as_array().and_then(<[Value]>::first);
    let mut out = ByteBuf::with_capacity(64);
    write_map(&mut out, 2 + usize::from(first.is_some()));
    write_str(&mut out, "type");
    write_uint(&mut out, kind::ACK);
    write_str(&mut out, "requestId");
    write_str(&mut out, id);
    if let Some(first) = first {
        write_str(&mut out, "packet");
        msgpack::write(&mut out, first);
    }
    Ok(out.into_vec())
}

/// Forwards the application's answer to an event.
pub(crate) fn encode_server_ack(id: &str, data: &serde_json::Value) -> Result<Vec<u8>, WireError> {
    json::<()>(&Json { r#type: Some(kind::SERVER_SIDE_EMIT), data: Some(data), ..of(id) })
}
