//! A handle to one connection, and what the application is to it.
//!
//! The connection itself is in `conn`: what its requests and its sockets share.

mod conn;
mod handler_bytes;
mod pull;
mod requests;
mod source;
mod staged;

use std::{sync::Arc, time::Instant};

pub use self::source::{Source, SourceId};
pub(crate) use self::{
    conn::{Conn, WebSocketId},
    handler_bytes::HandlerBytes,
    pull::Item,
};
use super::{
    Form, Handshake, Outgoing, Party, Sid,
    packet::{Data, Protocol},
    session::Transport,
};
use crate::DisconnectReason;

/// What an application does with a connection. One is made by [`Service::connect`](super::Service::connect) for each.
pub trait Peer: Send + Sync {
    /// A message has arrived. Messages of one connection are passed one after the other.
    fn on_message(&self, connection: &Connection, message: Data);

    /// The connection has changed from long polling to WebSocket.
    fn on_upgrade(&self, connection: &Connection) {
        let _ = connection;
    }

    /// The connection has ended; called once, and nothing is called after it.
    fn on_close(&self, connection: &Connection, reason: DisconnectReason);

    /// The server stops: what the application has to say is said now, before the connection is closed.
    fn on_shut_down(&self, connection: &Connection, reason: DisconnectReason) {
        let _ = (connection, reason);
    }

    /// The deadline that [`Connection::set_deadline`] named has passed.
    fn on_deadline(&self, connection: &Connection, now: Instant) {
        let _ = (connection, now);
    }
}

/// Why a connection did not take a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The connection has ended, or the socket is not there.
    #[error("the connection has ended")]
    Closed,
    /// The message is volatile and the client is busy.
    #[error("the client is busy, so the volatile message was dropped")]
    Dropped,
    /// Too many bytes wait for this client, or for all clients.
    #[error("Full: too many bytes are queued")]
    Full,
}

/// A handle to an Engine.IO connection. Cloning it is cheap.
#[derive(Clone)]
pub struct Connection(pub(crate) Arc<Conn>);

impl Connection {
    /// The session's id, which is its secret: show it to nobody but its client.
    pub fn sid(&self) -> &Sid {
        &self.0.sid
    }

    /// What the first request said.
    pub fn handshake(&self) -> &Arc<Handshake> {
        &self.0.handshake
    }

    /// What [`allow_request`](crate::Builder::allow_request) returned for this connection, while that is open.
    pub fn permit<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        self.0.permit()?.downcast().ok()
    }

    /// The transport that carries it now.
    pub fn transport(&self) -> Transport {
        self.0.transport()
    }

    /// The Engine.IO revision that the client speaks.
    pub fn protocol(&self) -> Protocol {
        self.0.protocol()
    }

    /// Queues a message and wakes the transport.
    ///
    /// # Errors
    /// When the connection has ended, when the message is volatile and the client busy, or when more would wait than
    /// [`Config::max_pending_bytes`](crate::Config::max_pending_bytes) or [`max_pending_total`](crate::Config::max_pending_total) allows. The
    /// connection stays as it is.
    pub fn send(&self, message: impl Into<Outgoing>) -> Result<(), SendError> {
        self.0.send(message.into())
    }

    /// The same for a message whose sender cannot be notified: if it does not fit, the connection ends with
    /// [`OutboxOverflow`](DisconnectReason::OutboxOverflow), so that the client does not miss a message without knowing it.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn send_or_end(&self, message: impl Into<Outgoing>) -> Result<(), SendError> {
        self.0.send_or_end(message.into())
    }

    /// Queues a source: its messages leave in order, behind all that was sent before this call and before all that is sent after it. They
    /// are pulled as the transport takes them, until the source ends with an empty batch. Use it for long replies: only the position is
    /// queued.
    pub fn queue_source(&self, source: impl Source + 'static) {
        self.queue_boxed(Box::new(source));
    }

    pub(crate) fn queue_boxed(&self, mut source: Box<dyn Source>) {
        source.attached(self);
        self.0.queue(source);
    }

    /// Whether a message of `len` bytes would be rejected because of messages sent since the transport last ran: then the sender is too
    /// fast, and not this client too slow.
    pub(crate) fn is_filled_by_a_burst(&self, len: usize) -> bool {
        self.0.is_filled_by_a_burst(len)
    }

    /// Attaches a source of messages; it is asked from now on, whenever the client can take more.
    pub fn attach(&self, source: impl Source + 'static) -> SourceId {
        self.attach_boxed(None, Box::new(source))
    }

    /// The same for a source that provides the offset which the messages of this party get.
    pub(crate) fn attach_boxed(&self, party: Option<Party>, mut source: Box<dyn Source>) -> SourceId {
        source.attached(self);
        let (id, left, waker) = self.0.with(|state| {
            let id = state.sources.attach(party, source);
            // Nothing polls or removes a source after the end.
            let left = if state.session.is_closed() { state.sources.detach(id) } else { None };
            (id, left, state.active_waker())
        });
        drop(left);
        if let Some(waker) = waker {
            waker.wake();
        }
        id
    }

    /// Detaches a source. Packets that were already pulled from it are still sent.
    pub fn detach(&self, id: SourceId) {
        let (source, waker) = self.0.with(|state| (state.sources.detach(id), state.active_waker()));
        drop(source);
        // The others have changed places, amid a round perhaps.
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Delays the application's messages until the guard is dropped, so that everything set up in the meantime is in place before the first
    /// is sent.
    pub(crate) fn pause_sending(&self) -> SendPause<'_> {
        self.0.with(|state| state.send_pauses += 1);
        SendPause(self)
    }

    /// Closes the connection after queued messages have been sent.
    pub fn close(&self) {
        let wakers = self.0.with(|state| {
            state.session.close(Instant::now());
            [state.http.take(), state.websocket.take()]
        });
        for waker in wakers.into_iter().flatten() {
            waker.wake();
        }
    }

    /// Notifies the application that the server is shutting down, then closes.
    pub(crate) fn shut_down(&self, reason: DisconnectReason) {
        let peer = self.0.state().peer.clone();
        if let Some(peer) = peer {
            peer.on_shut_down(self, reason);
        }
        self.close();
        // Nobody will be here to answer a poll that is yet to come.
        self.0.with(|state| {
            if state.session.transport() == Transport::Polling && !state.session.has_poll() {
                state.session.finish(DisconnectReason::ForcedClose);
            }
        });
    }

    /// Ends the connection now, for this reason.
    pub fn finish(&self, reason: DisconnectReason) {
        self.0.finish(reason);
    }

    /// Whether the connection has ended.
    pub fn is_closed(&self) -> bool {
        self.0.is_closed()
    }

    /// Chooses the encoding of the messages from now on.
    pub fn set_form(&self, form: Form) {
        self.0.with(|state| state.form = form);
    }

    /// Asks for [`Peer::on_deadline`] at this time, in place of the one asked for before.
    pub fn set_deadline(&self, at: Option<Instant>) {
        self.0.with(|state| state.peer_deadline = at);
    }

    /// Runs `job` on the connection's thread, after its current work: for callers that hold locks.
    pub(crate) fn queue(&self, job: Box<dyn FnOnce() + Send>) {
        self.0.core.workers.queue(&self.0.home, job);
    }

    /// Runs `job` where handlers can run: here, if this is a server thread.
    pub(crate) fn execute(&self, job: Box<dyn FnOnce() + Send>) {
        self.0.core.workers.execute(&self.0.home, job);
    }
}

/// See [`Connection::pause_sending`].
pub(crate) struct SendPause<'a>(&'a Connection);

impl Drop for SendPause<'_> {
    fn drop(&mut self) {
        let waker = self.0.0.with(|state| {
            state.send_pauses -= 1;
            state.active_waker()
        });
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The id is a secret; its beginning is enough to follow one connection in a log.
        f.debug_tuple("Connection").field(&&self.0.sid.as_str()[..6]).finish()
    }
}
