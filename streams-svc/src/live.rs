//! `live=sse`: an event stream. After each event with data, an event `control` has the offset after it (PROTOCOL.md of Durable Streams, §5.8).
//!
//! While it waits, its connection is [parked](parking).

mod characters;
mod parking;

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
use characters::whole;
use edge::{limits::Slot, response::ResponseBody, service::Service, stream::StreamSchedule};
use parking::{DATA, Form, KEEP_ALIVE};
use rand::RngExt as _;
use shared::{
    live::{
        clock::wall_clock,
        reader::{Limit, Reader},
    },
    pure::{
        Cursor, Message, Pieces,
        pieces::PIECE,
        stream::{End, EndReason, StreamInfo},
    },
};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::{
    ask::Ask,
    cdn_cursor, event_data,
    fields::SSE_ENCODING,
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
    let events = Events {
        own: Own { in_use: Use::of(service, &ask.channel), slot },
        reader,
        form: Form {
            created: info.created,
            content_type: info.content_type.clone(),
            cdn_cursor: cdn_cursor::next(ask.cdn_cursor, wall_clock()),
        },
        next: ask.after_nothing(info),
        cut: Vec::new(),
        rest: None,
        times: Times::new(StreamSchedule { end: Some(end), ..schedule }),
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
    answer.finish().set_body(ResponseBody::live(Box::new(events)))
}

/// The body of the answer.
struct Events {
    /// Dropped first, while the stream is still read.
    own: Own,
    reader: Reader,
    form: Form,
    /// The offset after what was sent.
    next: Cursor,
    /// Messages that were read and not sent: the text after the last of them ends within a character.
    cut: Vec<Arc<Message>>,
    /// The rest of the event that was begun, and of the one after it.
    rest: Option<Pieces>,
    times: Times,
    has_begun: bool,
    has_ended: bool,
}

/// What only this client has.
struct Own {
    in_use: Use,
    slot: Slot,
}

/// When a keep-alive is sent, and when the body ends.
struct Times {
    schedule: StreamSchedule,
    timer: Pin<Box<Sleep>>,
}

impl Times {
    fn new(schedule: StreamSchedule) -> Self {
        Self { schedule, timer: Box::pin(sleep_until(due(&schedule))) }
    }

    /// Whether a keep-alive is due, or everything is over.
    fn poll_due(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        ready!(self.timer.as_mut().poll(cx));
        self.timer.as_mut().reset(due(&self.schedule));
        Poll::Ready(())
    }
}

/// When something is due that begins to wait now.
fn due(schedule: &StreamSchedule) -> Instant {
    let keep_alive = Instant::now() + schedule.keep_alive;
    schedule.end.map_or(keep_alive, |end| end.min(keep_alive))
}

impl Events {
    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if self.is_over() || self.own.slot.end().is_some() {
            return Poll::Ready(None);
        }
        loop {
            match wait::poll(&mut self.reader, self.form.created, cx, BATCH) {
                // The client reconnects, and gets 410.
                Poll::Ready(Found::Batch(batch)) if batch.gap.is_some() => {
                    self.own.slot.figures().gaps.inc();
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
        if self.own.slot.poll_end(cx).is_ready() {
            return Poll::Ready(None);
        }
        ready!(self.times.poll_due(cx));
        Poll::Ready((!self.is_over()).then(|| KEEP_ALIVE.into()))
    }

    /// Whether it has lasted as long as it may.
    fn is_over(&self) -> bool {
        let is_over = self.times.schedule.end.is_some_and(|end| end <= Instant::now());
        if is_over {
            self.own.slot.ends_in_time();
        }
        is_over
    }

    /// Begins the events of the next messages: their data, and the offset after them. `None` if they are held back.
    fn events(&mut self, next: Vec<Arc<Message>>) -> Option<Bytes> {
        // The end first: after it there are no more messages.
        let is_closed = matches!(
            self.reader.lifecycle(),
            Some(known) if known.created == self.form.created && matches!(known.end, Some(End { reason: EndReason::Closed, .. }))
        );
        let is_end = is_closed && self.reader.is_caught_up();
        let mut messages = mem::take(&mut self.cut);
        messages.extend(next);
        if self.form.is_characters() && !is_end {
            self.cut = messages.split_off(whole(&messages));
        }
        let last = messages.last()?;
        self.own.slot.figures().deliver(&messages);
        self.next = last.id;
        self.has_ended = is_end;
        let control = format!("\n{}", self.control(is_end));
        let long = messages.iter().filter(|message| message.len() > PIECE).cloned().collect();
        let data = event_data::fields(&self.form.content_type, messages);
        let pieces = Box::new(iter::once(DATA.into()).chain(data).chain(iter::once(control.into())));
        self.rest = Some(self.own.slot.sending(long, pieces));
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
        let is_newest = is_end || (self.cut.is_empty() && self.reader.is_caught_up());
        self.form.control(self.next, is_newest, is_end)
    }
}

impl MessageBody for Events {
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
