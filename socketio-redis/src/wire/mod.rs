//! What servers say to each other, byte for byte as `@socket.io/redis-adapter` 8 and `@socket.io/redis-emitter` 5 do.
//!
//! ```text
//! event ─▶ event::encode ─▶ PUBLISH ─▶ event::decode ─▶ Local::deliver
//! question, order ─▶ request::encode_… ─▶ PUBLISH ─▶ request::decode ─▶ Local, ServerEvent
//! answer ─▶ response::encode_… ─▶ PUBLISH ─▶ response::decode ─▶ whoever asked
//! ```
//!
//! Reading is lenient where senders that are about differ, such as emitters of other versions and languages, and strict where a
//! message could harm clients: what their parsers would refuse is not passed on to them.

mod budget;
pub(crate) mod event;
mod json;
mod msgpack;
pub(crate) mod request;
pub(crate) mod response;
mod rewrite;
#[cfg(test)]
mod tests;

use bytestring::ByteString;
use socketio::{
    Room, Selector, Value,
    socket::packet::{Payload, is_reserved},
};

pub(crate) use self::budget::Budget;
pub use self::rewrite::rewrite;

/// Why a message means nothing, or cannot be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WireError {
    #[error("the message ends too soon")]
    CutOff,
    #[error("{0}")]
    Msgpack(&'static str),
    #[error("it nests too deep")]
    Nesting,
    /// See [`Budget`].
    #[error("it consists of more values than are taken (max_message_values)")]
    TooMany,
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    #[error("{0} is missing, or is something else")]
    Shape(&'static str),
    #[error("{0} is no request")]
    UnknownRequest(u64),
    #[error("{0:?} is a reserved event name")]
    Reserved(String),
}

/// JSON or msgpack, as its first byte says.
fn read(message: &[u8], budget: Budget) -> Result<Value, WireError> {
    match message {
        [b'{', ..] => json::read(message, budget),
        _ => msgpack::read(message, budget),
    }
}

/// The choice of sockets that the members `rooms` and `except` make. Each may be missing, and old emitters send "" for none. Rooms that are
/// numbers in Node are their digits here.
fn selector(opts: &Value) -> Selector {
    Selector { rooms: rooms(opts.get("rooms")), except: rooms(opts.get("except")) }
}

fn rooms(list: Option<&Value>) -> Vec<Room> {
    list.and_then(Value::as_array).unwrap_or_default().iter().filter_map(text).collect()
}

/// Text, or a number as text.
fn text(value: &Value) -> Option<ByteString> {
    match value {
        Value::String(text) => Some(text.as_str().into()),
        Value::Number(number) => Some(number.to_string().into()),
        _ => None,
    }
}

fn number(value: Option<&Value>) -> Option<u64> {
    match value {
        Some(Value::Number(number)) => number.as_u64(),
        _ => None,
    }
}

fn flag(value: Option<&Value>, name: &str) -> bool {
    value.and_then(|flags| flags.get(name)) == Some(&Value::Bool(true))
}

/// The data of an event that clients' parsers take: `[name, …]`, whose name means nothing else to them.
fn event_payload(data: Option<&Value>) -> Result<Payload, WireError> {
    let data = data.ok_or(WireError::Shape("the data"))?;
    match data.as_array().and_then(<[Value]>::first) {
        Some(Value::String(name)) if is_reserved(name) => Err(WireError::Reserved(name.clone())),
        Some(Value::String(_) | Value::Number(_)) => Ok(Payload::from_value(data)?),
        _ => Err(WireError::Shape("the event's name")),
    }
}
