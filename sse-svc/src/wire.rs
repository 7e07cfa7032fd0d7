//! Messages as an event stream (WHATWG HTML, "Server-sent events", <https://html.spec.whatwg.org/multipage/server-sent-events.html>).

use std::sync::Arc;

use bytes::Bytes;
use edge::stream::{Form, Retry};
use shared::pure::{Cursor, Gap, Message, Pieces, Publisher, Wire, stream::StreamEnd};

use crate::long;

/// The data of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// The data of the message, with its event name: the natural use of `EventSource`.
    Raw,
    /// The whole message, for clients that read several channels, or have to distinguish a text from a number. Then the only event besides
    /// `message` is a gap.
    Message,
}

/// The format of `/events`: each message is one event, whose id is its cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EventStream {
    pub(crate) format: Format,
    /// Whether whole messages have the user who published them.
    pub(crate) publisher: Publisher,
}

impl Form for EventStream {
    fn opening(&self, place: Option<Cursor>) -> Bytes {
        // With the comment, proxies and clients recognize the stream as open before there is a message.
        let mut opening = format!("retry: {}\n: connected\n", Retry::draw().millis());
        if let Some(place) = place {
            // An event without data is not dispatched, but its id is stored and sent when the browser reconnects (WHATWG HTML, "dispatch
            // the event"): messages published between a broken first connection and the next are not skipped.
            opening.push_str(&format!("id: {place}\n"));
        }
        opening.push('\n');
        opening.into()
    }

    fn with_message<R>(&self, message: &Message, with: impl FnOnce(&Bytes) -> R) -> R {
        match self.format {
            Format::Raw => message.with_wire(Wire::Sse, event, with),
            Format::Message => {
                let publisher = message.publisher(self.publisher);
                let wire = match publisher {
                    Publisher::Hidden => Wire::SseWhole,
                    Publisher::Shown => Wire::SseWholeWithUser,
                };
                message.with_wire(wire, |message| whole(message, publisher), with)
            }
        }
    }

    fn pieces(&self, message: &Arc<Message>) -> Pieces {
        match self.format {
            Format::Raw => long::event(message, head(message)),
            Format::Message => {
                let before = format!("id: {}\ndata: ", message.id).into_bytes();
                message.line_pieces(self.publisher, before, b"\n\n")
            }
        }
    }

    fn gap(&self, gap: &Gap) -> Bytes {
        // Two cursors always serialize.
        let data = serde_json::to_string(gap).unwrap_or_default();
        format!("event: gap\nid: {}\ndata: {data}\n\n", gap.resumed).into()
    }

    fn end(&self, end: &StreamEnd, cursor: Cursor) -> Bytes {
        // Texts and cursors always serialize.
        let data = serde_json::to_string(end).unwrap_or_default();
        format!("event: end\nid: {cursor}\ndata: {data}\n\n").into()
    }

    fn keep_alive(&self) -> Bytes {
        // Without a blank line: some clients dispatch an empty event at each.
        Bytes::from_static(b": keep-alive\n")
    }

    fn closing(&self) -> Bytes {
        // Random for each stream: when a server shuts down, all its streams end at the same time, and their clients should not reconnect at
        // the same time.
        format!("retry: {}\n\n", Retry::draw().millis()).into()
    }
}

/// One event: `id`, `event` unless it is `message`, and a `data` line for each line of a text.
pub(crate) fn event(message: &Message) -> Bytes {
    let draft = &message.draft;
    let mut frame = String::with_capacity(64 + draft.event.len() + draft.payload.len());
    push_head(message, &mut frame);
    let json = draft.payload.plain_json();
    match json.starts_with('"').then(|| serde_json::from_str::<String>(&json)) {
        Some(Ok(text)) => lines(&text).for_each(|line| data(&mut frame, line)),
        _ => data(&mut frame, &json),
    }
    frame.push_str("\n\n");
    frame.into()
}

/// The first fields of the event of a message: `id`, and `event` unless it is `message`.
pub(crate) fn head(message: &Message) -> String {
    let mut head = String::new();
    push_head(message, &mut head);
    head
}

fn push_head(message: &Message, frame: &mut String) {
    frame.push_str("id: ");
    frame.push_str(&message.id.to_string());
    if !message.draft.event.is_default() {
        frame.push_str("\nevent: ");
        frame.push_str(&message.draft.event);
    }
}

/// One event whose data is the whole message, which is one line of JSON.
fn whole(message: &Message, publisher: Publisher) -> Bytes {
    let line = message.line(publisher);
    let mut frame = Vec::with_capacity(32 + line.len());
    frame.extend_from_slice(format!("id: {}\ndata: ", message.id).as_bytes());
    frame.extend_from_slice(&line);
    frame.push(b'\n');
    frame.into()
}

fn data(frame: &mut String, line: &str) {
    frame.push_str("\ndata: ");
    frame.push_str(line);
}

/// Splits `text` at CRLF, LF or CR, as an event stream does. A CR left inside would allow its author to start a field.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let Some(end) = text.find(['\r', '\n']) else { return rest.take() };
        let after = if text[end..].starts_with("\r\n") { end + 2 } else { end + 1 };
        rest = Some(&text[after..]);
        Some(&text[..end])
    })
}

#[cfg(test)]
mod tests {
    use shared::pure::{Draft, Payload, stream::EndReason};

    use super::*;

    fn frame(event_name: &str, json: &str) -> String {
        let payload = Payload::from_json(json.as_bytes()).unwrap();
        let draft = Draft::new("c".parse().unwrap(), payload).event(event_name.parse().unwrap());
        let bytes = event(&Message::new(Cursor::new(1_763_800_000_000, 5), draft));
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[test]
    fn a_message_is_one_event() {
        assert_eq!(frame("message", "{\"code\": 5}"), "id: 1763800000000-5\ndata: {\"code\":5}\n\n");
        assert_eq!(frame("chat message", "[1]"), "id: 1763800000000-5\nevent: chat message\ndata: [1]\n\n");
        assert_eq!(frame("message", "null"), "id: 1763800000000-5\ndata: null\n\n");
    }

    #[test]
    fn a_whole_message_is_the_data_of_one_event() {
        let payload = Payload::from_json(b"\"a\\nb\"").unwrap();
        let draft = Draft::new("c".parse().unwrap(), payload).event("x y".parse().unwrap()).by(Some("ann".into()));
        let message = Message::new(Cursor::new(7, 5), draft);
        for (publisher, user) in [(Publisher::Hidden, ""), (Publisher::Shown, ",\"user\":\"ann\"")] {
            let form = EventStream { publisher, ..form(Format::Message) };
            assert_eq!(
                form.with_message(&message, Bytes::clone),
                format!(
                    "id: 7-5\ndata: {{\"id\":\"7-5\",\"channel\":\"c\",\"event\":\"x y\",\"data\":\"a\\nb\",\"time\":7{user}}}\n\n"
                )
            );
        }
    }

    fn form(format: Format) -> EventStream {
        EventStream { format, publisher: Publisher::Hidden }
    }

    #[test]
    fn a_text_goes_out_as_its_lines() {
        for (text, data) in [
            ("时间:7", "data: 时间:7"),
            ("", "data: "),
            ("a\nb", "data: a\ndata: b"),
            ("a\r\nb\rc\n", "data: a\ndata: b\ndata: c\ndata: "),
            ("\r\r\n\n", "data: \ndata: \ndata: \ndata: "),
            (" led", "data:  led"),
            ("x\rid: forged\revent: forged", "data: x\ndata: id: forged\ndata: event: forged"),
        ] {
            let json = serde_json::to_string(text).unwrap();
            assert_eq!(frame("message", &json), format!("id: 1763800000000-5\n{data}\n\n"), "{text:?}");
        }
    }

    /// Case 12.5: a keep-alive is only a comment line.
    #[test]
    fn a_keep_alive_ends_no_event() {
        let form = form(Format::Raw);
        assert_eq!(form.keep_alive(), ": keep-alive\n");
    }

    #[test]
    fn a_gap_is_an_event_with_the_cursor_to_resume_from() {
        let gap = Gap { requested: Cursor::new(1, 2), resumed: Cursor::new(3, 4) };
        let form = form(Format::Message);
        assert_eq!(form.gap(&gap), "event: gap\nid: 3-4\ndata: {\"requested\":\"1-2\",\"resumed\":\"3-4\"}\n\n");
    }

    #[test]
    fn an_end_is_an_event_with_the_cursor_to_resume_from() {
        let end = StreamEnd { channel: "runs/1".parse().unwrap(), reason: EndReason::Expired, id: Cursor::new(3, 4) };
        let expected = "event: end\nid: 5-0\ndata: {\"channel\":\"runs/1\",\"reason\":\"expired\",\"id\":\"3-4\"}\n\n";
        assert_eq!(form(Format::Raw).end(&end, Cursor::new(5, 0)), expected);
    }
}
