//! The data of a stream: from the body of a request to messages, and back.

use std::{iter, sync::Arc};

use bytes::Bytes;
use edge::{ApiError, publish::refused, receiving::Share, service::Service};
use serde_json::value::RawValue;
use shared::{
    live::bus::{BusError, MAX_MESSAGES},
    pure::{
        Message, Payload, PayloadError, Pieces,
        pieces::{self, PIECE},
        stream::MediaType,
    },
};

/// Bytes of a message that is copied together with others.
const SHORT: usize = 4 * 1024;

/// The messages of a body. A JSON array has as many as it has elements (PROTOCOL.md of Durable Streams, §9.1.2); a body without JSON is one.
///
/// `admit` is called with the number of elements and the bytes that they and the body take, before there are messages of them.
///
/// # Errors
/// 400 for a body that is not JSON, but should be, and the error of `admit`.
pub fn payloads(
    content_type: &MediaType,
    body: Bytes,
    admit: impl FnOnce(usize, usize) -> Result<(), ApiError>,
) -> Result<Vec<Payload>, ApiError> {
    if body.is_empty() {
        return Ok(Vec::new());
    }
    if !content_type.is_json() {
        return Ok(vec![Payload::from_bytes(body)]);
    }
    let bad = |error: PayloadError| ApiError::invalid(error.code(), error);
    let whole = Payload::list_from_json(&body).map_err(bad)?;
    let json = whole.placeholder_json();
    if !json.starts_with('[') {
        return Ok(vec![whole]);
    }
    let elements: Vec<&RawValue> = serde_json::from_str(json).map_err(ApiError::internal)?;
    // Short elements take more memory as messages than as text.
    admit(elements.len(), body.len() + 2 * json.len() + elements.len() * Message::OVERHEAD)?;
    elements.into_iter().map(|element| Payload::from_json(element.get().as_bytes()).map_err(bad)).collect()
}

/// Admits the elements of a body, whose memory `share` counts.
pub(crate) fn admit(service: &Service, share: &mut Share) -> impl FnOnce(usize, usize) -> Result<(), ApiError> {
    move |count, bytes| {
        if count > MAX_MESSAGES {
            return Err(refused(service, BusError::TooLarge));
        }
        share.set(bytes).inspect_err(|_| {
            service.edge.metrics.refusals.receive_total.inc();
        })?;
        Ok(())
    }
}

/// The data of messages as one body, which is encoded while the client reads, and its number of bytes.
#[must_use]
pub fn body(content_type: &MediaType, messages: Vec<Arc<Message>>) -> (usize, Pieces) {
    if content_type.is_json() {
        return pieces::array(messages);
    }
    let parts = parts(&messages);
    (parts.iter().map(Bytes::len).sum(), Box::new(gathered(parts)))
}

/// The bytes of messages that are not JSON.
pub(crate) fn parts(messages: &[Arc<Message>]) -> Vec<Bytes> {
    messages.iter().filter_map(|message| message.draft.payload.bytes().cloned()).collect()
}

/// `parts`, of which several short ones become one.
fn gathered(parts: Vec<Bytes>) -> impl Iterator<Item = Bytes> {
    let mut parts = parts.into_iter().peekable();
    iter::from_fn(move || {
        let first = parts.next()?;
        if first.len() >= SHORT || parts.peek().is_none_or(|next| next.len() >= SHORT) {
            return Some(first);
        }
        let mut piece = first.to_vec();
        while piece.len() < PIECE
            && let Some(next) = parts.next_if(|next| next.len() < SHORT)
        {
            piece.extend_from_slice(&next);
        }
        Some(piece.into())
    })
}

#[cfg(test)]
mod tests {
    use shared::pure::{Cursor, Draft};

    use super::*;

    fn round_trip(content_type: &str, body_text: &'static str) -> Result<(usize, String), String> {
        let content_type = content_type.parse().unwrap();
        let payloads = payloads(&content_type, Bytes::from_static(body_text.as_bytes()), |_, _| Ok(()));
        let message = |payload| Arc::new(Message::new(Cursor::ZERO, Draft::new("s".parse().unwrap(), payload)));
        let messages: Vec<_> = payloads.map_err(|error| error.code().to_owned())?.into_iter().map(message).collect();
        let count = messages.len();
        let (length, pieces) = body(&content_type, messages);
        let whole = String::from_utf8(pieces.collect::<Vec<_>>().concat()).unwrap();
        assert_eq!(whole.len(), length);
        Ok((count, whole))
    }

    #[test]
    fn one_level_of_a_json_array_is_messages() {
        for (given, count, read) in [
            (r#"{"a": 1.50}"#, 1, r#"[{"a":1.50}]"#),
            (r#"[1, "x", null]"#, 3, r#"[1,"x",null]"#),
            ("[[1,2],[3]]", 2, "[[1,2],[3]]"),
            ("[[[1]]]", 1, "[[[1]]]"),
            ("[]", 0, "[]"),
            ("", 0, "[]"),
            (" \"[1]\"", 1, r#"["[1]"]"#),
            (r#"{"_placeholder":true,"num":0}"#, 1, r#"[{"_placeholder":true,"num":0}]"#),
        ] {
            assert_eq!(round_trip("application/json", given), Ok((count, read.to_owned())), "{given}");
        }
        for (bad, code) in
            [("{", "bad_body"), ("1 2", "bad_body"), ("[1,]", "bad_body"), ("[1e400]", "number_out_of_range")]
        {
            assert_eq!(round_trip("application/json", bad), Err(code.to_owned()), "{bad}");
        }
    }

    /// The array around messages belongs to none of them.
    #[test]
    fn each_message_of_an_array_may_be_as_deep_as_any() {
        let deep = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        let read = |json: &str| {
            let payloads = payloads(&"application/json".parse().unwrap(), json.to_owned().into(), |_, _| Ok(()));
            payloads.map(|payloads| payloads.len()).map_err(|error| error.code().to_owned())
        };
        let object = |depth: usize| format!(r#"{{"a":{}}}"#, deep(depth - 1));
        assert_eq!(read(&format!("[{},{},1]", deep(100), object(100))), Ok(3));
        assert_eq!((read(&object(100)), read(&deep(101))), (Ok(1), Ok(1)));
        for bad in [object(101), deep(102), format!("[1,{}]", object(101))] {
            assert_eq!(read(&bad), Err("too_deep".to_owned()), "{bad}");
        }
    }

    #[test]
    fn anything_else_is_bytes() {
        assert_eq!(round_trip("text/plain", "[1, 2"), Ok((1, "[1, 2".to_owned())));
        assert_eq!(round_trip("application/ndjson", "{}\n{}\n"), Ok((1, "{}\n{}\n".to_owned())));
        assert_eq!(round_trip("text/plain", ""), Ok((0, String::new())));
    }

    /// Short messages share pieces, and long ones are not copied.
    #[test]
    fn bytes_are_sent_in_pieces() {
        let sizes = [1, 2, SHORT, 3, 1 << 20, 4, 5, 6].into_iter().chain([100; 1_000]);
        let bytes: Vec<_> = sizes.map(|size| Bytes::from(vec![b'x'; size])).collect();
        let payload = |bytes: &Bytes| Draft::new("s".parse().unwrap(), Payload::from_bytes(bytes.clone()));
        let messages = bytes.iter().map(|bytes| Arc::new(Message::new(Cursor::ZERO, payload(bytes)))).collect();
        let (length, pieces) = body(&"image/png".parse().unwrap(), messages);
        let pieces: Vec<_> = pieces.collect();
        let lengths: Vec<_> = pieces.iter().map(Bytes::len).collect();
        assert_eq!(lengths.iter().sum::<usize>(), length);
        assert_eq!(lengths[..4], [3, SHORT, 3, 1 << 20]);
        assert!(lengths[4..].iter().all(|length| *length < PIECE + SHORT), "{lengths:?}");
        assert_eq!(pieces[3].as_ptr(), bytes[4].as_ptr());
    }
}
