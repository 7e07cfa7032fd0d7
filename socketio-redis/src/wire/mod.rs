//! The messages between servers, byte for byte those of `@socket.io/redis-adapter` 8 and `@socket.io/redis-emitter` 5.
//!
//! ```text
//! event ─▶ event::encode ─▶ PUBLISH ─▶ event::decode ─▶ Local::deliver
//! request, command ─▶ request::encode_… ─▶ PUBLISH ─▶ request::decode ─▶ Local, ServerEvent
//! answer ─▶ response::encode_… ─▶ PUBLISH ─▶ response::decode ─▶ the server that asked
//! ```
//!
//! Decoding is lenient where existing senders differ, such as emitters of other versions and languages, and strict where a message could
//! harm clients: a message that their parsers would reject is not forwarded.

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
    adapter::AdapterError,
    socket::packet::{Payload, is_reserved},
};

pub(crate) use self::budget::Budget;
pub use self::rewrite::rewrite;

/// Why a message is invalid, or cannot be encoded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WireError {
    #[error("the message ends too soon")]
    CutOff,
    #[error("{0}")]
    Msgpack(&'static str),
    #[error("it is nested too deeply")]
    Nesting,
    /// See [`Budget`].
    #[error("it has more values than accepted (max_message_values)")]
    TooMany,
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    #[error("missing or invalid: {0}")]
    Shape(&'static str),
    #[error("{0} is not a type of request")]
    UnknownRequest(u64),
    #[error("{0:?} is a reserved event name")]
    Reserved(String),
}

impl From<WireError> for AdapterError {
    fn from(error: WireError) -> Self {
        Self(format!("the message cannot be encoded: {error}"))
    }
}

/// JSON or msgpack, depending on the first byte.
fn read(message: &[u8], budget: Budget) -> Result<Value, WireError> {
    match message {
        [b'{', ..] => json::read(message, budget),
        _ => msgpack::read(message, budget),
    }
}

/// The selection of sockets by the members `rooms` and `except`. Each may be missing, and old emitters send "" instead. Rooms that are
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

/// The data of an event that clients' parsers accept: `[name, …]`, whose name is not reserved.
fn event_payload(data: Option<&Value>) -> Result<Payload, WireError> {
    let data = data.ok_or(WireError::Shape("the data"))?;
    match data.as_array().and_then(<[Value]>::first) {
        Some(Value::String(name)) if is_reserved(name) => Err(WireError::Reserved(name.clone())),
        Some(Value::String(_) | Value::Number(_)) => Ok(Payload::from_value(data)?),
        _ => Err(WireError::Shape("the event's name")),
    }
}
