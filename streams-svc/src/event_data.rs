//! The data of an event in the form of its fields `data`, encoded while the client reads. A client that does not read keeps the messages and one
//! piece, which is at most seven times a [step](STEP).

use std::{iter, mem, sync::Arc, vec};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use shared::pure::{Message, Pieces, pieces, stream::MediaType};

use crate::body;

/// Bytes of data that become a piece. They are whole groups of base64.
const STEP: usize = 3 * 1024;

/// The fields `data` of an event with these messages.
pub(crate) fn fields(content_type: &MediaType, messages: Vec<Arc<Message>>) -> Pieces {
    if content_type.is_json() {
        // Compact JSON is one line.
        return Box::new(around("data:", pieces::array(messages).1));
    }
    let steps = Steps { parts: body::parts(&messages).into_iter(), current: Bytes::new() };
    if content_type.is_text() {
        Box::new(around("data:", Lines { steps: Some(steps), begins_line: true, ..Lines::default() }))
    } else {
        Box::new(around("data:", Base64 { steps: Some(steps), incomplete: Vec::new() }))
    }
}

fn around(before: &'static str, pieces: impl Iterator<Item = Bytes>) -> impl Iterator<Item = Bytes> {
    iter::once(Bytes::from(before)).chain(pieces).chain(iter::once(Bytes::from("\n")))
}

/// The bytes of messages, a few at a time.
struct Steps {
    parts: vec::IntoIter<Bytes>,
    current: Bytes,
}

impl Iterator for Steps {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        while self.current.is_empty() {
            self.current = self.parts.next()?;
        }
        Some(self.current.split_to(self.current.len().min(STEP)))
    }
}

/// A text as lines. A line that begins with a space gets another one, which the client removes.
#[derive(Default)]
struct Lines {
    /// What follows; `None` after the end.
    steps: Option<Steps>,
    /// The first bytes of a character.
    incomplete: Vec<u8>,
    /// A line begins, of which nothing was sent.
    begins_line: bool,
    /// It ends with CR, which a LF may belong to.
    ends_with_cr: bool,
}

impl Lines {
    fn push(&mut self, text: &str, fields: &mut String) {
        for character in text.chars() {
            let is_rest = mem::replace(&mut self.ends_with_cr, character == '\r') && character == '\n';
            match character {
                _ if is_rest => continue,
                '\r' | '\n' => fields.push_str("\ndata:"),
                ' ' if self.begins_line => fields.push_str("  "),
                _ => fields.push(character),
            }
            self.begins_line = matches!(character, '\r' | '\n');
        }
    }
}

impl Iterator for Lines {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let step = self.steps.as_mut()?.next();
        let mut bytes = mem::take(&mut self.incomplete);
        bytes.extend_from_slice(step.as_deref().unwrap_or_default());
        if step.is_none() {
            self.steps = None;
        }
        let (mut fields, mut left) = (String::with_capacity(bytes.len() + 64), bytes.len());
        for chunk in bytes.utf8_chunks() {
            self.push(chunk.valid(), &mut fields);
            let invalid = chunk.invalid();
            left -= chunk.valid().len() + invalid.len();
            let may_continue = left == 0 && self.steps.is_some();
            if may_continue && std::str::from_utf8(invalid).is_err_and(|error| error.error_len().is_none()) {
                self.incomplete = invalid.to_vec();
            } else if !invalid.is_empty() {
                self.push("\u{fffd}", &mut fields);
            }
        }
        Some(fields.into())
    }
}

/// Bytes as base64.
struct Base64 {
    /// What follows; `None` after the end.
    steps: Option<Steps>,
    /// The first bytes of a group of three.
    incomplete: Vec<u8>,
}

impl Iterator for Base64 {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let step = self.steps.as_mut()?.next();
        let mut bytes = mem::take(&mut self.incomplete);
        bytes.extend_from_slice(step.as_deref().unwrap_or_default());
        if step.is_some() {
            self.incomplete = bytes.split_off(bytes.len() / 3 * 3);
        } else {
            self.steps = None;
        }
        Some(STANDARD.encode(bytes).into())
    }
}

#[cfg(test)]
mod tests {
    use shared::pure::{Cursor, Draft, Payload};

    use super::*;

    fn of(content_type: &str, parts: &[&[u8]]) -> String {
        let message = |part: &&[u8]| {
            let payload = Payload::from_bytes(Bytes::copy_from_slice(part));
            Arc::new(Message::new(Cursor::ZERO, Draft::new("s".parse().unwrap(), payload)))
        };
        let (mut longest, mut all) = (0, Vec::new());
        for piece in fields(&content_type.parse().unwrap(), parts.iter().map(message).collect()) {
            longest = longest.max(piece.len());
            all.extend_from_slice(&piece);
        }
        assert!(longest <= 8 * STEP, "{longest} bytes");
        String::from_utf8(all).unwrap()
    }

    #[test]
    fn each_line_of_a_text_is_a_field() {
        for (text, fields) in [
            ("", "data:\n"),
            ("a", "data:a\n"),
            (" a", "data:  a\n"),
            ("a  b", "data:a  b\n"),
            ("a\n", "data:a\ndata:\n"),
            ("a\r\nb\rc\n\nd", "data:a\ndata:b\ndata:c\ndata:\ndata:d\n"),
            ("\n\r\n \r\r x", "data:\ndata:\ndata:  \ndata:\ndata:  x\n"),
            ("x\r\n\r\nevent: control\r\ndata: y", "data:x\ndata:\ndata:event: control\ndata:data: y\n"),
        ] {
            assert_eq!(of("text/plain", &[text.as_bytes()]), fields, "{text:?}");
            let bytes: Vec<_> = text.as_bytes().chunks(1).collect();
            assert_eq!(of("text/plain", &bytes), fields, "{text:?}");
        }
    }

    /// The same as what is done at once, wherever the bytes are divided.
    #[test]
    fn characters_and_groups_are_not_divided() {
        let invalid = [b"\xe8\x8c", &b"\xff"[..], b"\xf0\x9f\x9a x", b"\x80\x80", b"\xed\xa0\x80"].concat();
        for text in ["茶🚀é ".as_bytes(), &invalid] {
            for size in [1, 2, 3, 5, 1_000, STEP - 1, STEP, 2 * STEP] {
                let whole: Vec<u8> = text.iter().copied().cycle().take(2 * STEP + 7).collect();
                let parts: Vec<_> = whole.chunks(size).collect();
                let expected = format!("data:{}\n", String::from_utf8_lossy(&whole));
                assert!(of("text/plain", &parts) == expected, "in parts of {size}");
                let expected = format!("data:{}\n", STANDARD.encode(&whole));
                assert!(of("image/png", &parts) == expected, "in parts of {size}");
            }
        }
    }

    #[test]
    fn the_most_that_a_text_can_become_is_in_pieces() {
        for part in ["\n", "\r\n", "\n ", " "] {
            let text = part.repeat(300_000);
            let lines = text.split('\n').map(|line| line.trim_end_matches('\r'));
            let field = |line: &str| format!("data:{}{line}\n", if line.starts_with(' ') { " " } else { "" });
            assert!(of("text/plain", &[text.as_bytes()]) == lines.map(field).collect::<String>(), "{part:?}");
        }
    }
}
