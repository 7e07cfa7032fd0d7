//! The server: its namespaces, its settings, and the routes that mount it.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock, Weak},
    time::Duration,
};

use actix_web::web::ServiceConfig;
use bytestring::ByteString;
use serde::Serialize;

use crate::{
    BroadcastOperator, Config, DisconnectReason, Handshake, IntoRooms, LocalAdapter, Namespace, NamespaceFamily,
    Origins, Recovery, Stats,
    adapter::Adapter,
    broadcast::Sending,
    bundle::Bundle,
    engine::{Admission, Connection, Core, Peer, Service, worker::Workers},
    namespace::{Handlers, Shared},
    peer::ClientPeer,
    socket::{assemble::Limits, client::ClientConfig},
    transport,
};

/// A Socket.IO server. Cloning it is cheap, and all clones are the same server: make one outside of the `HttpServer` closure, mount it in
/// each worker, and keep one to emit from anywhere.
///
/// ```no_run
/// use actix_web::{App, HttpServer};
/// use socketio::SocketIo;
///
/// #[actix_web::main]
/// async fn main() -> std::io::Result<()> {
///     let io = SocketIo::builder().build();
///     io.of("/").on_connect(async |socket| {
///         socket.on("chat message", async |socket, text: String, _ack| {
///             socket.namespace().emit("chat message", &text);
///         });
///     });
///     HttpServer::new(move || App::new().configure(io.routes()))
///         .h1_allow_half_closed(false)
///         .bind(("127.0.0.1", 3000))?
///         .run()
///         .await
/// }
/// ```
#[derive(Clone)]
pub struct SocketIo {
    registry: Arc<Registry>,
    core: Arc<Core>,
}

/// The namespaces by name.
pub(crate) struct Registry {
    pub(crate) shared: Arc<Shared>,
    this: Weak<Registry>,
    namespaces: RwLock<Namespaces>,
}

#[derive(Default)]
struct Namespaces {
    by_name: HashMap<ByteString, Namespace>,
    families: Vec<Family>,
}

struct Family {
    accepts: Arc<dyn Fn(&str) -> bool + Send + Sync>,
    handlers: Arc<Handlers>,
}

impl Registry {
    /// The namespace that a client asks for, held against being given up until [`Namespace::entered`].
    pub(crate) fn lookup(&self, name: &ByteString) -> Option<Namespace> {
        {
            let namespaces = self.namespaces.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(namespace) = namespaces.by_name.get(name) {
                namespace.entering();
                return Some(namespace.clone());
            }
            if namespaces.families.is_empty() {
                return None;
            }
        }
        let accepting: Vec<_> = {
            let namespaces = self.namespaces.read().unwrap_or_else(PoisonError::into_inner);
            namespaces.families.iter().map(|family| (family.accepts.clone(), family.handlers.clone())).collect()
        };
        let (_, handlers) = accepting.into_iter().find(|(accepts, _)| accepts(name))?;
        let mut namespaces = self.namespaces.write().unwrap_or_else(PoisonError::into_inner);
        let namespace =
            namespaces.by_name.entry(name.clone()).or_insert_with(|| self.open(name.clone(), handlers, true));
        namespace.entering();
        Some(namespace.clone())
    }

    /// Makes a namespace. To be called with the namespaces locked, so that the adapter hears of a name's beginnings and ends in order.
    fn open(&self, name: ByteString, handlers: Arc<Handlers>, dynamic: bool) -> Namespace {
        let namespace = Namespace::new(name, handlers, self.shared.clone(), self.this.clone(), dynamic);
        self.shared.adapter.opened(&namespace);
        namespace
    }

    /// Gives a dynamic namespace up, unless somebody came in meanwhile.
    pub(crate) fn remove_unused(&self, namespace: &Namespace) {
        let mut namespaces = self.namespaces.write().unwrap_or_else(PoisonError::into_inner);
        let listed = namespaces.by_name.get(namespace.name()).is_some_and(|listed| listed.is(namespace));
        if listed && namespace.is_unused() {
            namespaces.by_name.remove(namespace.name());
            self.shared.adapter.closed(namespace.local());
        }
    }
}

/// Makes a client's side of Socket.IO for each connection.
struct Connector(Arc<Registry>);

impl Service for Connector {
    fn connect(&self, connection: &Connection) -> Arc<dyn Peer> {
        ClientPeer::connect(&self.0, connection)
    }
}

impl SocketIo {
    /// Settings first, then [`build`](Builder::build).
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Mounts the server at [`Config::path`], for [`App::configure`](actix_web::App::configure).
    pub fn routes(&self) -> impl FnOnce(&mut ServiceConfig) + use<> {
        transport::routes(self.core.clone())
    }

    /// A namespace, made if it is not there. A missing slash at the beginning is added.
    pub fn of(&self, name: &str) -> Namespace {
        let name = if name.starts_with('/') { ByteString::from(name) } else { ByteString::from(format!("/{name}")) };
        let registry = &self.registry;
        let mut namespaces = registry.namespaces.write().unwrap_or_else(PoisonError::into_inner);
        namespaces.by_name.entry(name.clone()).or_insert_with(|| registry.open(name, Arc::default(), false)).clone()
    }

    /// All namespaces whose name `accepts` says yes to. They are made when the first client asks for them.
    ///
    /// ```no_run
    /// # let io = socketio::SocketIo::builder().build();
    /// io.of_matching(|name| name.strip_prefix("/tenant-").is_some_and(|id| id.parse::<u32>().is_ok()))
    ///     .on_connect(async |socket| println!("{} in {}", socket.id(), socket.namespace().name()));
    /// ```
    pub fn of_matching(&self, accepts: impl Fn(&str) -> bool + Send + Sync + 'static) -> NamespaceFamily {
        let handlers: Arc<Handlers> = Arc::default();
        let family = Family { accepts: Arc::new(accepts), handlers: handlers.clone() };
        self.registry.namespaces.write().unwrap_or_else(PoisonError::into_inner).families.push(family);
        NamespaceFamily { handlers }
    }

    /// The namespaces that there are now.
    pub fn namespaces(&self) -> Vec<Namespace> {
        let namespaces = self.registry.namespaces.read().unwrap_or_else(PoisonError::into_inner);
        namespaces.by_name.values().cloned().collect()
    }

    /// Everybody in these rooms of the namespace `/`.
    pub fn to(&self, rooms: impl IntoRooms) -> BroadcastOperator {
        self.of("/").to(rooms)
    }

    /// The same as [`to`](Self::to).
    pub fn in_(&self, rooms: impl IntoRooms) -> BroadcastOperator {
        self.to(rooms)
    }

    /// Everybody in the namespace `/` but those in these rooms.
    pub fn except(&self, rooms: impl IntoRooms) -> BroadcastOperator {
        self.of("/").except(rooms)
    }

    /// Sends an event to everybody in the namespace `/`.
    pub fn emit<T: Serialize + ?Sized>(&self, event: &str, args: &T) -> Sending {
        self.of("/").emit(event, args)
    }

    /// The counters now.
    pub fn stats(&self) -> Stats {
        self.core.counters.snapshot()
    }

    /// The settings.
    pub fn config(&self) -> &Config {
        &self.core.config
    }

    /// Refuses new connections, ends all sockets with
    /// [`ServerShuttingDown`](DisconnectReason::ServerShuttingDown) and closes the transports. Clients come back by themselves, to this
    /// server or another; their sessions are kept if recovery is on. The end of each takes a moment: when
    /// [`Stats::connections`] is 0, all are gone. To be called before the HTTP server is stopped, whose stop waits for open answers.
    pub fn close(&self) {
        for connection in self.core.begin_close() {
            connection.shut_down(DisconnectReason::ServerShuttingDown);
        }
    }
}

impl std::fmt::Debug for SocketIo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SocketIo").field("path", &self.core.config.path).finish_non_exhaustive()
    }
}

/// Builds a [`SocketIo`].
#[derive(Default)]
#[must_use = "a server is made by `build`"]
pub struct Builder {
    config: Config,
    adapter: Option<Arc<dyn Adapter>>,
    admission: Admission,
}

impl Builder {
    /// All settings at once.
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Changes settings in place.
    ///
    /// ```
    /// let io = socketio::SocketIo::builder()
    ///     .configure(|config| {
    ///         config.allow_eio3 = true;
    ///         config.max_connections = 10_000;
    ///     })
    ///     .build();
    /// # drop(io);
    /// ```
    pub fn configure(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.config);
        self
    }

    /// Where it is mounted; see [`Config::path`].
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.config.path = path.into();
        self
    }

    /// See [`Config::ping_interval`].
    pub fn ping_interval(mut self, interval: Duration) -> Self {
        self.config.ping_interval = interval;
        self
    }

    /// See [`Config::ping_timeout`].
    pub fn ping_timeout(mut self, timeout: Duration) -> Self {
        self.config.ping_timeout = timeout;
        self
    }

    /// See [`Config::connect_timeout`].
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.config.connect_timeout = timeout;
        self
    }

    /// See [`Config::origins`].
    pub fn origins(mut self, origins: Origins) -> Self {
        self.config.origins = origins;
        self
    }

    /// See [`Config::recovery`].
    pub fn recovery(mut self, recovery: Recovery) -> Self {
        self.config.recovery = Some(recovery);
        self
    }

    /// See [`Config::client_bundle`].
    pub fn client_bundle(mut self, bundle: Bundle) -> Self {
        self.config.client_bundle = Some(bundle);
        self
    }

    /// What stands between rooms and a cluster. Default: a [`LocalAdapter`], for one server alone.
    pub fn adapter(mut self, adapter: Arc<dyn Adapter>) -> Self {
        self.adapter = Some(adapter);
        self
    }

    /// Asked before a connection opens, with its first request. The error is told to the client, with status 403.
    ///
    /// What it returns is kept until the connection ends, also when that never comes to a namespace: a place among those that an
    /// address may have, for example, given back by its `Drop`. [`Connection::permit`](crate::engine::Connection::permit) gives it to
    /// whoever knows its type; `()` is nothing to keep.
    ///
    /// ```no_run
    /// # use socketio::SocketIo;
    /// let io = SocketIo::builder()
    ///     .allow_request(async |handshake| match handshake.headers.get("x-key") {
    ///         Some("open sesame") => Ok(()),
    ///         _ => Err("no key".into()),
    ///     })
    ///     .build();
    /// ```
    pub fn allow_request<F, P>(mut self, allow: F) -> Self
    where
        F: AsyncFn(Arc<Handshake>) -> Result<P, String> + Send + Sync + 'static,
        P: Send + Sync + 'static,
    {
        self.admission.set_allow_request(allow);
        self
    }

    /// Asked for the first characters of each session's id: for a load balancer that sends the requests of one session to one server
    /// by hashing them, since all but the first carry the id as `sid` in their query.
    ///
    /// The balancer chooses four characters, sends the first request to the server that it hashes them to, and names them in a
    /// header. At most four of the characters `A-Z a-z 0-9 _ -` are taken, which leaves 96 random bits; anything else is passed over. A
    /// client can name what it likes here, to be with one server, unless the balancer overwrites the header.
    ///
    /// ```no_run
    /// # use socketio::SocketIo;
    /// let io = SocketIo::builder()
    ///     .sid_prefix(|handshake| handshake.headers.get("x-session-key").map(Into::into))
    ///     .build();
    /// ```
    pub fn sid_prefix(mut self, prefix: impl Fn(&Handshake) -> Option<String> + Send + Sync + 'static) -> Self {
        self.admission.set_sid_prefix(prefix);
        self
    }

    /// The server. It answers once it is mounted.
    pub fn build(self) -> SocketIo {
        let Self { config, adapter, admission } = self;
        let config = config.normalized();
        let adapter = adapter.unwrap_or_else(|| Arc::new(LocalAdapter::new(config.recovery.clone())));
        let config = Arc::new(config);
        let workers = Workers::new();
        let counters = Arc::default();
        let shared = Arc::new(Shared {
            config: config.clone(),
            client: Arc::new(client_config(&config)),
            counters: Arc::clone(&counters),
            adapter,
            workers: workers.clone(),
        });
        let registry = Arc::new_cyclic(|this| Registry { shared, this: this.clone(), namespaces: RwLock::default() });
        let service = Box::new(Connector(registry.clone()));
        let core = Core::new(config, counters, workers, admission, service);
        let io = SocketIo { registry, core };
        io.of("/");
        io
    }
}

fn client_config(config: &Config) -> ClientConfig {
    ClientConfig {
        connect_timeout: config.connect_timeout,
        binary_timeout: config.binary_timeout,
        max_namespaces: config.max_namespaces,
        msgpack: config.msgpack,
        limits: Limits {
            max_attachments: config.max_attachments,
            max_bytes: config.max_http_buffer_size.saturating_mul(2),
        },
    }
}
