//! A client in a namespace, as the application sees it.
//!
//! ```text
//! Peer ─▶ Socket::dispatch ─▶ middlewares ─▶ catch-all listeners ─▶ the event's handlers
//! Socket::emit ─▶ Adapter::send ─▶ Connection
//! ```

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
    Ack, AckError, AckFuture, BroadcastOperator, ConnectError, DisconnectReason, EncodedPacket, Event, Handshake,
    IntoRooms, Namespace, Room, Source, SourceId, TooManyRooms,
    ack::OnAck,
    adapter::Session,
    engine::{Connection, worker::run},
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
    data: serde_json::Value,
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
    pub(crate) data: serde_json::Value,
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

    /// Sends a packet that was encoded before, as it is: for one that goes to many sockets by other means than rooms. False: it was
    /// not taken.
    pub fn send(&self, packet: &EncodedPacket) -> bool {
        self.is_connected() && self.0.connection.send(packet)
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

    // ---- rooms ----

    /// Joins rooms. A socket that has gone joins nothing.
    ///
    /// # Errors
    /// When it would be in more than [`Config::max_rooms`](crate::Config::max_rooms); those before the limit are joined.
    pub fn join(&self, rooms: impl IntoRooms) -> Result<(), TooManyRooms> {
        let limit = self.0.namespace.config().max_rooms;
        let local = self.0.namespace.local();
        let (joined, result) = local.join_one(&self.0.id, &rooms.into_rooms(), limit);
        if !joined.is_empty() {
            self.0.namespace.adapter().joined(local, &self.0.id, &joined);
        }
        if let Err(error) = result {
            self.0.namespace.counters().rooms_refused.inc();
            log::warn!("{}: {error}", self.0.id);
        }
        result
    }

    /// Leaves rooms.
    pub fn leave(&self, rooms: impl IntoRooms) {
        let local = self.0.namespace.local();
        let left = local.leave_one(&self.0.id, &rooms.into_rooms());
        if !left.is_empty() {
            self.0.namespace.adapter().left(local, &self.0.id, &left);
        }
    }

    /// The rooms that it is in besides its own.
    pub fn rooms(&self) -> Vec<Room> {
        self.0.namespace.local().rooms_of(&self.0.id)
    }

    /// Everybody in these rooms but this socket.
    pub fn to(&self, rooms: impl IntoRooms) -> BroadcastOperator {
        self.broadcast().to(rooms)
    }

    /// The same as [`to`](Self::to).
    pub fn in_(&self, rooms: impl IntoRooms) -> BroadcastOperator {
        self.to(rooms)
    }

    /// Everybody but this socket and those in these rooms.
    pub fn except(&self, rooms: impl IntoRooms) -> BroadcastOperator {
        self.broadcast().except(rooms)
    }

    /// Everybody in the namespace but this socket.
    pub fn broadcast(&self) -> BroadcastOperator {
        BroadcastOperator::new(self.0.namespace.clone()).except(self.0.id.clone())
    }

    // ---- what it carries ----

    /// Keeps a value with the socket, one of each type; the one before comes back.
    pub fn insert<T: Send + Sync + 'static>(&self, value: T) -> Option<Arc<T>> {
        let key = TypeId::of::<T>();
        let mut state = self.state();
        let new: Arc<dyn Any + Send + Sync> = Arc::new(value);
        let old = match state.extensions.iter_mut().find(|(id, _)| *id == key) {
            Some((_, slot)) => Some(std::mem::replace(slot, new)),
            None => {
                state.extensions.push((key, new));
                None
            }
        };
        drop(state);
        old.and_then(|old| old.downcast().ok())
    }

    /// The value of this type that was kept.
    pub fn get<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        let key = TypeId::of::<T>();
        let found = self.state().extensions.iter().find(|(id, _)| *id == key).map(|(_, value)| value.clone());
        found.and_then(|value| value.downcast().ok())
    }

    /// Takes the value of this type away.
    pub fn remove<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        let key = TypeId::of::<T>();
        let mut state = self.state();
        let at = state.extensions.iter().position(|(id, _)| *id == key)?;
        let (_, value) = state.extensions.swap_remove(at);
        drop(state);
        value.downcast().ok()
    }

    /// JSON that other servers see in [`fetch_sockets`](BroadcastOperator::fetch_sockets), and that recovery brings back. Null at first.
    pub fn data(&self) -> serde_json::Value {
        self.state().data.clone()
    }

    /// Sets [`data`](Self::data).
    pub fn set_data(&self, data: impl Into<serde_json::Value>) {
        self.state().data = data.into();
    }

    /// Attaches a source of packets that are pulled when the client can take more. It goes with the socket.
    pub fn attach(&self, source: impl Source + 'static) -> SourceId {
        let id = self.0.connection.attach(source);
        let mut state = self.state();
        if state.phase == Phase::Disconnected {
            drop(state);
            self.0.connection.detach(id);
        } else {
            state.sources.push(id);
        }
        id
    }

    /// Takes a source off.
    pub fn detach(&self, source: SourceId) {
        self.state().sources.retain(|id| *id != source);
        self.0.connection.detach(source);
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

    /// The one way out, whatever the reason; only the first call counts.
    pub(crate) fn end(&self, reason: DisconnectReason) {
        {
            let mut state = self.state();
            if !matches!(state.phase, Phase::Entering | Phase::Connected) {
                state.phase = Phase::Disconnected;
                return;
            }
            state.phase = Phase::Disconnected;
        }
        let socket = self.clone();
        // Handlers need a server thread; from any other, all of what follows is handed to one, so that its order holds.
        self.0.connection.execute(Box::new(move || socket.finish(reason)));
    }

    fn finish(&self, reason: DisconnectReason) {
        let inner = &*self.0;
        // 1. Handlers that want to see the rooms see them.
        let disconnecting = std::mem::take(&mut self.state().disconnecting);
        for handler in disconnecting {
            run(handler(self.clone(), reason));
        }
        // 2. The session is kept before the rooms are left, so that no event falls between.
        let local = inner.namespace.local();
        if let (Some(pid), Some(recovery), true) =
            (&inner.pid, &inner.namespace.config().recovery, reason.is_recoverable())
        {
            let session = Session {
                sid: inner.id.clone(),
                pid: pid.clone(),
                rooms: local.rooms_of(&inner.id),
                data: self.data(),
            };
            inner.namespace.adapter().persist_session(local, session, recovery.max_disconnection);
        }
        // 3. Nobody finds it any more.
        let rooms = local.remove(&inner.id);
        (inner.exit)(self);
        if !rooms.is_empty() {
            inner.namespace.adapter().left(local, &inner.id, &rooms);
        }
        inner.namespace.counters().sockets.dec();
        // 4. Whoever waits for it is told. Handlers go last: they may hold this very socket, and would keep it for ever.
        let (acks, sources, handlers, rest) = {
            let mut state = self.state();
            (
                std::mem::take(&mut state.acks),
                std::mem::take(&mut state.sources),
                std::mem::take(&mut state.disconnect),
                (
                    std::mem::take(&mut state.events),
                    std::mem::take(&mut state.any),
                    std::mem::take(&mut state.middlewares),
                    std::mem::take(&mut state.early),
                ),
            )
        };
        for source in sources {
            inner.connection.detach(source);
        }
        for (_, answer) in acks {
            answer(Err(AckError::Disconnected));
        }
        for handler in handlers {
            run(handler(self.clone(), reason));
        }
        for handler in inner.namespace.handlers().disconnect() {
            run(handler(self.clone(), reason));
        }
        drop(rest);
        inner.namespace.left_by_one();
    }

    // ---- what the connection calls ----

    /// The namespace has taken it: from here on it is connected, and events wait for [`Socket::open`].
    pub(crate) fn enter(&self) {
        let mut state = self.state();
        if state.phase == Phase::Connecting {
            state.phase = Phase::Entering;
        }
    }

    /// Its handlers are registered: what waited is handled.
    pub(crate) fn open(&self) {
        loop {
            let early = {
                let mut state = self.state();
                if state.phase != Phase::Entering {
                    return;
                }
                if state.early.is_empty() {
                    state.phase = Phase::Connected;
                    return;
                }
                std::mem::take(&mut state.early)
            };
            for (event, id) in early {
                self.handle(event, id);
            }
        }
    }

    /// An event has come.
    pub(crate) fn dispatch(&self, payload: Payload, id: Option<u64>) {
        let event = Event::new(payload);
        {
            let mut state = self.state();
            match state.phase {
                Phase::Connected => {}
                Phase::Connecting | Phase::Entering => {
                    state.early.push((event, id));
                    return;
                }
                Phase::Disconnected => return,
            }
        }
        self.handle(event, id);
    }

    fn handle(&self, event: Event, id: Option<u64>) {
        let ack = Ack::new(self, id);
        let middlewares = self.state().middlewares.clone();
        if middlewares.is_empty() {
            self.call_handlers(&event, &ack);
            return;
        }
        let socket = self.clone();
        run(Box::pin(async move {
            for middleware in middlewares {
                if let Err(error) = middleware(socket.clone(), event.clone()).await {
                    log::debug!("{}: {:?} kept from its handlers: {error}", socket.id(), event.name());
                    return;
                }
            }
            socket.call_handlers(&event, &ack);
        }));
    }

    fn call_handlers(&self, event: &Event, ack: &Ack) {
        let name = event.name();
        let mut handlers = self.0.namespace.handlers().for_event(&name);
        {
            let state = self.state();
            handlers.extend(state.any.iter().cloned());
            handlers.extend(state.events.iter().filter(|(on, _)| *on == name).map(|(_, handler)| handler.clone()));
        }
        for handler in handlers {
            match handler(self, event, ack) {
                Ok(future) => run(future),
                Err(error) => {
                    self.0.namespace.counters().bad_arguments.inc();
                    log::debug!("{}: arguments of {name:?} do not fit their handler: {error}", self.0.id);
                }
            }
        }
    }

    /// An answer has come. One that nobody waits for is ignored.
    pub(crate) fn on_ack(&self, id: u64, payload: Payload) {
        let answer = self.state().acks.remove(&id);
        if let Some(answer) = answer {
            answer(Ok(payload));
        }
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
