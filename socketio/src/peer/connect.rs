//! Into a namespace: what a client's CONNECT leads to.
//!
//! ```text
//! CONNECT ─▶ the namespace ─▶ session restored? ─▶ middlewares ─▶ what was missed, consent ─▶ handlers of the namespace
//!         └▶ refusal ◀────────────────────────────┘
//! ```

use std::sync::Arc;

use bytestring::ByteString;
use serde::{Deserialize, Serialize};

use super::ClientPeer;
use crate::{
    ConnectError, EncodedPacket, Namespace, Outgoing, Socket, SocketData,
    adapter::{Restored, Session},
    engine::{Connection, Protocol, Sid, worker::run},
    handler::{PANICKED, guarded},
    socket::{
        handle::NewSocket,
        packet::{Kind, Packet, Payload},
    },
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
            return self.refuse(&connection, namespace.name(), &ConnectError::new(PANICKED));
        };
        if !skip {
            for middleware in namespace.handlers().middlewares() {
                let error = match guarded(middleware(socket.clone())).await {
                    Some(Ok(())) => continue,
                    Some(Err(error)) => error,
                    None => ConnectError::new(PANICKED),
                };
                self.give_back(&namespace, restored);
                return self.refuse(&connection, namespace.name(), &error);
            }
        }
        // The client may have gone while the middlewares were thinking.
        let entered = {
            let mut state = self.state();
            let entered = !state.closed && !connection.is_closed() && state.client.joined(namespace.name());
            if entered {
                socket.enter();
                state.sockets.reserve_exact(1);
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
                let mut rooms = restored.session.rooms.clone();
                namespace.adapter().resume(local, restored, &mut |missed| {
                    for packet in missed {
                        connection.send(packet);
                    }
                    connection.send(Outgoing::from(&consent).apart());
                    rooms = local.insert(socket, &rooms);
                });
                if !rooms.is_empty() {
                    namespace.adapter().joined(local, socket.id(), &rooms);
                }
            }
            None => {
                connection.send(Outgoing::from(consent).apart());
                let rooms = local.insert(socket, &[]);
                if !rooms.is_empty() {
                    namespace.adapter().joined(local, socket.id(), &rooms);
                }
            }
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
