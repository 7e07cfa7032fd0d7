//! A request's way through the application, and its answer's way to the client.

use std::{
    borrow::Cow,
    future::poll_fn,
    io,
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use actix_http::Request;
use actix_service::Service;
use actix_web::{
    HttpResponse,
    body::{BodySize, MessageBody},
    dev::ServiceResponse,
    http::{Method, StatusCode},
};
use bytes::Bytes;

use super::{
    connection::{Connection, In, Input, MAX_DISCARDED_BODY, Whole},
    incoming::Incoming,
    outgoing::{Framing, Shape, Written},
};
use crate::{
    guarded::Guarded,
    lane::Answering,
    layer::{Body, Passing},
};

/// Bytes that are gathered before they are written, while a body has more. So much, and what the body gave last, is all that is kept
/// for a client that does not read.
const GATHERED: usize = 16 * 1024;
/// How long a request that is with the application may still take when its client has closed its sending side, which most do that
/// have left.
const MAX_HALF_CLOSED_READ: Duration = Duration::from_secs(1);
/// The same, of a request that is to change something.
const MAX_HALF_CLOSED_WRITE: Duration = Duration::from_secs(10);

/// A body that is being sent.
struct Sending {
    /// Until it has ended.
    body: Option<Body>,
    /// What it gave, as far as it was not written yet.
    rest: Bytes,
    framing: Framing,
    /// Bytes that were told and have not come, of [`Framing::Length`].
    owed: u64,
    has_begun: bool,
    failed: Option<io::Error>,
}

impl Sending {
    /// Whether `chunk` is more than was told; counts it.
    fn is_too_long(&mut self, chunk: &Bytes) -> bool {
        if self.framing != Framing::Length {
            return false;
        }
        let left = self.owed.checked_sub(chunk.len() as u64);
        self.owed = left.unwrap_or(0);
        left.is_none()
    }
}

impl Connection {
    /// Has the request answered by the application. Whether another may follow.
    pub(super) async fn answer<S>(&mut self, application: &S, whole: Whole) -> bool
    where
        S: Service<Request, Response = ServiceResponse<Body>, Error = actix_web::Error>,
    {
        let Whole { request, shape, body, mut expects } = whole;
        let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
        let most = if is_read { MAX_HALF_CLOSED_READ } else { MAX_HALF_CLOSED_WRITE };
        let called = self.until_answered(application.call(request), body.as_ref(), &mut expects, most).await;
        let response = match called {
            None => return false,
            // The request goes here: what it holds is not needed for as long as its answer may take.
            Some(Ok(answer)) => answer.into_parts().1,
            Some(Err(error)) => HttpResponse::from_error(error).map_body(|_, body| Guarded::new(body, None)),
        };
        self.send(response, shape, body, expects).await
    }

    /// As [`answer`](Self::answer), for a request on a lane. One that `waits` for news is given up when its client closes its side.
    pub(super) async fn answer_lane(
        &mut self,
        passing: Passing,
        route: &'static str,
        answering: Answering,
        shape: Shape,
        waits: bool,
    ) -> bool {
        let most = if waits { Duration::ZERO } else { MAX_HALF_CLOSED_WRITE };
        let response = self.until_answered(answering, None, &mut false, most).await;
        let Some(response) = response else { return false };
        self.send(passing.finish(Some(Cow::Borrowed(route)), response), shape, None, false).await
    }

    /// Waits for `call`, and reads the body for it meanwhile. None: the connection is gone, or its client has closed its sending side
    /// and `most` has passed since.
    async fn until_answered<T>(
        &mut self,
        call: impl Future<Output = T>,
        body: Option<&Incoming>,
        expects: &mut bool,
        most: Duration,
    ) -> Option<T> {
        let mut call = pin!(call);
        let mut has_ended = false;
        poll_fn(|cx| {
            loop {
                if let Poll::Ready(answer) = call.as_mut().poll(cx) {
                    return Poll::Ready(Some(answer));
                }
                match self.poll_in(cx, body, expects) {
                    Poll::Ready(In::Fed) => {}
                    Poll::Ready(In::Broken) => return Poll::Ready(None),
                    Poll::Ready(In::Ended) if most.is_zero() => return Poll::Ready(None),
                    Poll::Ready(In::Ended) => {
                        if !std::mem::replace(&mut has_ended, true) {
                            self.alarm.set(most);
                        }
                        return if self.alarm.is_over(cx.waker()) { Poll::Ready(None) } else { Poll::Pending };
                    }
                    Poll::Pending => return Poll::Pending,
                }
            }
        })
        .await
    }

    /// Sends an answer. Whether another request may follow.
    async fn send(
        &mut self,
        response: HttpResponse<Body>,
        mut shape: Shape,
        incoming: Option<Incoming>,
        expects: bool,
    ) -> bool {
        let is_unread = |incoming: &Option<Incoming>| incoming.as_ref().is_some_and(|incoming| !incoming.is_over());
        // A body that nobody reads any more is read over if its end is near. Otherwise the connection ends with this answer, and the
        // client has to be told so (RFC 9112 §9.6). Who was not told to send a body may send it or not, and we could not tell it from
        // the next request.
        if is_unread(&incoming) && incoming.as_ref().is_some_and(Incoming::is_abandoned) {
            let is_short = self.decoder.body_left().is_none_or(|left| left <= MAX_DISCARDED_BODY);
            shape.keeps &= !expects && is_short && self.discard_body();
        }
        // What comes after a body that was broken is no request.
        shape.keeps &= !self.is_discarding;
        let (head, body) = response.into_parts();
        let size = body.size();
        let Written { framing, keeps } = self.outgoing.head(head.head(), size, shape, &self.clock);
        let is_switch = head.status() == StatusCode::SWITCHING_PROTOCOLS;
        drop(head);
        if !keeps && !is_switch {
            self.discard_input();
        }
        let sent = if framing == Framing::Nothing {
            drop(body);
            self.flush().await
        } else {
            let owed = if let (Framing::Length, BodySize::Sized(length)) = (framing, size) { length } else { 0 };
            let mut sending =
                Sending { body: Some(body), rest: Bytes::new(), framing, owed, has_begun: false, failed: None };
            poll_fn(|cx| self.poll_send(cx, &mut sending, incoming.as_ref())).await
        };
        self.alarm.clear();
        if sent.is_err() {
            self.input = Input::Broken;
        }
        keeps && sent.is_ok() && self.pass_over().await
    }

    /// Writes what the body has, as it comes, and what the client takes. Nothing is asked of the body while the client takes less than
    /// it is sent: the body is a cursor, and a client that does not read costs its cursor.
    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        sending: &mut Sending,
        incoming: Option<&Incoming>,
    ) -> Poll<io::Result<()>> {
        // The head waits for the first of the body: mostly they leave together. What is left from before goes first.
        let mut is_full = sending.has_begun && self.outgoing.len() > 0;
        sending.has_begun = true;
        loop {
            if is_full {
                if self.poll_flush(cx)?.is_pending() {
                    return self.poll_stalled(cx);
                }
                is_full = false;
            }
            if !sending.rest.is_empty() {
                let rest = std::mem::take(&mut sending.rest);
                self.outgoing.chunk(sending.framing, rest);
                is_full = self.outgoing.len() >= GATHERED;
                continue;
            }
            let Some(body) = &mut sending.body else {
                return match self.poll_flush(cx)? {
                    Poll::Ready(()) => Poll::Ready(sending.failed.take().map_or(Ok(()), Err)),
                    Poll::Pending => self.poll_stalled(cx),
                };
            };
            match Pin::new(body).poll_next(cx) {
                // One more byte than was told would be the first of the next answer, and one less the last of this one.
                Poll::Ready(Some(Ok(chunk))) if sending.is_too_long(&chunk) => {
                    return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
                }
                Poll::Ready(None) if sending.owed > 0 => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                Poll::Ready(Some(Ok(chunk))) => sending.rest = chunk,
                Poll::Ready(None) => {
                    self.outgoing.end(sending.framing);
                    sending.body = None;
                }
                // Without its end the client sees that the response was cut (RFC 9112 §8).
                Poll::Ready(Some(Err(error))) => {
                    sending.body = None;
                    sending.failed = Some(io::Error::other(error.to_string()));
                }
                Poll::Pending => {
                    let flushed = self.poll_flush(cx)?;
                    match self.poll_in(cx, incoming, &mut false) {
                        Poll::Ready(In::Fed) => is_full = flushed.is_pending(),
                        Poll::Ready(In::Broken) => return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
                        Poll::Ready(In::Ended) => match incoming {
                            // What came before the end has still to be answered, by who reads on while it writes.
                            Some(incoming) if !incoming.is_over() => incoming.end(),
                            // What is ready was sent, and nobody is there to wait for more.
                            _ if flushed.is_ready() => {
                                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
                            }
                            _ => return self.poll_grace(cx),
                        },
                        Poll::Pending if flushed.is_pending() => return self.poll_grace(cx),
                        Poll::Pending => return Poll::Pending,
                    }
                }
            }
        }
    }
}
