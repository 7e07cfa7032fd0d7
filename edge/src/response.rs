//! The body of a response: whatever a handler made, or a stream whose connection can be parked while it waits.

use std::{
    error::Error,
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use actix_web::{
    HttpResponse,
    body::{BodySize, BoxBody, MessageBody},
};
use bytes::Bytes;

use super::stream::{Form, Live, Stream};

/// The body of a response.
pub struct ResponseBody(Kind);

enum Kind {
    Boxed(BoxBody),
    Live(Box<dyn Live>),
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

    /// Whether it is a stream that waits and can be parked.
    pub(super) fn can_park(&self) -> bool {
        matches!(&self.0, Kind::Live(stream) if stream.can_park())
    }

    /// Whether it is a stream that was ended from outside; its task is woken when it is.
    pub(super) fn is_ended(&self, cx: &Context<'_>) -> bool {
        matches!(&self.0, Kind::Live(stream) if stream.is_ended(cx))
    }

    /// The stream, if it is one.
    pub(super) fn into_live(self) -> Option<Box<dyn Live>> {
        match self.0 {
            Kind::Live(stream) => Some(stream),
            Kind::Boxed(_) => None,
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
        }
    }

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        match &mut self.get_mut().0 {
            Kind::Boxed(body) => Pin::new(body).poll_next(cx),
            Kind::Live(stream) => Pin::new(&mut **stream).poll_next(cx).map_err(|never| match never {}),
        }
    }
}

impl fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Kind::Boxed(_) => "Boxed",
            Kind::Live(_) => "Live",
        })
    }
}
