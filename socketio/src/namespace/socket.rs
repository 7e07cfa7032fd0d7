//! A client in a namespace, as the application sees it.
//!
//! ```text
//! Peer ─▶ Socket::dispatch ─▶ middlewares ─▶ catch-all listeners ─▶ the event's handlers
//! Socket::emit ─▶ Adapter::send ─▶ Connection
//! ```

//!
//! This file identifies the socket. Its listeners are in `listen`, sending in `send`, rooms in `rooms`, values of the application in
//! `carry`, its lifetime from the first event to the last in `life`.

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
    time::Instant,
};

use bytestring::ByteString;
use serde::de::DeserializeOwned;
use tokio::sync::oneshot;

pub use self::listen::ListenerId;
use self::listen::Listeners;
use crate::{
    DisconnectReason, EncodedPacket, Handshake, Namespace, SocketData, SourceId,
    engine::Connection,
    namespace::answer::OnAck,
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
    /// Whether there are listeners for outgoing packets: broadcasts check this before they take the lock.
    watches_outgoing: AtomicBool,
    /// The offset of recovery at which its session began, if any.
    start: OnceLock<Box<str>>,
    state: Mutex<State>,
}

/// Called by a socket at its end: the list of its connection's sockets.
pub(crate) trait Exit: Send + Sync {
    /// From now on the client may connect to the namespace again.
    fn exit(&self, socket: &Socket);

    /// All sockets of the connection.
    fn sockets(&self) -> Vec<Socket>;

    /// See [`Socket::call_at`].
    fn call_at(&self, socket: &Socket, at: Instant, call: Box<dyn FnOnce(&Socket) + Send>);
}

/// The mutable state. Idle sockets are numerous, and most of them have nothing in the boxed fields.
#[derive(Default)]
struct State {
    phase: Phase,
    auth: Option<Box<Payload>>,
    listeners: Option<Box<Listeners>>,
    #[expect(clippy::box_collection, reason = "a pointer to nothing is a sixth of an empty table")]
    acks: Option<Box<HashMap<u64, OnAck>>>,
    sources: Box<[SourceId]>,
    tasks: Option<Box<pending::Tasks>>,
    /// Waiters of [`Socket::ended`].
    #[expect(clippy::box_collection, reason = "a pointer to nothing is a third of an empty list")]
    ended: Option<Box<Vec<oneshot::Sender<()>>>>,
    extensions: Vec<(TypeId, Arc<dyn Any + Send + Sync>)>,
    data: SocketData,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    /// Its middlewares are running.
    #[default]
    Connecting,
    /// It is connected, but its handlers are not registered yet.
    Entering,
    Connected,
    /// It is ending: it takes no further part, but the list of waiters to notify still exists.
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

    /// Sets the offset at which its session began.
    pub(crate) fn begin_session(&self, start: Option<String>) {
        if let (Some(start), Some(_)) = (start, &self.0.pid) {
            let _ = self.0.start.set(start.into_boxed_str());
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its id, which is not a secret. It is also the name of the room with only this socket in it.
    pub fn id(&self) -> &ByteString {
        &self.0.id
    }

    /// The namespace.
    pub fn namespace(&self) -> &Namespace {
        &self.0.namespace
    }

    /// The underlying connection, which it may share with sockets of other namespaces.
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
    /// When it does not deserialize into `T`.
    pub fn auth<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        let auth = self.state().auth.clone();
        match auth {
            Some(auth) => auth.read(),
            None => serde_json::from_str("{}"),
        }
    }

    /// Frees the client's `auth`, which is an empty object from now on: for a middleware that has read it and does not need it again.
    pub fn forget_auth(&self) {
        let auth = self.state().auth.take();
        drop(auth);
    }

    /// The handshake as one JSON object, with the keys that Node uses.
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

    /// Whether it resumed an earlier session: id, rooms and data are unchanged, and the messages that it missed have been sent.
    pub fn recovered(&self) -> bool {
        self.0.recovered
    }

    /// Removes the socket from the namespace and notifies the client. The connection stays open for its other namespaces.
    pub fn disconnect(&self) {
        self.end_after(DisconnectReason::ServerNamespaceDisconnect, || {
            let packet = Packet::new(Kind::Disconnect, self.0.namespace.name().clone());
            let _ = self.0.connection.send_or_end(EncodedPacket::from(packet));
        });
    }

    /// Removes all sockets of this connection from their namespaces and closes the connection. The client is notified in each namespace, so
    /// that none of them reconnects automatically.
    pub fn close_connection(&self) {
        self.disconnect();
        for other in self.0.exit.upgrade().map(|exit| exit.sockets()).unwrap_or_default() {
            other.disconnect();
        }
        self.0.connection.close();
    }

    /// Calls `call` at this time on the connection's thread, unless the socket has disconnected before. This needs neither a task nor a timer
    /// of its own: it is a deadline of the connection, as its pings are. A socket that has disconnected already is not called.
    ///
    /// ```no_run
    /// # use std::time::{Duration, Instant};
    /// # fn example(socket: &socketio::Socket) {
    /// socket.call_at(Instant::now() + Duration::from_secs(3600), |socket| socket.connection().close());
    /// # }
    /// ```
    pub fn call_at(&self, at: Instant, call: impl FnOnce(&Self) + Send + 'static) {
        if let Some(exit) = self.0.exit.upgrade() {
            exit.call_at(self, at, Box::new(call));
        }
    }

    /// The secret with which the client may resume its session, if recovery is on and the client supports it. Do not disclose it: whoever
    /// knows it can take the session.
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
