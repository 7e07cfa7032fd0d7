//! WebSockets: the body of the `101` answer is the connection.
//!
//! ```text
//! request payload ─▶ Frames ─▶ Conn::receive          ┐ both in the body's `poll_next`,
//! Conn::poll_websocket ─▶ shared frame bytes ─▶ body  ┘ by the task that owns the TCP connection
//! ```
//!
//! A server that reads requests itself gets the body from [`opening`], and can keep what is left of one that waits: see [`idle`].
//!
//! There is no actor, no mailbox and no task beside the one that actix runs for the TCP connection anyway. The server asks the body
//! for more only while its write buffer has room, so a client that does not read is not written for; and what several calls
//! yield leaves in one write.
//!
//! This is the only file that names `actix-web-actors`. The crate is marked deprecated in favour of `actix-ws`; of it we use the
//! handshake, none of its actors. Without the feature `actors` the same answer is written here.

mod idle;
mod opening;

use std::{
    fmt,
    future::Future as _,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

#[cfg(any(test, not(feature = "actors")))]
use actix_http::ws::hash_key;
use actix_http::ws::{HandshakeError, verify_handshake};
use actix_web::{
    HttpRequest, HttpResponse, HttpResponseBuilder,
    error::PayloadError,
    http::{Version, header},
    web,
};
#[cfg(feature = "actors")]
use actix_web_actors::ws;
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream, stream::LocalBoxStream};
use tokio::time::{Sleep, sleep};

pub(crate) use self::opening::answer_upgrade;
pub use self::{
    idle::{IdleStep, IdleWebSocket, MessageFrames},
    opening::WebSocketRequest,
};
use super::{Arrival, receiving::Receiving};
use crate::{
    DisconnectReason,
    engine::{Charge, Conn, Connection, Core, Data, Item, Protocol, Refusal, WebSocketId, packet::Packet},
    websocket::{Bucket, CloseCode, CloseReason, FrameError, Frames, Received, encode},
};

/// Opens a session on a WebSocket.
pub(super) fn open(
    core: &Arc<Core>,
    arrival: Arrival,
    request: &HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Refusal> {
    let mut response = handshake(request)?;
    let socket = WebSocket::open(arrival.enter(core)?, payload.boxed_local());
    Ok(response.streaming(socket.map(Ok::<_, PayloadError>)))
}

/// Offers a WebSocket to a polling session. A session that has one already closes the second.
pub(super) fn upgrade(conn: Arc<Conn>, request: &HttpRequest, payload: web::Payload) -> Result<HttpResponse, Refusal> {
    let mut response = handshake(request)?;
    Ok(match WebSocket::attach(conn, payload.boxed_local()) {
        Ok(socket) => response.streaming(socket.map(Ok::<_, PayloadError>)),
        Err(goodbye) => response.streaming(stream::iter([Ok::<_, PayloadError>(goodbye)])),
    })
}

/// The beginning of the answer to an upgrade that asks as RFC 6455 §4.2.1 has it: HTTP/1.1, without a body, with a key that is one.
fn handshake(request: &HttpRequest) -> Result<HttpResponseBuilder, Refusal> {
    let has_length = request.headers().get(header::CONTENT_LENGTH).is_some_and(|length| length != "0");
    let has_body = has_length || request.headers().contains_key(header::TRANSFER_ENCODING);
    if request.version() != Version::HTTP_11 || has_body {
        return Err(Refusal::BadRequest);
    }
    match verify_handshake(request.head()) {
        Err(HandshakeError::UnsupportedVersion) => return Err(Refusal::UnsupportedWebSocket),
        Err(_) => return Err(Refusal::BadRequest),
        Ok(()) => {}
    }
    #[cfg(feature = "actors")]
    return ws::handshake(request).map_err(|_| Refusal::BadRequest);
    #[cfg(not(feature = "actors"))]
    switch_protocols(request)
}

/// The answer that `actix-web-actors` gives, for a request that has been checked.
#[cfg(any(test, not(feature = "actors")))]
fn switch_protocols(request: &HttpRequest) -> Result<HttpResponseBuilder, Refusal> {
    let key = request.headers().get(header::SEC_WEBSOCKET_KEY).ok_or(Refusal::BadRequest)?;
    let mut response = HttpResponse::SwitchingProtocols();
    response.upgrade("websocket").insert_header((header::SEC_WEBSOCKET_ACCEPT, hash_key(key.as_bytes()).as_slice()));
    Ok(response)
}

/// What the client sends on a WebSocket, with its frames.
type ClientBytes = LocalBoxStream<'static, Result<Bytes, PayloadError>>;

/// An open WebSocket: the body of its `101` response, which [`SocketIo::answer_upgrade`](crate::SocketIo::answer_upgrade) returns. It yields
/// the bytes for the client, frame headers included, and reads what the client sends while it is polled. Dropping it ends the connection.
///
/// Poll it only while the client takes what it is sent: then a slow client has no queue but its connection's.
pub struct WebSocket {
    socket: Attached,
    protocol: Protocol,
    payload: ClientBytes,
    incoming: Frames,
    /// What incomplete messages take of the server's budget.
    receiving: Receiving,
    /// What a client may send beside whole messages: fragments and control frames. Messages are counted where they arrive.
    frames: Bucket,
    /// What is left of a message that leaves in several writes.
    rest: Bytes,
    /// By which the message of `rest` counts as waiting until all of it has been taken.
    unread: Option<Arc<Charge>>,
    /// A control frame to send before anything else.
    reply: Option<Bytes>,
    close: Option<CloseReason>,
    /// Nothing is sent before this time; see [`Outgoing::apart`](crate::Outgoing::apart).
    pause: Option<Pin<Box<Sleep>>>,
    ended: bool,
}

/// One of the WebSockets of a connection, until it is dropped.
struct Attached {
    conn: Arc<Conn>,
    id: WebSocketId,
}

impl Attached {
    fn detach(&self, reason: DisconnectReason) {
        self.conn.detach_websocket(self.id, reason);
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.detach(DisconnectReason::TransportClose);
    }
}

/// How long a message that leaves apart stays alone. The shortest that the runtime can wait.
const APART: Duration = Duration::from_millis(1);

/// The most that is given to the server in one piece. It asks for the next when it has written most of this, so that a client which takes
/// a long message slowly is seen to take it, and is not copied all of it in advance.
pub(super) const PIECE: usize = 64 << 10;

/// What to do after a frame.
enum After {
    GoOn,
    /// The client said goodbye, or broke the protocol.
    End(DisconnectReason, Option<CloseCode>),
}

impl WebSocket {
    /// That of a session that begins with it.
    fn open(conn: Arc<Conn>, payload: ClientBytes) -> Self {
        let frames = Bucket::new(conn.core.config.packet_rate, Instant::now());
        // The `101` is sent in a write of its own: clients that await the opening of their WebSocket before they listen would miss a
        // handshake in the same segment.
        let pause = Some(Box::pin(sleep(APART)));
        Self { pause, ..Self::with(Attached { conn, id: WebSocketId::default() }, payload, frames) }
    }

    /// That of a polling session that is to have one; the close frame for it, if there is one already.
    fn attach(conn: Arc<Conn>, payload: ClientBytes) -> Result<Self, Bytes> {
        let id = conn.attach_websocket().ok_or_else(|| encode::close(None))?;
        let frames = Bucket::new(conn.core.config.packet_rate, Instant::now());
        Ok(Self::with(Attached { conn, id }, payload, frames))
    }

    fn with(socket: Attached, payload: ClientBytes, frames: Bucket) -> Self {
        let core = &socket.conn.core;
        Self {
            protocol: socket.conn.protocol(),
            incoming: Frames::new(core.config.max_http_buffer_size),
            receiving: Receiving::new(&core.config, &core.counters),
            frames,
            socket,
            payload,
            rest: Bytes::new(),
            unread: None,
            reply: None,
            close: None,
            pause: None,
            ended: false,
        }
    }

    /// The connection.
    pub fn connection(&self) -> Connection {
        Connection(self.socket.conn.clone())
    }

    /// Whether it waits for its client and for the only source of its connection, and for nothing else. Ask while it is pending.
    pub fn is_idle(&self) -> bool {
        !self.ended
            && self.rest.is_empty()
            && self.reply.is_none()
            && self.close.is_none()
            && self.pause.is_none()
            && self.incoming.is_empty()
            && !self.socket.conn.has_handlers()
            && self.socket.conn.is_idle(self.socket.id)
    }

    /// What is left of it while it [is idle](Self::is_idle).
    pub fn into_idle(self) -> IdleWebSocket {
        IdleWebSocket::new(self.socket, self.frames)
    }

    /// Takes what is sent next.
    fn begin(&mut self, item: Item) {
        if item.is_apart() {
            self.pause = Some(Box::pin(sleep(APART)));
        }
        self.unread = item.charge(PIECE, self.socket.conn.counters());
        self.rest = item.into_websocket(self.protocol);
    }

    /// Reads one chunk of input. False if there is none at present.
    fn poll_incoming(&mut self, cx: &mut Context<'_>) -> bool {
        match Pin::new(&mut self.payload).poll_next(cx) {
            Poll::Pending => false,
            Poll::Ready(Some(Ok(chunk))) => {
                self.incoming.push(chunk);
                let mut after = self.take_frames();
                if self.receiving.set(self.incoming.memory()).is_err() && matches!(after, After::GoOn) {
                    after = After::End(DisconnectReason::TransportError, Some(CloseCode::Again));
                }
                if let After::End(reason, code) = after {
                    self.incoming.clear();
                    // What was read is given back before the connection is no longer counted.
                    let _ = self.receiving.set(self.incoming.memory());
                    self.close = code.map(CloseReason::from);
                    self.socket.detach(reason);
                }
                true
            }
            Poll::Ready(Some(Err(_)) | None) => {
                self.ended = true;
                self.socket.detach(DisconnectReason::TransportClose);
                true
            }
        }
    }

    /// The next piece of what is being sent.
    fn piece(&mut self) -> Bytes {
        let piece = self.rest.split_to(self.rest.len().min(PIECE));
        if self.rest.is_empty() {
            self.unread = None;
        }
        piece
    }

    fn take_frames(&mut self) -> After {
        loop {
            let after = match self.incoming.take() {
                Ok(Some(received)) => self.take(received),
                Ok(None) => return After::GoOn,
                Err(error) => {
                    log::debug!("a WebSocket ends: {error}");
                    if matches!(error, FrameError::TooLarge { .. }) {
                        self.socket.conn.core.counters.refused_size.inc();
                    }
                    return After::End(DisconnectReason::TransportError, Some(error.code()));
                }
            };
            if matches!(after, After::End(..)) || self.socket.conn.is_closed() {
                return after;
            }
        }
    }

    fn take(&mut self, received: Received) -> After {
        // A message that is never complete, and pings without end, are no packets, and cost as much.
        if matches!(received, Received::Fragment | Received::Ping(_) | Received::Pong)
            && !self.frames.take(Instant::now())
        {
            return After::End(DisconnectReason::RateLimit, Some(CloseCode::Policy));
        }
        match received {
            Received::Text(text) => self.take_message(Data::Text(text)),
            Received::Binary(bytes) => self.take_message(Data::Binary(bytes)),
            Received::Ping(data) => {
                // Only the last of several pings needs its pong (RFC 6455 §5.5.3).
                self.reply = Some(encode::pong(data));
                After::GoOn
            }
            Received::Fragment | Received::Pong => After::GoOn,
            Received::Close(code) => After::End(DisconnectReason::TransportClose, code),
        }
    }

    fn take_message(&mut self, data: Data) -> After {
        // From here on the owner of the message counts it. A lower count is never rejected.
        let _ = self.receiving.set(self.incoming.memory());
        match Packet::decode_frame(data, self.protocol) {
            Ok(packet) => {
                self.socket.conn.receive_websocket(self.socket.id, packet);
                After::GoOn
            }
            Err(error) => {
                log::debug!("not a packet: {error}");
                After::End(DisconnectReason::ParseError, None)
            }
        }
    }
}

impl Stream for WebSocket {
    type Item = Bytes;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            if this.ended {
                return Poll::Ready(None);
            }
            // One chunk in, then what there is out, so that neither direction starves the other.
            let progress = this.poll_incoming(cx);
            if this.ended {
                continue;
            }
            if !this.rest.is_empty() {
                this.socket.conn.on_progress(this.socket.id);
                return Poll::Ready(Some(this.piece()));
            }
            if let Some(reply) = this.reply.take() {
                return Poll::Ready(Some(reply));
            }
            if let Some(pause) = &mut this.pause {
                match pause.as_mut().poll(cx) {
                    Poll::Ready(()) => this.pause = None,
                    Poll::Pending if progress => continue,
                    Poll::Pending => return Poll::Pending,
                }
            }
            match this.socket.conn.poll_websocket(this.socket.id, cx) {
                Poll::Ready(Some(item)) => {
                    this.begin(item);
                    return Poll::Ready(Some(this.piece()));
                }
                Poll::Ready(None) => {
                    this.ended = true;
                    let reason = this.close.take().or_else(|| this.socket.conn.end_reason().and_then(close_reason));
                    return Poll::Ready(Some(encode::close(reason)));
                }
                Poll::Pending if progress => {}
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

impl fmt::Debug for WebSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WebSocket").field(&self.connection()).finish()
    }
}

/// The close code for a client that exceeded a limit (RFC 6455 §7.4.1).
fn close_reason(reason: DisconnectReason) -> Option<CloseReason> {
    let is_limit = matches!(
        reason,
        DisconnectReason::OutboxOverflow | DisconnectReason::HandlerOverflow | DisconnectReason::RateLimit
    );
    is_limit.then(|| CloseReason { code: CloseCode::Policy, description: Some(reason.as_str().to_owned()) })
}

#[cfg(test)]
mod tests;
