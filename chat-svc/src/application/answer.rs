//! What an application answers to an event, and what follows from it.

use edge::service::Service;
use serde::Deserialize;
use serde_json::value::RawValue;
use shared::{
    live::bus::Publication,
    pure::{ChannelName, Draft, EventName},
    throttle,
};
use socketio::{
    Room, Socket,
    engine::Sid,
    socket::packet::{Packet, Payload, is_reserved},
};

use super::{
    binary,
    rooms::{RoomNames, user_room},
};
use crate::reply::Outcome;

/// The answer to an event, read and checked. Nothing of it has happened yet.
#[derive(Debug)]
pub(super) struct EventAnswer {
    ack: Payload,
    publish: Vec<Draft>,
    emit: Vec<Emit>,
    join: Vec<Room>,
    leave: Vec<Room>,
}

/// An event for other sockets.
#[derive(Debug)]
struct Emit {
    to: Room,
    /// Its name and its arguments.
    event: Payload,
}

/// The JSON of an answer. Every part is optional.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Json<'a> {
    #[serde(borrow, default)]
    ack: Option<&'a RawValue>,
    #[serde(borrow, default)]
    publish: Vec<PublishJson<'a>>,
    #[serde(borrow, default)]
    emit: Vec<EmitJson<'a>>,
    #[serde(default)]
    join: Vec<String>,
    #[serde(default)]
    leave: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PublishJson<'a> {
    channel: ChannelName,
    #[serde(default)]
    event: Option<EventName>,
    #[serde(borrow)]
    data: &'a RawValue,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EmitJson<'a> {
    to: To,
    event: String,
    #[serde(borrow, default)]
    args: Option<&'a RawValue>,
}

/// `{"socket":id}`, `{"user":name}` or `{"room":name}`.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum To {
    Socket(String),
    User(String),
    Room(String),
}

impl EventAnswer {
    /// Reads all of `json`, which is empty if there is none, before anything of it happens.
    ///
    /// # Errors
    /// What is wrong with it, for the log.
    pub(super) fn read(json: &str, names: RoomNames) -> Result<Self, String> {
        let json = if json.is_empty() { "{}" } else { json };
        let Json { ack, publish, emit, join, leave } = serde_json::from_str(json).map_err(|error| error.to_string())?;
        if names == RoomNames::Chat && !(join.is_empty() && leave.is_empty()) {
            return Err(
                "`join` and `leave` have no meaning in the chat, whose clients enter its rooms themselves".to_owned()
            );
        }
        let ack = binary::ack(ack)?;
        let publish = publish.into_iter().map(PublishJson::draft).collect::<Result<_, _>>()?;
        let emit = emit.into_iter().map(|emit| emit.checked(names)).collect::<Result<_, _>>()?;
        let rooms = |rooms: Vec<String>| rooms.iter().map(|room| names.room(room)).collect::<Result<Vec<_>, _>>();
        Ok(Self { ack, publish, emit, join: rooms(join)?, leave: rooms(leave)? })
    }

    /// Does what the application asks for, and returns the ack. Messages are published first. Rooms beyond the maximum of a
    /// socket are logged.
    ///
    /// # Errors
    /// When the messages could not be published; nothing else has happened then.
    pub(super) async fn apply(self, service: &Service, socket: &Socket) -> Outcome<Payload> {
        let Self { ack, publish, emit, join, leave } = self;
        if !publish.is_empty() {
            let count = u64::try_from(publish.len()).unwrap_or(u64::MAX);
            service.bus.publish(Publication::new(publish)).await?;
            service.edge.metrics.publishes.inc_by(count);
        }
        socket.leave(leave);
        if let Err(error) = socket.join(join) {
            throttle::log(log::Level::Warn, "the answer of the application", format_args!("{}: {error}", socket.id()));
        }
        let namespace = socket.namespace();
        for Emit { to, event } in emit {
            // Sent when this returns. Other replicas get it as they can. One that is refused is counted and logged.
            drop(namespace.to(to).send(Packet::event(namespace.name().clone(), None, event).into()));
        }
        Ok(ack)
    }
}

impl PublishJson<'_> {
    fn draft(self) -> Result<Draft, String> {
        let Self { channel, event, data } = self;
        let event = event.unwrap_or_default();
        if channel.is_server() {
            return Err(format!("`publish`: `{channel}` is a channel of the server"));
        }
        event.check_for(&channel).map_err(|error| format!("`publish`: {error}"))?;
        Ok(Draft::new(channel, binary::data(data)?).event(event))
    }
}

impl EmitJson<'_> {
    fn checked(self, names: RoomNames) -> Result<Emit, String> {
        let Self { to, event, args } = self;
        if is_reserved(&event) {
            return Err(format!("`emit`: `{event}` is a reserved name of Socket.IO"));
        }
        let to = match to {
            To::Socket(id) if Sid::parse(&id).is_none() => {
                return Err(format!("`emit`: `{id}` is not the id of a socket"));
            }
            To::Socket(id) => id.into(),
            To::User(user) => user_room(&user),
            To::Room(name) => names.room(&name)?,
        };
        Ok(Emit { to, event: binary::event(&event, args)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_optional_and_checked() {
        let all = r#"{"ack":[1],"publish":[{"channel":"news","data":{"a":1}}],"emit":[{"to":{"room":"r"},"event":"e"}],"join":["x"]}"#;
        let answer = EventAnswer::read(all, RoomNames::Plain).unwrap();
        assert_eq!((&**answer.ack.json(), answer.publish.len(), &*answer.emit[0].to), ("[1]", 1, "r"));
        let none = EventAnswer::read("{}", RoomNames::Chat).unwrap();
        assert!(&**none.ack.json() == "[]" && none.publish.is_empty() && none.emit.is_empty());
        assert!(EventAnswer::read("", RoomNames::Chat).is_ok(), "an answer without a body");
        let to = |to: &str| {
            let json = format!(r#"{{"emit":[{{"to":{to},"event":"e"}}]}}"#);
            EventAnswer::read(&json, RoomNames::Chat).map(|answer| answer.emit[0].to.to_string())
        };
        assert_eq!(to(r#"{"room":"lobby"}"#).as_deref(), Ok("chat.lobby"));
        assert_eq!(to(r#"{"user":"ann"}"#).as_deref(), Ok("$user.ann"));
        assert_eq!(to(r#"{"socket":"abcdefghij0123456789"}"#).as_deref(), Ok("abcdefghij0123456789"));
        for (bad, why) in [
            ("7", "invalid type"),
            (r#"{"acks":[]}"#, "unknown field `acks`"),
            (r#"{"ack":{}}"#, "`ack` is not a list"),
            (r#"{"publish":[{"channel":"a b","data":1}]}"#, "channel"),
            (r#"{"publish":[{"channel":"$events","data":1}]}"#, "a channel of the server"),
            (r#"{"publish":[{"channel":"a","event":"gap","data":1}]}"#, "event"),
            (r#"{"publish":[{"channel":"a","data":1e400}]}"#, "out of range"),
            (r#"{"emit":[{"to":{},"event":"e"}]}"#, "expected"),
            (r#"{"emit":[{"to":{"socket":"s"},"event":"connect"}]}"#, "reserved"),
            (r#"{"emit":[{"to":{"socket":"chat.lobby"},"event":"e"}]}"#, "not the id of a socket"),
            (r#"{"join":["a"]}"#, "no meaning in the chat"),
        ] {
            let error = EventAnswer::read(bad, RoomNames::Chat).unwrap_err();
            assert!(error.contains(why), "{bad}: {error}");
        }
    }

    /// An application may enter the room that a client names.
    #[test]
    fn no_name_of_a_room_is_that_of_a_user() {
        let room = user_room("ann");
        for bad in [
            format!(r#"{{"join":["{room}"]}}"#),
            format!(r#"{{"leave":["{room}"]}}"#),
            format!(r#"{{"emit":[{{"to":{{"room":"{room}"}},"event":"e"}}]}}"#),
        ] {
            let error = EventAnswer::read(&bad, RoomNames::Plain).unwrap_err();
            assert!(error.contains("do not begin with `$`"), "{bad}: {error}");
        }
        let answer = EventAnswer::read(r#"{"join":["user.ann"]}"#, RoomNames::Plain).unwrap();
        assert_eq!((&*answer.join[0], RoomNames::Plain.name(&room)), ("user.ann", None));
    }
}
