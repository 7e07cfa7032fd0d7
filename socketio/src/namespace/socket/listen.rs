//! The handlers of a socket.

use std::sync::atomic::{AtomicU64, Ordering};

use bytestring::ByteString;
use serde::de::DeserializeOwned;

use super::{Phase, Socket};
use crate::{
    Ack, ConnectError, DisconnectReason, Event, Room,
    namespace::handler::{
        self, Called, DisconnectHandler, EventHandler, EventMiddleware, OutgoingHandler, SocketHandler,
    },
};

/// Identifies one handler of a socket: returned by [`Socket::add_listener`] and similar methods, taken by [`Socket::remove_listener`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ListenerId(u64);

impl ListenerId {
    fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// A handler of one event.
pub(super) struct Listener {
    id: ListenerId,
    event: ByteString,
    handler: EventHandler,
    once: bool,
}

/// The handlers of one socket. Handlers of the namespace are not stored here, so that many sockets have none.
#[derive(Default)]
pub(super) struct Listeners {
    events: Vec<Listener>,
    any: Vec<(ListenerId, EventHandler)>,
    outgoing: Vec<(ListenerId, OutgoingHandler)>,
    pub(super) middlewares: Vec<EventMiddleware>,
    pub(super) disconnecting: Vec<DisconnectHandler>,
    pub(super) disconnect: Vec<DisconnectHandler>,
    upgrade: Vec<SocketHandler>,
    /// Events received before the namespace's handler had its first step.
    pub(super) early: Vec<(Event, Option<u64>)>,
    /// Rooms joined before the socket was admitted, as by a middleware.
    pub(super) early_rooms: Vec<Room>,
}

impl Listeners {
    /// Returns the handlers of an event, the catch-all ones first, and removes those that are called once.
    pub(super) fn for_event(&mut self, name: &str, called: &mut Vec<Called>) {
        called.extend(self.any.iter().map(|(_, handler)| Called { handler: handler.clone(), catches_all: true }));
        let matching = self.events.iter().filter(|listener| listener.event == name);
        called.extend(matching.map(|listener| Called { handler: listener.handler.clone(), catches_all: false }));
        // `called` still refers to what is dropped here, so that no value of the application is dropped under the lock.
        self.events.retain(|listener| !(listener.once && listener.event == name));
    }

    /// The handlers of outgoing events.
    pub(super) fn outgoing(&self) -> Vec<OutgoingHandler> {
        self.outgoing.iter().map(|(_, handler)| handler.clone()).collect()
    }
}

impl Socket {
    /// Handles an event. The handler gets the socket, the arguments and the ack; `T` is a tuple for several
    /// arguments, `()` for none, [`Args`](crate::Args) for any, or else the type of the first. If the arguments have another type, the
    /// handler is not called: the event is counted and logged, and if no other handler of this event accepts it, a client that asked for
    /// an ack gets `{"ok":false,"error":{"code":"bad_arguments","message":…}}`. A handler that has to see such events takes
    /// [`TryArgs`](crate::TryArgs).
    ///
    /// Events are handled in the order of arrival: each handler runs until it first awaits something, then the next one starts.
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
        self.add_listener(event, handler);
        self
    }

    /// Handles the next event of this name, and no later one.
    pub fn once<T, F>(&self, event: impl Into<ByteString>, handler: F) -> &Self
    where
        T: DeserializeOwned + 'static,
        F: AsyncFn(Socket, T, Ack) + Send + Sync + 'static,
    {
        self.add_event(event.into(), handler::event(handler), true);
        self
    }

    /// The same as [`on`](Self::on). Returns the id with which [`remove_listener`](Self::remove_listener) removes this handler.
    pub fn add_listener<T, F>(&self, event: impl Into<ByteString>, handler: F) -> ListenerId
    where
        T: DeserializeOwned + 'static,
        F: AsyncFn(Socket, T, Ack) + Send + Sync + 'static,
    {
        self.add_event(event.into(), handler::event(handler), false)
    }

    fn add_event(&self, event: ByteString, handler: EventHandler, once: bool) -> ListenerId {
        let id = ListenerId::next();
        self.listen(|listeners| listeners.events.push(Listener { id, event, handler, once }));
        id
    }

    /// Removes all handlers of an event.
    pub fn off(&self, event: &str) {
        let gone = self.change(|listeners| -> Vec<_> {
            listeners.events.extract_if(.., |listener| listener.event == event).collect()
        });
        // Outside of the lock: a handler may own any value.
        drop(gone);
    }

    /// Removes one handler, of any kind. False if it did not exist any more.
    pub fn remove_listener(&self, id: ListenerId) -> bool {
        let gone = self.change(|listeners| {
            let event: Vec<_> = listeners.events.extract_if(.., |listener| listener.id == id).collect();
            let any: Vec<_> = listeners.any.extract_if(.., |(any, _)| *any == id).collect();
            let outgoing: Vec<_> = listeners.outgoing.extract_if(.., |(outgoing, _)| *outgoing == id).collect();
            (event, any, outgoing)
        });
        gone.is_some_and(|(event, any, outgoing)| !(event.is_empty() && any.is_empty() && outgoing.is_empty()))
    }

    /// The names of the events that this socket has handlers for, each once. Handlers of the namespace are not included.
    pub fn event_names(&self) -> Vec<ByteString> {
        let mut names = Vec::new();
        self.look(|listeners| {
            for listener in &listeners.events {
                if !names.contains(&listener.event) {
                    names.push(listener.event.clone());
                }
            }
        });
        names
    }

    /// The handlers of an event, in calling order.
    pub fn listeners(&self, event: &str) -> Vec<ListenerId> {
        let mut ids = Vec::new();
        self.look(|all| ids.extend(all.events.iter().filter(|listener| listener.event == event).map(|one| one.id)));
        ids
    }

    /// Handles every event, before the handlers of that event.
    pub fn on_any<F>(&self, handler: F) -> ListenerId
    where
        F: AsyncFn(Socket, Event, Ack) + Send + Sync + 'static,
    {
        let (id, handler) = (ListenerId::next(), handler::any(handler));
        self.listen(|listeners| listeners.any.push((id, handler)));
        id
    }

    /// The same, in front of the existing ones.
    pub fn prepend_any<F>(&self, handler: F) -> ListenerId
    where
        F: AsyncFn(Socket, Event, Ack) + Send + Sync + 'static,
    {
        let (id, handler) = (ListenerId::next(), handler::any(handler));
        self.listen(|listeners| listeners.any.insert(0, (id, handler)));
        id
    }

    /// Removes all handlers of [`on_any`](Self::on_any) and [`prepend_any`](Self::prepend_any).
    pub fn off_any(&self) {
        drop(self.change(|listeners| std::mem::take(&mut listeners.any)));
    }

    /// The handlers of every event, in calling order.
    pub fn listeners_any(&self) -> Vec<ListenerId> {
        let mut ids = Vec::new();
        self.look(|listeners| ids.extend(listeners.any.iter().map(|(id, _)| *id)));
        ids
    }

    /// Called with every event that is sent to this socket, directly or in a broadcast, in order. The handler runs on the socket's thread,
    /// soon after the event was queued. Acks are not events. Packets of a [`Source`](crate::Source) or of [`send`](Self::send) are not
    /// reported.
    pub fn on_any_outgoing<F>(&self, handler: F) -> ListenerId
    where
        F: AsyncFn(Socket, Event) + Send + Sync + 'static,
    {
        let (id, handler) = (ListenerId::next(), handler::outgoing(handler));
        self.listen(|listeners| listeners.outgoing.push((id, handler)));
        self.0.watches_outgoing.store(true, Ordering::Release);
        id
    }

    /// The same, in front of the existing ones.
    pub fn prepend_any_outgoing<F>(&self, handler: F) -> ListenerId
    where
        F: AsyncFn(Socket, Event) + Send + Sync + 'static,
    {
        let (id, handler) = (ListenerId::next(), handler::outgoing(handler));
        self.listen(|listeners| listeners.outgoing.insert(0, (id, handler)));
        self.0.watches_outgoing.store(true, Ordering::Release);
        id
    }

    /// Removes all handlers of outgoing events.
    pub fn off_any_outgoing(&self) {
        self.0.watches_outgoing.store(false, Ordering::Release);
        drop(self.change(|listeners| std::mem::take(&mut listeners.outgoing)));
    }

    /// The handlers of outgoing events, in calling order.
    pub fn listeners_any_outgoing(&self) -> Vec<ListenerId> {
        let mut ids = Vec::new();
        self.look(|listeners| ids.extend(listeners.outgoing.iter().map(|(id, _)| *id)));
        ids
    }

    /// Checks each event before its handlers. An error suppresses the event; a client that asked for an ack gets
    /// `{"ok":false,"error":{"code":"refused","message":…,"data":…}}`.
    pub fn middleware<F>(&self, middleware: F)
    where
        F: AsyncFn(Socket, Event) -> Result<(), ConnectError> + Send + Sync + 'static,
    {
        self.listen(|listeners| listeners.middlewares.push(handler::event_middleware(middleware)));
    }

    /// Called when the socket disconnects, while it is still in its rooms (until the handler first awaits something).
    pub fn on_disconnecting<F>(&self, handler: F)
    where
        F: AsyncFn(Socket, DisconnectReason) + Send + Sync + 'static,
    {
        self.listen(|listeners| listeners.disconnecting.push(handler::disconnect(handler)));
    }

    /// Called when the socket has disconnected.
    pub fn on_disconnect<F>(&self, handler: F)
    where
        F: AsyncFn(Socket, DisconnectReason) + Send + Sync + 'static,
    {
        self.listen(|listeners| listeners.disconnect.push(handler::disconnect(handler)));
    }

    /// Called when the connection has changed from long polling to WebSocket: `socket.conn.on("upgrade")` in Node. A socket that connects
    /// later finds the transport in its [`connection`](Self::connection).
    pub fn on_upgrade<F>(&self, handler: F)
    where
        F: AsyncFn(Socket) + Send + Sync + 'static,
    {
        self.listen(|listeners| listeners.upgrade.push(handler::socket(handler)));
    }

    pub(super) fn upgrade_handlers(&self) -> Vec<SocketHandler> {
        let mut handlers = Vec::new();
        self.look(|listeners| handlers.clone_from(&listeners.upgrade));
        handlers
    }

    fn change<R>(&self, change: impl FnOnce(&mut Listeners) -> R) -> Option<R> {
        self.state().listeners.as_mut().map(|listeners| change(listeners))
    }

    fn look(&self, look: impl FnOnce(&Listeners)) {
        if let Some(listeners) = &self.state().listeners {
            look(listeners);
        }
    }

    /// Adds a listener, unless the socket has disconnected.
    fn listen(&self, add: impl FnOnce(&mut Listeners)) {
        let mut state = self.state();
        if state.phase != Phase::Disconnected {
            add(state.listeners.get_or_insert_default());
        }
    }
}
