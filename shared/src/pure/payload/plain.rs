//! The plain JSON of data in pieces, for readers that take it slowly.

use std::ops::Range;

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{Part, Payload, part_at, parts};

/// What surrounds the base64 of a buffer.
pub(super) const BEFORE: &str = "{\"base64\":\"";
const AFTER: &str = "\"}";

/// The place of a reader in the [plain JSON](Payload::plain_json) of data.
#[derive(Debug, Default)]
pub struct PlainJson {
    /// Where the next part begins in the JSON with placeholders.
    next: usize,
    /// What is left of the current text.
    text: Range<usize>,
    /// The current buffer, and how many of its bytes were read.
    buffer: Option<(usize, usize)>,
}

impl PlainJson {
    /// Appends what follows in `payload` to `piece`, until that has about `most` bytes. Returns whether there may be more.
    pub fn append(&mut self, payload: &Payload, most: usize, piece: &mut Vec<u8>) -> bool {
        while piece.len() < most {
            let room = most - piece.len();
            if !self.text.is_empty() {
                let end = self.text.end.min(self.text.start + room);
                piece.extend_from_slice(&payload.json.as_bytes()[self.text.start..end]);
                self.text.start = end;
            } else if let Some((number, read)) = self.buffer {
                let buffer = payload.buffer(number);
                // Without the padding that belongs to the end.
                let end = buffer.len().min(read + room.div_ceil(4) * 3);
                piece.extend_from_slice(STANDARD.encode(&buffer[read..end]).as_bytes());
                self.buffer = (end < buffer.len()).then_some((number, end));
                if self.buffer.is_none() {
                    piece.extend_from_slice(AFTER.as_bytes());
                }
            } else if self.next == payload.json.len() {
                return false;
            } else if payload.attachments.is_empty() {
                self.next = payload.json.len();
                self.text = 0..self.next;
            } else if let Some((part, length)) = part_at(&payload.json, self.next) {
                match part {
                    Part::Text(_) => self.text = self.next..self.next + length,
                    Part::Placeholder(number) => {
                        piece.extend_from_slice(BEFORE.as_bytes());
                        self.buffer = Some((number, 0));
                    }
                }
                self.next += length;
            }
        }
        true
    }
}

impl Payload {
    /// The number of bytes of the [plain JSON](Self::plain_json).
    #[must_use]
    pub fn plain_len(&self) -> usize {
        if self.attachments.is_empty() {
            return self.json.len();
        }
        let length = |part: Part<'_>| match part {
            Part::Text(text) => text.len(),
            Part::Placeholder(number) => BEFORE.len() + self.buffer(number).len().div_ceil(3) * 4 + AFTER.len(),
        };
        parts(&self.json).map(length).sum()
    }

    /// The buffer of a placeholder.
    fn buffer(&self, number: usize) -> &[u8] {
        self.attachments.get(number).map_or(&[], |bytes| bytes)
    }

    /// Appends the plain JSON to `text`, with each buffer as base64.
    pub(super) fn append_plain(&self, text: &mut String) {
        for part in parts(&self.json) {
            match part {
                Part::Text(part) => text.push_str(part),
                Part::Placeholder(number) => {
                    text.push_str(BEFORE);
                    STANDARD.encode_string(self.buffer(number), text);
                    text.push_str(AFTER);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn pieces_of_any_size_are_the_whole() {
        let binary = |json: &str, buffers: &[&'static [u8]]| {
            let buffers = buffers.iter().map(|bytes| Bytes::from_static(bytes)).collect();
            Payload::with_attachments(json.as_bytes(), buffers).unwrap()
        };
        let two =
            r#"["a{\"_placeholder\":true,\"num\":0}",{"_placeholder":true,"num":0},{"num":1,"_placeholder":true},7]"#;
        for payload in [
            Payload::from_text("1"),
            Payload::from_text(&"\"茶\\\u{1f600}".repeat(9)),
            Payload::from_json(b"{\"a\":[1.50,null]}").unwrap(),
            Payload::from_bytes(Bytes::from_static(b"0123456789")),
            Payload::from_bytes(Bytes::new()),
            binary(two, &[b"abcd", b""]),
            binary(two, &[b"\xff", b"0123456789012345678901234567890123456789"]),
        ] {
            let whole = payload.plain_json().into_owned();
            assert_eq!(payload.plain_len(), whole.len(), "{whole}");
            for most in 1..whole.len() + 2 {
                let (mut place, mut read, mut has_more) = (PlainJson::default(), Vec::new(), true);
                while has_more {
                    let mut piece = Vec::new();
                    has_more = place.append(&payload, most, &mut piece);
                    // The beginning of a buffer is not divided, nor are four characters of base64 and its end.
                    assert!(piece.len() < most + BEFORE.len() + AFTER.len() + 4, "{} > {most}", piece.len());
                    read.extend(piece);
                }
                assert_eq!(String::from_utf8(read).unwrap(), whole, "in pieces of {most}");
            }
        }
    }
}
