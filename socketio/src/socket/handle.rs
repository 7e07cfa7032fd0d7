//! A client in a namespace, as the application sees it.
//!
//! ```text
//! Peer ─▶ Socket::dispatch ─▶ middlewares ─▶ catch-all listeners ─▶ the event's handlers
//! Socket::emit ─▶ Adapter::send ─▶ Connection
//! ```

//!
//! Here is who it is. What it listens to is in `listen`, what it sends in `send`, its rooms in `rooms`, what it keeps for the
//! application in `carry`, its way from the first event to the last in `life`.

mod carry;
mod life;
mod listen;
mod pending;
mod rooms;
mod send;

use std::{
    any::{Any, TypeId},
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak, atomic::AtomicBool},
};

use bytestring::ByteString;
use serde::de::DeserializeOwned;
use tokio::sync::oneshot;

use self::listen::Listeners;
pub(crate) use self::send::check_name;
pub use self::{listen::ListenerId, send::EmitError};
use crate::{
    DisconnectReason, EncodedPacket, Handshake, Namespace, SocketData, SourceId,
    ack::OnAck,
    engine::Connection,
    socket::packet::{Kind, Packet, Payload},
};

/// A client in a namespace. Cloning it is cheap, and all clones are the same socket.
#[derive(Clone)]
pub struct Socket(Arc<Inner>);

struct Inner {
    id: ByteString,
    pid: Option<ByteString>,
    recovered: bool,
    namespace: Namespace,
    connection: Connection,
    exit: Weak<dyn Exit>,
    /// Whether somebody listens to what goes out: broadcasts look here before they take the lock.
    watches_outgoing: AtomicBool,
    /// The offset of recovery at which its session began, if any.
    start: OnceLock<ByteString>,
    state: Mutex<State>,
}

/// What a socket leaves at its end: the list of its connection's sockets.
pub(crate) trait Exit: Send + Sync {
    /// From here on the client may join the namespace again.
    fn exit(&self, socket: &Socket);

    /// All sockets of the connection.
    fn sockets(&self) -> Vec<Socket>;
}

/// What changes. Sockets idle in great numbers, most of them without anything of the boxed kind.
#[derive(Default)]
struct State {
    phase: Phase,
    auth: Option<Box<Payload>>,
    listeners: Option<Box<Listeners>>,
    #[expect(clippy::box_collection, reason = "a pointer to nothing is a sixth of an empty table")]
    acks: Option<Box<HashMap<u64, OnAck>>>,
    sources: Vec<SourceId>,
    tasks: Option<Box<pending::Tasks>>,
    /// Who waits for [`Socket::ended`].
    ended: Vec<oneshot::Sender<()>>,
    extensions: Vec<(TypeId, Arc<dyn Any + Send + Sync>)>,
    data: SocketData,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    /// Middlewares are looking at it.
    #[default]
    Connecting,
    /// It is in, but its handlers are not registered yet.
    Entering,
    Connected,
    /// Its end has begun: it takes part in nothing, and may still be told whom to tell.
    Leaving,
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
    pub(crate) exit: Weak<dyn Exit>,
}

impl Socket {
    pub(crate) fn new(new: NewSocket) -> Self {
        let NewSocket { id, pid, recovered, auth, data, namespace, connection, exit } = new;
        let state = Mutex::new(State { auth: auth.map(Box::new), data, ..State::default() });
        let (watches_outgoing, start) = (AtomicBool::new(false), OnceLock::new());
        Self(Arc::new(Inner { id, pid, recovered, namespace, connection, exit, watches_outgoing, start, state }))
    }

    /// Says at which offset its session began.
    pub(crate) fn begin_session(&self, start: Option<String>) {
        if let (Some(start), Some(_)) = (start, &self.0.pid) {
            let _ = self.0.start.set(start.into());
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

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
        let auth = self.state().auth.clone();
        match auth {
            Some(auth) => auth.read(),
            None => serde_json::from_str("{}"),
        }
    }

    /// Frees the `auth` of the client, which is an empty object from now on: for a middleware that has read it and will not need it again.
    pub fn forget_auth(&self) {
        let auth = self.state().auth.take();
        drop(auth);
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

    /// Takes the socket out of the namespace; the client is told. The connection stays for its other namespaces.
    pub fn disconnect(&self) {
        self.end_after(DisconnectReason::ServerNamespaceDisconnect, || {
            let packet = Packet::new(Kind::Disconnect, self.0.namespace.name().clone());
            let _ = self.0.connection.send_or_end(EncodedPacket::from(packet));
        });
    }

    /// Takes all sockets of this connection out of their namespaces and closes the connection. The client is told in each namespace, so
    /// that none of them reconnects by itself.
    pub fn close_connection(&self) {
        self.disconnect();
        for other in self.0.exit.upgrade().map(|exit| exit.sockets()).unwrap_or_default() {
            other.disconnect();
        }
        self.0.connection.close();
    }

    /// The secret by which its client may come back to its session, where recovery is on and the client knows of it. Not to be shown
    /// to anybody: who has it has the session.
    pub fn pid(&self) -> Option<&ByteString> {
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
