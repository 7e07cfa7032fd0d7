//! The body of a response: whatever a handler made, or a stream whose connection can be parked while it waits; or a waiting answer, whose
//! connection can be parked until the answer is ready.

use std::{
    any::Any,
    error::Error,
    fmt,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use actix_web::{
    HttpResponse,
    body::{BodySize, BoxBody, MessageBody},
};
use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use shared::live::reader::{Batch, Limit, Reader};
use tokio::time::Instant;

use super::{
    limits::Slot,
    stream::{Form, Live, Stream},
};

/// A response that is being made. Dropping it cancels the request.
pub type ResponseFuture = LocalBoxFuture<'static, HttpResponse<ResponseBody>>;

/// The body of a response.
pub struct ResponseBody(Kind);

enum Kind {
    Boxed(BoxBody),
    Live(Box<dyn Live>),
    Waiting(Box<WaitingAnswer>),
}

impl ResponseBody {
    /// `response` with the body in this form.
    #[must_use]
    pub fn boxed(response: HttpResponse) -> HttpResponse<Self> {
        response.map_body(|_, body| body.into())
    }

    /// A body that waits for messages.
    #[must_use]
    pub fn live(body: Box<dyn Live>) -> Self {
        Self(Kind::Live(body))
    }

    /// An answer that is to be waited for, in place of a response: its connection is parked, or waits for what it
    /// [resumes](WaitingAnswer) as.
    #[must_use]
    pub fn waiting(answer: WaitingAnswer) -> HttpResponse<Self> {
        HttpResponse::Ok().finish().set_body(Self(Kind::Waiting(Box::new(answer))))
    }

    /// The answer that is to be waited for, or the body itself.
    pub(super) fn into_waiting(self) -> Result<Box<WaitingAnswer>, Self> {
        match self.0 {
            Kind::Waiting(answer) => Ok(answer),
            other => Err(Self(other)),
        }
    }

    /// Whether it is a stream that waits and can be parked.
    pub(super) fn can_park(&self) -> bool {
        matches!(&self.0, Kind::Live(stream) if stream.can_park())
    }

    /// Whether it is a stream that was ended from outside; its task is woken when it is.
    pub(super) fn is_ended(&self, cx: &Context<'_>) -> bool {
        match &self.0 {
            Kind::Live(stream) => stream.is_ended(cx),
            Kind::Boxed(_) | Kind::Waiting(_) => false,
        }
    }

    /// The stream, if it is one.
    pub(super) fn into_live(self) -> Option<Box<dyn Live>> {
        match self.0 {
            Kind::Live(stream) => Some(stream),
            Kind::Boxed(_) | Kind::Waiting(_) => None,
        }
    }
}

impl From<BoxBody> for ResponseBody {
    fn from(body: BoxBody) -> Self {
        Self(Kind::Boxed(body))
    }
}

impl From<Bytes> for ResponseBody {
    fn from(body: Bytes) -> Self {
        BoxBody::new(body).into()
    }
}

impl<F: Form> From<Stream<F>> for ResponseBody {
    fn from(stream: Stream<F>) -> Self {
        Self::live(Box::new(stream))
    }
}

impl MessageBody for ResponseBody {
    type Error = Box<dyn Error>;

    fn size(&self) -> BodySize {
        match &self.0 {
            Kind::Boxed(body) => body.size(),
            Kind::Live(stream) => stream.size(),
            // It is no response yet; nobody sends it.
            Kind::Waiting(_) => BodySize::None,
        }
    }

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        match &mut self.get_mut().0 {
            Kind::Boxed(body) => Pin::new(body).poll_next(cx),
            Kind::Live(stream) => Pin::new(&mut **stream).poll_next(cx).map_err(|never| match never {}),
            Kind::Waiting(_) => Poll::Ready(None),
        }
    }
}

impl fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Kind::Boxed(_) => "Boxed",
            Kind::Live(_) => "Live",
            Kind::Waiting(_) => "Waiting",
        })
    }
}

/// An answer that is not there yet: it has one read of the log, and its reader has read everything.
pub struct WaitingAnswer {
    /// Its reader.
    pub reader: Reader,
    /// What the answer will be.
    pub form: Box<dyn AnswerForm>,
    /// Its slot.
    pub slot: Slot,
    /// When the client is answered without a message.
    pub until: Instant,
    /// State that is specific to this client.
    pub own: Box<dyn OwnAnswer>,
}

/// How messages become an answer.
pub trait AnswerForm: Any {
    /// What an answer has at most.
    fn limit(&self) -> Limit;

    /// The answer with these messages, before which none is lost. `None` if it is too long to be sent to many at a time.
    fn answer(&self, batch: &Batch) -> Option<HttpResponse>;

    /// Whether both give the same answer to the same messages.
    fn is_same(&self, other: &dyn AnswerForm) -> bool;
}

/// What a waiting answer keeps of its request.
pub trait OwnAnswer {
    /// The answer, which its connection waits for alone from now on.
    fn resume(self: Box<Self>, reader: Reader, slot: Slot) -> ResponseFuture;

    /// Whether it has been ended from outside.
    fn is_ended(&self) -> bool;

    /// Has `waker` called when it is ended from outside. Ask whether it [is](Self::is_ended) afterwards.
    fn wait_for_end(&self, waker: &Waker);
}

impl WaitingAnswer {
    /// See [`OwnAnswer::resume`].
    pub(crate) fn resume(self) -> ResponseFuture {
        self.own.resume(self.reader, self.slot)
    }
}
