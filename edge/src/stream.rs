//! A streamed response: its body is a cursor in the log.
//!
//! The web server polls the body while its write buffer has space; the body polls its reader, and whatever the reader returns is sent as
//! one chunk. If a client does not read, the buffer stays full and nobody polls (backpressure): the connection then costs its cursor and
//! the data of one write, at most 16 KiB and one batch, or a piece of a long message. There is no task and no queue, and only one timer.
//!
//! A stream that has returned everything can be [taken apart](Live), and made again from its parts: meanwhile a cohort of connections
//! needs neither the body nor its timer.

mod live;

use std::{
    convert::Infallible,
    fmt,
    future::Future as _,
    iter,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, SystemTime},
};

use actix_web::body::{BodySize, MessageBody};
use bytes::{Bytes, BytesMut};
use rand::RngExt as _;
use shared::{
    live::reader::{Batch, Limit, Reader},
    pure::{Cursor, Gap, Message, Pieces, stream::StreamEnd},
};
use tokio::time::{Instant, Sleep, sleep_until};

pub use self::live::{AnyForm, ClientBytes, Live, Own, Parts, Sent};
use super::{Access, Settings, limits::Slot};

/// How a transport encodes a stream. Equal forms encode messages, keep-alives and gaps as the same bytes.
pub trait Form: Copy + Eq + Unpin + 'static {
    /// The first bytes, sent immediately. `place` is the cursor that the stream begins after, if it is known: a client that is disconnected
    /// before its first message has no other cursor to resume from.
    fn opening(&self, place: Option<Cursor>) -> Bytes;
    /// Calls `with` with the encoded message, which all readers share.
    fn with_message<R>(&self, message: &Message, with: impl FnOnce(&Bytes) -> R) -> R;
    /// The encoded message, if it is [long](Message::is_long): each reader encodes it for itself.
    fn pieces(&self, message: &Arc<Message>) -> Pieces;
    /// A gap.
    fn gap(&self, gap: &Gap) -> Bytes;
    /// The end of a stream among the channels, at the cursor that the client has after it.
    fn end(&self, end: &StreamEnd, cursor: Cursor) -> Bytes;
    /// A keep-alive.
    fn keep_alive(&self) -> Bytes;
    /// The last bytes before the server ends the stream.
    fn closing(&self) -> Bytes;
}

/// The delay after which a client is asked to reconnect: 2,000 to 4,000 ms, random for each, so that many clients that lost their
/// connection at the same time do not reconnect at the same time.
#[derive(Clone, Copy, Debug)]
pub struct Retry(u16);

impl Retry {
    /// A new random delay.
    #[must_use]
    pub fn draw() -> Self {
        Self(rand::rng().random_range(2_000..=4_000))
    }

    /// In milliseconds.
    #[must_use]
    pub fn millis(self) -> u16 {
        self.0
    }
}

/// `age` ± 20 %: streams that began together do not end together.
fn jittered(age: Duration) -> Duration {
    age.mul_f64(rand::rng().random_range(0.8..=1.2))
}

/// The end of a stream that begins now: at `max_age` ± 20 %, or when the token expires.
fn end(max_age: Option<Duration>, access: &Access) -> Option<Instant> {
    let age = max_age.map(jittered);
    let token = access.expires_in(SystemTime::now());
    let left = [age, token].into_iter().flatten().min();
    left.and_then(|left| Instant::now().checked_add(left))
}

/// The times of a stream's keep-alives and its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamSchedule {
    /// The idle time after which a keep-alive is sent.
    pub keep_alive: Duration,
    /// When the stream ends, if it does: at its maximum age, or when the token expires, whichever is earlier.
    pub end: Option<Instant>,
}

impl StreamSchedule {
    /// From the settings, for a stream of this client that begins now.
    #[must_use]
    pub fn of(settings: &Settings, access: &Access) -> Self {
        Self { keep_alive: settings.keepalive, end: end(settings.max_age, access) }
    }
}

/// A streamed response body.
pub struct Stream<F> {
    reader: Reader,
    form: F,
    slot: Slot,
    times: StreamSchedule,
    /// The time of the last write.
    written: Instant,
    timer: Pin<Box<Sleep>>,
    phase: Phase,
    /// What follows of messages of which one is long. It is sent first.
    rest: Option<Pieces>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Opening,
    Live,
    Ended,
}

impl<F: Form> Stream<F> {
    /// Streams the messages of `reader`, encoded by `form`, counted with `slot`, until `times` or the log end it.
    pub fn new(reader: Reader, form: F, slot: Slot, times: StreamSchedule) -> Self {
        Self::begin(reader, form, slot, times, Phase::Opening)
    }

    fn begin(reader: Reader, form: F, slot: Slot, times: StreamSchedule, phase: Phase) -> Self {
        if let Some(connection) = slot.connection() {
            reader.set_tag(connection.id().tag());
        }
        let written = Instant::now();
        let mut stream =
            Self { reader, form, slot, times, written, timer: Box::pin(sleep_until(written)), phase, rest: None };
        let due = stream.due();
        stream.timer.as_mut().reset(due);
        stream
    }

    /// When the timer has to fire next.
    fn due(&self) -> Instant {
        // Without keep-alives the next one is in thirty years, which tokio treats as "never".
        let silence = self.written.checked_add(self.times.keep_alive).unwrap_or_else(|| self.written + NEVER);
        self.times.end.map_or(silence, |end| silence.min(end))
    }

    /// The first data of `batch`, and of `closing` after it.
    fn chunk(&mut self, batch: Batch, closing: Bytes) -> Bytes {
        let figures = self.slot.figures();
        figures.deliver(&batch.messages);
        figures.gaps.inc_by(batch.gap.is_some().into());
        if has_long(&batch) {
            let long = batch.messages.iter().filter(|message| message.is_long()).cloned().collect();
            let pieces = Box::new(in_pieces(self.form, batch).chain(iter::once(closing)));
            let mut pieces = self.slot.sending(long, pieces);
            let first = pieces.next().unwrap_or_default();
            self.rest = Some(pieces);
            return first;
        }
        let chunk = encode(&self.form, &batch);
        if closing.is_empty() { chunk } else { [chunk, closing].concat().into() }
    }

    /// The next data: messages, a keep-alive, or the end.
    fn poll_live(&mut self, cx: &mut Context<'_>) -> Poll<Bytes> {
        // Before the reader is polled: on a busy channel it always has messages, and an expired token would continue to be served.
        if self.times.end.is_some_and(|end| end <= Instant::now()) {
            return Poll::Ready(self.time_is_over());
        }
        if self.slot.end().is_some() {
            return Poll::Ready(self.end());
        }
        match self.reader.poll_read(cx, BATCH) {
            Poll::Ready(Some(batch)) => {
                let is_over = batch.end.is_some() && self.reader.ended().is_some();
                let closing = if is_over { self.end() } else { Bytes::new() };
                return Poll::Ready(self.chunk(batch, closing));
            }
            Poll::Ready(None) => return Poll::Ready(self.end()),
            Poll::Pending => {}
        }
        if self.slot.poll_end(cx).is_ready() {
            return Poll::Ready(self.end());
        }
        loop {
            ready!(self.timer.as_mut().poll(cx));
            let now = Instant::now();
            if self.times.end.is_some_and(|end| end <= now) {
                return Poll::Ready(self.time_is_over());
            }
            let is_silent = now.saturating_duration_since(self.written) >= self.times.keep_alive;
            if is_silent {
                self.written = now;
            }
            // Writes since the timer was set did not reset it: that would cost every message. It is reset now.
            let due = self.due();
            self.timer.as_mut().reset(due);
            if is_silent {
                return Poll::Ready(self.form.keep_alive());
            }
        }
    }

    /// The stream has reached its maximum age, or the token has expired.
    fn time_is_over(&mut self) -> Bytes {
        self.slot.ends_in_time();
        self.end()
    }

    fn end(&mut self) -> Bytes {
        self.phase = Phase::Ended;
        self.form.closing()
    }
}

/// What a client is sent for `batch`, as one chunk.
fn encode<F: Form>(form: &F, batch: &Batch) -> Bytes {
    if let (None, [message], None) = (&batch.gap, &batch.messages[..], &batch.end) {
        return form.with_message(message, Bytes::clone);
    }
    let gap = batch.gap.map(|gap| form.gap(&gap)).unwrap_or_default();
    let data = batch.messages.iter().map(|message| message.len() + BESIDE_DATA).sum::<usize>();
    let mut chunk = BytesMut::with_capacity(gap.len() + data);
    chunk.extend_from_slice(&gap);
    for message in &batch.messages {
        form.with_message(message, |bytes| chunk.extend_from_slice(bytes));
    }
    if let Some(end) = &batch.end {
        chunk.extend_from_slice(&form.end(end, batch.cursor));
    }
    chunk.freeze()
}

/// Whether some of the messages are to be encoded in pieces.
pub(super) fn has_long(batch: &Batch) -> bool {
    batch.messages.iter().any(|message| message.is_long())
}

/// What a client is sent for `batch`, in pieces.
fn in_pieces<F: Form>(form: F, batch: Batch) -> Pieces {
    let Batch { gap, messages, end, cursor } = batch;
    let gap = gap.map(|gap| form.gap(&gap)).unwrap_or_default();
    let end = end.map(|end| form.end(&end, cursor)).unwrap_or_default();
    let messages = messages.into_iter().flat_map(move |message| match message.is_long() {
        true => form.pieces(&message),
        false => Box::new(iter::once(form.with_message(&message, Bytes::clone))),
    });
    Box::new(iter::once(gap).chain(messages).chain(iter::once(end)))
}

/// The maximum read from the log: this much may be kept for a client that stops reading. At least one message is returned, however large.
pub(super) const BATCH: Limit = Limit { messages: 256, bytes: 8 * 1024 };

/// The approximate overhead of an encoded message in bytes, for the initial allocation.
pub const BESIDE_DATA: usize = 128;

const NEVER: Duration = Duration::from_secs(30 * 365 * 24 * 3600);

impl<F: Form> MessageBody for Stream<F> {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Infallible>>> {
        let this = self.get_mut();
        // A form may have no opening or end; an empty chunk would mean the end of the body.
        let chunk = loop {
            let chunk = match (this.rest.as_mut().map(Iterator::next), this.phase) {
                (Some(Some(piece)), _) => piece,
                (Some(None), _) => {
                    this.rest = None;
                    continue;
                }
                (None, Phase::Opening) => {
                    this.phase = Phase::Live;
                    this.form.opening(this.reader.place())
                }
                (None, Phase::Live) => ready!(this.poll_live(cx)),
                (None, Phase::Ended) => return Poll::Ready(None),
            };
            if !chunk.is_empty() {
                break chunk;
            }
        };
        this.written = Instant::now();
        Poll::Ready(Some(Ok(chunk)))
    }
}

impl<F> fmt::Debug for Stream<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("reader", &self.reader).field("phase", &self.phase).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
