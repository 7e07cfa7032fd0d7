//! `{"cursor":…,"gap":…,"messages":[…]}`, with `end` and `closed` if a stream has ended: the body of an answer with several messages.
//!
//! A short body is built at once. A long one is a list of messages, which the log stores anyway. Each is encoded when the client has taken
//! what precedes it, so a client that requests much and reads nothing costs only the list.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    vec,
};

use actix_web::body::{BodySize, BoxBody, MessageBody};
use bytes::{BufMut as _, Bytes, BytesMut};
use edge::unread::{Unread, UnreadAnswer};
use shared::{
    live::reader::Batch,
    pure::{Message, Publisher},
};

/// The size in bytes of the longest body that is built at once, and of the pieces of a longer one.
const PIECE: usize = 16 * 1024;

/// The body of an answer with `batch`, with the users who published its messages if `publisher` says so. `is_last`: all of the channels are
/// streams that have ended, and nothing follows.
pub(crate) fn body(batch: &Batch, is_last: bool, publisher: Publisher, unread: &Unread) -> BoxBody {
    let mut head = format!("{{\"cursor\":\"{}\",\"gap\":{},", batch.cursor, batch.gap.is_some());
    if let Some(end) = &batch.end {
        // Texts and cursors always serialize.
        let end = serde_json::to_string(end).unwrap_or_default();
        head.push_str(&format!("\"end\":{end},"));
    }
    head.push_str(if is_last { "\"closed\":true,\"messages\":[" } else { "\"messages\":[" });
    if let Some(whole) = short(&head, batch, publisher) {
        return BoxBody::new(whole);
    }
    // The commas between the messages, and the end.
    let punctuation = batch.messages.len().saturating_sub(1) + END.len();
    let length = |message: &Arc<Message>| message.with_line(publisher, |line| trimmed(line).len());
    let lines = batch.messages.iter().map(length).sum::<usize>();
    let length = head.len() + lines + punctuation;
    BoxBody::new(Pieces {
        piece: BytesMut::from(head.as_bytes()),
        long: None,
        messages: batch.messages.clone().into_iter(),
        publisher,
        is_first: true,
        has_ended: false,
        length,
        unread: unread.hold(length),
    })
}

/// The whole body, if it is short enough to be built at once.
fn short(head: &str, batch: &Batch, publisher: Publisher) -> Option<Bytes> {
    let data = batch.messages.iter().map(|message| message.len()).sum::<usize>();
    if data > PIECE {
        return None;
    }
    let expected = head.len() + data + BESIDE_DATA * batch.messages.len() + END.len();
    let mut whole = BytesMut::with_capacity(expected.min(PIECE));
    whole.extend_from_slice(head.as_bytes());
    for (n, message) in batch.messages.iter().enumerate() {
        if n > 0 {
            whole.put_u8(b',');
        }
        message.with_line(publisher, |line| whole.extend_from_slice(trimmed(line)));
        if whole.len() > PIECE {
            return None;
        }
    }
    whole.extend_from_slice(END);
    Some(whole.freeze())
}

/// A message of at least this many bytes is not copied.
const SHARED: usize = 4 * 1024;
/// The approximate overhead of a line in bytes, for the initial allocation.
const BESIDE_DATA: usize = 128;
const END: &[u8] = b"]}";

/// A line without its line end.
fn trimmed(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\n").unwrap_or(line)
}

struct Pieces {
    /// The beginning of the next piece.
    piece: BytesMut,
    /// The following message, if it is a piece of its own.
    long: Option<Bytes>,
    messages: vec::IntoIter<Arc<Message>>,
    publisher: Publisher,
    is_first: bool,
    has_ended: bool,
    /// The length of the whole body.
    length: usize,
    unread: UnreadAnswer,
}

impl Pieces {
    /// The next piece, of at most [`PIECE`] bytes, or more if a single message exceeds it. A message of [`SHARED`] bytes or more is a piece
    /// of its own: the same bytes that other readers are sent.
    fn next(&mut self) -> Option<Bytes> {
        if let Some(long) = self.long.take() {
            return Some(long);
        }
        while self.piece.len() < PIECE
            && self.long.is_none()
            && let Some(message) = self.messages.next()
        {
            if !std::mem::take(&mut self.is_first) {
                self.piece.put_u8(b',');
            }
            message.with_line(self.publisher, |line| {
                let line_without_end = trimmed(line);
                if line_without_end.len() >= SHARED {
                    self.long = Some(line.slice_ref(line_without_end));
                } else {
                    self.piece.extend_from_slice(line_without_end);
                }
            });
        }
        let is_last = self.messages.len() == 0 && self.long.is_none();
        if is_last && !std::mem::replace(&mut self.has_ended, true) {
            self.piece.extend_from_slice(END);
        }
        let piece = std::mem::take(&mut self.piece);
        (!piece.is_empty()).then(|| piece.freeze()).or_else(|| self.long.take())
    }
}

impl MessageBody for Pieces {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.length as u64)
    }

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, Infallible>>> {
        let piece = self.next();
        self.unread.taken(piece.as_ref().map_or(0, Bytes::len));
        Poll::Ready(piece.map(Ok))
    }
}

#[cfg(test)]
mod tests {
    use actix_web::body::to_bytes;
    use shared::pure::{Cursor, Draft, Payload};

    use super::*;

    /// Case 5.1: a long answer is the same JSON as a short one, has the announced length, and is built while it is read.
    #[actix_web::test]
    async fn a_long_answer_is_made_as_it_is_taken() {
        for (count, size, is_long) in
            [(0, 0, false), (1, 10, false), (3, 10, false), (1, 60_000, true), (20, 60_000, true), (1_000, 100, true)]
        {
            let payload = Payload::from_text(&"x".repeat(size));
            let draft = Draft::new("a".parse().unwrap(), payload).by(Some("ann".into()));
            let message = |n| Arc::new(Message::new(Cursor::new(1, n), draft.clone()));
            let messages: Vec<_> = (0..count).map(message).collect();
            let batch = Batch { gap: None, messages, end: None, cursor: Cursor::new(1, count) };
            let unread = Unread::new(None);
            for (publisher, user) in [(Publisher::Hidden, None), (Publisher::Shown, Some("ann"))] {
                let body = body(&batch, false, publisher, &unread);
                let BodySize::Sized(length) = body.size() else { panic!("no length") };
                assert_eq!(unread.bytes(), if is_long { length as usize } else { 0 });
                let bytes = to_bytes(body).await.unwrap();
                assert_eq!((bytes.len() as u64, unread.bytes()), (length, 0));
                let json: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
                let messages = json["messages"].as_array().unwrap();
                let read = messages.iter().map(|message| (message["id"].as_str().unwrap(), message["user"].as_str()));
                let ids: Vec<_> = (0..count).map(|n| format!("1-{n}")).collect();
                assert!(read.eq(ids.iter().map(|id| (&**id, user))), "{user:?}");
            }
        }
    }
}
