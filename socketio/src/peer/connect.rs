//! Into a namespace: what a client's CONNECT leads to.
//!
//! ```text
//! CONNECT ─▶ the namespace ─▶ session restored? ─▶ middlewares ─▶ consent, what was missed ─▶ handlers of the namespace
//!         └▶ refusal ◀────────────────────────────┘
//! ```

use std::sync::Arc;

use bytestring::ByteString;
use serde::{Deserialize, Serialize};

use super::ClientPeer;
use crate::{
    ConnectError, EncodedPacket, Namespace, Outgoing, Room, Socket, SocketData,
    adapter::{Missed, Restored, Session},
    engine::{Connection, Protocol, SendPause, Sid, worker::run},
    namespace::socket::NewSocket,
    panics::{PANICKED, guard, guarded},
    socket::packet::{Kind, Packet, Payload},
};

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
    pub(super) fn on_connect(self: &Arc<Self>, connection: &Connection, nsp: ByteString, auth: Option<Payload>) {
        let (name, auth) = match nsp.split_once('?') {
            Some((name, query)) => (ByteString::from(name), query_auth(query).or(auth)),
            None => (nsp, auth),
        };
        let max_auth = self.registry.shared.config.max_auth_bytes;
        if max_auth > 0 && auth.as_ref().is_some_and(|auth| auth.len() > max_auth) {
            let message = format!("`auth` is larger than {max_auth} bytes");
            let data = serde_json::json!({ "code": "auth_too_large" });
            return self.refuse(connection, &name, &ConnectError::new(message).with_data(data));
        }
        match guard("the choice of a namespace", || self.registry.lookup(&name)) {
            Some(Some(namespace)) => {
                let (peer, connection) = (self.clone(), connection.clone());
                run(Box::pin(async move {
                    let entered = guarded("the adapter", peer.enter(&connection, &namespace, auth)).await;
                    // One that is in has been answered.
                    if entered.is_none() && peer.socket(namespace.name()).is_none() {
                        peer.refuse(&connection, namespace.name(), &ConnectError::new(PANICKED));
                    }
                }));
            }
            Some(None) => self.refuse_as(Protocol::V4, connection, &name, &ConnectError::new("Invalid namespace")),
            None => self.refuse(connection, &name, &ConnectError::new(PANICKED)),
        }
    }

    async fn enter(&self, connection: &Connection, namespace: &Namespace, auth: Option<Payload>) {
        let _entering = Entering(namespace);
        if let Some(restored) = self.restore(namespace, auth.as_ref()).await {
            let mut claim = Claim { namespace, restored: Some(restored) };
            let skip = namespace.config().recovery.as_ref().is_some_and(|recovery| recovery.skip_middlewares);
            let Some(socket) = self.new_socket(connection, namespace, auth.clone(), claim.restored.as_ref()) else {
                return self.refuse(connection, namespace.name(), &ConnectError::new(PANICKED));
            };
            if !skip && !self.pass_middlewares(&socket).await {
                return;
            }
            let pause = connection.pause_sending();
            match self.resume(&socket, &mut claim) {
                Resumed::In => return self.welcome(socket, pause),
                Resumed::Gone => return,
                // As a new socket, which no middleware has seen.
                Resumed::TooLate => namespace.counters().recovery_missed.inc(),
            }
        }
        let Some(socket) = self.new_socket(connection, namespace, auth, None) else {
            return self.refuse(connection, namespace.name(), &ConnectError::new(PANICKED));
        };
        if !self.pass_middlewares(&socket).await {
            return;
        }
        let pause = connection.pause_sending();
        let mut rooms = None;
        namespace.adapter().enter(namespace.local(), &mut |start| {
            socket.begin_session(start);
            rooms = self.admit(&socket, Missed::default(), &[]);
        });
        if let Some(rooms) = rooms {
            joined(&socket, &rooms);
            self.welcome(socket, pause);
        }
    }

    /// Whether the middlewares of the namespace admit the socket. If not, its client has been notified.
    async fn pass_middlewares(&self, socket: &Socket) -> bool {
        let namespace = socket.namespace();
        for middleware in namespace.handlers().middlewares() {
            let error = match guarded("a middleware", middleware(socket.clone())).await {
                Some(Ok(())) => continue,
                Some(Err(error)) => error,
                None => ConnectError::new(PANICKED),
            };
            self.refuse(socket.connection(), namespace.name(), &error);
            return false;
        }
        true
    }

    /// Restores the socket of a session, unless messages that it missed have expired.
    fn resume(&self, socket: &Socket, claim: &mut Claim<'_>) -> Resumed {
        let namespace = socket.namespace();
        let (adapter, local) = (namespace.adapter(), namespace.local());
        let Some(restored) = &claim.restored else { return Resumed::TooLate };
        socket.begin_session(restored.session.start.as_ref().map(ToString::to_string));
        let rooms = restored.session.rooms.clone();
        let mut admitted = None;
        adapter.resume(local, socket, restored.clone(), &mut |missed| {
            let rooms = self.admit(socket, missed, &rooms);
            let is_in = rooms.is_some();
            admitted = Some(rooms);
            is_in
        });
        match admitted {
            None => Resumed::TooLate,
            Some(None) => Resumed::Gone,
            Some(Some(rooms)) => {
                claim.restored = None;
                namespace.counters().recovered.inc();
                joined(socket, &rooms);
                Resumed::In
            }
        }
    }

    /// Makes the socket visible to broadcasts and answers the client: the CONNECT packet first, since clients count only what follows it as
    /// received, then the messages that it missed. Returns its rooms, or `None` if the client disconnected while the middlewares ran.
    fn admit(&self, socket: &Socket, missed: Missed, rooms: &[Room]) -> Option<Vec<Room>> {
        let (namespace, connection) = (socket.namespace(), socket.connection());
        {
            let mut state = self.state();
            if state.closed || connection.is_closed() || !state.client.joined(namespace.name()) {
                return None;
            }
            socket.enter();
            state.sockets.reserve_exact(1);
            state.sockets.push(socket.clone());
            connection.set_deadline(state.client.deadline());
        }
        namespace.counters().sockets.inc();
        let consent = EncodedPacket::from(consent(socket));
        // A client whose outbox has no room for this is disconnected, and notified as for any other end.
        let _ = connection.send_or_end(Outgoing::from(consent).apart());
        if let Some(missed) = missed.into_source() {
            connection.queue_boxed(missed);
        }
        let rooms = namespace.local().insert(socket, rooms);
        namespace.report_rooms(connection);
        Some(rooms)
    }

    /// Runs the handlers of the namespace for a socket that is in.
    fn welcome(&self, socket: Socket, pause: SendPause<'_>) {
        let namespace = socket.namespace();
        for handler in namespace.handlers().connect() {
            socket.run_handler(handler(socket.clone()), 0);
        }
        drop(pause);
        socket.open();
        // Its end may have come before it was in the lists that its end clears.
        if !socket.is_connected() {
            namespace.local().remove(&socket);
            namespace.report_rooms(socket.connection());
        }
    }

    async fn restore(&self, namespace: &Namespace, auth: Option<&Payload>) -> Option<Restored> {
        namespace.config().recovery.as_ref()?;
        let request: RecoveryRequest = auth?.read().ok()?;
        let (pid, offset) = (request.pid?, request.offset.unwrap_or_default());
        // A client that has seen no event with an offset has none to send.
        let (pid, offset) = (pid.as_str()?, if offset.is_null() { "" } else { offset.as_str()? });
        let restored = namespace.adapter().restore_session(namespace.local(), pid, offset).await;
        if restored.is_none() {
            namespace.counters().recovery_missed.inc();
        }
        restored
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
                    #[cfg(feature = "eio3")]
                    Protocol::V3 => legacy_id(connection, namespace.name()),
                };
                let pid = if recovers { Some(ByteString::from(Sid::random().ok()?.as_str())) } else { None };
                (id, pid, SocketData::default())
            }
        };
        Some(Socket::new(NewSocket {
            id,
            pid,
            recovered: restored.is_some(),
            auth,
            data,
            namespace: namespace.clone(),
            connection: connection.clone(),
            exit: self.this.clone(),
        }))
    }

    fn refuse(&self, connection: &Connection, nsp: &ByteString, error: &ConnectError) {
        self.refuse_as(connection.protocol(), connection, nsp, error);
    }

    /// A refusal in the form of a protocol. In Node the one of an unknown namespace is the same in both.
    fn refuse_as(&self, form: Protocol, connection: &Connection, nsp: &ByteString, error: &ConnectError) {
        self.registry.shared.counters.refused_namespace.inc();
        self.state().client.refused(nsp);
        let payload = match form {
            Protocol::V4 => Payload::plain(&Refusal { message: &error.message, data: error.data.as_ref() }),
            #[cfg(feature = "eio3")]
            // Clients of Socket.IO 2 take the data or the message, whichever there is.
            Protocol::V3 => match &error.data {
                Some(data) => Payload::plain(data),
                None => Payload::plain(&error.message),
            },
        };
        let mut packet = Packet::new(Kind::ConnectError, nsp.clone());
        packet.payload = payload.ok();
        let _ = connection.send_or_end(EncodedPacket::from(packet));
    }
}

/// Reports the initial rooms of a socket to the adapter.
fn joined(socket: &Socket, rooms: &[Room]) {
    if !rooms.is_empty() {
        let namespace = socket.namespace();
        namespace.adapter().joined(namespace.local(), socket.id(), rooms);
    }
}

/// What became of a session that was restored.
enum Resumed {
    In,
    /// Its connection has ended; the session stays.
    Gone,
    /// Messages that the client missed have expired.
    TooLate,
}

/// A session that was restored. Unless it is resumed, it goes back to the adapter, also when a middleware panics.
struct Claim<'a> {
    namespace: &'a Namespace,
    restored: Option<Restored>,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        if let Some(restored) = self.restored.take() {
            self.namespace.adapter().release_session(self.namespace.local(), restored);
        }
    }
}

/// Counts a socket that is connecting to a namespace.
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

#[cfg(feature = "eio3")]
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
