//! Messages as JSON has them: whole, a line each, or their data alone.

use bytes::Bytes;
use serde::Serialize;
use shared::{
    edge::stream::Form,
    pure::{ChannelName, Cursor, EventName, Gap, Message, message::Wire},
};

use crate::ask::Format;

/// The form of `mode=stream`: a line of JSON for each message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lines(pub(crate) Format);

impl Form for Lines {
    /// Nothing: the place is in the head, as the `ETag`.
    fn opening(&self, _: Option<Cursor>) -> Bytes {
        Bytes::new()
    }

    fn message<'a>(&self, message: &'a Message) -> &'a Bytes {
        match self.0 {
            Format::Batch => line(message),
            Format::Raw => raw_line(message),
        }
    }

    fn gap(&self, gap: &Gap) -> Bytes {
        #[derive(Serialize)]
        struct Told<'a> {
            gap: &'a Gap,
        }
        // Two cursors cannot but serialize.
        let told = serde_json::to_string(&Told { gap }).unwrap_or_default();
        format!("{told}\n").into()
    }

    fn keep_alive(&self) -> Bytes {
        Bytes::from_static(b"\n")
    }

    fn closing(&self) -> Bytes {
        Bytes::new()
    }
}

/// The whole message as JSON, and the end of the line.
pub(crate) fn line(message: &Message) -> &Bytes {
    #[derive(Serialize)]
    struct Whole<'a> {
        id: Cursor,
        channel: &'a ChannelName,
        event: &'a EventName,
        data: &'a serde_json::value::RawValue,
        time: u64,
    }
    message.wire(Wire::Line, |message| {
        let data = message.draft.payload.plain_json();
        let Ok(data) = serde_json::from_str(&data) else { return Bytes::new() };
        let draft = &message.draft;
        let whole = Whole { id: message.id, channel: &draft.channel, event: &draft.event, data, time: message.time() };
        let mut line = serde_json::to_vec(&whole).unwrap_or_default();
        line.push(b'\n');
        line.into()
    })
}

/// The data alone, and the end of the line.
pub(crate) fn raw_line(message: &Message) -> &Bytes {
    message.wire(Wire::RawLine, |message| {
        let mut line = message.draft.payload.plain_json().into_owned();
        line.push('\n');
        line.into()
    })
}

#[cfg(test)]
mod tests {
    use shared::pure::{Draft, Payload};

    use super::*;

    #[test]
    fn a_message_is_a_line() {
        let payload = Payload::from_json(b"{\"b\": 1.50, \"a\": \"x\\ny\"}").unwrap();
        let draft = Draft::new("news".parse().unwrap(), payload).event("a \"b\"".parse().unwrap());
        let message = Message::new(Cursor::new(1_763_800_000_000, 2), draft);
        assert_eq!(
            line(&message),
            "{\"id\":\"1763800000000-2\",\"channel\":\"news\",\"event\":\"a \\\"b\\\"\",\
             \"data\":{\"b\":1.50,\"a\":\"x\\ny\"},\"time\":1763800000000}\n"
        );
        assert_eq!(raw_line(&message), "{\"b\":1.50,\"a\":\"x\\ny\"}\n");
    }

    #[test]
    fn a_gap_is_a_line_of_its_own() {
        let gap = Gap { requested: Cursor::new(1, 2), resumed: Cursor::new(3, 4) };
        assert_eq!(Lines(Format::Raw).gap(&gap), "{\"gap\":{\"requested\":\"1-2\",\"resumed\":\"3-4\"}}\n");
    }
}
