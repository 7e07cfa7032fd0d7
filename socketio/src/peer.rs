//! One connection's share of Socket.IO: it turns messages into what the sockets of its namespaces are called with.
//!
//! ```text
//! message ─▶ Client (pure) ─▶ Connect: middlewares ─▶ Socket
//!                          ─▶ Event, Ack, Disconnect ─▶ the Socket of that namespace
//! ```

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Instant,
};

use bytestring::ByteString;
use serde::{Deserialize, Serialize};

use crate::{
    ConnectError, DisconnectReason, EncodedPacket, Namespace, Outgoing, Socket, SocketData,
    adapter::{Restored, Session},
    engine::{Connection, Data, Peer, Protocol, Sid, worker::run},
    rate::Bucket,
    server::Registry,
    socket::{
        client::{Client, ClientConfig, Input, Overdue},
        handle::NewSocket,
        packet::{Kind, Packet, Payload},
    },
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
    /// No socket enters any more.
    closed: bool,
}

/// What of the client's `auth` is for us.
#[derive(Default, Deserialize)]
struct RecoveryRequest {
    #[serde(default)]
    pid: Option<serde_json::Value>,
    #[serde(default)]
    offset: Option<serde_json::Value>,
}

/// The payload of a refusal.
#[derive(Serialize)]
struct Refusal<'a> {
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a serde_json::Value>,
}

/// The payload of a consent.
#[derive(Serialize)]
struct Consent<'a> {
    sid: &'a ByteString,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<&'a ByteString>,
}

impl ClientPeer {
    pub(crate) fn connect(registry: &Arc<Registry>, connection: &Connection) -> Arc<Self> {
        let config = &registry.shared.config;
        let now = Instant::now();
        let client = Client::new(
            ClientConfig {
                connect_timeout: config.connect_timeout,
                binary_timeout: config.binary_timeout,
                max_namespaces: config.max_namespaces,
                msgpack: config.msgpack,
                limits: crate::socket::assemble::Limits {
                    max_attachments: config.max_attachments,
                    max_bytes: config.max_http_buffer_size.saturating_mul(2),
                },
            },
            now,
        );
        connection.set_deadline(client.deadline());
        let state = State { client, sockets: Vec::new(), rate: Bucket::new(config.packet_rate, now), closed: false };
        let peer =
            Arc::new_cyclic(|this| Self { registry: registry.clone(), this: this.clone(), state: Mutex::new(state) });
        if connection.protocol() == Protocol::V3 {
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

    /// Ends all sockets for this reason; the connection is told to close, so that what waits still goes out.
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

    fn on_connect(self: &Arc<Self>, connection: &Connection, nsp: ByteString, auth: Option<Payload>) {
        let (name, auth) = match nsp.split_once('?') {
            Some((name, query)) => (ByteString::from(name), query_auth(query).or(auth)),
            None => (nsp, auth),
        };
        match self.registry.lookup(&name) {
            Some(namespace) => {
                let (peer, connection) = (self.clone(), connection.clone());
                run(Box::pin(async move { peer.enter(connection, namespace, auth).await }));
            }
            None => self.refuse(connection, &name, &ConnectError::new("Invalid namespace")),
        }
    }

    async fn enter(self: Arc<Self>, connection: Connection, namespace: Namespace, auth: Option<Payload>) {
        let _entering = Entering(&namespace);
        let restored = self.restore(&namespace, auth.as_ref()).await;
        let skip = restored.is_some() && namespace.config().recovery.as_ref().is_some_and(|r| r.skip_middlewares);
        let Some(socket) = self.new_socket(&connection, &namespace, auth, restored.as_ref()) else {
            return self.refuse(&connection, namespace.name(), &ConnectError::new("Internal error"));
        };
        if !skip {
            for middleware in namespace.handlers().middlewares() {
                if let Err(error) = middleware(socket.clone()).await {
                    self.give_back(&namespace, restored);
                    return self.refuse(&connection, namespace.name(), &error);
                }
            }
        }
        // The client may have gone while the middlewares were thinking.
        let entered = {
            let mut state = self.state();
            let entered = !state.closed && !connection.is_closed() && state.client.joined(namespace.name());
            if entered {
                socket.enter();
                state.sockets.push(socket.clone());
                connection.set_deadline(state.client.deadline());
            }
            entered
        };
        if !entered {
            return self.give_back(&namespace, restored);
        }
        namespace.counters().sockets.inc();
        let held = connection.hold();
        self.admit(&namespace, &socket, restored);
        for handler in namespace.handlers().connect() {
            run(handler(socket.clone()));
        }
        drop(held);
        socket.open();
        // Its end may have come before it was in the lists that its end clears.
        if !socket.is_connected() {
            namespace.local().remove(&socket);
        }
    }

    /// Puts the socket where broadcasts find it, and tells the client: what it missed first, then the consent.
    fn admit(&self, namespace: &Namespace, socket: &Socket, restored: Option<Restored>) {
        let connection = socket.connection();
        let local = namespace.local();
        let consent = EncodedPacket::from(consent(socket));
        match restored {
            Some(restored) => {
                namespace.counters().recovered.inc();
                let rooms = restored.session.rooms.clone();
                namespace.adapter().resume(local, restored, &mut |missed| {
                    for packet in missed {
                        connection.send(packet);
                    }
                    connection.send(Outgoing::from(&consent).apart());
                    local.insert(socket, rooms.clone());
                });
                if !rooms.is_empty() {
                    namespace.adapter().joined(local, socket.id(), &rooms);
                }
            }
            None => {
                connection.send(Outgoing::from(consent).apart());
                local.insert(socket, Vec::new());
            }
        }
    }

    async fn restore(&self, namespace: &Namespace, auth: Option<&Payload>) -> Option<Restored> {
        namespace.config().recovery.as_ref()?;
        let request: RecoveryRequest = auth?.read().ok()?;
        let (pid, offset) = (request.pid?, request.offset?);
        let (pid, offset) = (pid.as_str()?, offset.as_str()?);
        let restored = namespace.adapter().restore_session(namespace.local(), pid, offset).await;
        if restored.is_none() {
            namespace.counters().recovery_missed.inc();
        }
        restored
    }

    /// A session that was taken out and cannot be used now stays for another try.
    fn give_back(&self, namespace: &Namespace, restored: Option<Restored>) {
        if let (Some(restored), Some(recovery)) = (restored, &namespace.config().recovery) {
            let session = restored.session;
            namespace.adapter().persist_session(namespace.local(), session, recovery.max_disconnection);
        }
    }

    fn new_socket(
        &self,
        connection: &Connection,
        namespace: &Namespace,
        auth: Option<Payload>,
        restored: Option<&Restored>,
    ) -> Option<Socket> {
        let recovers = namespace.config().recovery.is_some() && connection.protocol() == Protocol::V4;
        let (id, pid, data) = match restored {
            Some(Restored { session: Session { sid, pid, data, .. }, .. }) => {
                (sid.clone(), Some(pid.clone()), data.clone())
            }
            None => {
                let id = match connection.protocol() {
                    Protocol::V4 => namespace.adapter().new_sid(namespace.local())?,
                    Protocol::V3 => legacy_id(connection, namespace.name()),
                };
                let pid = if recovers { Some(ByteString::from(Sid::random().ok()?.as_str())) } else { None };
                (id, pid, SocketData::default())
            }
        };
        let peer = self.this.clone();
        Some(Socket::new(NewSocket {
            id,
            pid,
            recovered: restored.is_some(),
            auth,
            data,
            namespace: namespace.clone(),
            connection: connection.clone(),
            exit: Box::new(move |socket| {
                if let Some(peer) = peer.upgrade() {
                    let mut state = peer.state();
                    state.client.removed(socket.namespace().name());
                    state.sockets.retain(|other| other != socket);
                }
            }),
        }))
    }

    fn refuse(&self, connection: &Connection, nsp: &ByteString, error: &ConnectError) {
        self.registry.shared.counters.refused_namespace.inc();
        self.state().client.refused(nsp);
        let payload = match connection.protocol() {
            Protocol::V4 => Payload::plain(&Refusal { message: &error.message, data: error.data.as_ref() }),
            // Clients of Socket.IO 2 take the data or the message, whichever there is.
            Protocol::V3 => match &error.data {
                Some(data) => Payload::plain(data),
                None => Payload::plain(&error.message),
            },
        };
        let mut packet = Packet::new(Kind::ConnectError, nsp.clone());
        packet.payload = payload.ok();
        connection.send(EncodedPacket::from(packet));
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
            let before = state.client.deadline();
            let form = state.client.form();
            let input = state.client.on_message(message, now);
            let after = state.client.deadline();
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

    fn on_close(&self, _: &Connection, reason: DisconnectReason) {
        self.end_sockets(reason);
    }

    fn on_shut_down(&self, _: &Connection, reason: DisconnectReason) {
        self.end_sockets(reason);
    }

    fn on_deadline(&self, connection: &Connection, now: Instant) {
        let (overdue, next) = {
            let mut state = self.state();
            (state.client.on_deadline(now), state.client.deadline())
        };
        connection.set_deadline(next);
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

/// Counts a socket on its way into a namespace.
struct Entering<'a>(&'a Namespace);

impl Drop for Entering<'_> {
    fn drop(&mut self) {
        self.0.entered();
    }
}

fn consent(socket: &Socket) -> Packet {
    let mut packet = Packet::new(Kind::Connect, socket.namespace().name().clone());
    if socket.connection().protocol() == Protocol::V4 {
        packet.payload = Payload::plain(&Consent { sid: socket.id(), pid: socket.pid() }).ok();
    }
    packet
}

/// What Socket.IO 2 clients take for their id, which they know from the handshake: the connection's, with the namespace before it.
fn legacy_id(connection: &Connection, nsp: &ByteString) -> ByteString {
    if nsp == "/" { connection.sid().as_str().into() } else { format!("{nsp}#{}", connection.sid()).into() }
}

/// Socket.IO 2 clients send what is `auth` today as a query behind the namespace's name.
fn query_auth(query: &str) -> Option<Payload> {
    let auth: serde_json::Map<_, _> =
        crate::engine::parse_query(query).into_iter().map(|(name, value)| (name, value.into())).collect();
    if auth.is_empty() { None } else { Payload::plain(&auth).ok() }
}
