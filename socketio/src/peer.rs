//! One connection's share of Socket.IO: it turns messages into what the sockets of its namespaces are called with.
//!
//! ```text
//! message ─▶ Client (pure) ─▶ Connect: middlewares ─▶ Socket
//!                          ─▶ Event, Ack, Disconnect ─▶ the Socket of that namespace
//! ```
//!
//! How a socket comes into a namespace is in `connect`.

mod connect;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Instant,
};

use bytestring::ByteString;

use crate::{
    DisconnectReason, Socket,
    engine::{Connection, Data, Peer, Protocol},
    namespace::{Shared, socket::Exit},
    panics::guard,
    registry::Registry,
    socket::client::{Client, Input, Overdue},
    transport::receiving::Receiving,
    websocket::Bucket,
};

/// The peer of one connection.
pub(crate) struct ClientPeer {
    registry: Arc<Registry>,
    /// Itself, for the sockets that outlive a call.
    this: Weak<ClientPeer>,
    state: Mutex<State>,
}

struct State {
    client: Client,
    sockets: Vec<Socket>,
    rate: Bucket,
    /// What a packet whose attachments have not all come takes of the server's budget.
    receiving: Receiving,
    /// What is called at a time. Most connections have nothing, or one.
    #[expect(clippy::box_collection, reason = "a pointer to nothing is a third of an empty list")]
    alarms: Option<Box<Vec<Alarm>>>,
    /// No socket enters any more.
    closed: bool,
}

/// See [`Socket::call_at`].
struct Alarm {
    at: Instant,
    socket: Socket,
    call: Call,
}

type Call = Box<dyn FnOnce(&Socket) + Send>;

impl State {
    /// When [`Peer::on_deadline`] has something to do.
    fn deadline(&self) -> Option<Instant> {
        self.alarms.iter().flat_map(|alarms| alarms.iter()).map(|alarm| alarm.at).chain(self.client.deadline()).min()
    }

    /// Removes the alarms for which `is_taken`.
    fn take_alarms(&mut self, is_taken: impl Fn(&Alarm) -> bool) -> Vec<Alarm> {
        let Some(alarms) = &mut self.alarms else { return Vec::new() };
        let taken = alarms.extract_if(.., |alarm| is_taken(alarm)).collect();
        if alarms.is_empty() {
            self.alarms = None;
        }
        taken
    }
}

impl ClientPeer {
    pub(crate) fn connect(registry: &Arc<Registry>, connection: &Connection) -> Arc<Self> {
        let Shared { config, client, counters, .. } = &*registry.shared;
        let now = Instant::now();
        let client = Client::new(client.clone(), now);
        connection.set_deadline(client.deadline());
        let state = State {
            client,
            sockets: Vec::new(),
            rate: Bucket::new(config.packet_rate, now),
            receiving: Receiving::new(config, counters),
            alarms: None,
            closed: false,
        };
        let peer =
            Arc::new_cyclic(|this| Self { registry: registry.clone(), this: this.clone(), state: Mutex::new(state) });
        if connection.protocol() != Protocol::V4 {
            let root = ByteString::from_static("/");
            peer.state().client.join_unasked(&root);
            peer.on_connect(connection, root, None);
        }
        peer
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn socket(&self, nsp: &ByteString) -> Option<Socket> {
        self.state().sockets.iter().find(|socket| socket.namespace().name() == nsp).cloned()
    }

    /// Ends all sockets for this reason. The connection is told to close, so queued messages are still sent.
    pub(crate) fn shut(&self, connection: &Connection, reason: DisconnectReason) {
        self.end_sockets(reason);
        connection.close();
    }

    pub(crate) fn end_sockets(&self, reason: DisconnectReason) {
        let sockets = {
            let mut state = self.state();
            state.closed = true;
            state.sockets.clone()
        };
        for socket in sockets {
            socket.end(reason);
        }
    }
}

impl Peer for ClientPeer {
    fn on_message(&self, connection: &Connection, message: Data) {
        let now = Instant::now();
        let (input, form) = {
            let mut state = self.state();
            if state.closed {
                return;
            }
            if !state.rate.take(now) {
                drop(state);
                self.end_sockets(DisconnectReason::RateLimit);
                return connection.finish(DisconnectReason::RateLimit);
            }
            let before = state.deadline();
            let form = state.client.form();
            let input = state.client.on_message(message, now);
            let unfinished = state.client.unfinished();
            if state.receiving.set(unfinished).is_err() {
                drop(state);
                self.end_sockets(DisconnectReason::TransportError);
                return connection.finish(DisconnectReason::TransportError);
            }
            let after = state.deadline();
            if after != before {
                connection.set_deadline(after);
            }
            (input, (form != state.client.form()).then(|| state.client.form()))
        };
        if let Some(form) = form {
            connection.set_form(form);
        }
        match input {
            Ok(None) => {}
            Ok(Some(Input::Event { nsp, id, payload })) => {
                if let Some(socket) = self.socket(&nsp) {
                    socket.dispatch(payload, id);
                }
            }
            Ok(Some(Input::Ack { nsp, id, payload })) => {
                if let Some(socket) = self.socket(&nsp) {
                    socket.on_ack(id, payload);
                }
            }
            Ok(Some(Input::Disconnect { nsp })) => {
                if let Some(socket) = self.socket(&nsp) {
                    socket.end(DisconnectReason::ClientNamespaceDisconnect);
                }
            }
            Ok(Some(Input::Connect { nsp, auth })) => {
                if let Some(this) = self.this.upgrade() {
                    this.on_connect(connection, nsp, auth);
                }
            }
            Err(reason) => {
                if reason == DisconnectReason::ParseError {
                    self.registry.shared.counters.parse_errors.inc();
                }
                self.shut(connection, reason);
            }
        }
    }

    fn on_upgrade(&self, _: &Connection) {
        let sockets = self.state().sockets.clone();
        for socket in sockets {
            socket.upgraded();
        }
    }

    fn on_close(&self, _: &Connection, reason: DisconnectReason) {
        self.end_sockets(reason);
    }

    fn on_shut_down(&self, _: &Connection, reason: DisconnectReason) {
        self.end_sockets(reason);
    }

    fn on_deadline(&self, connection: &Connection, now: Instant) {
        let (overdue, due) = {
            let mut state = self.state();
            let overdue = state.client.on_deadline(now);
            let due = state.take_alarms(|alarm| alarm.at <= now);
            // Under the lock: another thread may add one.
            connection.set_deadline(state.deadline());
            (overdue, due)
        };
        for Alarm { socket, call, .. } in due {
            guard("a call of a socket", || call(&socket));
        }
        let counters = &self.registry.shared.counters;
        let reason = match overdue {
            None => return,
            Some(Overdue::Connect) => {
                counters.connect_timeouts.inc();
                DisconnectReason::ForcedServerClose
            }
            Some(Overdue::Binary) => {
                counters.binary_timeouts.inc();
                DisconnectReason::ParseError
            }
        };
        self.shut(connection, reason);
    }
}

impl Exit for ClientPeer {
    fn sockets(&self) -> Vec<Socket> {
        self.state().sockets.clone()
    }

    fn call_at(&self, socket: &Socket, at: Instant, call: Call) {
        let mut state = self.state();
        if state.sockets.contains(socket) {
            let alarms = state.alarms.get_or_insert_default();
            alarms.reserve_exact(1);
            alarms.push(Alarm { at, socket: socket.clone(), call });
            socket.connection().set_deadline(state.deadline());
        }
    }

    fn exit(&self, socket: &Socket) {
        let mut state = self.state();
        // Their entries among the deadlines find nothing.
        let alarms = state.take_alarms(|alarm| alarm.socket == *socket);
        state.sockets.retain(|other| other != socket);
        // The client may have left before the server removed it, and may have connected again as another socket.
        let name = socket.namespace().name();
        if !state.sockets.iter().any(|other| other.namespace().name() == name) {
            state.client.removed(name);
        }
        // They may own what calls this.
        drop(state);
        drop(alarms);
    }
}
