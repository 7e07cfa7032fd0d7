//! A message, before it has its place in the order ([`Draft`]) and after ([`Message`]).

use std::{
    any::Any,
    fmt,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;

use super::{ChannelName, Cursor, EventName, Payload};

/// What a publisher hands in; the bus gives it its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// Where to.
    pub channel: ChannelName,
    /// What kind of thing happened.
    pub event: EventName,
    /// The data.
    pub payload: Payload,
    /// The display name of who said it, where a transport knows names (the chat).
    pub from: Option<Arc<str>>,
}

impl Draft {
    /// `payload` for `channel`, as event `message`, from nobody in particular.
    #[must_use]
    pub fn new(channel: ChannelName, payload: Payload) -> Self {
        Self { channel, event: EventName::default(), payload, from: None }
    }

    /// The same, as `event`.
    #[must_use]
    pub fn event(self, event: EventName) -> Self {
        Self { event, ..self }
    }
}

/// A wire form that readers of a transport share: encoded by the first of them, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// One event of an event stream, with the data alone.
    Sse,
    /// One event of an event stream, with the whole message as its data.
    SseWhole,
    /// The whole message as a line of JSON.
    Line,
    /// The data alone as a line of JSON.
    RawLine,
}

/// A message in its place: immutable, shared by all who read it, with its wire forms cached beside it.
pub struct Message {
    /// Its place in the order, and the cursor of who has read it.
    pub id: Cursor,
    /// What was published.
    pub draft: Draft,
    wires: [OnceLock<Bytes>; 4],
    packet: OnceLock<Box<dyn Any + Send + Sync>>,
}

impl Message {
    /// What a message costs beside its data: this struct, its names, its place in a history.
    pub(crate) const OVERHEAD: usize = 320;

    /// `draft` at `id`.
    #[must_use]
    pub fn new(id: Cursor, draft: Draft) -> Self {
        Self { id, draft, wires: Default::default(), packet: OnceLock::new() }
    }

    /// When it was published: milliseconds since the Unix epoch by the clock that gave it its id.
    #[must_use]
    pub fn time(&self) -> u64 {
        self.id.ms
    }

    /// The bytes of `wire`, encoded by `encode` unless somebody did before.
    pub fn wire(&self, wire: Wire, encode: impl FnOnce(&Self) -> Bytes) -> &Bytes {
        self.wires[wire as usize].get_or_init(|| encode(self))
    }

    /// The whole message as a line of JSON, with the end of the line: `id`, `channel`, `event`, `data`, `time`.
    pub fn line(&self) -> &Bytes {
        #[derive(Serialize)]
        struct Whole<'a> {
            id: Cursor,
            channel: &'a ChannelName,
            event: &'a EventName,
            data: &'a RawValue,
            time: u64,
        }
        self.wire(Wire::Line, |message| {
            let data = message.draft.payload.plain_json();
            let Ok(data) = serde_json::from_str(&data) else { return Bytes::new() };
            let draft = &message.draft;
            let whole =
                Whole { id: message.id, channel: &draft.channel, event: &draft.event, data, time: message.time() };
            let mut line = serde_json::to_vec(&whole).unwrap_or_default();
            line.push(b'\n');
            line.into()
        })
    }

    /// The packet of a transport that keeps a type of its own for it, encoded by `encode` unless somebody did before.
    ///
    /// There is room for one type; `None` if another was put there first.
    pub fn packet<P: Send + Sync + 'static>(&self, encode: impl FnOnce(&Self) -> P) -> Option<&P> {
        self.packet.get_or_init(|| Box::new(encode(self))).downcast_ref()
    }

    /// Bytes of data, which is what a channel's retention counts.
    #[must_use]
    pub fn len(&self) -> usize {
        self.draft.payload.len()
    }

    /// Never: no JSON is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Memory that this holds, in bytes, reckoned with one wire form encoded.
    #[must_use]
    pub fn footprint(&self) -> usize {
        Self::OVERHEAD + 2 * self.len()
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message").field("id", &self.id).field("draft", &self.draft).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_a_line() {
        let payload = Payload::from_json(b"{\"b\": 1.50, \"a\": \"x\\ny\"}").unwrap();
        let draft = Draft::new("news".parse().unwrap(), payload).event("a \"b\"".parse().unwrap());
        let message = Message::new(Cursor::new(1_763_800_000_000, 2), draft);
        assert_eq!(
            message.line(),
            "{\"id\":\"1763800000000-2\",\"channel\":\"news\",\"event\":\"a \\\"b\\\"\",\
             \"data\":{\"b\":1.50,\"a\":\"x\\ny\"},\"time\":1763800000000}\n"
        );
    }
}
