//! Decodes each transport into [`Item`]s: takes chunks as they arrive, wherever they were split.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use shared::pure::{Cursor, Gap, stream::StreamEnd};

/// A longer line is not sent by Trident.
const MAX_LINE_BYTES: usize = 64 * 1024 * 1024;

/// A message, as all transports write it in full. Serializing it again gives the same text.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Message {
    pub(super) id: Cursor,
    pub(super) channel: String,
    pub(super) event: String,
    pub(super) data: Box<RawValue>,
    pub(super) time: u64,
}

/// One item of a stream.
#[derive(Debug)]
pub(super) enum Item {
    Message(Message),
    Gap(Gap),
    /// A Durable Stream among the channels has ended.
    End(StreamEnd),
    /// The position of the stream: the client has received everything up to it.
    Place(Cursor),
    /// Milliseconds to wait before reconnecting, once this connection has ended.
    Retry(u64),
}

/// The answer to a long poll.
#[derive(Debug, Deserialize)]
pub(super) struct Batch {
    pub(super) cursor: Cursor,
    pub(super) messages: Vec<Message>,
    pub(super) end: Option<StreamEnd>,
    /// Whether nothing follows.
    #[serde(default)]
    pub(super) closed: bool,
}

/// Text that Trident does not send.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an answer of Trident: {0}")]
pub(super) struct Foreign(pub(super) String);

impl From<serde_json::Error> for Foreign {
    fn from(error: serde_json::Error) -> Self {
        Self(error.to_string())
    }
}

/// Decodes a stream.
pub(super) trait Decode {
    /// The item that is complete with this line, which is given without its line end.
    fn line(&mut self, line: &[u8]) -> Result<Option<Item>, Foreign>;
}

/// Splits chunks into lines for a [`Decode`].
#[derive(Debug, Default)]
pub(super) struct Lines {
    begun: Vec<u8>,
}

impl Lines {
    /// Passes each line that ends in `chunk` to `decode`, and its items to `take`, until that returns false.
    pub(super) fn feed(
        &mut self,
        mut chunk: &[u8],
        decode: &mut dyn Decode,
        mut take: impl FnMut(Item) -> bool,
    ) -> Result<bool, Foreign> {
        while let Some(end) = chunk.iter().position(|byte| *byte == b'\n') {
            let (line, rest) = (&chunk[..end], &chunk[end + 1..]);
            self.begun.extend_from_slice(line);
            chunk = rest;
            let item = decode.line(self.begun.strip_suffix(b"\r").unwrap_or(&self.begun));
            self.begun.clear();
            if let Some(item) = item?
                && !take(item)
            {
                return Ok(false);
            }
        }
        self.begun.extend_from_slice(chunk);
        if self.begun.len() > MAX_LINE_BYTES {
            return Err(Foreign("a line that is too long".to_owned()));
        }
        Ok(true)
    }
}

/// `/events?format=message`: each event is a whole message, except the events `gap` and `end`.
#[derive(Debug, Default)]
pub(super) struct EventStream {
    id: Option<Cursor>,
    event: Vec<u8>,
    data: Vec<u8>,
}

impl Decode for EventStream {
    fn line(&mut self, line: &[u8]) -> Result<Option<Item>, Foreign> {
        if line.is_empty() {
            return self.dispatch();
        }
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let value = line.get(colon + 1..).unwrap_or_default();
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match &line[..colon] {
            b"id" => self.id = std::str::from_utf8(value).ok().and_then(|id| id.parse().ok()),
            b"event" => self.event = value.to_vec(),
            b"data" => {
                // HTML, "interpreting an event stream": a line feed joins the lines of an event's data.
                if !self.data.is_empty() {
                    self.data.push(b'\n');
                }
                self.data.extend_from_slice(value);
            }
            b"retry" => return Ok(std::str::from_utf8(value).ok().and_then(|ms| ms.parse().ok()).map(Item::Retry)),
            _ => {}
        }
        Ok(None)
    }
}

impl EventStream {
    fn dispatch(&mut self) -> Result<Option<Item>, Foreign> {
        let Self { id, event, data } = std::mem::take(self);
        Ok(match &event[..] {
            _ if data.is_empty() => id.map(Item::Place),
            b"gap" => Some(Item::Gap(serde_json::from_slice(&data)?)),
            b"end" => Some(Item::End(serde_json::from_slice(&data)?)),
            _ => Some(Item::Message(serde_json::from_slice(&data)?)),
        })
    }
}

/// `/data?mode=stream`: a line for each message, gap or end, and empty lines.
#[derive(Debug, Default)]
pub(super) struct JsonLines;

impl Decode for JsonLines {
    fn line(&mut self, line: &[u8]) -> Result<Option<Item>, Foreign> {
        #[derive(Deserialize)]
        struct Lost {
            gap: Gap,
        }
        #[derive(Deserialize)]
        struct Ended {
            end: StreamEnd,
        }
        if line.is_empty() {
            return Ok(None);
        }
        if line.starts_with(b"{\"end\":") {
            return Ok(Some(Item::End(serde_json::from_slice::<Ended>(line)?.end)));
        }
        if line.starts_with(b"{\"gap\":") {
            return Ok(Some(Item::Gap(serde_json::from_slice::<Lost>(line)?.gap)));
        }
        Ok(Some(Item::Message(serde_json::from_slice(line)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(decode: &mut dyn Decode, text: &str, cut: usize) -> Vec<String> {
        let (mut lines, mut items) = (Lines::default(), Vec::new());
        for chunk in text.as_bytes().chunks(cut) {
            lines
                .feed(chunk, decode, |item| {
                    items.push(match item {
                        Item::Message(message) => serde_json::to_string(&message).unwrap(),
                        Item::Gap(gap) => format!("gap {} {}", gap.requested, gap.resumed),
                        Item::End(end) => format!("end {} {} {}", end.channel, end.reason.name(), end.id),
                        Item::Place(cursor) => format!("place {cursor}"),
                        Item::Retry(ms) => format!("retry {ms}"),
                    });
                    true
                })
                .unwrap();
        }
        items
    }

    const END: &str = r#"{"channel":"news","reason":"closed","id":"5-2"}"#;
    const MESSAGE: &str = r#"{"id":"5-1","channel":"news","event":"gap","data":{"a": 1.50},"time":5}"#;

    #[test]
    fn event_streams_are_read_wherever_they_are_cut() {
        let text = format!(
            "retry: 2500\n: connected\nid: 4-0\n\n: keep-alive\n\nevent: gap\nid: 5-0\ndata: \
             {{\"requested\":\"1-0\",\"resumed\":\"5-0\"}}\n\nid: 5-1\r\ndata: {MESSAGE}\r\n\r\nevent: end\nid: 5-2\ndata: {END}\n\nretry: 9\n\nid: 6-0\ndata: {{"
        );
        for cut in 1..text.len() {
            let items = read(&mut EventStream::default(), &text, cut);
            assert_eq!(
                items,
                ["retry 2500", "place 4-0", "gap 1-0 5-0", MESSAGE, "end news closed 5-2", "retry 9"],
                "cut at {cut}"
            );
        }
    }

    #[test]
    fn lines_are_read_wherever_they_are_cut() {
        let text = format!(
            "\n{{\"gap\":{{\"requested\":\"1-0\",\"resumed\":\"5-0\"}}}}\n\n{MESSAGE}\n{{\"end\":{END}}}\n{{\"id"
        );
        for cut in 1..text.len() {
            assert_eq!(
                read(&mut JsonLines, &text, cut),
                ["gap 1-0 5-0", MESSAGE, "end news closed 5-2"],
                "cut at {cut}"
            );
        }
    }

    #[test]
    fn lines_of_data_are_joined_by_a_line_feed() {
        let mut lines = Lines::default();
        let (head, tail) = MESSAGE.split_once("1.50").unwrap();
        let event = format!("data: {head}1.5\ndata: 0{tail}\n\n");
        assert!(lines.feed(event.as_bytes(), &mut EventStream::default(), |_| true).is_err(), "not the number 1.50");
        let (head, tail) = MESSAGE.split_once(' ').unwrap();
        let event = format!("data: {head}\ndata: {tail}\n\n");
        assert_eq!(read(&mut EventStream::default(), &event, 7), [format!("{head}\n{tail}")]);
    }

    #[test]
    fn answers_of_other_servers_are_reported() {
        let mut lines = Lines::default();
        for text in ["<html>\n", "[1]\n", "{\"gap\":1}\n"] {
            assert!(lines.feed(text.as_bytes(), &mut JsonLines, |_| true).is_err(), "{text}");
        }
    }
}
