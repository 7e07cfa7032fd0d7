//! A response that does not end: the body is the connection, and the body is a cursor on the log.
//!
//! The web server polls the body while its write buffer has room; the body polls its reader, and what the reader finds
//! goes out as one chunk. A client that does not read leaves the buffer full, so nobody polls: beside its cursor the
//! connection then keeps what was gathered for one write, at most 16 KiB and one batch. There is no task and no queue here, and
//! one timer for all that is timed.

use std::{
    convert::Infallible,
    fmt,
    future::Future as _,
    pin::Pin,
    task::{Context, Poll, ready},
    time::{Duration, SystemTime},
};

use actix_web::body::{BodySize, MessageBody};
use bytes::{Bytes, BytesMut};
use rand::RngExt as _;
use shared::{
    live::reader::{Batch, Limit, Reader},
    pure::{Cursor, Gap, Message},
};
use tokio::time::{Instant, Sleep, sleep_until};

use super::{Access, Settings, limits::Slot};

/// How a transport writes what a stream has to say.
pub trait Form: Unpin + 'static {
    /// The first bytes, sent at once. `place` is the cursor that the stream begins after, where it is known: a client that
    /// is cut off before its first message has no other to come back with.
    fn opening(&self, place: Option<Cursor>) -> Bytes;
    /// What `with` makes of the bytes of a message, which are encoded once for all readers.
    fn with_message<R>(&self, message: &Message, with: impl FnOnce(&Bytes) -> R) -> R;
    /// That something is lost.
    fn gap(&self, gap: &Gap) -> Bytes;
    /// A sign of life.
    fn keep_alive(&self) -> Bytes;
    /// The last bytes before the server ends the stream.
    fn closing(&self) -> Bytes;
}

/// The delay after which a client is asked to come back: 2,000 to 4,000 ms, drawn for each, so that many that lost their
/// connection at once do not come back at once.
#[derive(Clone, Copy, Debug)]
pub struct Retry(u16);

impl Retry {
    /// Another draw.
    #[must_use]
    pub fn draw() -> Self {
        Self(rand::rng().random_range(2_000..=4_000))
    }

    /// Another draw for the same client.
    #[must_use]
    pub fn redrawn(self) -> Self {
        Self::draw()
    }

    /// Milliseconds.
    #[must_use]
    pub fn millis(self) -> u16 {
        self.0
    }
}

/// `age`, give or take a fifth: streams that began together do not end together.
fn jittered(age: Duration) -> Duration {
    age.mul_f64(rand::rng().random_range(0.8..=1.2))
}

/// The end of a stream that begins now: at `max_age`, give or take, or when the token expires.
fn end(max_age: Option<Duration>, access: &Access) -> Option<Instant> {
    let age = max_age.map(jittered);
    let token = access.expires_in(SystemTime::now());
    let left = [age, token].into_iter().flatten().min();
    left.and_then(|left| Instant::now().checked_add(left))
}

/// When a stream says something or ends by the clock.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// After how long a silence a sign of life is sent.
    pub keep_alive: Duration,
    /// When the stream ends, if it does: at its greatest age, or when the token expires, whichever comes first.
    pub end: Option<Instant>,
}

impl Times {
    /// As the settings have it, for a stream of this asker's that begins now.
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
    times: Times,
    /// When something was last written.
    written: Instant,
    timer: Pin<Box<Sleep>>,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Opening,
    Live,
    Ended,
}

impl<F: Form> Stream<F> {
    /// Streams what `reader` finds, in `form`, counted with `slot`, until `times` or the log end it.
    pub fn new(reader: Reader, form: F, slot: Slot, times: Times) -> Self {
        let written = Instant::now();
        let mut stream =
            Self { reader, form, slot, times, written, timer: Box::pin(sleep_until(written)), phase: Phase::Opening };
        let due = stream.due();
        stream.timer.as_mut().reset(due);
        stream
    }

    /// When the timer has to go off next.
    fn due(&self) -> Instant {
        // A keep-alive of none is one in thirty years, as tokio counts "never".
        let silence = self.written.checked_add(self.times.keep_alive).unwrap_or_else(|| self.written + NEVER);
        self.times.end.map_or(silence, |end| silence.min(end))
    }

    fn chunk(&self, batch: &Batch) -> Bytes {
        let figures = self.slot.figures();
        figures.deliveries.inc_by(u64::try_from(batch.messages.len()).unwrap_or(u64::MAX));
        figures.gaps.inc_by(batch.gap.is_some().into());
        if let (None, [message]) = (&batch.gap, &batch.messages[..]) {
            return self.form.with_message(message, Bytes::clone);
        }
        let gap = batch.gap.map(|gap| self.form.gap(&gap)).unwrap_or_default();
        let data = batch.messages.iter().map(|message| message.len() + BESIDE_DATA).sum::<usize>();
        let mut chunk = BytesMut::with_capacity(gap.len() + data);
        chunk.extend_from_slice(&gap);
        for message in &batch.messages {
            self.form.with_message(message, |bytes| chunk.extend_from_slice(bytes));
        }
        chunk.freeze()
    }

    /// What comes next: messages, or a sign of life, or the end.
    fn poll_live(&mut self, cx: &mut Context<'_>) -> Poll<Bytes> {
        // Before the reader is asked: on a busy channel it always has something, and a token that has expired would go
        // on being served.
        if self.times.end.is_some_and(|end| end <= Instant::now()) {
            return Poll::Ready(self.end());
        }
        match self.reader.poll_read(cx, BATCH) {
            Poll::Ready(Some(batch)) => return Poll::Ready(self.chunk(&batch)),
            Poll::Ready(None) => return Poll::Ready(self.end()),
            Poll::Pending => {}
        }
        loop {
            ready!(self.timer.as_mut().poll(cx));
            let now = Instant::now();
            if self.times.end.is_some_and(|end| end <= now) {
                return Poll::Ready(self.end());
            }
            let is_silent = now.saturating_duration_since(self.written) >= self.times.keep_alive;
            if is_silent {
                self.written = now;
            }
            // What was written since the timer was set did not move it: that would cost every message. It does now.
            let due = self.due();
            self.timer.as_mut().reset(due);
            if is_silent {
                return Poll::Ready(self.form.keep_alive());
            }
        }
    }

    fn end(&mut self) -> Bytes {
        self.phase = Phase::Ended;
        self.form.closing()
    }
}

/// What is taken from the log at a time: as much may be kept for a client that reads no more. One message comes, however large.
const BATCH: Limit = Limit { messages: 256, bytes: 8 * 1024 };

/// About how many bytes a form adds to the data of a message: how much memory is reserved at first.
const BESIDE_DATA: usize = 128;

const NEVER: Duration = Duration::from_secs(30 * 365 * 24 * 3600);

impl<F: Form> MessageBody for Stream<F> {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Infallible>>> {
        let this = self.get_mut();
        // A form may have nothing to say at its opening or its end; an empty chunk would read as the end of the body.
        let chunk = loop {
            let chunk = match this.phase {
                Phase::Opening => {
                    this.phase = Phase::Live;
                    this.form.opening(this.reader.place())
                }
                Phase::Live => ready!(this.poll_live(cx)),
                Phase::Ended => return Poll::Ready(None),
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
