//! Long messages, encoded in pieces while their clients read.
//!
//! Most forms are encoded once and shared by all readers ([`Wire`](super::Wire)). A form of a long message is as large as the message, or
//! several times that, and every client that stops reading keeps what it was to be sent: so each reader encodes such a message for itself,
//! the next piece when its client has taken the one before. Until then it has a reference to the message and one piece.

use std::{iter, mem, sync::Arc, vec};

use bytes::Bytes;
use serde_json::value::RawValue;

use super::{Message, Publisher, payload::PlainJson};

/// The approximate size of a piece in bytes.
pub const PIECE: usize = 16 * 1024;
/// A message with more data than this is always encoded in pieces.
const LONG: usize = 64 * 1024;
/// A form of at least this many bytes is not copied: other readers share it.
const SHARED: usize = 4 * 1024;

/// What a client is sent, a piece at a time. Pieces may be empty.
pub type Pieces = Box<dyn Iterator<Item = Bytes>>;

impl Message {
    /// Whether it is to be encoded in pieces. Shorter messages are, too, if the cache of forms has no room for them, and none of their forms yet.
    #[must_use]
    pub fn is_long(&self) -> bool {
        self.len() > LONG || self.len() > PIECE && !self.has_forms() && !self.has_room(self.len())
    }

    /// The number of bytes of the [line](Self::line), without its end.
    #[must_use]
    pub fn line_len(&self, publisher: Publisher) -> usize {
        let (before, after) = self.around_data(publisher);
        before.len() + self.draft.payload.plain_len() + after.len()
    }

    /// The [line](Self::line) without its end, between `before` and `after`.
    #[must_use]
    pub fn line_pieces(self: &Arc<Self>, publisher: Publisher, before: Vec<u8>, after: &[u8]) -> Pieces {
        let (first, last) = self.around_data(publisher);
        self.data_pieces([before, first].concat(), [&last, after].concat())
    }

    /// The data as plain JSON, between `before` and `after`.
    #[must_use]
    pub fn data_pieces(self: &Arc<Self>, before: Vec<u8>, after: Vec<u8>) -> Pieces {
        let (message, mut before, mut after) = (self.clone(), before, Some(after));
        let mut data = PlainJson::default();
        Box::new(iter::from_fn(move || {
            let end = after.take()?;
            let mut piece = mem::take(&mut before);
            piece.reserve(PIECE.min(message.draft.payload.plain_len() + end.len()));
            if data.append(&message.draft.payload, PIECE, &mut piece) {
                after = Some(end);
            } else {
                piece.extend_from_slice(&end);
            }
            Some(piece.into())
        }))
    }

    /// What a line has before and after the data.
    fn around_data(&self, publisher: Publisher) -> (Vec<u8>, Vec<u8>) {
        // A quotation mark inside of a text has a backslash before it: nothing else is equal to this.
        const DATA: &[u8] = b",\"data\":null,\"time\":";
        const KEY: usize = b",\"data\":".len();
        let user = self.draft.user.as_deref().filter(|_| publisher == Publisher::Shown);
        let mut before = self.encode_with(RawValue::NULL, user);
        let place = before.windows(DATA.len()).position(|window| window == DATA).map_or(before.len(), |at| at + KEY);
        let after = before.split_off(place).split_off(b"null".len());
        (before, after)
    }
}

/// The lines of `messages`, separated by commas, between `head` and `tail`, and the number of bytes of all.
///
/// Only the list of messages is kept, which the log stores anyway: each is encoded when what precedes it was taken.
#[must_use]
pub fn lines(head: Vec<u8>, messages: Vec<Arc<Message>>, publisher: Publisher, tail: Vec<u8>) -> (usize, Pieces) {
    let length = |message: &Arc<Message>| match message.is_long() {
        true => message.line_len(publisher),
        false => message.with_line(publisher, |line| trimmed(line).len()),
    };
    let commas = messages.len().saturating_sub(1);
    let length = head.len() + messages.iter().map(length).sum::<usize>() + commas + tail.len();
    let messages = messages.into_iter();
    (length, Box::new(Lines { piece: head, following: None, messages, publisher, is_first: true, tail: Some(tail) }))
}

/// A line without its line end.
fn trimmed(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\n").unwrap_or(line)
}

struct Lines {
    /// The beginning of the next piece.
    piece: Vec<u8>,
    /// The message after it, if that is not copied into it.
    following: Option<Pieces>,
    messages: vec::IntoIter<Arc<Message>>,
    publisher: Publisher,
    is_first: bool,
    tail: Option<Vec<u8>>,
}

impl Iterator for Lines {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        if let Some(piece) = self.following.as_mut().and_then(Iterator::next) {
            return Some(piece);
        }
        self.following = None;
        while self.piece.len() < PIECE && self.following.is_none() {
            let Some(message) = self.messages.next() else {
                self.piece.extend(self.tail.take().into_iter().flatten());
                break;
            };
            if !mem::take(&mut self.is_first) {
                self.piece.push(b',');
            }
            if message.is_long() {
                let before = mem::take(&mut self.piece);
                self.following = Some(message.line_pieces(self.publisher, before, b""));
                return self.next();
            }
            message.with_line(self.publisher, |line| {
                let text = trimmed(line);
                if text.len() >= SHARED {
                    self.following = Some(Box::new(iter::once(line.slice_ref(text))));
                } else {
                    self.piece.extend_from_slice(text);
                }
            });
        }
        let piece = mem::take(&mut self.piece);
        if piece.is_empty() { self.following.as_mut()?.next() } else { Some(piece.into()) }
    }
}

/// The data of `messages` as a JSON array, and its number of bytes.
#[must_use]
pub fn array(messages: Vec<Arc<Message>>) -> (usize, Pieces) {
    let commas = messages.len().saturating_sub(1);
    let length = messages.iter().map(|message| message.draft.payload.plain_len()).sum::<usize>() + commas + 2;
    let (mut messages, mut left) = (messages.into_iter(), length);
    let (mut current, mut is_first) = (None::<(Arc<Message>, PlainJson)>, true);
    let pieces = iter::from_fn(move || {
        if left == 0 {
            return None;
        }
        let mut piece = Vec::with_capacity(left.min(PIECE + 64));
        while piece.len() < PIECE {
            if let Some((message, place)) = &mut current {
                if !place.append(&message.draft.payload, PIECE, &mut piece) {
                    current = None;
                }
                continue;
            }
            current = messages.next().map(|message| (message, PlainJson::default()));
            match (&current, mem::take(&mut is_first)) {
                (Some(_), true) => piece.push(b'['),
                (Some(_), false) => piece.push(b','),
                (None, true) => piece.extend_from_slice(b"[]"),
                (None, false) => piece.push(b']'),
            }
            if current.is_none() {
                break;
            }
        }
        left = left.saturating_sub(piece.len());
        Some(Bytes::from(piece))
    });
    (length, Box::new(pieces))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pure::{Cursor, Draft, Payload, Wire};

    fn message(n: u64, text: &str) -> Arc<Message> {
        let draft = Draft::new("news".parse().unwrap(), Payload::from_text(text)).by(Some("ann".into()));
        let event = "a,\"data\":null,\"time\":".parse().unwrap();
        Arc::new(Message::new(Cursor::new(1, n), Draft { from: Some("\"data\":null".into()), ..draft.event(event) }))
    }

    fn whole(pieces: Pieces) -> (usize, String) {
        let (mut longest, mut all) = (0, Vec::new());
        for piece in pieces {
            longest = longest.max(piece.len());
            all.extend_from_slice(&piece);
        }
        (longest, String::from_utf8(all).unwrap())
    }

    #[test]
    fn a_long_line_in_pieces_is_the_line() {
        for size in [0, 10, PIECE, 1024 * 1024] {
            let message = message(5, &"x".repeat(size));
            assert_eq!(message.is_long(), size > LONG);
            for publisher in [Publisher::Hidden, Publisher::Shown] {
                let line = message.line(publisher);
                assert_eq!(message.line_len(publisher), line.len() - 1);
                let (longest, pieces) = whole(message.line_pieces(publisher, b">".to_vec(), b"<\n"));
                assert_eq!(pieces, format!(">{}<\n", std::str::from_utf8(&line).unwrap().trim_end()));
                assert!(longest <= PIECE + 64, "{longest} bytes");
            }
        }
    }

    #[test]
    fn lists_have_the_stated_length_and_short_pieces() {
        for sizes in
            [vec![], vec![1], vec![70_000], vec![1, 70_000, 1, 5_000, 70_000], vec![100; 1_000], vec![5_000; 9]]
        {
            let texts: Vec<_> = sizes.iter().map(|size| "x".repeat(*size)).collect();
            let messages: Vec<_> = (0..).zip(&texts).map(|(n, text)| message(n, text)).collect();
            let (length, pieces) = array(messages.clone());
            let (longest, json) = whole(pieces);
            assert_eq!((json.len(), serde_json::from_str::<Vec<String>>(&json).unwrap()), (length, texts));
            assert!(longest <= PIECE + 64, "{longest} bytes of {sizes:?}");
            let (length, pieces) =
                lines(b"{\"messages\":[".to_vec(), messages.clone(), Publisher::Shown, b"]}".to_vec());
            let (longest, json) = whole(pieces);
            assert_eq!(json.len(), length);
            assert!(longest <= PIECE + 5_200, "{longest} bytes of {sizes:?}");
            let of = |message: &Arc<Message>| {
                serde_json::from_slice::<serde_json::Value>(&message.line(Publisher::Shown)).unwrap()
            };
            let expected: Vec<_> = messages.iter().map(of).collect();
            let read: serde_json::Value = serde_json::from_str(&json).unwrap();
            assert_eq!(read["messages"].as_array().unwrap(), &expected);
        }
    }

    /// Without room in the cache, every reader had a form of its own.
    #[test]
    fn without_room_shorter_messages_are_long() {
        let cache = Arc::new(crate::pure::forms::FormCache::new(Some(2 * PIECE)));
        let entered = |size: usize| {
            let mut message = Arc::into_inner(message(1, &"x".repeat(size))).unwrap();
            message.enter(&cache, 1);
            message
        };
        assert_eq!([10, PIECE + 1, 3 * PIECE].map(|size| entered(size).is_long()), [false, false, true]);
        // The form of a message may have taken the room that was there for it: it is shared all the same.
        let [first, second] = [3 * PIECE / 2; 2].map(entered);
        first.wire(Wire::RawLine, |message| vec![b'x'; message.len()].into());
        assert!(!first.is_long() && second.is_long());
    }
}
