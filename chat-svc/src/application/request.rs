//! An event as the application gets it.

use edge::{Access, calls::Asking};
use serde::Serialize;
use serde_json::value::RawValue;
use socketio::{Socket, socket::packet::Payload};

use super::rooms::RoomNames;
use crate::{refusal::Refusal, wire};

/// The request of a call `event`.
#[derive(Serialize)]
struct EventRequest<'a> {
    id: &'a str,
    kind: &'static str,
    event: &'a str,
    args: &'a RawValue,
    namespace: &'a str,
    socket: SocketState<'a>,
}

/// The socket that sent it.
#[derive(Serialize)]
struct SocketState<'a> {
    id: &'a str,
    user: Option<&'a str>,
    rooms: Vec<String>,
    data: Option<&'a RawValue>,
}

/// The request of `asking`, with the arguments `args` as JSON.
pub(super) fn encode(
    asking: &Asking,
    socket: &Socket,
    access: &Access,
    event: &str,
    args: &str,
    names: RoomNames,
) -> Result<Vec<u8>, Refusal> {
    let internal = |error| Refusal::new("internal", error);
    let args = serde_json::from_str(args).map_err(internal)?;
    let user = access.user();
    let rooms = socket.rooms();
    let rooms = rooms.iter().filter_map(|room| names.name(room).map(ToOwned::to_owned)).collect();
    let state = SocketState { id: socket.id(), user: user.as_deref(), rooms, data: access.data() };
    let namespace = socket.namespace().name();
    let request = EventRequest { id: asking.id(), kind: asking.kind(), event, args, namespace, socket: state };
    serde_json::to_vec(&request).map_err(internal)
}

/// The arguments of an event as a JSON array, each buffer as `{"base64":…}`: at most `max` bytes of values that every application can
/// represent.
pub(super) fn args(payload: &Payload, max: Option<usize>) -> Result<String, Refusal> {
    if let Some(max) = max.filter(|max| payload.len() > *max) {
        return Err(Refusal::new("too_large", format!("an event has at most {max} bytes")));
    }
    let all: Vec<&RawValue> =
        serde_json::from_str(payload.json()).map_err(|error| Refusal::new("bad_arguments", error))?;
    let mut args = String::from("[");
    for (at, arg) in all.into_iter().skip(1).enumerate() {
        let arg = wire::payload(arg.get(), payload.attachments());
        let arg = arg.map_err(|error| Refusal::new(error.code(), error))?;
        if at > 0 {
            args.push(',');
        }
        args.push_str(&arg.plain_json());
    }
    args.push(']');
    Ok(args)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn arguments_are_json_with_buffers_in_base64() {
        let deepest = "[".repeat(100) + &"]".repeat(100);
        for (json, attachments, expected) in [
            (r#"["e"]"#, &[][..], Ok("[]")),
            (r#"["e", 1 ,{"a":-0,"a":[ 2]}]"#, &[], Ok(r#"[1,{"a":-0,"a":[2]}]"#)),
            (
                r#"["e",{"_placeholder":true,"num":1},[{"_placeholder":true,"num":0}]]"#,
                &["zero", "one"],
                Ok(r#"[{"base64":"b25l"},[{"base64":"emVybw=="}]]"#),
            ),
            // An argument may be as deep as the data of a message.
            (&format!(r#"["e",{deepest}]"#), &[], Ok(&format!("[{deepest}]"))),
            (&format!(r#"["e",[{deepest}]]"#), &[], Err("too_deep")),
            (r#"["e",1e400]"#, &[], Err("number_out_of_range")),
            (r#"["e","\ud83d"]"#, &[], Err("lone_surrogate")),
            (r#"["e","123456789012345678901234567890"]"#, &[], Err("too_large")),
        ] {
            let attachments = attachments.iter().map(|one: &&str| Bytes::from(*one)).collect();
            let payload = Payload::from_parts(json.into(), attachments);
            let max = (json.contains("1234567890")).then_some(30);
            let args = args(&payload, max);
            assert_eq!(args.as_deref().map_err(Refusal::code), expected, "{json}");
        }
    }
}
