//! A long poll that waits: what it is answered, and what it keeps while its connection is parked.

use std::{any::Any, task::Waker, time::Duration};

use actix_web::{
    HttpResponse,
    http::header::{self, HeaderValue},
};
use edge::{
    Access, ApiError,
    connections::{End, Polling},
    limits::Slot,
    response::{AnswerForm, OwnAnswer, ResponseBody, ResponseFuture, WaitingAnswer},
    routes::response,
    service::Service,
    stream::BESIDE_DATA,
    unread::Unread,
};
use shared::live::reader::{Batch, Limit, Reader};
use tokio::time::{Instant, sleep, timeout_at};

use crate::{
    answer::{self, held, limit},
    ask::{Ask, Format, Style},
};

/// Bytes of the messages of an answer that is sent to many at a time. A longer one is encoded as its client reads it.
const MAX_SHARED: usize = 8 * 1024;

/// How soon a client retries that was answered because the process is shutting down.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// A long poll. It lasts as long as it waits.
pub(crate) struct LongPoll {
    pub(crate) service: Service,
    pub(crate) access: Access,
    pub(crate) ask: Ask,
    /// Its client in the registry of connections.
    pub(crate) polling: Polling,
    /// When it is answered without a message.
    pub(crate) until: Instant,
    /// The process was shutting down when it arrived.
    pub(crate) is_late: bool,
}

impl LongPoll {
    /// What is there now, the disk included; or a wait that its connection need not do by itself.
    pub(crate) async fn respond(
        self: Box<Self>,
        mut reader: Reader,
        slot: Slot,
        park_after: Option<Duration>,
    ) -> Result<HttpResponse<ResponseBody>, ApiError> {
        let stored = tokio::select! {
            biased;
            // First: it may have been ended before it was registered.
            end = self.polling.ended() => return Err(ended(end, &self.access)),
            stored = timeout_at(self.until, answer::stored(&self.ask, &mut reader, &self.service)) => stored,
        };
        match stored {
            // In a box: most polls are parked, and need no room for it.
            Ok(None) => match park_after {
                None => Box::pin(self.wait(reader, slot)).await,
                Some(Duration::ZERO) => self.park(reader, slot).await,
                Some(time) => Box::pin(self.wait_and_park(reader, slot, time)).await,
            },
            Ok(found) => self.answer(&reader, found, slot),
            Err(_) => self.answer(&reader, None, slot),
        }
    }

    /// Leaves the wait to whoever parks the connection, if that is possible.
    async fn park(self: Box<Self>, reader: Reader, slot: Slot) -> Result<HttpResponse<ResponseBody>, ApiError> {
        if self.service.log().is_closed() || !reader.can_join() {
            return Box::pin(self.wait(reader, slot)).await;
        }
        let (style, unread) = (self.ask.style(), self.service.edge.unread.clone());
        let form = Box::new(Answers { style, messages: limit(&self.ask, &self.service).messages, unread });
        let until = self.until;
        Ok(ResponseBody::waiting(WaitingAnswer { reader, form, slot, until, own: self }))
    }

    /// Waits for `time`, and then is parked.
    async fn wait_and_park(
        self: Box<Self>,
        mut reader: Reader,
        slot: Slot,
        time: Duration,
    ) -> Result<HttpResponse<ResponseBody>, ApiError> {
        let until = self.until.min(Instant::now() + time);
        let batch = tokio::select! {
            biased;
            end = self.polling.ended() => return Err(ended(end, &self.access)),
            batch = timeout_at(until, answer::next(&self.ask, &mut reader, &self.service)) => batch,
        };
        match batch {
            Ok(Some(batch)) => self.answer(&reader, Some(batch), slot),
            // The log is closed.
            Ok(None) => self.wait(reader, slot).await,
            Err(_) if until == self.until => self.answer(&reader, None, slot),
            Err(_) => self.park(reader, slot).await,
        }
    }

    async fn wait(self: Box<Self>, mut reader: Reader, slot: Slot) -> Result<HttpResponse<ResponseBody>, ApiError> {
        let batch = tokio::select! {
            biased;
            end = self.polling.ended() => return Err(ended(end, &self.access)),
            batch = timeout_at(self.until, answer::next(&self.ask, &mut reader, &self.service)) => batch,
        };
        // The log is closed once the process drains.
        if !matches!(batch, Ok(None)) {
            return self.answer(&reader, batch.ok().flatten(), slot);
        }
        // With an earlier answer, the client would retry here immediately. A client that already did waits.
        self.service.edge.drain.port_closed().await;
        if self.is_late {
            sleep(RETRY_AFTER).await;
        }
        let mut answer = self.answer(&reader, None, slot)?;
        answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER.as_secs()));
        Ok(answer)
    }

    fn answer(
        &self,
        reader: &Reader,
        found: Option<Batch>,
        slot: Slot,
    ) -> Result<HttpResponse<ResponseBody>, ApiError> {
        answer::require_place(&self.ask, reader, found.as_ref())?;
        Ok(held(answer::answer(&self.ask, reader, found, &self.service.edge.unread, slot.figures()), slot))
    }
}

/// The answer to a poll that is ended from outside.
fn ended(end: End, access: &Access) -> ApiError {
    match end {
        End::Revoked => ApiError::BadToken("the token has been revoked".to_owned()),
        End::Behind => ApiError::unavailable("overloaded", "this client is too far behind; retry later"),
        // With the time for which the user's connections are refused; a client without a user may connect again.
        End::Disconnected => access
            .require_connection()
            .err()
            .unwrap_or_else(|| ApiError::forbidden("disconnected", "a backend has disconnected this client")),
    }
}

impl OwnAnswer for LongPoll {
    fn resume(self: Box<Self>, reader: Reader, slot: Slot) -> ResponseFuture {
        response(self.wait(reader, slot))
    }

    fn is_ended(&self) -> bool {
        self.polling.connection().end().is_some()
    }

    fn wait_for_end(&self, waker: &Waker) {
        self.polling.wait(waker);
    }
}

/// What long polls are answered.
struct Answers {
    style: Style,
    /// Maximum number of messages.
    messages: usize,
    unread: Unread,
}

impl AnswerForm for Answers {
    fn limit(&self) -> Limit {
        let bytes = if self.style.format == Format::Raw { usize::MAX } else { self.unread.limit() };
        Limit { messages: self.messages, bytes }
    }

    fn answer(&self, batch: &Batch) -> Option<HttpResponse> {
        let bytes: usize = batch.messages.iter().map(|message| message.len() + BESIDE_DATA).sum();
        (bytes <= MAX_SHARED).then(|| answer::shared(self.style, batch, &self.unread))
    }

    fn is_same(&self, other: &dyn AnswerForm) -> bool {
        let other: &dyn Any = other;
        other.downcast_ref::<Self>().is_some_and(|other| (self.style, self.messages) == (other.style, other.messages))
    }
}
