//! `{"cursor":…,"gap":…,"messages":[…]}`, with `end` and `closed` if a stream has ended: the body of an answer with several messages.
//!
//! A short body is built at once. A long one is a list of messages, which the log stores anyway. They are encoded [in pieces](pieces), so a
//! client that requests much and reads nothing costs only the list.

use actix_web::body::BoxBody;
use bytes::{BufMut as _, Bytes, BytesMut};
use edge::{pieces::PiecesBody, unread::Unread};
use shared::{
    live::reader::Batch,
    pure::{
        Publisher,
        pieces::{self, PIECE},
    },
};

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
    let lines = pieces::lines(head.into_bytes(), batch.messages.clone(), publisher, END.to_vec());
    BoxBody::new(PiecesBody::new(lines, unread))
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

/// The approximate overhead of a line in bytes, for the initial allocation.
const BESIDE_DATA: usize = 128;
const END: &[u8] = b"]}";

/// A line without its line end.
fn trimmed(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\n").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use actix_web::body::{BodySize, MessageBody as _, to_bytes};
    use shared::pure::{Cursor, Draft, Message, Payload};

    use super::*;

    /// Case 5.1: a long answer is the same JSON as a short one, has the announced length, and is built while it is read.
    #[actix_web::test]
    async fn a_long_answer_is_made_as_it_is_taken() {
        for (count, size, is_long) in [
            (0, 0, false),
            (1, 10, false),
            (3, 10, false),
            (1, 60_000, true),
            (1, 1 << 20, true),
            (20, 60_000, true),
            (1_000, 100, true),
        ] {
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
