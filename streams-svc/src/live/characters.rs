//! Texts end with a whole character: an event has no part of one.

use std::sync::Arc;

use shared::pure::Message;

use super::BATCH;

/// How many of `messages` can be sent: the text after them does not end within a character. All, if there are too many to hold back.
pub(super) fn whole(messages: &[Arc<Message>]) -> usize {
    let bytes = |message: &Arc<Message>| message.draft.payload.bytes().cloned().unwrap_or_default();
    let mut tail = Tail::default();
    let (mut whole, mut held) = (0, 0);
    for (at, message) in messages.iter().enumerate() {
        let bytes = bytes(message);
        tail.push(&bytes);
        held += bytes.len();
        if !tail.is_within_character() {
            (whole, held) = (at + 1, 0);
        }
    }
    // The first is in memory anyway.
    let first = messages.get(whole).map_or(0, |first| bytes(first).len());
    let is_too_much = messages.len() - whole > BATCH.messages || held - first > BATCH.bytes;
    if is_too_much { messages.len() } else { whole }
}

/// The last bytes of a text.
#[derive(Default)]
struct Tail {
    last: [u8; 3],
}

impl Tail {
    fn push(&mut self, bytes: &[u8]) {
        for byte in &bytes[bytes.len().saturating_sub(3)..] {
            self.last = [self.last[1], self.last[2], *byte];
        }
    }

    /// Whether the bytes after the last first byte of a character are fewer than it announces (RFC 3629 §3).
    fn is_within_character(&self) -> bool {
        let (mut from_end, mut bytes) = (1, self.last.iter().rev());
        let length = loop {
            match bytes.next() {
                Some(0x80..=0xbf) => from_end += 1,
                Some(0xc2..=0xdf) => break 2,
                Some(0xe0..=0xef) => break 3,
                Some(0xf0..=0xf4) => break 4,
                _ => return false,
            }
        };
        from_end < length
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use shared::pure::{Cursor, Draft, Payload};

    use super::*;

    #[test]
    fn a_text_is_not_sent_up_to_the_middle_of_a_character() {
        let check = |parts: &[&[u8]], expected: usize| {
            let message = |part: &&[u8]| {
                let payload = Payload::from_bytes(Bytes::copy_from_slice(part));
                Arc::new(Message::new(Cursor::ZERO, Draft::new("s".parse().unwrap(), payload)))
            };
            assert_eq!(whole(&parts.iter().map(message).collect::<Vec<_>>()), expected, "{} messages", parts.len());
        };
        let (tea, rocket) = ("茶".as_bytes(), "🚀".as_bytes());
        check(&[], 0);
        check(&[b"a"], 1);
        check(&[tea, &tea[..1]], 1);
        check(&[&tea[..1], &tea[1..2]], 0);
        check(&[&tea[..1], &tea[1..2], &tea[2..]], 3);
        check(&[&rocket[..3], &[rocket[3], tea[0]]], 0);
        check(&[&rocket[..3], &[rocket[3]], &[tea[0]]], 2);
        check(&[&tea[..2], b"no end"], 2);
        check(&[&[0x80, 0x80, 0x80, 0x80]], 1);
        check(&[&[0xff]], 1);
        let long = vec![tea[0]; BATCH.bytes + 1];
        // One is in memory anyway; more is sent as it is.
        check(&[&long], 0);
        check(&[&tea[..1], &long], 2);
    }
}
