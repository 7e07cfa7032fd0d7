//! The life of a socket between the connection that feeds it and its end.
//!
//! ```text
//! enter ─▶ (the namespace's handlers run once) ─▶ open ─▶ dispatch … ─▶ end ─▶ finish
//! ```

use std::sync::atomic::Ordering;

use tokio::sync::oneshot;

use super::{Phase, Socket, listen::Listeners};
use crate::{
    Ack, AckError, ConnectError, DisconnectReason, EncodedPacket, Event,
    adapter::Session,
    engine::worker::run,
    namespace::handler::Called,
    panics::{PANICKED, guard, guarded},
    rate::OncePerSecond,
    socket::packet::{Kind, Payload},
};

/// Warnings of events whose arguments do not fit their handlers: clients choose how many there are.
static MISFIT_WARNINGS: OncePerSecond = OncePerSecond::new();

impl Socket {
    /// Ends the socket, for any reason; only the first call has an effect.
    pub(crate) fn end(&self, reason: DisconnectReason) {
        self.end_after(reason, || ());
    }

    /// The same, with a last packet in between. The client may respond with a CONNECT immediately, which is then in order.
    pub(super) fn end_after(&self, reason: DisconnectReason, last_word: impl FnOnce()) {
        {
            let mut state = self.state();
            match state.phase {
                Phase::Entering | Phase::Connected => state.phase = Phase::Leaving,
                Phase::Connecting => {
                    state.phase = Phase::Disconnected;
                    return;
                }
                Phase::Leaving | Phase::Disconnected => return,
            }
        }
        if let Some(exit) = self.0.exit.upgrade() {
            exit.exit(self);
        }
        last_word();
        let socket = self.clone();
        // Handlers need a server thread. From any other thread all of the following is passed to one, so that its order is kept.
        self.0.connection.execute(Box::new(move || socket.finish(reason)));
    }

    /// Waits until the socket has ended: its session is kept, and nobody finds it any more.
    pub(crate) async fn ended(&self) {
        let (tx, rx) = oneshot::channel();
        {
            let mut state = self.state();
            if state.phase == Phase::Disconnected {
                return;
            }
            state.ended.get_or_insert_default().push(tx);
        }
        let _ = rx.await;
    }

    fn finish(&self, reason: DisconnectReason) {
        let inner = &*self.0;
        // 1. Handlers that want to see the rooms see them.
        let disconnecting = match &mut self.state().listeners {
            Some(listeners) => std::mem::take(&mut listeners.disconnecting),
            None => Vec::new(),
        };
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
                start: inner.start.get().map(|start| (**start).into()),
            };
            inner.namespace.adapter().persist_session(local, session, recovery.max_disconnection);
        }
        // 3. Nobody finds it any more.
        let rooms = local.remove(self);
        if !rooms.is_empty() {
            inner.namespace.adapter().left(local, &inner.id, &rooms);
            inner.namespace.report_rooms(&inner.connection);
        }
        inner.namespace.counters().sockets.dec();
        // 4. Waiters are notified. Handlers are dropped last: they may own this very socket, and would keep it alive forever.
        let (acks, sources, listeners, ended) = {
            let mut state = self.state();
            state.phase = Phase::Disconnected;
            let (sources, ended) = (std::mem::take(&mut state.sources), state.ended.take());
            (state.acks.take(), sources, state.listeners.take(), ended)
        };
        for waiting in ended.into_iter().flat_map(|waiting| *waiting) {
            let _ = waiting.send(());
        }
        self.end_handlers();
        let Listeners { disconnect, .. } = listeners.map_or_else(Listeners::default, |listeners| *listeners);
        for source in sources {
            inner.connection.detach(source);
        }
        for (_, answer) in acks.into_iter().flat_map(|acks| *acks) {
            answer(Err(AckError::Disconnected));
        }
        for handler in disconnect {
            run(handler(self.clone(), reason));
        }
        for handler in inner.namespace.handlers().disconnect() {
            run(handler(self.clone(), reason));
        }
        inner.namespace.left_by_one();
    }

    /// Its connection has changed to another transport.
    pub(crate) fn upgraded(&self) {
        for handler in self.upgrade_handlers() {
            run(handler(self.clone()));
        }
    }

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
                match &mut state.listeners {
                    Some(listeners) if !listeners.early.is_empty() => std::mem::take(&mut listeners.early),
                    _ => {
                        state.phase = Phase::Connected;
                        return;
                    }
                }
            };
            for (event, id) in early {
                self.handle(event, id);
            }
        }
    }

    /// An event has arrived.
    pub(crate) fn dispatch(&self, payload: Payload, id: Option<u64>) {
        let event = Event::new(payload);
        {
            let mut state = self.state();
            match state.phase {
                Phase::Connected => {}
                Phase::Connecting | Phase::Entering => {
                    state.listeners.get_or_insert_default().early.push((event, id));
                    return;
                }
                Phase::Leaving | Phase::Disconnected => return,
            }
        }
        self.handle(event, id);
    }

    fn handle(&self, event: Event, id: Option<u64>) {
        let ack = Ack::new(self, id);
        let middlewares = match &self.state().listeners {
            Some(listeners) => listeners.middlewares.clone(),
            None => Vec::new(),
        };
        if middlewares.is_empty() {
            self.call_handlers(&event, &ack);
            return;
        }
        let (socket, bytes) = (self.clone(), event.payload().len());
        let pass = async move {
            for middleware in middlewares {
                let error = match guarded("a socket's middleware", middleware(socket.clone(), event.clone())).await {
                    Some(Ok(())) => continue,
                    Some(Err(error)) => error,
                    None => ConnectError::new(PANICKED),
                };
                log::debug!("{}: {:?} rejected by a middleware: {error}", socket.id(), event.name());
                return ack.refuse("refused", &error.message, error.data.as_ref());
            }
            socket.call_handlers(&event, &ack);
        };
        self.run_handler(Box::pin(pass), bytes);
    }

    fn call_handlers(&self, event: &Event, ack: &Ack) {
        let name = event.name();
        let mut called = self.0.namespace.handlers().for_event(&name);
        if let Some(own) = &mut self.state().listeners {
            own.for_event(&name, &mut called);
        }
        let (mut fitted, mut misfit) = (false, None);
        for Called { handler, catches_all } in called {
            // This reads the arguments, by code of the application perhaps.
            match guard("an event handler", || handler(self, event, ack)) {
                Some(Ok(future)) => {
                    fitted |= !catches_all;
                    self.run_handler(future, event.payload().len());
                }
                Some(Err(error)) => misfit = Some(error),
                None => {}
            }
        }
        if let Some(error) = misfit {
            self.0.namespace.counters().bad_arguments.inc();
            let id = &self.0.id;
            MISFIT_WARNINGS
                .log(|more| log::warn!("{id}: the arguments of {name:?} have the wrong type: {error}{more}"));
            if !fitted {
                ack.refuse("bad_arguments", &error.to_string(), None);
            }
        }
    }

    /// A packet has been queued for the client. Listeners for outgoing packets are called later, since the caller may hold locks.
    pub(crate) fn sent(&self, packet: &EncodedPacket) {
        if !self.0.watches_outgoing.load(Ordering::Acquire) {
            return;
        }
        let handlers = self.state().listeners.as_ref().map(|listeners| listeners.outgoing()).unwrap_or_default();
        if let (Kind::Event, Some(payload), false) =
            (packet.packet().kind, &packet.packet().payload, handlers.is_empty())
        {
            let (socket, event) = (self.clone(), Event::new(payload.clone()));
            self.0.connection.queue(Box::new(move || {
                for handler in handlers {
                    run(handler(socket.clone(), event.clone()));
                }
            }));
        }
    }

    /// An answer has arrived. One that nobody waits for is ignored.
    pub(crate) fn on_ack(&self, id: u64, payload: Payload) {
        if let Some(answer) = self.take_ack(id) {
            answer(Ok(payload));
        }
    }
}
