//! A connection of HTTP/1 (RFC 9112), from its first byte to its last.
//!
//! ```text
//! socket ─▶ inbox ─▶ actix's decoder ─▶ request ─▶ the application ─▶ response ─▶ head and body ─▶ outgoing ─▶ socket
//!                        └─▶ body of the request, as far as it is asked for ─┘
//! ```
//!
//! Actix-http's own dispatcher would do, but for what it keeps: two buffers of 8 KiB for as long as the connection lasts, however
//! little there is to say. Here most connections wait, for a message or for their next request, and one that waits holds its
//! socket, what waits in it, and no buffer. Requests are still read by actix-http's decoder, with all that it refuses, and
//! answered by actix-web's application.
//!
//! A connection is one future, in the task that actix's server makes for each socket. What it waits for is timed by the
//! [`Clock`] of its worker:
//! - the head of a request, from its first byte (of the first request: from the beginning): `TRIDENT_HEADER_TIMEOUT`, then 408;
//! - the next request: [`Times::keep_alive`];
//! - a response of known length, that the client takes it: [`UNHURRIED`] and a second for each [`SLOWEST`] bytes;
//! - the client's own end after our last byte: [`CLOSING`].
//!
//! Bodies of requests are timed by who reads them ([`super::body`]), and streams end by themselves.

mod clock;
mod incoming;
mod outgoing;

use std::{
    cell::RefCell,
    future::poll_fn,
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use actix_http::{
    Payload, Request, ServiceConfig,
    h1::{Codec, Message, MessageType},
};
use actix_service::Service;
use actix_web::{
    HttpResponse,
    body::{BodySize, MessageBody},
    dev::ServiceResponse,
    error::{ParseError, PayloadError},
    http::{Method, StatusCode, Version},
    rt::net::TcpStream,
};
use bytes::BytesMut;
use socket2::SockRef;
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio_util::codec::Decoder as _;

use self::{
    clock::{Alarm, Clock},
    incoming::Incoming,
    outgoing::{Framing, Outgoing, Shape, Written},
};
use super::{guarded::Guarded, layer::Body, metrics::Metrics};

/// A peer that takes nothing of what was sent for so long is gone, or might as well be (TCP_USER_TIMEOUT, RFC 5482).
const USER_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes that the kernel takes for a peer before our writes wait (it takes twice that in memory). Its own choice grows to
/// megabytes, which would hide a slow reader from us and hold messages that are long out of date.
const SEND_BUFFER: usize = 64 * 1024;
/// Bytes that are read at a time.
const READ: usize = 16 * 1024;
/// Bytes of the largest head. A hundred and twenty-eight channels of the longest names fit.
const LARGEST_HEAD: usize = 64 * 1024;
/// Bytes that a client may send ahead, while it is being answered.
const AHEAD: usize = 64 * 1024;
/// Bytes of a body that nobody wanted which are read to come to the next request.
const UNWANTED: usize = 64 * 1024;
/// Bytes that are gathered before they are written, while a body has more.
const GATHERED: usize = 32 * 1024;
/// How long a client has to take an answer, whatever its length.
const UNHURRIED: Duration = Duration::from_secs(30);
/// Bytes a second that a client has to take of an answer of known length.
const SLOWEST: u64 = 16 * 1024;
/// How long a client has to close its side once we have closed ours. What it still sends is read and thrown away meanwhile: closed
/// at once, the socket would answer it with a reset, which can overtake our last answer (RFC 9112 §9.6).
const CLOSING: Duration = Duration::from_secs(2);

/// The times that a server gives its clients.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// For the head of a request.
    pub(super) head: Duration,
    /// For the next request on a connection that has had one.
    pub(super) keep_alive: Duration,
}

impl Times {
    /// How exactly they are kept.
    fn tick(self) -> Duration {
        (self.head.min(self.keep_alive) / 16).clamp(Duration::from_millis(20), Duration::from_millis(250))
    }
}

/// What the connections of one worker share.
pub(super) struct Worker<S> {
    application: S,
    clock: Rc<Clock>,
    times: Times,
    metrics: Arc<Metrics>,
    /// Of actix's decoder.
    config: ServiceConfig,
}

impl<S> Worker<S>
where
    S: Service<Request, Response = ServiceResponse<Body>, Error = actix_web::Error>,
{
    /// To be made within the worker's runtime.
    pub(super) fn new(application: S, times: Times, metrics: Arc<Metrics>) -> Self {
        Self { application, clock: Clock::start(times.tick()), times, metrics, config: ServiceConfig::default() }
    }

    /// Connections that wait for a request close, and others once they have answered theirs.
    pub(super) fn stop(&self) {
        self.clock.stop();
    }

    /// Serves a connection to its end.
    pub(super) async fn serve(self: Rc<Self>, socket: TcpStream) {
        let mut connection = Connection::new(&self, socket);
        let mut patience = self.times.head;
        while let Some(request) = connection.hear(patience, &self.metrics).await {
            if !connection.answer(&self.application, request).await {
                break;
            }
            patience = self.times.keep_alive;
        }
        connection.close().await;
    }
}

thread_local! {
    /// What a read goes into before it is known how much it is.
    static READ_INTO: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ].into());
}

/// One connection.
struct Connection {
    socket: TcpStream,
    peer: Option<SocketAddr>,
    codec: Codec,
    clock: Rc<Clock>,
    alarm: Alarm,
    head_timeout: Duration,
    /// Read, and not yet understood.
    inbox: BytesMut,
    outgoing: Outgoing,
    /// The client has closed its side, or the connection is broken: there is nobody to close ours for.
    is_gone: bool,
    /// Nothing more is understood of what comes.
    is_deaf: bool,
    /// So much came since then.
    unheard: usize,
}

/// What came of looking for input.
enum In {
    /// Whoever reads the body has something new.
    Fed,
    /// Nobody is there any more.
    Gone,
}

/// A request and where its body comes in.
struct Heard {
    request: Request,
    shape: Shape,
    body: Option<Incoming>,
    /// The client waits to be told that its body is wanted (RFC 9110 §10.1.1).
    expects: bool,
}

/// A body that is being sent.
struct Sending {
    /// Until it has ended.
    body: Option<Body>,
    framing: Framing,
    has_begun: bool,
    failed: Option<io::Error>,
}

impl Connection {
    fn new<S>(worker: &Worker<S>, socket: TcpStream) -> Self {
        let options = SockRef::from(&socket);
        // An option that cannot be set, or that this system does not know, is gone without.
        let _ = options.set_tcp_nodelay(true);
        let _ = options.set_send_buffer_size(SEND_BUFFER);
        #[cfg(any(target_os = "linux", target_os = "android"))]
        let _ = options.set_tcp_user_timeout(Some(USER_TIMEOUT));
        Self {
            peer: socket.peer_addr().ok(),
            socket,
            codec: Codec::new(worker.config.clone()),
            clock: worker.clock.clone(),
            alarm: worker.clock.alarm(),
            head_timeout: worker.times.head,
            inbox: BytesMut::new(),
            outgoing: Outgoing::default(),
            is_gone: false,
            is_deaf: false,
            unheard: 0,
        }
    }

    /// The next request, within `patience` unless its head has begun. None: the connection is to be closed.
    async fn hear(&mut self, patience: Duration, metrics: &Metrics) -> Option<Heard> {
        self.alarm.set(if self.inbox.is_empty() { patience } else { self.head_timeout });
        loop {
            let is_partial = !self.inbox.is_empty();
            if is_partial {
                match self.codec.decode(&mut self.inbox) {
                    Ok(Some(Message::Item(request))) => {
                        self.alarm.clear();
                        if self.inbox.is_empty() {
                            self.inbox = BytesMut::new();
                        }
                        return Some(self.heard(request));
                    }
                    // Of a body that was read to its end before.
                    Ok(Some(Message::Chunk(_))) => continue,
                    Ok(None) if self.inbox.len() < LARGEST_HEAD => {}
                    Ok(None) | Err(ParseError::TooLarge) => {
                        self.refuse(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
                        return None;
                    }
                    Err(_) => {
                        self.refuse(StatusCode::BAD_REQUEST);
                        return None;
                    }
                }
            } else {
                self.inbox = BytesMut::new();
            }
            let filled = poll_fn(|cx| {
                if let Poll::Ready(read) = self.poll_fill(cx) {
                    return Poll::Ready(Some(read));
                }
                let is_over = self.alarm.is_over(cx.waker()) || (!is_partial && self.clock.is_stopping());
                if is_over { Poll::Ready(None) } else { Poll::Pending }
            });
            match filled.await {
                Some(Ok(1..)) => {
                    if !is_partial && patience > self.head_timeout {
                        self.alarm.set(self.head_timeout);
                    }
                }
                Some(Ok(0) | Err(_)) => {
                    self.is_gone = true;
                    return None;
                }
                None => {
                    if is_partial {
                        metrics.refusals.slow_head.inc();
                        self.refuse(StatusCode::REQUEST_TIMEOUT);
                    }
                    return None;
                }
            }
        }
    }

    fn heard(&self, mut request: Request) -> Heard {
        let head = request.head_mut();
        head.peer_addr = self.peer;
        let shape = Shape {
            version: head.version,
            is_head: head.method == Method::HEAD,
            keeps: self.codec.keep_alive() && !self.clock.is_stopping(),
        };
        let expects = head.expect();
        if self.codec.message_type() == MessageType::None {
            return Heard { request, shape, body: None, expects: false };
        }
        let (body, reading) = Incoming::new();
        let request = request.replace_payload(Payload::Stream { payload: Box::pin(reading) as _ }).0;
        Heard { request, shape, body: Some(body), expects }
    }

    /// A request that cannot be read as one gets a status, and the connection ends.
    fn refuse(&mut self, status: StatusCode) {
        let shape = Shape { version: Version::HTTP_11, is_head: false, keeps: false };
        self.outgoing.head(HttpResponse::new(status).head(), BodySize::Sized(0), shape, &self.clock);
    }

    /// Has the request answered. Whether another may follow.
    async fn answer<S>(&mut self, application: &S, heard: Heard) -> bool
    where
        S: Service<Request, Response = ServiceResponse<Body>, Error = actix_web::Error>,
    {
        let Heard { request, shape, body, mut expects } = heard;
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

    /// Sends an answer. Whether another request may follow.
    async fn send(
        &mut self,
        response: HttpResponse<Body>,
        mut shape: Shape,
        incoming: Option<Incoming>,
        mut expects: bool,
    ) -> bool {
        let is_unread = |incoming: &Option<Incoming>| incoming.as_ref().is_some_and(|incoming| !incoming.is_over());
        // Who was not told to send a body may send it or not, and we could not tell it from the next request.
        shape.keeps &= !(expects && is_unread(&incoming));
        let (head, body) = response.into_parts();
        let size = body.size();
        let Written { framing, keeps } = self.outgoing.head(head.head(), size, shape, &self.clock);
        let is_switch = head.status() == StatusCode::SWITCHING_PROTOCOLS;
        drop(head);
        if let BodySize::Sized(length) = size {
            self.alarm.set(UNHURRIED + Duration::from_secs(length / SLOWEST));
        }
        self.is_deaf = !keeps && !is_switch;
        let sent = if framing == Framing::Nothing {
            drop(body);
            self.flush().await
        } else {
            let mut sending = Sending { body: Some(body), framing, has_begun: false, failed: None };
            poll_fn(|cx| self.poll_send(cx, &mut sending, incoming.as_ref(), &mut expects)).await
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
        expects: &mut bool,
    ) -> Poll<io::Result<()>> {
        let mut is_last_look = false;
        // The head waits for the first of the body: mostly they leave together. What is left from before goes first.
        let mut is_full = sending.has_begun && self.outgoing.len() > 0;
        sending.has_begun = true;
        loop {
            if is_full {
                if self.outgoing.poll_flush(&mut self.socket, cx)?.is_pending() {
                    return self.poll_watch(cx);
                }
                is_full = false;
            }
            let Some(body) = &mut sending.body else {
                return match self.outgoing.poll_flush(&mut self.socket, cx)? {
                    Poll::Ready(()) => Poll::Ready(sending.failed.take().map_or(Ok(()), Err)),
                    Poll::Pending => self.poll_watch(cx),
                };
            };
            match Pin::new(body).poll_next(cx) {
                Poll::Ready(Some(Ok(chunk))) => {
                    self.outgoing.chunk(sending.framing, &chunk);
                    is_full = self.outgoing.len() >= GATHERED;
                }
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
                    let flushed = self.outgoing.poll_flush(&mut self.socket, cx)?;
                    match self.poll_in(cx, incoming, expects) {
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

    /// While the client takes nothing: whether it is still there.
    fn poll_watch(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.poll_in(cx, None, &mut false) {
            Poll::Ready(_) => Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
            Poll::Pending => self.poll_watch_alarm(cx),
        }
    }

    fn poll_watch_alarm(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.alarm.is_over(cx.waker()) { Poll::Ready(Err(io::ErrorKind::TimedOut.into())) } else { Poll::Pending }
    }

    /// Reads over what nobody wanted of a body, up to the next request. Whether that is there to be read.
    async fn pass_over(&mut self) -> bool {
        self.alarm.set(self.head_timeout);
        let mut left = UNWANTED;
        loop {
            match self.codec.decode(&mut self.inbox) {
                Ok(Some(Message::Chunk(Some(chunk)))) => match left.checked_sub(chunk.len()) {
                    Some(less) => left = less,
                    None => return false,
                },
                Ok(Some(Message::Chunk(None))) => return true,
                Ok(None) => {
                    let filled = poll_fn(|cx| match self.poll_fill(cx) {
                        Poll::Ready(read) => Poll::Ready(read.is_ok_and(|read| read > 0)),
                        Poll::Pending if self.alarm.is_over(cx.waker()) => Poll::Ready(false),
                        Poll::Pending => Poll::Pending,
                    });
                    if !filled.await {
                        return false;
                    }
                }
                Ok(Some(Message::Item(_))) | Err(_) => return false,
            }
        }
    }

    /// Looks for input: for the body, when it is wanted, and for the client's end.
    fn poll_in(&mut self, cx: &mut Context<'_>, body: Option<&Incoming>, expects: &mut bool) -> Poll<In> {
        loop {
            let wanted = body.filter(|body| body.is_wanted());
            if let Some(body) = wanted {
                if std::mem::take(expects) && self.inbox.is_empty() {
                    self.outgoing.raw(b"HTTP/1.1 100 Continue\r\n\r\n");
                    // What does not go now goes with the answer.
                    if let Poll::Ready(Err(_)) = self.outgoing.poll_flush(&mut self.socket, cx) {
                        return Poll::Ready(In::Gone);
                    }
                }
                match self.codec.decode(&mut self.inbox) {
                    Ok(Some(Message::Chunk(Some(chunk)))) => body.feed(chunk),
                    Ok(Some(Message::Chunk(None))) => body.end(),
                    Ok(Some(Message::Item(_))) | Err(_) => {
                        body.fail(PayloadError::EncodingCorrupted);
                        self.is_deaf = true;
                    }
                    Ok(None) => {}
                }
                if self.inbox.is_empty() {
                    self.inbox = BytesMut::new();
                }
                if !body.is_wanted() {
                    return Poll::Ready(In::Fed);
                }
            } else if self.inbox.len() >= AHEAD {
                // It has to wait, and so have we, to learn that it is gone.
                return Poll::Pending;
            }
            match ready!(self.poll_fill(cx)) {
                Ok(1..) => {}
                Ok(0) | Err(_) => {
                    self.is_gone = true;
                    return Poll::Ready(In::Gone);
                }
            }
            if self.is_deaf && wanted.is_none() {
                self.unheard += self.inbox.len();
                self.inbox = BytesMut::new();
                if self.unheard > AHEAD {
                    return Poll::Ready(In::Gone);
                }
            }
        }
    }

    /// Reads what is there; nothing is the client's end.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        READ_INTO.with_borrow_mut(|room| {
            let mut room = ReadBuf::new(room);
            ready!(Pin::new(&mut self.socket).poll_read(cx, &mut room))?;
            self.inbox.extend_from_slice(room.filled());
            Poll::Ready(Ok(room.filled().len()))
        })
    }

    async fn flush(&mut self) -> io::Result<()> {
        poll_fn(|cx| match self.outgoing.poll_flush(&mut self.socket, cx) {
            Poll::Pending => self.poll_watch(cx),
            ready => ready,
        })
        .await
    }

    /// Closes our side, and waits a while for the client to close its own.
    async fn close(mut self) {
        if self.is_gone {
            return;
        }
        self.is_deaf = true;
        self.unheard = 0;
        self.inbox = BytesMut::new();
        self.alarm.set(CLOSING);
        if self.flush().await.is_err() {
            return;
        }
        let ended = poll_fn(|cx| {
            ready!(Pin::new(&mut self.socket).poll_shutdown(cx))?;
            self.poll_watch(cx)
        });
        // Whichever way it ends, it is over.
        let _ = ended.await;
    }
}

#[cfg(test)]
mod tests;
