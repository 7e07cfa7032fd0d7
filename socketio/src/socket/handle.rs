//! A client in a namespace, as the application sees it.
//!
//! ```text
//! Peer ─▶ Socket::dispatch ─▶ middlewares ─▶ catch-all listeners ─▶ the event's handlers
//! Socket::emit ─▶ Adapter::send ─▶ Connection
//! ```

mod carry;
mod life;
mod rooms;

use std::{
    any::{Any, TypeId},
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytestring::ByteString;
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::oneshot;

use crate::{
    Ack, AckError, AckFuture, ConnectError, DisconnectReason, EncodedPacket, Event, Handshake, Namespace, Outgoing,
    SocketData, SourceId,
    ack::OnAck,
    engine::Connection,
    handler::{self, DisconnectHandler, EventHandler, EventMiddleware},
    socket::packet::{Kind, Packet, Payload, is_reserved},
};

/// Why an event was not sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmitError {
    /// The name is one that Socket.IO keeps for itself.
    #[error("{0:?} is a reserved event name")]
    ReservedName(String),
    /// The arguments cannot be written.
    #[error("the arguments cannot be encoded: {0}")]
    Encode(#[from] serde_json::Error),
    /// The socket has gone.
    #[error("the socket has disconnected")]
    Disconnected,
    /// Other servers could not be reached.
    #[error("the adapter failed: {0}")]
    Adapter(#[from] crate::adapter::AdapterError),
}

/// A client in a namespace. Cloning it is cheap, and all clones are the same socket.
#[derive(Clone)]
pub struct Socket(Arc<Inner>);

struct Inner {
    id: ByteString,
    pid: Option<ByteString>,
    recovered: bool,
    auth: Option<Payload>,
    namespace: Namespace,
    connection: Connection,
    /// Tells the connection that the socket is out; it holds the connection's list of sockets.
    exit: Box<dyn Fn(&Socket) + Send + Sync>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    phase: Phase,
    events: Vec<(ByteString, EventHandler)>,
    any: Vec<EventHandler>,
    middlewares: Vec<EventMiddleware>,
    disconnecting: Vec<DisconnectHandler>,
    disconnect: Vec<DisconnectHandler>,
    acks: HashMap<u64, OnAck>,
    sources: Vec<SourceId>,
    extensions: Vec<(TypeId, Arc<dyn Any + Send + Sync>)>,
    data: SocketData,
    /// What came before the namespace's handler had its first step.
    early: Vec<(Event, Option<u64>)>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    /// Middlewares are looking at it.
    #[default]
    Connecting,
    /// It is in, but its handlers are not registered yet.
    Entering,
    Connected,
    Disconnected,
}

pub(crate) struct NewSocket {
    pub(crate) id: ByteString,
    pub(crate) pid: Option<ByteString>,
    pub(crate) recovered: bool,
    pub(crate) auth: Option<Payload>,
    pub(crate) data: SocketData,
    pub(crate) namespace: Namespace,
    pub(crate) connection: Connection,
    pub(crate) exit: Box<dyn Fn(&Socket) + Send + Sync>,
}

impl Socket {
    pub(crate) fn new(new: NewSocket) -> Self {
        let NewSocket { id, pid, recovered, auth, data, namespace, connection, exit } = new;
        let state = Mutex::new(State { data, ..State::default() });
        Self(Arc::new(Inner { id, pid, recovered, auth, namespace, connection, exit, state }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // ---- who it is ----

    /// Its id, which may be shown to others. It is also the name of the room that it alone is in.
    pub fn id(&self) -> &ByteString {
        &self.0.id
    }

    /// The namespace.
    pub fn namespace(&self) -> &Namespace {
        &self.0.namespace
    }

    /// The connection under it, which it may share with sockets of other namespaces.
    pub fn connection(&self) -> &Connection {
        &self.0.connection
    }

    /// The first request of the connection: headers, query, address.
    pub fn handshake(&self) -> &Arc<Handshake> {
        self.0.connection.handshake()
    }

    /// What the client sent as `auth`. A client that sent none has an empty object.
    ///
    /// # Errors
    /// When it does not fit `T`.
    pub fn auth<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        match &self.0.auth {
            Some(auth) => auth.read(),
            None => serde_json::from_str("{}"),
        }
    }

    /// The handshake as one JSON object, with the keys that Node gives it.
    pub fn handshake_json(&self) -> serde_json::Value {
        let handshake = self.handshake();
        let headers: serde_json::Map<_, _> =
            handshake.headers.iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
        let query: serde_json::Map<_, _> =
            handshake.query().into_iter().map(|(name, value)| (name, value.into())).collect();
        serde_json::json!({
            "headers": headers,
            "time": crate::time::iso(handshake.time),
            "address": handshake.address.map(|address| address.to_string()),
            "xdomain": handshake.xdomain,
            "secure": handshake.secure,
            "issued": handshake.issued(),
            "url": handshake.url,
            "query": query,
            "auth": self.auth::<serde_json::Value>().unwrap_or_default(),
        })
    }

    /// Whether it is connected.
    pub fn is_connected(&self) -> bool {
        matches!(self.state().phase, Phase::Entering | Phase::Connected)
    }

    /// Whether it came back to an earlier session: its id, rooms and data are as they were, and what it missed has been sent.
    pub fn recovered(&self) -> bool {
        self.0.recovered
    }

    // ---- what it does ----

    /// Handles an event. The handler is given the socket, the arguments and the ack; `T` is a tuple for several
    /// arguments, `()` for none, [`Args`](crate::Args) for any, or else the type of the first. Events whose arguments do not fit are counted and
    /// logged, and the handler is not called.
    ///
    /// Events are handled in the order in which they come: each handler runs to where it first waits before the next is started.
    ///
    /// ```no_run
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Answer { ok: bool }
    /// # fn example(socket: &socketio::Socket) {
    /// socket.on("chat message", async |socket, (room, text): (String, String), ack| {
    ///     socket.to(&room).emit("chat message", &text);
    ///     ack.send(&Answer { ok: true }).ok();
    /// });
    /// # }
    /// ```
    pub fn on<T, F>(&self, event: impl Into<ByteString>, handler: F) -> &Self
    where
        T: DeserializeOwned + 'static,
        F: AsyncFn(Socket, T, Ack) + Send + Sync + 'static,
    {
        let mut state = self.state();
        if state.phase != Phase::Disconnected {
            state.events.push((event.into(), handler::event(handler)));
        }
        drop(state);
        self
    }

    /// Takes all handlers of an event off.
    pub fn off(&self, event: &str) {
        let gone: Vec<_> = {
            let mut state = self.state();
            let events = std::mem::take(&mut state.events);
            let (gone, kept) = events.into_iter().partition(|(name, _)| name == event);
            state.events = kept;
            gone
        };
        drop(gone);
    }

    /// Handles every event, before the handlers of that event.
    pub fn on_any<F>(&self, handler: F)
    where
        F: AsyncFn(Socket, Event, Ack) + Send + Sync + 'static,
    {
        let mut state = self.state();
        if state.phase != Phase::Disconnected {
            state.any.push(handler::any(handler));
        }
    }

    /// Looks at each event before its handlers. An error keeps it from them.
    pub fn middleware<F>(&self, middleware: F)
    where
        F: AsyncFn(Socket, Event) -> Result<(), ConnectError> + Send + Sync + 'static,
    {
        self.state().middlewares.push(handler::event_middleware(middleware));
    }

    /// Called when the socket goes, while it is still in its rooms (until the handler first waits).
    pub fn on_disconnecting<F>(&self, handler: F)
    where
        F: AsyncFn(Socket, DisconnectReason) + Send + Sync + 'static,
    {
        self.state().disconnecting.push(handler::disconnect(handler));
    }

    /// Called when the socket has gone.
    pub fn on_disconnect<F>(&self, handler: F)
    where
        F: AsyncFn(Socket, DisconnectReason) + Send + Sync + 'static,
    {
        self.state().disconnect.push(handler::disconnect(handler));
    }

    /// Sends an event to this client. A tuple is several arguments, `()` none, anything else one.
    ///
    /// # Errors
    /// When the arguments cannot be encoded, the name is reserved, or the socket has gone.
    pub fn emit<T: Serialize + ?Sized>(&self, event: &str, args: &T) -> Result<(), EmitError> {
        self.emit_with(event, args, false)
    }

    /// Sends an event that may be dropped if the client is busy.
    ///
    /// # Errors
    /// As [`emit`](Self::emit).
    pub fn emit_volatile<T: Serialize + ?Sized>(&self, event: &str, args: &T) -> Result<(), EmitError> {
        self.emit_with(event, args, true)
    }

    fn emit_with<T: Serialize + ?Sized>(&self, event: &str, args: &T, volatile: bool) -> Result<(), EmitError> {
        let packet = self.0.namespace.encode(event, args)?;
        let taken = self.0.namespace.adapter().send(self.0.namespace.local(), &self.0.id, packet, volatile);
        if taken || volatile || self.is_connected() { Ok(()) } else { Err(EmitError::Disconnected) }
    }

    /// Sends a packet that was encoded before, without the adapter: for one that goes to many sockets by other means than rooms. False:
    /// it was not taken.
    pub fn send(&self, packet: &EncodedPacket) -> bool {
        let message = Outgoing::from(packet).of(self.0.namespace.local().party());
        self.is_connected() && self.0.connection.send(message)
    }

    /// Sends an event and asks for an answer, for which it waits until the socket goes. The answer's arguments are read as
    /// those of an event: a tuple for several, or else the first.
    ///
    /// ```no_run
    /// # async fn example(socket: &socketio::Socket) -> Result<(), socketio::AckError> {
    /// let (name, age): (String, u32) = socket.emit_with_ack("who", &()).await?;
    /// # Ok(()) }
    /// ```
    pub fn emit_with_ack<R: DeserializeOwned>(&self, event: &str, args: &(impl Serialize + ?Sized)) -> AckFuture<R> {
        self.ask(event, args, None)
    }

    /// The same, giving up after a while.
    pub fn emit_with_ack_timeout<R: DeserializeOwned>(
        &self,
        timeout: Duration,
        event: &str,
        args: &(impl Serialize + ?Sized),
    ) -> AckFuture<R> {
        self.ask(event, args, Some(timeout))
    }

    fn ask<R>(&self, event: &str, args: &(impl Serialize + ?Sized), timeout: Option<Duration>) -> AckFuture<R> {
        let payload = match self.0.namespace.payload(event, args) {
            Ok(payload) => payload,
            Err(error) => return AckFuture::failed(error.into()),
        };
        let id = self.0.namespace.local().next_ack_id();
        let (tx, rx) = oneshot::channel();
        let answer: OnAck = Box::new(move |answer| drop(tx.send(answer)));
        if let Err(error) = self.expect_ack(id, answer) {
            return AckFuture::failed(error);
        }
        let packet = Packet::event(self.0.namespace.name().clone(), Some(id), payload);
        self.0.connection.send(EncodedPacket::from(packet));
        AckFuture::new(self.clone(), id, rx, timeout)
    }

    pub(crate) fn expect_ack(&self, id: u64, answer: OnAck) -> Result<(), AckError> {
        let limit = self.0.namespace.config().max_pending_acks;
        let mut state = self.state();
        if !matches!(state.phase, Phase::Entering | Phase::Connected) {
            return Err(AckError::Disconnected);
        }
        if limit > 0 && state.acks.len() >= limit {
            drop(state);
            self.0.namespace.counters().acks_refused.inc();
            return Err(AckError::TooManyPending);
        }
        state.acks.insert(id, answer);
        Ok(())
    }

    pub(crate) fn forget_ack(&self, id: u64) {
        let gone = {
            let mut state = self.state();
            let gone = state.acks.remove(&id);
            if state.acks.is_empty() {
                state.acks = HashMap::new();
            }
            gone
        };
        drop(gone);
    }

    // ---- its end ----

    /// Takes the socket out of the namespace; the client is told. The connection stays for its other namespaces.
    pub fn disconnect(&self) {
        let packet = Packet::new(Kind::Disconnect, self.0.namespace.name().clone());
        let was_connected = self.is_connected();
        if was_connected {
            self.0.connection.send(EncodedPacket::from(packet));
        }
        self.end(DisconnectReason::ServerNamespaceDisconnect);
    }

    /// Takes the socket out of the namespace and closes the connection with all its other sockets.
    pub fn close_connection(&self) {
        self.disconnect();
        self.0.connection.close();
    }

    pub(crate) fn pid(&self) -> Option<&ByteString> {
        self.0.pid.as_ref()
    }
}

impl PartialEq for Socket {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Socket {}

impl std::fmt::Debug for Socket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Socket").field("id", &self.0.id).field("nsp", self.0.namespace.name()).finish()
    }
}

pub(crate) fn check_name(event: &str) -> Result<(), EmitError> {
    if is_reserved(event) { Err(EmitError::ReservedName(event.to_owned())) } else { Ok(()) }
}
