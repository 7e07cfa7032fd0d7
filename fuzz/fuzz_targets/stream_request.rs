//! Requests of Durable Streams, as lines: the path, the offset, header fields, an empty line and the body. Nothing panics, an error is one short
//! line, and what is accepted is within its limits and has one meaning: written again, it is read as the same.

#![no_main]

use std::sync::Arc;

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use shared::pure::{
    Cursor, Draft, Message, Pieces,
    stream::{Lifetime, MAX_LIFETIME_SECS, MAX_PRODUCER_NUMBER, MediaType},
};
use streams_svc::{
    body,
    fields::{self, SEQ},
    offset::{Offset, Position},
    subscriptions::request::Config,
    target,
};

const ROOT: &str = "/streams";

/// Looks at what is told to the client.
fn accepted<T>(read: Result<T, impl std::fmt::Display>) -> Option<T> {
    read.inspect_err(|error| {
        let told = error.to_string();
        assert!(!told.contains(char::is_control) && told.len() < 1_000, "{told:?}");
    })
    .ok()
}

fn look_at_path(path: &str) {
    let Some(channel) = accepted(target::channel(ROOT, path)) else { return };
    assert!((1..=128).contains(&channel.len()) && channel.split('/').next() != Some("__ds"));
    let escaped: String = channel.bytes().map(|byte| format!("%{byte:02X}")).collect();
    for same in [format!("{ROOT}/{escaped}"), format!("{ROOT}/{channel}")] {
        assert!(target::channel(ROOT, &same).is_ok_and(|again| again == channel));
    }
}

fn look_at_offset(text: &str) {
    let Some(Position::After(cursor)) = accepted(text.parse()) else { return };
    let offset = Offset(cursor).to_string();
    assert_eq!(offset.parse(), Ok(Position::After(cursor)));
    assert_eq!(cursor.to_string().parse(), Ok(Offset(cursor)));
    // As texts they are in the order of their positions, as far as the clock counts.
    if cursor.ms < 10_u64.pow(16) - 1 {
        assert!(offset.len() == 37 && offset < Offset(cursor.next(cursor.ms + 1)).to_string());
    }
}

fn look_at_fields(headers: &HeaderMap) {
    match accepted(fields::lifetime(headers)) {
        Some(Lifetime::Idle(secs)) => assert!(secs <= MAX_LIFETIME_SECS),
        Some(Lifetime::Until(_) | Lifetime::Unlimited) | None => {}
    }
    if let Some(producer) = accepted(fields::producer(headers)).flatten() {
        assert!((1..=256).contains(&producer.id.len()));
        assert!(producer.epoch <= MAX_PRODUCER_NUMBER && producer.seq <= MAX_PRODUCER_NUMBER);
    }
    if let Some(seq) = accepted(fields::short_text(headers, &SEQ)).flatten() {
        assert!((1..=256).contains(&seq.len()) && seq.is_ascii());
    }
    if let Some(fork) = accepted(fields::fork(ROOT, headers)).flatten() {
        assert!(fork.sub == 0 || fork.at.is_some());
        look_at_path(&format!("{ROOT}/{}", fork.source));
    }
    let _ = fields::is_closing(headers);
}

/// A body as messages: JSON that is one line, or its bytes; and the same when what is read is appended again.
fn look_at_body(content_type: &MediaType, bytes: &[u8]) {
    let mut admitted = 0;
    let admit = |count, _| {
        admitted = count;
        Ok(())
    };
    let Some(payloads) = accepted(body::payloads(content_type, Bytes::copy_from_slice(bytes), admit)) else { return };
    if !content_type.is_json() {
        assert_eq!(payloads.len(), usize::from(!bytes.is_empty()));
    } else if admitted > 0 {
        assert_eq!(payloads.len(), admitted);
    }
    let message = |payload| Arc::new(Message::new(Cursor::ZERO, Draft::new("s".parse().expect("a name"), payload)));
    let messages: Vec<_> = payloads.into_iter().map(message).collect();
    let read = whole(body::body(content_type, messages.clone()));
    if !content_type.is_json() {
        assert_eq!(read, bytes);
        return;
    }
    assert!(!read.contains(&b'\n') && !read.contains(&b'\r'));
    let again = body::payloads(content_type, read.clone(), |_, _| Ok(())).expect("still JSON");
    assert_eq!(again.len(), messages.len());
    let again: Vec<_> = again.into_iter().map(message).collect();
    assert_eq!(whole(body::body(content_type, again)), read);
}

/// A body as the configuration of a subscription, which is stored as JSON.
fn look_at_subscription(bytes: &[u8]) {
    let Some(config) = accepted(Config::read_public(bytes)) else { return };
    let stored = serde_json::to_vec(&config).expect("texts and numbers");
    assert_eq!(serde_json::from_slice::<Config>(&stored).expect("it was stored"), config);
}

/// A body that was encoded in pieces, of the stated length.
fn whole((length, pieces): (usize, Pieces)) -> Bytes {
    let whole = Bytes::from(pieces.collect::<Vec<_>>().concat());
    assert_eq!(whole.len(), length);
    whole
}

fuzz_target!(|input: &[u8]| {
    let end = input.windows(2).position(|pair| pair == b"\n\n");
    let (head, body) = end.map_or((input, &b""[..]), |end| (&input[..end], &input[end + 2..]));
    let mut lines = head.split(|byte| *byte == b'\n');
    let mut text = || lines.next().and_then(|line| std::str::from_utf8(line).ok()).unwrap_or_default();
    look_at_path(text());
    look_at_offset(text());
    let mut headers = HeaderMap::new();
    for line in lines {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = (HeaderName::from_bytes(&line[..colon]), HeaderValue::from_bytes(&line[colon + 1..]));
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    look_at_fields(&headers);
    let content_type = accepted(fields::content_type(&headers)).flatten();
    look_at_subscription(body);
    look_at_body(&content_type.unwrap_or(MediaType::bytes()), body);
});
