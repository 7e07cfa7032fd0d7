//! An event as it was received, for listeners of all events.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{DeserializeOwned, SeqAccess, Visitor},
    ser::SerializeTuple as _,
};

use crate::{
    socket::{args::ALL, packet::Payload},
    value::Value,
};

/// An event: its name and its arguments, which are decoded on request.
#[derive(Clone, Debug)]
pub struct Event {
    payload: Payload,
}

impl Event {
    pub(crate) fn new(payload: Payload) -> Self {
        Self { payload }
    }

    /// Its name.
    pub fn name(&self) -> Cow<'_, str> {
        self.payload.event_name().unwrap_or_default()
    }

    /// Its arguments: a tuple takes several, `()` none, [`Args`] all, anything else the first.
    ///
    /// # Errors
    /// When they have another type.
    pub fn args<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        self.payload.event_args()
    }

    /// The payload as it was received: `["name", …]`.
    pub fn payload(&self) -> &Payload {
        &self.payload
    }
}

/// Arguments of any number and type, for handlers that forward them.
///
/// ```no_run
/// # fn example(socket: &socketio::Socket) {
/// use socketio::Args;
///
/// socket.on("message", async |socket, args: Args, _| {
///     socket.emit("message-back", &args).ok();
/// });
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Args(pub Vec<Value>);

impl Serialize for Args {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // A tuple, since it is a tuple that is spread over the arguments.
        let mut tuple = serializer.serialize_tuple(self.0.len())?;
        for value in &self.0 {
            tuple.serialize_element(value)?;
        }
        tuple.end()
    }
}

impl<'de> Deserialize<'de> for Args {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct All;

        impl<'de> Visitor<'de> for All {
            type Value = Args;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("arguments")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Args, A::Error> {
                let mut args = Vec::new();
                while let Some(value) = seq.next_element()? {
                    args.push(value);
                }
                Ok(Args(args))
            }
        }

        deserializer.deserialize_tuple(ALL, All)
    }
}

/// Arguments that may not be of type `T`, for handlers that have to be called in that case, too.
///
/// ```no_run
/// # fn example(socket: &socketio::Socket) {
/// use socketio::TryArgs;
///
/// socket.on("move", async |_, TryArgs(args): TryArgs<(u32, u32)>, ack| match args {
///     Ok((x, y)) => ack.send(&(x + y)).unwrap_or_default(),
///     Err(error) => ack.send(&error.to_string()).unwrap_or_default(),
/// });
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct TryArgs<T>(pub Result<T, ArgsError>);

/// Why the arguments do not match, from serde.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ArgsError(pub String);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for TryArgs<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(T::deserialize(deserializer).map_err(|error| ArgsError(error.to_string()))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_arguments_through() {
        for json in [r#"["e"]"#, r#"["e",null]"#, r#"["e",1,"two",[3],{"four":5},null]"#] {
            let event = Event::new(Payload::from_parts(json.into(), vec![]));
            let args: Args = event.args().unwrap();
            assert_eq!(Payload::event("e", &args).unwrap().json(), json);
        }
    }

    #[test]
    fn attachments_round_trip_through_args() {
        let payload = Payload::event("e", &(1, crate::value::Binary(bytes::Bytes::from_static(b"x")))).unwrap();
        let args: Args = Event::new(payload.clone()).args().unwrap();
        assert_eq!(Payload::event("e", &args).unwrap(), payload);
    }
}
