//! The body of a webhook: `{"events":[…]}`, each a whole message.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use shared::pure::{Cursor, Message, Publisher};

use crate::progress::Loss;

/// The JSON of a batch: what was lost before it, if anything, and then `messages`. It depends on nothing else, so that every process makes
/// the same bytes.
pub(crate) fn body(loss: Option<&Loss>, messages: &[Arc<Message>]) -> Bytes {
    let size: usize = messages.iter().map(|message| message.len() + 192).sum();
    let mut body = Vec::with_capacity(256 + size);
    body.extend_from_slice(b"{\"events\":[");
    let mut is_first = true;
    let mut push = |event: &[u8]| {
        if !std::mem::take(&mut is_first) {
            body.push(b',');
        }
        body.extend_from_slice(event.strip_suffix(b"\n").unwrap_or(event));
    };
    if let Some(loss) = loss {
        // Cursors, numbers and names always serialize.
        push(&serde_json::to_vec(&GapEvent::of(loss)).unwrap_or_default());
    }
    for message in messages {
        message.with_line(Publisher::Shown, |line| push(line));
    }
    body.extend_from_slice(b"]}");
    body.into()
}

/// What identifies the bytes of a body.
pub(crate) fn digest(body: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(body))
}

/// A loss in the form of a message of the feed.
#[derive(Serialize)]
struct GapEvent<'a> {
    id: Cursor,
    channel: &'static str,
    event: &'static str,
    data: GapData<'a>,
    time: u64,
}

#[derive(Serialize)]
struct GapData<'a> {
    kind: &'static str,
    #[serde(flatten)]
    loss: &'a Loss,
}

impl<'a> GapEvent<'a> {
    fn of(loss: &'a Loss) -> Self {
        let data = GapData { kind: "gap", loss };
        Self { id: loss.resumed, channel: edge::events::CHANNEL, event: "feed_gap", data, time: loss.resumed.ms }
    }
}

#[cfg(test)]
mod tests {
    use shared::pure::{Draft, Payload};

    use super::*;
    use crate::progress::LossReason;

    #[test]
    fn a_body_has_whole_messages_and_what_was_lost_before_them() {
        let message = |n| {
            let draft = Draft::new("a".parse().unwrap(), Payload::from_value(&n)).by(Some("ann".into()));
            Arc::new(Message::new(Cursor::new(n, 0), draft))
        };
        let messages = [message(7), message(8)];
        let line = |n| {
            format!(
                "{{\"id\":\"{n}-0\",\"channel\":\"a\",\"event\":\"message\",\"data\":{n},\"time\":{n},\"user\":\"ann\"}}"
            )
        };
        assert_eq!(body(None, &messages), format!("{{\"events\":[{},{}]}}", line(7), line(8)));
        let loss = Loss {
            requested: Cursor::new(1, 0),
            resumed: Cursor::new(6, 5),
            count: Some(3),
            reason: LossReason::GivenUp,
        };
        let gap = "{\"id\":\"6-5\",\"channel\":\"$events\",\"event\":\"feed_gap\",\"data\":{\"kind\":\"gap\",\
                   \"requested\":\"1-0\",\"resumed\":\"6-5\",\"count\":3,\"reason\":\"given_up\"},\"time\":6}";
        assert_eq!(body(Some(&loss), &messages[..1]), format!("{{\"events\":[{gap},{}]}}", line(7)));
        assert_ne!(digest(&body(None, &messages)), digest(&body(None, &messages[..1])));
    }
}
