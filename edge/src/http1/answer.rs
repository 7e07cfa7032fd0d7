//! Waits for the response to a request, and sends it.

use std::{
    borrow::Cow,
    future::poll_fn,
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use actix_http::Request;
use actix_service::Service;
use actix_web::{
    HttpResponse,
    body::{BodySize, MessageBody},
    dev::ServiceResponse,
    http::StatusCode,
};
use bytes::Bytes;
use futures_util::future::LocalBoxFuture;

use super::{
    connection::{Connection, In, Input, MAX_DISCARDED_BODY},
    incoming::Incoming,
    outgoing::{Framing, Shape, Written},
    request::{Routed, Whole, half_closed},
};
use crate::{
    guarded::Guarded,
    layer::{ActiveRequest, Body, Counted},
    response::{ResponseBody, ResponseFuture, WaitingAnswer},
    stream::Parts,
};

/// Bytes that are gathered before they are written, while a body has more. This much, and the body's last chunk, is all that is stored for
/// a client that does not read.
const GATHERED: usize = 16 * 1024;

/// What waits on a connection that is parked.
pub(super) enum Waiting {
    /// A stream.
    Stream(Box<WaitingStream>),
    /// An answer.
    Answer(Box<WaitingAnswer>, Box<WaitingRequest>),
}

/// The request of an answer that waits.
pub(super) struct WaitingRequest {
    pub(super) active: ActiveRequest,
    pub(super) label: &'static str,
    pub(super) shape: Shape,
    pub(super) half_closed: Duration,
    pub(super) peer: Option<SocketAddr>,
    /// When it began, in milliseconds of the worker's clock.
    pub(super) since: u64,
}

impl WaitingRequest {
    /// The request again, with this response.
    pub(super) fn resume(self, response: ResponseFuture) -> Routed {
        let Self { active, label, shape, half_closed, since, .. } = self;
        Routed { active, label, response, shape, body: None, expects: false, half_closed, since: Some(since) }
    }
}

/// What follows an answer on its connection.
pub(super) enum Answered {
    /// Another request may.
    Next,
    /// The connection is to be closed.
    Last,
    /// The answer itself: everything so far was passed to the kernel, and its stream, or all of it, waits for messages.
    Waits(Waiting),
}

/// A stream that waits, and the request that it answers.
pub(super) struct WaitingStream {
    pub(super) parts: Parts,
    pub(super) counted: Option<Counted>,
    pub(super) framing: Framing,
    /// The client may send something meanwhile.
    pub(super) is_tunnel: bool,
}

/// A body that is being sent.
pub(super) struct Sending {
    /// The body, until it has ended.
    body: Option<Body>,
    /// Its last chunk, as far as it has not been written yet.
    rest: Bytes,
    framing: Framing,
    /// The number of remaining bytes, of [`Framing::Length`].
    owed: u64,
    has_begun: bool,
    failed: Option<io::Error>,
    /// The body of the request, which may still be read.
    incoming: Option<Incoming>,
    /// Whether another request may follow.
    keeps: bool,
    /// The body was ended from outside: a client that does not read has little time for the rest.
    is_ended: bool,
}

/// What has to be known of a request while it is answered.
struct Exchange {
    shape: Shape,
    body: Option<Incoming>,
    expects: bool,
    /// How long it may still take when its client has closed its sending side.
    half_closed: Duration,
}

impl Routed {
    fn finish(self, response: HttpResponse<ResponseBody>) -> HttpResponse<Body> {
        self.active.finish(Some(Cow::Borrowed(self.label)), response)
    }
}

/// The application's answer to a request. In a box: its room is needed until the answer is there, and the answer may last.
fn call<S>(application: &S, whole: Whole) -> (LocalBoxFuture<'_, HttpResponse<Body>>, Exchange)
where
    S: Service<Request, Response = ServiceResponse<Body>, Error = actix_web::Error>,
{
    let Whole { request, shape, body, expects } = whole;
    let half_closed = half_closed(request.method(), false);
    let call = application.call(request);
    let answering = Box::pin(async move {
        match call.await {
            Ok(answer) => answer.into_parts().1,
            Err(error) => HttpResponse::from_error(error).map_body(|_, body| Guarded::new(body.into(), None)),
        }
    });
    (answering, Exchange { shape, body, expects, half_closed })
}

impl Sending {
    /// The rest of a response.
    pub(super) fn resumed(body: Body, framing: Framing, incoming: Option<Incoming>) -> Self {
        let (rest, owed, has_begun, failed, keeps) = (Bytes::new(), 0, true, None, false);
        Self { body: Some(body), rest, framing, owed, has_begun, failed, incoming, keeps, is_ended: false }
    }

    /// The stream that waits.
    fn take_waiting(&mut self) -> Option<WaitingStream> {
        let (body, counted) = self.body.take()?.into_parts();
        let parts = body.into_live()?.take_apart();
        let is_tunnel = self.incoming.as_ref().is_some_and(|incoming| !incoming.is_over());
        Some(WaitingStream { parts, counted, framing: self.framing, is_tunnel })
    }

    /// Whether this is a stream that waits for messages, and nothing else happens on its connection.
    fn can_park(&self, is_tunnel: bool) -> bool {
        matches!(self.framing, Framing::Chunks | Framing::Close)
            && !self.keeps
            && self.incoming.as_ref().is_none_or(|incoming| incoming.is_over() || is_tunnel && incoming.is_wanted())
            && self.body.as_ref().is_some_and(|body| body.body().can_park())
    }

    /// Notes whether the body was ended from outside. If not, the task is woken when it is.
    fn note_end(&mut self, cx: &Context<'_>) {
        self.is_ended |= self.body.as_ref().is_some_and(|body| body.body().is_ended(cx));
    }

    /// Whether `chunk` exceeds the announced length; counts it.
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
    /// Has the application answer the request.
    pub(super) async fn answer<S>(&mut self, application: &S, whole: Box<Whole>) -> Answered
    where
        S: Service<Request, Response = ServiceResponse<Body>, Error = actix_web::Error>,
    {
        let (mut call, mut exchange) = call(application, *whole);
        let answered = self.until_answered(call.as_mut(), &mut exchange).await;
        // The request is moved here: it is not needed for as long as its response may take.
        drop(call);
        let Some(response) = answered else { return Answered::Last };
        let mut sending = self.begin_answer(response, exchange);
        self.send(&mut sending).await
    }

    /// As [`answer`](Self::answer), for a request that its route answers.
    pub(super) async fn answer_routed(&mut self, mut request: Box<Routed>) -> Answered {
        let (shape, body) = (request.shape, request.body.take());
        let mut exchange = Exchange { shape, body, expects: request.expects, half_closed: request.half_closed };
        let began = request.since.unwrap_or_else(|| self.clock.now());
        let mut has_waited = self.was_brief || request.since.is_some();
        loop {
            let answered = self.until_answered(request.response.as_mut(), &mut exchange).await;
            let Some(response) = answered else { return Answered::Last };
            let (head, body) = response.into_parts();
            let waiting = match body.into_waiting() {
                Ok(waiting) => waiting,
                Err(body) => {
                    if has_waited {
                        self.has_waited(began);
                    }
                    let mut sending = self.begin_answer(request.finish(head.set_body(body)), exchange);
                    return self.send(&mut sending).await;
                }
            };
            if exchange.body.is_none() && self.can_park_request() {
                let Routed { active, label, half_closed, .. } = *request;
                let request = WaitingRequest { active, label, shape, half_closed, peer: self.peer, since: began };
                return Answered::Waits(Waiting::Answer(waiting, Box::new(request)));
            }
            has_waited = true;
            request.response = waiting.resume();
        }
    }

    /// Waits for `call`, and reads the body for it meanwhile. None: the connection is gone, or its client has closed its sending side
    /// and the time that its request still has is over.
    async fn until_answered<T>(
        &mut self,
        mut call: Pin<&mut (dyn Future<Output = T> + '_)>,
        exchange: &mut Exchange,
    ) -> Option<T> {
        let mut has_ended = false;
        poll_fn(|cx| {
            loop {
                if let Poll::Ready(answer) = call.as_mut().poll(cx) {
                    return Poll::Ready(Some(answer));
                }
                match self.poll_in(cx, exchange.body.as_ref(), &mut exchange.expects) {
                    Poll::Ready(In::Fed) => {}
                    Poll::Ready(In::Broken) => return Poll::Ready(None),
                    Poll::Ready(In::Ended) if exchange.half_closed.is_zero() => return Poll::Ready(None),
                    Poll::Ready(In::Ended) => {
                        if !std::mem::replace(&mut has_ended, true) {
                            self.alarm.set(exchange.half_closed);
                        }
                        return if self.alarm.is_over(cx.waker()) { Poll::Ready(None) } else { Poll::Pending };
                    }
                    Poll::Pending => return Poll::Pending,
                }
            }
        })
        .await
    }

    /// Puts the head of an answer among what is written, and gives what follows it.
    fn begin_answer(&mut self, response: HttpResponse<Body>, exchange: Exchange) -> Sending {
        let Exchange { mut shape, body: incoming, expects, .. } = exchange;
        // A body that nobody reads any more is discarded if its end is near. Otherwise the connection ends with this response, which has to
        // say so (RFC 9112 §9.6). A client that was not asked to send its body may send it or not; it could not be distinguished from the
        // next request.
        if incoming.as_ref().is_some_and(|incoming| !incoming.is_over() && incoming.is_abandoned()) {
            let is_short = self.decoder.body_left().is_none_or(|left| left <= MAX_DISCARDED_BODY);
            shape.keeps &= !expects && is_short && self.discard_body();
        }
        // Bytes after an invalid body are not a request.
        shape.keeps &= !self.is_discarding;
        let (head, body) = response.into_parts();
        let size = body.size();
        let Written { framing, keeps } = self.outgoing.head(head.head(), size, shape, &self.clock);
        if !keeps && head.status() != StatusCode::SWITCHING_PROTOCOLS {
            self.discard_input();
        }
        let owed = if let (Framing::Length, BodySize::Sized(length)) = (framing, size) { length } else { 0 };
        let body = (framing != Framing::Nothing).then_some(body);
        Sending {
            body,
            rest: Bytes::new(),
            framing,
            owed,
            has_begun: false,
            failed: None,
            incoming,
            keeps,
            is_ended: false,
        }
    }

    /// Sends a response.
    pub(super) async fn send(&mut self, sending: &mut Sending) -> Answered {
        let sent = poll_fn(|cx| self.poll_send(cx, sending)).await;
        self.alarm.clear();
        if sent.is_err() {
            self.input = Input::Broken;
            return Answered::Last;
        }
        if let Some(waiting) = sending.take_waiting() {
            return Answered::Waits(Waiting::Stream(Box::new(waiting)));
        }
        if sending.keeps && self.pass_over().await { Answered::Next } else { Answered::Last }
    }

    /// While the client reads less than it is sent: whether it still has time.
    fn poll_unread(&mut self, cx: &mut Context<'_>, sending: &mut Sending) -> Poll<io::Result<()>> {
        sending.note_end(cx);
        if sending.is_ended { self.poll_cut(cx) } else { self.poll_stalled(cx) }
    }

    /// Writes the body as it is produced and as the client reads, until its end or until it can be parked. The body is not polled while the
    /// client reads less than it is sent (backpressure): the body is a cursor, and a client that does not read costs its cursor.
    fn poll_send(&mut self, cx: &mut Context<'_>, sending: &mut Sending) -> Poll<io::Result<()>> {
        // The head waits for the first chunk of the body: usually both are sent together. Earlier data is written first.
        let mut is_full = sending.has_begun && self.outgoing.len() > 0;
        sending.has_begun = true;
        loop {
            if is_full {
                if self.poll_flush(cx)?.is_pending() {
                    return self.poll_unread(cx, sending);
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
                    Poll::Pending => self.poll_unread(cx, sending),
                };
            };
            match Pin::new(body).poll_next(cx) {
                // One byte more than announced would be the first of the next response, and one less the last of this one.
                Poll::Ready(Some(Ok(chunk))) if sending.is_too_long(&chunk) => {
                    return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
                }
                Poll::Ready(None) if sending.owed > 0 => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                Poll::Ready(Some(Ok(chunk))) => sending.rest = chunk,
                Poll::Ready(None) => {
                    self.outgoing.end(sending.framing);
                    sending.note_end(cx);
                    sending.body = None;
                }
                // Without the end marker, the client sees that the response is incomplete (RFC 9112 §8).
                Poll::Ready(Some(Err(error))) => {
                    sending.body = None;
                    sending.failed = Some(io::Error::other(error.to_string()));
                }
                Poll::Pending => {
                    let flushed = self.poll_flush(cx)?;
                    let incoming = sending.incoming.as_ref();
                    match self.poll_in(cx, incoming, &mut false) {
                        Poll::Ready(In::Fed) => is_full = flushed.is_pending(),
                        Poll::Ready(In::Broken) => return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
                        Poll::Ready(In::Ended) => match incoming {
                            // Requests received before the end still have to be answered, since the client may read on.
                            Some(incoming) if !incoming.is_over() => incoming.end(),
                            // Everything ready was sent, and nobody waits for more.
                            _ if flushed.is_ready() => {
                                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
                            }
                            _ => return self.poll_grace(cx),
                        },
                        Poll::Pending if flushed.is_pending() => {
                            sending.note_end(cx);
                            return if sending.is_ended { self.poll_cut(cx) } else { self.poll_grace(cx) };
                        }
                        Poll::Pending if self.can_park() && sending.can_park(self.decoder.is_tunnel()) => {
                            return if self.waits_unparked() { Poll::Pending } else { Poll::Ready(Ok(())) };
                        }
                        Poll::Pending => return Poll::Pending,
                    }
                }
            }
        }
    }
}
