//! What a socket listens to.

use bytestring::ByteString;
use serde::de::DeserializeOwned;

use super::{Phase, Socket};
use crate::{
    Ack, ConnectError, DisconnectReason, Event,
    handler::{self, DisconnectHandler, EventHandler, EventMiddleware},
};

/// The handlers of one socket. Handlers of the namespace cost it nothing, so that many sockets have none.
#[derive(Default)]
pub(super) struct Listeners {
    pub(super) events: Vec<(ByteString, EventHandler)>,
    pub(super) any: Vec<EventHandler>,
    pub(super) middlewares: Vec<EventMiddleware>,
    pub(super) disconnecting: Vec<DisconnectHandler>,
    pub(super) disconnect: Vec<DisconnectHandler>,
    /// What came before the namespace's handler had its first step.
    pub(super) early: Vec<(Event, Option<u64>)>,
}

impl Socket {
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
        self.listen(|listeners| listeners.events.push((event.into(), handler::event(handler))));
        self
    }

    /// Takes all handlers of an event off.
    pub fn off(&self, event: &str) {
        let gone: Vec<_> = match &mut self.state().listeners {
            Some(listeners) => listeners.events.extract_if(.., |(name, _)| name == event).collect(),
            None => return,
        };
        // Outside of the lock: a handler may hold anything.
        drop(gone);
    }

    /// Handles every event, before the handlers of that event.
    pub fn on_any<F>(&self, handler: F)
    where
        F: AsyncFn(Socket, Event, Ack) + Send + Sync + 'static,
    {
        self.listen(|listeners| listeners.any.push(handler::any(handler)));
    }

    /// Looks at each event before its handlers. An error keeps it from them.
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

    /// Adds a listener, unless the socket has gone and will never hear of anything.
    fn listen(&self, add: impl FnOnce(&mut Listeners)) {
        let mut state = self.state();
        if state.phase != Phase::Disconnected {
            add(state.listeners.get_or_insert_default());
        }
    }
}
