//! `live=sse`: an event stream. After each event with data, an event `control` has the offset after it (PROTOCOL.md of Durable Streams, §5.8).

use std::{
    convert::Infallible,
    future::Future as _,
    iter, mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use actix_web::{
    HttpResponse,
    body::{BodySize, MessageBody},
    http::header::{self, HeaderName, HeaderValue},
};
use bytes::Bytes;
use edge::{
    limits::Slot,
    response::{Endable, ResponseBody},
    service::Service,
    stream::StreamSchedule,
};
use rand::RngExt as _;
use serde::Serialize;
use shared::{
    live::{
        clock::wall_clock,
        reader::{Limit, Reader},
    },
    pure::{
        Cursor, Message, Pieces,
        pieces::PIECE,
        stream::{End, EndReason, MediaType, StreamInfo},
    },
};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::{
    cdn_cursor, event_data,
    fields::SSE_ENCODING,
    offset::Offset,
    read::Ask,
    wait::{self, Found, Use},
};

/// The maximum read from the log.
const BATCH: Limit = Limit { messages: 256, bytes: 16 * 1024 };
/// How long a connection lasts at most, so that caches can join later clients to one (§5.8), and how much that varies.
const MAX_AGE_SECS: std::ops::Range<f64> = 50.0..70.0;

/// The event stream of `reader`.
pub(crate) fn answer(
    service: &Service,
    ask: &Ask,
    info: &StreamInfo,
    reader: Reader,
    mut slot: Slot,
) -> HttpResponse<ResponseBody> {
    ask.access.register(&mut slot, std::slice::from_ref(&ask.channel));
    let schedule = StreamSchedule::of(&service.edge.settings, &ask.access);
    let end = Instant::now() + Duration::from_secs_f64(rand::rng().random_range(MAX_AGE_SECS));
    let end = schedule.end.map_or(end, |earlier| end.min(earlier));
    let live = Live {
        _in_use: Use::of(service, &ask.channel),
        reader,
        slot,
        created: info.created,
        content_type: info.content_type.clone(),
        next: ask.after_nothing(info),
        cut: Vec::new(),
        rest: None,
        cdn_cursor: cdn_cursor::next(ask.cdn_cursor, wall_clock()),
        keep_alive: schedule.keep_alive,
        end,
        timer: Box::pin(sleep_until(end.min(Instant::now() + schedule.keep_alive))),
        has_begun: false,
        has_ended: false,
    };
    let mut answer = HttpResponse::Ok();
    answer
        .insert_header((header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")))
        .insert_header((header::CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform")))
        .insert_header((HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")));
    if !info.content_type.is_text() {
        answer.insert_header((SSE_ENCODING, "base64"));
    }
    answer.finish().set_body(ResponseBody::endable(Box::new(live)))
}

/// The body of the answer.
struct Live {
    /// Dropped first, while the stream is still read.
    _in_use: Use,
    reader: Reader,
    slot: Slot,
    /// The stream that it reads.
    created: Cursor,
    content_type: MediaType,
    /// The offset after what was sent.
    next: Cursor,
    /// Messages that were read and not sent: the text after the last of them ends within a character.
    cut: Vec<Arc<Message>>,
    /// The rest of the event that was begun, and of the one after it.
    rest: Option<Pieces>,
    cdn_cursor: u64,
    keep_alive: Duration,
    end: Instant,
    timer: Pin<Box<Sleep>>,
    has_begun: bool,
    has_ended: bool,
}

/// The data of an event `control`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Control {
    stream_next_offset: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_cursor: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    up_to_date: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    stream_closed: bool,
}

impl Live {
    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if self.end <= Instant::now() || self.slot.end().is_some() {
            return Poll::Ready(None);
        }
        loop {
            match wait::poll(&mut self.reader, self.created, cx, BATCH) {
                // The client reconnects, and gets 410.
                Poll::Ready(Found::Batch(batch)) if batch.gap.is_some() => {
                    self.slot.figures().gaps.inc();
                    return Poll::Ready(None);
                }
                Poll::Ready(Found::Batch(batch)) => {
                    if let Some(chunk) = self.events(batch.messages) {
                        return Poll::Ready(Some(chunk));
                    }
                }
                // What was held back is sent as it is: nothing follows.
                Poll::Ready(Found::Closed) if !self.cut.is_empty() => {
                    if let Some(chunk) = self.events(Vec::new()) {
                        return Poll::Ready(Some(chunk));
                    }
                }
                Poll::Ready(Found::Closed) => {
                    self.has_ended = true;
                    return Poll::Ready(Some(self.control(true).into()));
                }
                Poll::Ready(Found::Deleted | Found::Draining) => return Poll::Ready(None),
                Poll::Pending => break,
            }
        }
        if !self.has_begun {
            return Poll::Ready(Some(self.control(false).into()));
        }
        if self.slot.poll_end(cx).is_ready() {
            return Poll::Ready(None);
        }
        ready!(self.timer.as_mut().poll(cx));
        let now = Instant::now();
        if self.end <= now {
            return Poll::Ready(None);
        }
        self.timer.as_mut().reset(self.end.min(now + self.keep_alive));
        Poll::Ready(Some(": keep-alive\n".into()))
    }

    /// Begins the events of the next messages: their data, and the offset after them. `None` if they are held back.
    fn events(&mut self, next: Vec<Arc<Message>>) -> Option<Bytes> {
        // The end first: after it there are no more messages.
        let is_closed = matches!(
            self.reader.lifecycle(),
            Some(known) if known.created == self.created && matches!(known.end, Some(End { reason: EndReason::Closed, .. }))
        );
        let is_end = is_closed && self.reader.is_caught_up();
        let mut messages = mem::take(&mut self.cut);
        messages.extend(next);
        let is_characters = self.content_type.is_text() && self.content_type.is_utf8() && !self.content_type.is_json();
        if is_characters && !is_end {
            self.cut = messages.split_off(whole(&messages));
        }
        let last = messages.last()?;
        self.slot.figures().deliver(&messages);
        self.next = last.id;
        self.has_ended = is_end;
        let control = format!("\n{}", self.control(is_end));
        let long = messages.iter().filter(|message| message.len() > PIECE).cloned().collect();
        let data = event_data::fields(&self.content_type, messages);
        let pieces = Box::new(iter::once("event: data\n".into()).chain(data).chain(iter::once(control.into())));
        self.rest = Some(self.slot.sending(long, pieces));
        self.next_piece()
    }

    /// The next bytes of the event that was begun. More follows when the client has taken them: one that does not read keeps the messages, which
    /// the log stores anyway.
    fn next_piece(&mut self) -> Option<Bytes> {
        let rest = self.rest.as_mut()?;
        let mut piece = Vec::new();
        while piece.len() < PIECE {
            let Some(next) = rest.next() else {
                self.rest = None;
                break;
            };
            piece.extend_from_slice(&next);
        }
        (!piece.is_empty()).then(|| piece.into())
    }

    fn control(&mut self, is_end: bool) -> String {
        self.has_begun = true;
        self.cdn_cursor = self.cdn_cursor.max(cdn_cursor::current(wall_clock()));
        let control = Control {
            stream_next_offset: Offset(self.next).to_string(),
            stream_cursor: (!is_end).then(|| self.cdn_cursor.to_string()),
            up_to_date: is_end || (self.cut.is_empty() && self.reader.is_caught_up()),
            stream_closed: is_end,
        };
        // Texts and truth values always serialize.
        format!("event: control\ndata:{}\n\n", serde_json::to_string(&control).unwrap_or_default())
    }
}

/// How many of `messages` can be sent: the text after them does not end within a character. All, if there are too many to hold back.
fn whole(messages: &[Arc<Message>]) -> usize {
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

impl Endable for Live {
    fn is_ended(&self, cx: &Context<'_>) -> bool {
        self.slot.poll_end(cx).is_ready()
    }
}

impl MessageBody for Live {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Infallible>>> {
        let this = self.get_mut();
        if let Some(piece) = this.next_piece() {
            return Poll::Ready(Some(Ok(piece)));
        }
        if this.has_ended {
            return Poll::Ready(None);
        }
        this.poll_chunk(cx).map(|chunk| match chunk {
            Some(chunk) => Some(Ok(chunk)),
            None => {
                this.has_ended = true;
                None
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use shared::pure::{Draft, Payload};

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
