//! `{"cursor":…,"gap":…,"messages":[…]}`: the body of an answer that holds several messages.
//!
//! A short one is made at once. A long one is a list of messages, which the log holds anyhow, each encoded when the client has taken
//! what comes before it: a client that asks for much and reads nothing costs its list.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    vec,
};

use actix_web::body::{BodySize, BoxBody, MessageBody};
use bytes::{BufMut as _, Bytes, BytesMut};
use shared::{
    edge::unread::{Unread, UnreadAnswer},
    live::reader::Batch,
    pure::Message,
};

/// Bytes of the longest body that is made at once, and of the pieces of one that is not.
const PIECE: usize = 16 * 1024;

/// The body of the answer that is `batch`.
pub(crate) fn body(batch: &Batch, unread: &Unread) -> BoxBody {
    let head = format!("{{\"cursor\":\"{}\",\"gap\":{},\"messages\":[", batch.cursor, batch.gap.is_some());
    // Commas between the messages, and the end.
    let punctuation = batch.messages.len().saturating_sub(1) + END.len();
    let length = head.len() + batch.messages.iter().map(|message| line(message).len()).sum::<usize>() + punctuation;
    let mut pieces = Pieces {
        piece: BytesMut::from(head.as_bytes()),
        long: None,
        messages: batch.messages.clone().into_iter(),
        is_first: true,
        has_ended: false,
        length,
        unread: unread.hold(0),
    };
    if length <= PIECE {
        pieces.piece.reserve(length);
        return BoxBody::new(pieces.next(length, usize::MAX).unwrap_or_default());
    }
    pieces.unread = unread.hold(length);
    BoxBody::new(pieces)
}

/// Bytes from which a message is not copied.
const SHARED: usize = 4 * 1024;
const END: &[u8] = b"]}";

fn line(message: &Message) -> Bytes {
    let line = message.line();
    line.slice(..line.trim_ascii_end().len())
}

struct Pieces {
    /// What is gathered of the next piece.
    piece: BytesMut,
    /// A message behind it that is a piece by itself.
    long: Option<Bytes>,
    messages: vec::IntoIter<Arc<Message>>,
    is_first: bool,
    has_ended: bool,
    /// Of the whole body.
    length: usize,
    unread: UnreadAnswer,
}

impl Pieces {
    /// The next piece, which ends with the message by which it has `most` bytes. A message from `shared` bytes on is a piece by
    /// itself, the very bytes that other readers are sent.
    fn next(&mut self, most: usize, shared: usize) -> Option<Bytes> {
        if let Some(long) = self.long.take() {
            return Some(long);
        }
        while self.piece.len() < most
            && self.long.is_none()
            && let Some(message) = self.messages.next()
        {
            if !std::mem::take(&mut self.is_first) {
                self.piece.put_u8(b',');
            }
            let line = line(&message);
            if line.len() >= shared {
                self.long = Some(line);
            } else {
                self.piece.extend_from_slice(&line);
            }
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
        let piece = self.next(PIECE, SHARED);
        self.unread.taken(piece.as_ref().map_or(0, Bytes::len));
        Poll::Ready(piece.map(Ok))
    }
}

#[cfg(test)]
mod tests {
    use actix_web::body::to_bytes;
    use shared::pure::{Cursor, Draft, Payload};

    use super::*;

    /// Case 5.1: a long answer is the same JSON as a short one, of the length that is told, and is made as it is taken.
    #[actix_web::test]
    async fn a_long_answer_is_made_as_it_is_taken() {
        for (count, size, is_long) in
            [(0, 0, false), (1, 10, false), (3, 10, false), (1, 60_000, true), (20, 60_000, true), (1_000, 100, true)]
        {
            let payload = Payload::from_text(&"x".repeat(size));
            let message =
                |n| Arc::new(Message::new(Cursor::new(1, n), Draft::new("a".parse().unwrap(), payload.clone())));
            let messages: Vec<_> = (0..count).map(message).collect();
            let batch = Batch { gap: None, messages, cursor: Cursor::new(1, count) };
            let unread = Unread::new(None);
            let body = body(&batch, &unread);
            let BodySize::Sized(length) = body.size() else { panic!("no length") };
            assert_eq!(unread.bytes(), if is_long { length as usize } else { 0 });
            let bytes = to_bytes(body).await.unwrap();
            assert_eq!((bytes.len() as u64, unread.bytes()), (length, 0));
            let json: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
            let ids: Vec<_> =
                json["messages"].as_array().unwrap().iter().map(|message| message["id"].clone()).collect();
            assert_eq!(ids, (0..count).map(|n| format!("1-{n}")).collect::<Vec<_>>());
        }
    }
}
