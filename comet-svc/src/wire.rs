//! Messages as JSON: whole, as lines, or their data only.

use std::sync::Arc;

use bytes::Bytes;
use edge::stream::Form;
use serde::Serialize;
use shared::pure::{Cursor, Gap, Message, Pieces, Publisher, Wire, stream::StreamEnd};

use crate::ask::Format;

/// The format of `mode=stream`: a line of JSON for each message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lines {
    pub(crate) format: Format,
    /// Whether whole messages have the user who published them.
    pub(crate) publisher: Publisher,
}

impl Form for Lines {
    /// An empty line, which proxies and clients receive immediately; the position is in the head, as the `ETag`.
    fn opening(&self, _: Option<Cursor>) -> Bytes {
        Bytes::from_static(b"\n")
    }

    fn with_message<R>(&self, message: &Message, with: impl FnOnce(&Bytes) -> R) -> R {
        match self.format {
            Format::Batch => message.with_line(self.publisher, with),
            Format::Raw => message.with_wire(Wire::RawLine, encode_raw_line, with),
        }
    }

    fn pieces(&self, message: &Arc<Message>) -> Pieces {
        match self.format {
            Format::Batch => message.line_pieces(self.publisher, Vec::new(), b"\n"),
            Format::Raw => message.data_pieces(Vec::new(), b"\n".to_vec()),
        }
    }

    fn gap(&self, gap: &Gap) -> Bytes {
        #[derive(Serialize)]
        struct GapLine<'a> {
            gap: &'a Gap,
        }
        // Two cursors always serialize.
        let line = serde_json::to_string(&GapLine { gap }).unwrap_or_default();
        format!("{line}\n").into()
    }

    fn end(&self, end: &StreamEnd, _: Cursor) -> Bytes {
        #[derive(Serialize)]
        struct Ended<'a> {
            end: &'a StreamEnd,
        }
        // Texts and cursors always serialize.
        let line = serde_json::to_string(&Ended { end }).unwrap_or_default();
        format!("{line}\n").into()
    }

    fn keep_alive(&self) -> Bytes {
        Bytes::from_static(b"\n")
    }

    fn closing(&self) -> Bytes {
        Bytes::new()
    }
}

/// The data and a line end.
pub(crate) fn raw_line(message: &Message) -> Bytes {
    message.wire(Wire::RawLine, encode_raw_line)
}

fn encode_raw_line(message: &Message) -> Bytes {
    let mut line = message.draft.payload.plain_json().into_owned();
    line.push('\n');
    line.into()
}

#[cfg(test)]
mod tests {
    use shared::pure::{Draft, Payload};

    use super::*;

    #[test]
    fn raw_lines_are_the_data_alone() {
        let payload = Payload::from_json(b"{\"b\": 1.50, \"a\": \"x\\ny\"}").unwrap();
        let message = Message::new(Cursor::new(5, 0), Draft::new("news".parse().unwrap(), payload));
        assert_eq!(raw_line(&message), "{\"b\":1.50,\"a\":\"x\\ny\"}\n");
    }

    #[test]
    fn a_gap_is_a_line_of_its_own() {
        let gap = Gap { requested: Cursor::new(1, 2), resumed: Cursor::new(3, 4) };
        let lines = Lines { format: Format::Raw, publisher: Publisher::Hidden };
        assert_eq!(lines.gap(&gap), "{\"gap\":{\"requested\":\"1-2\",\"resumed\":\"3-4\"}}\n");
    }
}
