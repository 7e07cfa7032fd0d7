//! The connection itself: the next request out of what has come, the body of it as it is wanted, and the end.

use std::{
    cell::RefCell,
    future::poll_fn,
    io,
    net::SocketAddr,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use actix_http::{
    Payload, Request,
    h1::{Codec, Message, MessageType},
};
use actix_web::{
    HttpResponse,
    body::BodySize,
    error::{ParseError, PayloadError},
    http::{
        Method, StatusCode, Version,
        header::{HeaderMap, HeaderName, HeaderValue},
    },
    rt::net::TcpStream,
};
use bytes::{Buf as _, Bytes, BytesMut};
use socket2::SockRef;
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio_util::codec::Decoder as _;

use super::{
    Worker,
    clock::{Alarm, Clock},
    incoming::Incoming,
    outgoing::{Outgoing, Shape},
    plain::{self, Plain},
};
use crate::edge::{
    Edge,
    lane::{Answering, Asked, Lanes, is_read},
    layer::Passing,
};

/// A peer that takes nothing of what was sent for so long is gone, or might as well be (TCP_USER_TIMEOUT, RFC 5482).
const USER_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes that the kernel takes for a peer before our writes wait (it takes twice that in memory). Its own choice grows to
/// megabytes, which would hide a slow reader from us and hold messages that are long out of date.
const SEND_BUFFER: usize = 64 * 1024;
/// Bytes that are read at a time.
const READ: usize = 16 * 1024;
/// Bytes of the largest head. A hundred and twenty-eight channels of the longest names fit.
pub(super) const LARGEST_HEAD: usize = 64 * 1024;
/// Bytes that a client may send ahead, while it is being answered.
const AHEAD: usize = 64 * 1024;
/// Bytes of a body that nobody wanted which are read to come to the next request.
const UNWANTED: usize = 64 * 1024;
/// How long a client has to close its side once we have closed ours. What it still sends is read and thrown away meanwhile: closed
/// at once, the socket would answer it with a reset, which can overtake our last answer (RFC 9112 §9.6).
const CLOSING: Duration = Duration::from_secs(2);

/// Whether an empty line, the end of a head, ends behind the first `seen` bytes. A line may end with a bare LF (RFC 9112 §2.2).
fn has_end(bytes: &[u8], seen: usize) -> bool {
    let new = &bytes[seen.saturating_sub(2)..];
    memchr::memchr_iter(b'\n', new).any(|at| matches!(&new[at + 1..], [b'\n', ..] | [b'\r', b'\n', ..]))
}

thread_local! {
    /// What a read goes into before it is known how much it is.
    static READ_INTO: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ].into());
}

/// One connection.
pub(super) struct Connection {
    pub(super) socket: TcpStream,
    peer: Option<SocketAddr>,
    codec: Codec,
    pub(super) clock: Rc<Clock>,
    pub(super) alarm: Alarm,
    head_timeout: Duration,
    /// Read, and not yet understood.
    pub(super) inbox: BytesMut,
    pub(super) outgoing: Outgoing,
    /// The client has closed its side, or the connection is broken: there is nobody to close ours for.
    pub(super) is_gone: bool,
    /// Nothing more is understood of what comes.
    pub(super) is_deaf: bool,
    /// So much came since then.
    pub(super) unheard: usize,
    /// We have written our last: what comes is thrown away for a while, however much it is.
    is_closing: bool,
}

/// What came of looking for input.
pub(super) enum In {
    /// Whoever reads the body has something new.
    Fed,
    /// Nobody is there any more.
    Gone,
}

/// The next request.
pub(super) enum Heard {
    /// It took a lane, that of the route.
    Plain(Passing, &'static str, Answering),
    /// It is for the application.
    Request(Whole),
}

/// A request and where its body comes in.
pub(super) struct Whole {
    pub(super) request: Request,
    pub(super) shape: Shape,
    pub(super) body: Option<Incoming>,
    /// The client waits to be told that its body is wanted (RFC 9110 §10.1.1).
    pub(super) expects: bool,
}

impl Connection {
    pub(super) fn new<S>(worker: &Worker<S>, socket: TcpStream) -> Self {
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
            is_closing: false,
        }
    }

    /// The next request, within `patience` unless its head has begun. None: the connection is to be closed.
    pub(super) async fn hear(&mut self, patience: Duration, lanes: &Lanes, edge: &Edge) -> Option<Heard> {
        self.alarm.set(if self.inbox.is_empty() { patience } else { self.head_timeout });
        // So many bytes hold no end of a head. They are not read again for each that comes after them.
        let mut seen = 0;
        loop {
            // Some clients end a body with a line end too many (RFC 9112 §2.2).
            while seen == 0 && self.inbox.starts_with(b"\r\n") {
                self.inbox.advance(2);
            }
            let is_partial = !self.inbox.is_empty();
            if self.inbox.len() >= LARGEST_HEAD && seen > 0 && !has_end(&self.inbox, seen) {
                self.refuse(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
                return None;
            }
            if is_partial && (seen == 0 || has_end(&self.inbox, seen)) {
                // What is left of a body is no request, whatever it looks like.
                let is_head = self.codec.message_type() == MessageType::None;
                if is_head && let Some(heard) = self.plain(lanes, edge) {
                    self.alarm.clear();
                    return Some(heard);
                }
                match self.codec.decode(&mut self.inbox) {
                    Ok(Some(Message::Item(request))) => {
                        self.alarm.clear();
                        if self.inbox.is_empty() {
                            self.inbox = BytesMut::new();
                        }
                        return Some(Heard::Request(self.whole(request)));
                    }
                    // Of a body that was read to its end before.
                    Ok(Some(Message::Chunk(_))) => continue,
                    Ok(None) if self.inbox.len() < LARGEST_HEAD => seen = self.inbox.len(),
                    Ok(None) | Err(ParseError::TooLarge) => {
                        self.refuse(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
                        return None;
                    }
                    Err(_) => {
                        self.refuse(StatusCode::BAD_REQUEST);
                        return None;
                    }
                }
            } else if is_partial {
                seen = self.inbox.len();
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
                        edge.metrics.refusals.slow_head.inc();
                        self.refuse(StatusCode::REQUEST_TIMEOUT);
                    }
                    return None;
                }
            }
        }
    }

    /// The request at the beginning of the inbox, if it is a plain one and its path has a lane that takes it.
    fn plain(&mut self, lanes: &Lanes, edge: &Edge) -> Option<Heard> {
        let way = lanes.at(plain::path(&self.inbox)?)?;
        let mut room = plain::room();
        let plain = Plain::read(&self.inbox, &mut room).filter(|plain| plain.path == way.path)?;
        let read = || plain.fields.iter().filter(|field| is_read(field.name));
        // An entry takes 200 bytes, and many requests have one or two.
        let mut headers = HeaderMap::with_capacity(read().count());
        for field in read() {
            let name = HeaderName::from_bytes(field.name.as_bytes()).ok()?;
            headers.append(name, HeaderValue::from_bytes(field.value).ok()?);
        }
        let asked = Asked { method: &plain.method, query: plain.query, headers: &headers, peer: self.peer };
        let answering = (way.lane)(&asked, Bytes::copy_from_slice(plain.body))?;
        let passing = Passing::begin(edge, &asked);
        let length = plain.length;
        self.inbox.advance(length);
        if self.inbox.is_empty() {
            self.inbox = BytesMut::new();
        }
        Some(Heard::Plain(passing, way.route, answering))
    }

    fn whole(&self, mut request: Request) -> Whole {
        let head = request.head_mut();
        head.peer_addr = self.peer;
        let shape = Shape {
            version: head.version,
            is_head: head.method == Method::HEAD,
            // Of an upgrade, and of CONNECT, the body is whatever comes.
            keeps: self.codec.keep_alive()
                && self.codec.message_type() != MessageType::Stream
                && !self.clock.is_stopping(),
        };
        let expects = head.expect();
        if self.codec.message_type() == MessageType::None {
            return Whole { request, shape, body: None, expects: false };
        }
        let (body, reading) = Incoming::new();
        let request = request.replace_payload(Payload::Stream { payload: Box::pin(reading) as _ }).0;
        Whole { request, shape, body: Some(body), expects }
    }

    /// A request that cannot be read as one gets a status, and the connection ends.
    fn refuse(&mut self, status: StatusCode) {
        let shape = Shape { version: Version::HTTP_11, is_head: false, keeps: false };
        self.outgoing.head(HttpResponse::new(status).head(), BodySize::Sized(0), shape, &self.clock);
    }

    /// Reads over what nobody wanted of a body, up to the next request. Whether that is there to be read.
    pub(super) async fn pass_over(&mut self) -> bool {
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
    pub(super) fn poll_in(&mut self, cx: &mut Context<'_>, body: Option<&Incoming>, expects: &mut bool) -> Poll<In> {
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
                if self.unheard > AHEAD && !self.is_closing {
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

    /// Closes our side, and waits a while for the client to close its own.
    pub(super) async fn close(&mut self) {
        if self.is_gone {
            return;
        }
        self.is_deaf = true;
        self.is_closing = true;
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
