//! An open WebSocket: the body of its 101 response.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll, ready},
    time::{Duration, SystemTime},
};

use actix_web::body::{BodySize, MessageBody};
use bytes::Bytes;
use edge::{
    Access, ApiError,
    connections::End,
    limits::Slot,
    receiving::Share,
    service::Service,
    stream::{ClientBytes, StreamSchedule},
};
use futures_util::{Stream as _, future::LocalBoxFuture};
use serde_json::value::RawValue;
use shared::{
    live::reader::{Batch, Limit, Reader},
    pure::{Cursor, Pieces},
};
use socketio::websocket::{Frames, encode};
use tokio::time::{Instant, Sleep, sleep_until};

use super::{
    answer,
    close::Close,
    conversation::{Conversation, Step},
    feed::Feed,
    frames::TextFrames,
    keep_alive::{Due, KeepAlive},
    run::{self, Done},
};

/// The maximum read from the log: this much may be kept for a client that stops reading. At least one message is returned.
const BATCH: Limit = Limit { messages: 256, bytes: 8 * 1024 };
/// The 101 is sent alone: clients that await the opening before they listen would miss messages in the same segment. The shortest time that
/// the runtime can wait.
const APART: Duration = Duration::from_millis(1);

/// See the module.
pub(super) struct Socket {
    service: Service,
    access: Access,
    slot: Slot,
    feed: Feed,
    incoming: ClientBytes,
    frames: Frames,
    /// The memory of incomplete messages.
    share: Share,
    conversation: Conversation,
    command: Option<Running>,
    /// The rest of the frames that were begun, which is sent before anything else.
    rest: Option<Pieces>,
    /// The server sent an answer last: messages come next, so that neither delays the other for long.
    answered: bool,
    alive: KeepAlive,
    end: Option<Instant>,
    timer: Pin<Box<Sleep>>,
    phase: Phase,
}

/// What is left of a connection that waits for messages and for its client.
pub(super) struct Idle {
    service: Service,
    pub(super) access: Access,
    pub(super) slot: Slot,
    pub(super) conversation: Conversation,
    pub(super) alive: KeepAlive,
}

/// A command in progress.
struct Running {
    id: Option<Box<RawValue>>,
    done: LocalBoxFuture<'static, Result<Done, ApiError>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Only the response itself has been sent.
    Opening,
    Open,
    Closed,
}

impl Socket {
    /// A connection that has just been opened. `has_cursor`: its client has named the position of `reader`.
    pub(super) fn new(
        service: Service,
        access: Access,
        (reader, has_cursor): (Reader, bool),
        slot: Slot,
        incoming: ClientBytes,
    ) -> Self {
        let (settings, now) = (&service.edge.settings, Instant::now());
        let times = StreamSchedule::of(settings, &access);
        let conversation = Conversation::new(settings.socket_rate.unwrap_or(0), now.into_std());
        let idle = Idle { alive: KeepAlive::new(times.keep_alive, now), service, access, slot, conversation };
        let timer = Box::pin(sleep_until(now + APART));
        Self { timer, phase: Phase::Opening, ..Self::with(idle, (reader, has_cursor), times, incoming) }
    }

    /// A connection that was parked.
    pub(super) fn resumed(idle: Idle, reader: Reader, times: StreamSchedule, incoming: ClientBytes) -> Self {
        Self::with(idle, (reader, false), times, incoming)
    }

    fn with(idle: Idle, (reader, has_cursor): (Reader, bool), times: StreamSchedule, incoming: ClientBytes) -> Self {
        let Idle { service, access, slot, conversation, alive } = idle;
        if let Some(connection) = slot.connection() {
            reader.set_tag(connection.id().tag());
        }
        let due = alive.next();
        Self {
            frames: Frames::new(service.edge.settings.max_body.unwrap_or(usize::MAX)),
            share: access.receiving(),
            command: None,
            rest: None,
            answered: false,
            end: times.end,
            timer: Box::pin(sleep_until(times.end.map_or(due, |end| due.min(end)))),
            phase: Phase::Open,
            feed: Feed::new(service.log(), reader, has_cursor),
            service,
            access,
            slot,
            conversation,
            alive,
            incoming,
        }
    }

    /// Whether it waits for messages and for its client, and for nothing else.
    pub(super) fn is_idle(&self) -> bool {
        self.phase == Phase::Open
            && self.command.is_none()
            && self.rest.is_none()
            && self.frames.is_empty()
            && self.feed.is_idle()
    }

    /// Why it has to end, if it was ended from outside.
    pub(super) fn poll_end(&self, cx: &Context<'_>) -> Poll<End> {
        self.slot.poll_end(cx)
    }

    /// What is left of a connection that [is idle](Self::is_idle).
    pub(super) fn into_idle(self) -> (Idle, Reader, StreamSchedule) {
        let Self { service, access, slot, feed, conversation, alive, end, .. } = self;
        let times = StreamSchedule { keep_alive: alive.every(), end };
        (Idle { service, access, slot, conversation, alive }, feed.into_live(), times)
    }

    /// Closes the connection, for a reason that the event feed has, too.
    fn close_for(&mut self, close: &Close) -> Bytes {
        self.close_after(&Bytes::new(), close)
    }

    /// As [`Socket::close_for`], after `before`.
    fn close_after(&mut self, before: &Bytes, close: &Close) -> Bytes {
        if let Some(reason) = close.end_reason() {
            self.slot.ends_for(reason);
        }
        self.close(before, &close.frame())
    }

    /// Sends a close frame after `before`.
    fn close(&mut self, before: &Bytes, frame: &Bytes) -> Bytes {
        self.phase = Phase::Closed;
        self.frames.clear();
        self.command = None;
        [&before[..], &frame[..]].concat().into()
    }

    /// The next bytes; `None` if the client is gone.
    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        // Before the feed is polled: on a busy channel it always has messages, and an expired token would continue to be served.
        if self.end.is_some_and(|end| end <= Instant::now()) {
            let has_expired = self.slot.connection().is_some_and(|known| known.has_expired(SystemTime::now()));
            let close = if has_expired { Close::EXPIRED } else { Close::AGE };
            return Poll::Ready(Some(self.close_for(&close)));
        }
        if let Some(end) = self.slot.end() {
            return Poll::Ready(Some(self.close_for(&Close::ended(end))));
        }
        if std::mem::take(&mut self.answered)
            && let Poll::Ready(bytes) = self.poll_messages(cx)
        {
            return Poll::Ready(Some(bytes));
        }
        match self.poll_client(cx) {
            Poll::Ready(Some(bytes)) => {
                self.answered = true;
                return Poll::Ready(Some(bytes));
            }
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Pending => {}
        }
        if let Poll::Ready(bytes) = self.poll_messages(cx) {
            return Poll::Ready(Some(bytes));
        }
        if let Poll::Ready(end) = self.slot.poll_end(cx) {
            return Poll::Ready(Some(self.close_for(&Close::ended(end))));
        }
        // It may have been closed before the waker was registered.
        if self.service.log().is_closed()
            && let Poll::Ready(bytes) = self.poll_messages(cx)
        {
            return Poll::Ready(Some(bytes));
        }
        self.poll_timer(cx).map(Some)
    }

    /// The answer to what the client sends; `None` if it is gone.
    fn poll_client(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        loop {
            if let Some(running) = &mut self.command {
                let done = ready!(running.done.as_mut().poll(cx));
                let id = self.command.take().and_then(|running| running.id);
                let result = done.and_then(|done| self.apply(done));
                return Poll::Ready(Some(answer::frame(id.as_deref(), &result)));
            }
            let received = match self.frames.take() {
                Ok(Some(received)) => Ok(received),
                Err(error) => Err(error),
                Ok(None) => {
                    if self.share.set(self.frames.memory()).is_err() {
                        self.service.edge.metrics.refusals.receive_total.inc();
                        return Poll::Ready(Some(self.close_for(&Close::NO_MEMORY)));
                    }
                    match ready!(Pin::new(&mut self.incoming).poll_next(cx)) {
                        Some(Ok(chunk)) => self.frames.push(chunk),
                        Some(Err(_)) | None => return Poll::Ready(None),
                    }
                    continue;
                }
            };
            match self.conversation.receive(received, Instant::now().into_std()) {
                Step::Nothing => {}
                Step::Pong => self.alive.pong(),
                Step::Reply(bytes) => return Poll::Ready(Some(bytes)),
                Step::Run(command) => {
                    let done = run::run(self.service.clone(), self.access.clone(), &self.feed, command.action);
                    self.command = Some(Running { id: command.id, done: Box::pin(done) });
                }
                Step::Close(before, close) => {
                    self.count(&close);
                    return Poll::Ready(Some(self.close_after(&before, &close)));
                }
                Step::Confirm(code) => {
                    let frame = encode::close(code.map(Into::into));
                    return Poll::Ready(Some(self.close(&Bytes::new(), &frame)));
                }
            }
        }
    }

    /// Completes a command. Returns the cursor of its answer.
    fn apply(&mut self, done: Done) -> Result<Option<Cursor>, ApiError> {
        match done {
            Done::Subscribe { channels, since, opener } => {
                let cursor = self.feed.subscribe(channels, since, opener)?;
                self.slot.set_channels(&self.feed.channels());
                Ok(Some(cursor))
            }
            Done::Unsubscribe { channels } => {
                self.feed.unsubscribe(&channels);
                self.slot.set_channels(&self.feed.channels());
                Ok(None)
            }
            Done::Published(id) => Ok(Some(id)),
        }
    }

    /// Counts a connection that is closed because of a limit.
    fn count(&self, close: &Close) {
        let refusals = &self.service.edge.metrics.refusals;
        match close.code {
            1009 => refusals.body_size.inc(),
            _ if *close == Close::RATE => refusals.socket_rate.inc(),
            _ => 0,
        };
    }

    /// The next messages, or the end of the log.
    fn poll_messages(&mut self, cx: &Context<'_>) -> Poll<Bytes> {
        match self.feed.poll_next(cx, BATCH) {
            Poll::Ready(Some(batch)) => Poll::Ready(self.encode(batch)),
            // The process is shutting down. A command in progress is still answered.
            Poll::Ready(None) if self.command.is_none() => Poll::Ready(self.close_for(&Close::RESTART)),
            Poll::Pending if self.command.is_none() && self.feed.is_over() => {
                Poll::Ready(self.close_for(&Close::ENDED))
            }
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }

    fn encode(&mut self, batch: Batch) -> Bytes {
        let figures = self.slot.figures();
        figures.deliver(&batch.messages);
        figures.gaps.inc_by(batch.gap.is_some().into());
        let long = batch.messages.iter().filter(|message| message.is_long()).cloned().collect();
        let (first, rest) = TextFrames { publisher: self.access.publisher() }.begin(batch);
        self.rest = rest.map(|rest| self.slot.sending(long, rest));
        first
    }

    /// The next bytes of the frames that were begun.
    fn next_piece(&mut self) -> Option<Bytes> {
        let piece = self.rest.as_mut()?.find(|piece| !piece.is_empty());
        if piece.is_none() {
            self.rest = None;
        }
        piece
    }

    /// A ping, or the end, when it is time for one.
    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<Bytes> {
        loop {
            let now = Instant::now();
            match self.alive.check(now, self.command.is_some()) {
                Due::Ping => return Poll::Ready(encode::PING),
                Due::Lost => return Poll::Ready(self.close_for(&Close::NO_PONG)),
                Due::Nothing => {}
            }
            if self.end.is_some_and(|end| end <= now) {
                // At the next poll.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            ready!(self.timer.as_mut().poll(cx));
            // Writes since the timer was set did not reset it: that would cost every message. It is reset now.
            let due = self.alive.next();
            self.timer.as_mut().reset(self.end.map_or(due, |end| due.min(end)));
        }
    }
}

impl MessageBody for Socket {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Infallible>>> {
        let this = self.get_mut();
        if let Some(piece) = this.next_piece() {
            return Poll::Ready(Some(Ok(piece)));
        }
        if this.phase == Phase::Opening {
            ready!(this.timer.as_mut().poll(cx));
            this.phase = Phase::Open;
        }
        if this.phase == Phase::Closed {
            return Poll::Ready(None);
        }
        let mut bytes = ready!(this.poll_open(cx));
        if bytes.is_some() {
            this.alive.wrote(Instant::now());
        }
        // A long message may come first.
        if bytes.as_ref().is_some_and(Bytes::is_empty) {
            bytes = this.next_piece();
        }
        Poll::Ready(bytes.map(Ok))
    }
}
