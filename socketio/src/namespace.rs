//! Namespaces: the handlers for the sockets that connect, and ways to send to all of them.
//!
//! Types that refer to their namespace are submodules of this one: its sockets, their handlers, acknowledgements and broadcasts, and the
//! adapter, which has the sockets of this server.

mod ack;
pub mod adapter;
mod answer;
mod broadcast;
mod emit;
mod error;
pub(crate) mod handler;
mod room_event;
mod server_event;
pub(crate) mod socket;

use std::sync::{
    Arc, PoisonError, RwLock, Weak,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use bytestring::ByteString;
use serde::{Serialize, de::DeserializeOwned};

pub use self::{
    ack::{Ack, AckFuture},
    answer::{AckSink, Responses},
    broadcast::{AckStream, Answer, BroadcastOperator, RemoteSocket, ResponsesFuture, Sending},
    error::{AckError, EmitError},
    handler::ConnectError,
    room_event::RoomEvent,
    server_event::{ServerEvent, ServerResponses},
    socket::{ListenerId, Socket},
};
use self::{
    adapter::{Adapter, Local},
    handler::{Called, DisconnectHandler, EventHandler, Middleware, SocketHandler},
};
use crate::{
    Config, DisconnectReason, EncodedPacket, Event, Room,
    engine::worker::Workers,
    panics::guard,
    socket::{
        client::ClientConfig,
        packet::{Packet, Payload, is_reserved},
    },
    stats::Counters,
};

/// The list of a server's namespaces.
pub(crate) trait Listing: Send + Sync {
    /// Removes a dynamic namespace, unless a socket has connected in the meantime.
    fn remove_unused(&self, namespace: &Namespace);
}

/// What all namespaces of a server share.
pub(crate) struct Shared {
    pub(crate) config: Arc<Config>,
    pub(crate) client: Arc<ClientConfig>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) adapter: Arc<dyn Adapter>,
    pub(crate) workers: Workers,
}

/// A weak handle to a namespace; see [`Namespace::downgrade`].
#[derive(Clone)]
pub struct WeakNamespace(Weak<Inner>);

impl WeakNamespace {
    /// The namespace, if it still exists.
    pub fn upgrade(&self) -> Option<Namespace> {
        self.0.upgrade().map(Namespace)
    }
}

impl std::fmt::Debug for WeakNamespace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("WeakNamespace").field(&self.upgrade()).finish()
    }
}

/// A namespace. Cloning it is cheap, and all clones are the same namespace.
#[derive(Clone)]
pub struct Namespace(Arc<Inner>);

struct Inner {
    local: Local,
    handlers: Arc<Handlers>,
    shared: Arc<Shared>,
    listing: Weak<dyn Listing>,
    /// Sockets that are connecting: a dynamic namespace is not removed while there are some.
    entering: AtomicUsize,
    dynamic: bool,
}

type List<T> = RwLock<Vec<T>>;

/// The handlers of a namespace, or of a family of namespaces.
#[derive(Default)]
pub(crate) struct Handlers {
    connect: List<SocketHandler>,
    middlewares: List<Middleware>,
    events: List<(ByteString, EventHandler)>,
    any: List<EventHandler>,
    disconnect: List<DisconnectHandler>,
    server: List<ServerHandler>,
    rooms: List<RoomHandler>,
    watches_rooms: AtomicBool,
}

pub(crate) type ServerHandler = Arc<dyn Fn(&ServerEvent) + Send + Sync>;

type RoomHandler = Arc<dyn Fn(&Namespace, &RoomEvent) + Send + Sync>;

fn add<T>(list: &List<T>, item: T) {
    list.write().unwrap_or_else(PoisonError::into_inner).push(item);
}

fn all<T: Clone>(list: &List<T>) -> Vec<T> {
    list.read().unwrap_or_else(PoisonError::into_inner).clone()
}

impl Handlers {
    pub(crate) fn connect(&self) -> Vec<SocketHandler> {
        all(&self.connect)
    }

    pub(crate) fn middlewares(&self) -> Vec<Middleware> {
        all(&self.middlewares)
    }

    pub(crate) fn disconnect(&self) -> Vec<DisconnectHandler> {
        all(&self.disconnect)
    }

    /// The handlers of an event: the catch-all ones first.
    pub(crate) fn for_event(&self, name: &str) -> Vec<Called> {
        let called = |handler, catches_all| Called { handler, catches_all };
        let mut found: Vec<_> = all(&self.any).into_iter().map(|handler| called(handler, true)).collect();
        let events = self.events.read().unwrap_or_else(PoisonError::into_inner);
        found.extend(events.iter().filter(|(on, _)| *on == name).map(|(_, handler)| called(handler.clone(), false)));
        found
    }
}

/// What can be registered on a namespace and on a family of namespaces alike.
macro_rules! registration {
    () => {
        /// Called for each socket that connects. Register its handlers here: events are delivered after this first awaits something.
        /// Nothing is sent to the client before that either, so a [`Source`](crate::Source) attached here precedes everything that others
        /// send.
        pub fn on_connect<F>(&self, handler: F) -> &Self
        where
            F: AsyncFn(Socket) + Send + Sync + 'static,
        {
            add(&self.handlers().connect, handler::socket(handler));
            self
        }

        /// Checks each socket before it connects, in the order of registration. An error rejects the client, which gets its message and
        /// data as `connect_error`.
        pub fn middleware<F>(&self, middleware: F) -> &Self
        where
            F: AsyncFn(Socket) -> Result<(), ConnectError> + Send + Sync + 'static,
        {
            add(&self.handlers().middlewares, handler::middleware(middleware));
            self
        }

        /// Handles an event of every socket with one shared handler. Otherwise like [`Socket::on`], but it costs no memory per socket.
        pub fn on<T, F>(&self, event: impl Into<ByteString>, handler: F) -> &Self
        where
            T: DeserializeOwned + 'static,
            F: AsyncFn(Socket, T, Ack) + Send + Sync + 'static,
        {
            add(&self.handlers().events, (event.into(), handler::event(handler)));
            self
        }

        /// Handles every event of every socket, before the handlers of that event.
        pub fn on_any<F>(&self, handler: F) -> &Self
        where
            F: AsyncFn(Socket, Event, Ack) + Send + Sync + 'static,
        {
            add(&self.handlers().any, handler::any(handler));
            self
        }

        /// Called when a socket has disconnected, after its own handlers.
        pub fn on_disconnect<F>(&self, handler: F) -> &Self
        where
            F: AsyncFn(Socket, DisconnectReason) + Send + Sync + 'static,
        {
            add(&self.handlers().disconnect, handler::disconnect(handler));
            self
        }

        /// Called with each event that another server sent with [`server_side_emit`](Namespace::server_side_emit), in order, on the
        /// adapter's thread. Spawn work that takes time, with a clone of the event if it needs an answer.
        pub fn on_server_event(&self, handler: impl Fn(&ServerEvent) + Send + Sync + 'static) -> &Self {
            add(&self.handlers().server, Arc::new(handler));
            self
        }

        /// Called with each change of a room on this server from now on, in order, on a server thread: what Node's adapter emits as
        /// `create-room`, `join-room`, `leave-room` and `delete-room`. The handler may join and leave rooms.
        pub fn on_room_event(&self, handler: impl Fn(&Namespace, &RoomEvent) + Send + Sync + 'static) -> &Self {
            add(&self.handlers().rooms, Arc::new(handler));
            self.handlers().watches_rooms.store(true, Ordering::Release);
            self
        }
    };
}

impl Namespace {
    pub(crate) fn new(
        name: ByteString,
        handlers: Arc<Handlers>,
        shared: Arc<Shared>,
        listing: Weak<dyn Listing>,
        dynamic: bool,
    ) -> Self {
        Self(Arc::new(Inner {
            local: Local::new(name, shared.counters.clone()),
            handlers,
            shared,
            listing,
            entering: AtomicUsize::new(0),
            dynamic,
        }))
    }

    registration!();

    /// The name, including the slash.
    pub fn name(&self) -> &ByteString {
        self.0.local.name()
    }

    /// Its sockets on this server.
    pub fn local(&self) -> &Local {
        &self.0.local
    }

    /// A socket of this server.
    pub fn socket(&self, id: &str) -> Option<Socket> {
        self.0.local.socket(id)
    }

    /// Passes an event of another server to this server's handlers: for adapters.
    pub fn receive_server_event(&self, event: &ServerEvent) {
        for handler in all(&self.0.handlers.server) {
            guard("a handler of server events", || handler(event));
        }
    }

    /// The number of servers in the cluster, including this one.
    ///
    /// # Errors
    /// When the other servers cannot be asked.
    pub async fn server_count(&self) -> Result<usize, EmitError> {
        Ok(self.adapter().server_count(self.local()).await?)
    }

    /// A weak handle, for objects that the namespace itself owns, such as adapters.
    pub fn downgrade(&self) -> WeakNamespace {
        WeakNamespace(Arc::downgrade(&self.0))
    }

    /// Encodes an event for this namespace, to be sent any number of times.
    ///
    /// # Errors
    /// When the name is reserved or the arguments cannot be encoded.
    pub fn encode<T: Serialize + ?Sized>(&self, event: &str, args: &T) -> Result<EncodedPacket, EmitError> {
        let payload = self.payload(event, args)?;
        Ok(EncodedPacket::from(Packet::event(self.name().clone(), None, payload)))
    }

    pub(crate) fn payload<T: Serialize + ?Sized>(&self, event: &str, args: &T) -> Result<Payload, EmitError> {
        if is_reserved(event) {
            return Err(EmitError::ReservedName(event.to_owned()));
        }
        Ok(Payload::event(event, args)?)
    }

    pub(crate) fn adapter(&self) -> &Arc<dyn Adapter> {
        &self.0.shared.adapter
    }

    pub(crate) fn config(&self) -> &Config {
        &self.0.shared.config
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.0.shared.counters
    }

    pub(crate) fn workers(&self) -> &Workers {
        &self.0.shared.workers
    }

    pub(crate) fn handlers(&self) -> &Handlers {
        &self.0.handlers
    }

    /// One more socket is connecting. False if the namespace has been removed in the meantime.
    pub(crate) fn entering(&self) {
        self.0.entering.fetch_add(1, Ordering::AcqRel);
    }

    /// A connecting socket has been admitted or rejected.
    pub(crate) fn entered(&self) {
        self.0.entering.fetch_sub(1, Ordering::AcqRel);
        self.left_by_one();
    }

    /// A dynamic namespace is removed with its last socket: otherwise clients could fill the memory with names.
    pub(crate) fn left_by_one(&self) {
        if self.0.dynamic
            && self.is_unused()
            && let Some(listing) = self.0.listing.upgrade()
        {
            listing.remove_unused(self);
        }
    }

    pub(crate) fn is_unused(&self) -> bool {
        self.0.entering.load(Ordering::Acquire) == 0 && self.0.local.is_empty()
    }

    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// The rooms with members on this server, except for sockets' own rooms.
    pub fn rooms(&self) -> Vec<(Room, usize)> {
        self.0.local.rooms()
    }
}

impl std::fmt::Debug for Namespace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Namespace").field(self.name()).finish()
    }
}

/// All namespaces whose names a function accepts, as created by [`SocketIo::of_matching`](crate::SocketIo::of_matching). Handlers
/// registered here apply to each of them, including those that exist already. A namespace of the family is created for its first socket and
/// removed after its last.
#[derive(Clone)]
pub struct NamespaceFamily {
    pub(crate) handlers: Arc<Handlers>,
}

impl NamespaceFamily {
    fn handlers(&self) -> &Handlers {
        &self.handlers
    }

    registration!();
}
