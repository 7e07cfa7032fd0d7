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
    http::{StatusCode, Version},
};

use bytes::{Bytes, BytesMut};

use super::{
    connection::{Connection, In, Whole},
    incoming::Incoming,
    outgoing::{Framing, Shape, Written},
};
use crate::edge::{
    guarded::Guarded,
    lane::Answering,
    layer::{Body, Passing},
};

/// Bytes that are gathered before they are written, while a body has more.
const GATHERED: usize = 32 * 1024;
/// How long a client has to take an answer, whatever its length.
const UNHURRIED: Duration = Duration::from_secs(30);
/// Bytes a second that a client has to take of an answer of known length.
const SLOWEST: u64 = 16 * 1024;

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
    /// The whole of it has its time. Of a stream, each stretch has in which the client takes nothing.
    is_timed: bool,
    /// Such a stretch is on.
    is_waiting: bool,
}

/// How long a client may take for so many bytes.
fn time_for(bytes: u64) -> Duration {
    UNHURRIED + Duration::from_secs(bytes / SLOWEST)
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
    /// Has the request answered. Whether another may follow.
    pub(super) async fn answer<S>(&mut self, application: &S, whole: Whole) -> bool
    where
        S: Service<Request, Response = ServiceResponse<Body>, Error = actix_web::Error>,
    {
        let Whole { request, shape, body, mut expects } = whole;
        let called = {
            let mut call = pin!(application.call(request));
            poll_fn(|cx| {
                loop {
                    if let Poll::Ready(answer) = call.as_mut().poll(cx) {
                        return Poll::Ready(Some(answer));
                    }
                    match self.poll_in(cx, body.as_ref(), &mut expects) {
                        Poll::Ready(In::Fed) => {}
                        Poll::Ready(In::Gone) => return Poll::Ready(None),
                        Poll::Pending => return Poll::Pending,
                    }
                }
            })
            .await
        };
        let response = match called {
            None => return false,
            // The request goes here: what it holds is not needed for as long as its answer may take.
            Some(Ok(answer)) => answer.into_parts().1,
            Some(Err(error)) => HttpResponse::from_error(error).map_body(|_, body| Guarded::new(body, None)),
        };
        self.send(response, shape, body, expects).await
    }

    /// As [`answer`](Self::answer), for a request on a lane.
    pub(super) async fn answer_plain(
        &mut self,
        passing: Passing,
        route: &'static str,
        mut answering: Answering,
    ) -> bool {
        let response = poll_fn(|cx| {
            if let Poll::Ready(response) = answering.as_mut().poll(cx) {
                return Poll::Ready(Some(response));
            }
            self.poll_in(cx, None, &mut false).map(|_| None)
        })
        .await;
        let Some(response) = response else { return false };
        drop(answering);
        let shape = Shape { version: Version::HTTP_11, is_head: false, keeps: !self.clock.is_stopping() };
        self.send(passing.finish(Some(Cow::Borrowed(route)), response), shape, None, false).await
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
        // Who was not told to send a body may send it or not, and we could not tell it from the next request.
        // What comes after a body that was broken is no request.
        shape.keeps &= !(self.is_deaf || expects && is_unread(&incoming));
        let (head, body) = response.into_parts();
        let size = body.size();
        let Written { framing, keeps } = self.outgoing.head(head.head(), size, shape, &self.clock);
        let is_switch = head.status() == StatusCode::SWITCHING_PROTOCOLS;
        drop(head);
        let is_timed = size != BodySize::Stream || framing == Framing::Nothing;
        let length = if let BodySize::Sized(length) = size { length } else { 0 };
        if is_timed {
            self.alarm.set(time_for(length));
        }
        self.is_deaf = !keeps && !is_switch;
        if self.is_deaf && !is_unread(&incoming) {
            self.unheard += self.inbox.len();
            self.inbox = BytesMut::new();
        }
        let sent = if framing == Framing::Nothing {
            drop(body);
            self.flush().await
        } else {
            let mut sending = Sending {
                body: Some(body),
                rest: Bytes::new(),
                framing,
                owed: if framing == Framing::Length { length } else { 0 },
                has_begun: false,
                failed: None,
                is_timed,
                is_waiting: false,
            };
            poll_fn(|cx| self.poll_send(cx, &mut sending, incoming.as_ref())).await
        };
        self.alarm.clear();
        if sent.is_err() {
            self.is_gone = true;
        }
        if !keeps || self.is_gone {
            return false;
        }
        !is_unread(&incoming) || self.pass_over().await
    }

    /// Writes what the body has, as it comes, and what the client takes. Nothing is asked of the body while the client takes less than
    /// it is sent: the body is a cursor, and a client that does not read costs its cursor.
    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        sending: &mut Sending,
        incoming: Option<&Incoming>,
    ) -> Poll<io::Result<()>> {
        let mut is_last_look = false;
        // The head waits for the first of the body: mostly they leave together. What is left from before goes first.
        let mut is_full = sending.has_begun && self.outgoing.len() > 0;
        sending.has_begun = true;
        loop {
            if is_full {
                if self.poll_flush(cx, sending)?.is_pending() {
                    return self.poll_watch(cx);
                }
                is_full = false;
            }
            if !sending.rest.is_empty() {
                // A file that many ask for and nobody takes is in memory once.
                let part = sending.rest.split_to(sending.rest.len().min(GATHERED));
                self.outgoing.chunk(sending.framing, &part);
                is_full = self.outgoing.len() >= GATHERED;
                continue;
            }
            let Some(body) = &mut sending.body else {
                return match self.poll_flush(cx, sending)? {
                    Poll::Ready(()) => Poll::Ready(sending.failed.take().map_or(Ok(()), Err)),
                    Poll::Pending => self.poll_watch(cx),
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
                Poll::Pending if is_last_look => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                Poll::Pending => {
                    let flushed = self.poll_flush(cx, sending)?;
                    match self.poll_in(cx, incoming, &mut false) {
                        Poll::Ready(In::Fed) => is_full = flushed.is_pending(),
                        // What came before the end has still to be read, by who reads on while it writes.
                        Poll::Ready(In::Gone) => match incoming {
                            Some(incoming) if !incoming.is_over() => {
                                incoming.end();
                                is_last_look = true;
                            }
                            _ => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                        },
                        Poll::Pending => return self.poll_watch_alarm(cx),
                    }
                }
            }
        }
    }

    /// Hands over what there is. While the client takes none of a stream, neither its token's end nor its age would be noticed: so
    /// that has its time.
    fn poll_flush(&mut self, cx: &mut Context<'_>, sending: &mut Sending) -> Poll<io::Result<()>> {
        let flushed = self.outgoing.poll_flush(&mut self.socket, cx);
        if !sending.is_timed && flushed.is_pending() != sending.is_waiting {
            sending.is_waiting = flushed.is_pending();
            if sending.is_waiting {
                self.alarm.set(time_for(self.outgoing.len() as u64));
            } else {
                self.alarm.clear();
            }
        }
        flushed
    }

    /// While the client takes nothing: whether it is still there.
    pub(super) fn poll_watch(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.poll_in(cx, None, &mut false) {
            Poll::Ready(_) => Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
            Poll::Pending => self.poll_watch_alarm(cx),
        }
    }

    fn poll_watch_alarm(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.alarm.is_over(cx.waker()) { Poll::Ready(Err(io::ErrorKind::TimedOut.into())) } else { Poll::Pending }
    }

    pub(super) async fn flush(&mut self) -> io::Result<()> {
        poll_fn(|cx| match self.outgoing.poll_flush(&mut self.socket, cx) {
            Poll::Pending => self.poll_watch(cx),
            ready => ready,
        })
        .await
    }
}
