//! What a socket listens to.

use std::sync::atomic::{AtomicU64, Ordering};

use bytestring::ByteString;
use serde::de::DeserializeOwned;

use super::{Phase, Socket};
use crate::{
    Ack, ConnectError, DisconnectReason, Event, Room,
    handler::{self, Called, DisconnectHandler, EventHandler, EventMiddleware, OutgoingHandler},
};

/// One handler of a socket, as [`Socket::add_listener`] and its like return it and [`Socket::remove_listener`] takes it.
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

/// The handlers of one socket. Handlers of the namespace cost it nothing, so that many sockets have none.
#[derive(Default)]
pub(super) struct Listeners {
    events: Vec<Listener>,
    any: Vec<(ListenerId, EventHandler)>,
    outgoing: Vec<(ListenerId, OutgoingHandler)>,
    pub(super) middlewares: Vec<EventMiddleware>,
    pub(super) disconnecting: Vec<DisconnectHandler>,
    pub(super) disconnect: Vec<DisconnectHandler>,
    /// What came before the namespace's handler had its first step.
    pub(super) early: Vec<(Event, Option<u64>)>,
    /// Rooms joined before the namespace took the socket, as by a middleware.
    pub(super) early_rooms: Vec<Room>,
}

impl Listeners {
    /// Adds the handlers of an event, the catch-all ones first, and takes those off that are called once.
    pub(super) fn for_event(&mut self, name: &str, called: &mut Vec<Called>) {
        called.extend(self.any.iter().map(|(_, handler)| Called { handler: handler.clone(), catches_all: true }));
        let matching = self.events.iter().filter(|listener| listener.event == name);
        called.extend(matching.map(|listener| Called { handler: listener.handler.clone(), catches_all: false }));
        // What is dropped here is still held by `called`, so that nothing of the application's is dropped under the lock.
        self.events.retain(|listener| !(listener.once && listener.event == name));
    }

    /// The handlers of what goes out.
    pub(super) fn outgoing(&self) -> Vec<OutgoingHandler> {
        self.outgoing.iter().map(|(_, handler)| handler.clone()).collect()
    }
}

impl Socket {
    /// Handles an event. The handler is given the socket, the arguments and the ack; `T` is a tuple for several
    /// arguments, `()` for none, [`Args`](crate::Args) for any, or else the type of the first. Where the arguments do not fit, the handler
    /// is not called: the event is counted and logged, and if no other handler of this event takes it, a client that asked for an ack
    /// gets `{"ok":false,"error":{"code":"bad_arguments","message":…}}`. A handler that wants to see what does not fit takes
    /// [`TryArgs`](crate::TryArgs).
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
        self.add_listener(event, handler);
        self
    }

    /// Handles the next event of this name, and no other after it.
    pub fn once<T, F>(&self, event: impl Into<ByteString>, handler: F) -> &Self
    where
        T: DeserializeOwned + 'static,
        F: AsyncFn(Socket, T, Ack) + Send + Sync + 'static,
    {
        self.add_event(event.into(), handler::event(handler), true);
        self
    }

    /// The same as [`on`](Self::on), returning the handle by which [`remove_listener`](Self::remove_listener) takes this handler off
    /// again.
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

    /// Takes all handlers of an event off.
    pub fn off(&self, event: &str) {
        let gone = self.change(|listeners| -> Vec<_> {
            listeners.events.extract_if(.., |listener| listener.event == event).collect()
        });
        // Outside of the lock: a handler may hold anything.
        drop(gone);
    }

    /// Takes one handler off, of whatever kind. False: it was not there any more.
    pub fn remove_listener(&self, id: ListenerId) -> bool {
        let gone = self.change(|listeners| {
            let event: Vec<_> = listeners.events.extract_if(.., |listener| listener.id == id).collect();
            let any: Vec<_> = listeners.any.extract_if(.., |(any, _)| *any == id).collect();
            let outgoing: Vec<_> = listeners.outgoing.extract_if(.., |(outgoing, _)| *outgoing == id).collect();
            (event, any, outgoing)
        });
        gone.is_some_and(|(event, any, outgoing)| !(event.is_empty() && any.is_empty() && outgoing.is_empty()))
    }

    /// The names of the events that this socket has handlers for, each once. Handlers of the namespace are not counted.
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

    /// The handlers of an event, in the order in which they are called.
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

    /// The same, before those that are there already.
    pub fn prepend_any<F>(&self, handler: F) -> ListenerId
    where
        F: AsyncFn(Socket, Event, Ack) + Send + Sync + 'static,
    {
        let (id, handler) = (ListenerId::next(), handler::any(handler));
        self.listen(|listeners| listeners.any.insert(0, (id, handler)));
        id
    }

    /// Takes all handlers of [`on_any`](Self::on_any) and [`prepend_any`](Self::prepend_any) off.
    pub fn off_any(&self) {
        drop(self.change(|listeners| std::mem::take(&mut listeners.any)));
    }

    /// The handlers of every event, in the order in which they are called.
    pub fn listeners_any(&self) -> Vec<ListenerId> {
        let mut ids = Vec::new();
        self.look(|listeners| ids.extend(listeners.any.iter().map(|(id, _)| *id)));
        ids
    }

    /// Called with every event that is sent to this socket, alone or with others, in their order. The handler runs on the socket's
    /// thread, soon after the event was queued. Acks are not events; what a [`Source`](crate::Source) yields and what
    /// [`send`](Self::send) takes is not reported.
    pub fn on_any_outgoing<F>(&self, handler: F) -> ListenerId
    where
        F: AsyncFn(Socket, Event) + Send + Sync + 'static,
    {
        let (id, handler) = (ListenerId::next(), handler::outgoing(handler));
        self.listen(|listeners| listeners.outgoing.push((id, handler)));
        self.0.watches_outgoing.store(true, Ordering::Release);
        id
    }

    /// The same, before those that are there already.
    pub fn prepend_any_outgoing<F>(&self, handler: F) -> ListenerId
    where
        F: AsyncFn(Socket, Event) + Send + Sync + 'static,
    {
        let (id, handler) = (ListenerId::next(), handler::outgoing(handler));
        self.listen(|listeners| listeners.outgoing.insert(0, (id, handler)));
        self.0.watches_outgoing.store(true, Ordering::Release);
        id
    }

    /// Takes all handlers of what goes out off.
    pub fn off_any_outgoing(&self) {
        self.0.watches_outgoing.store(false, Ordering::Release);
        drop(self.change(|listeners| std::mem::take(&mut listeners.outgoing)));
    }

    /// The handlers of what goes out, in the order in which they are called.
    pub fn listeners_any_outgoing(&self) -> Vec<ListenerId> {
        let mut ids = Vec::new();
        self.look(|listeners| ids.extend(listeners.outgoing.iter().map(|(id, _)| *id)));
        ids
    }

    /// Looks at each event before its handlers. An error keeps it from them; a client that asked for an ack gets
    /// `{"ok":false,"error":{"code":"refused","message":…,"data":…}}`.
    pub fn middleware<F>(&self, middleware: F)
    where
        F: AsyncFn(Socket, Event) -> Result<(), ConnectError> + Send + Sync + 'static,
    {
        self.listen(|listeners| listeners.middlewares.push(handler::event_middleware(middleware)));
    }

    /// Called when the socket goes, while it is still in its rooms (until the handler first waits).
    pub fn on_disconnecting<F>(&self, handler: F)
    where
        F: AsyncFn(Socket, DisconnectReason) + Send + Sync + 'static,
    {
        self.listen(|listeners| listeners.disconnecting.push(handler::disconnect(handler)));
    }

    /// Called when the socket has gone.
    pub fn on_disconnect<F>(&self, handler: F)
    where
        F: AsyncFn(Socket, DisconnectReason) + Send + Sync + 'static,
    {
        self.listen(|listeners| listeners.disconnect.push(handler::disconnect(handler)));
    }

    fn change<R>(&self, change: impl FnOnce(&mut Listeners) -> R) -> Option<R> {
        self.state().listeners.as_mut().map(|listeners| change(listeners))
    }

    fn look(&self, look: impl FnOnce(&Listeners)) {
        if let Some(listeners) = &self.state().listeners {
            look(listeners);
        }
    }

    /// Adds a listener, unless the socket has gone and will never hear of anything.
    fn listen(&self, add: impl FnOnce(&mut Listeners)) {
        let mut state = self.state();
        if state.phase != Phase::Disconnected {
            add(state.listeners.get_or_insert_default());
        }
    }
}
