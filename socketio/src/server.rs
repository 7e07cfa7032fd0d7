//! The server: its namespaces, and the routes that mount it. The `builder` has its settings.

mod builder;

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use actix_web::{HttpResponse, error::PayloadError, web::ServiceConfig};
use bytes::Bytes;
use bytestring::ByteString;
use futures_util::{
    Stream,
    future::{BoxFuture, LocalBoxFuture},
};
use serde::Serialize;

pub use self::builder::Builder;
use crate::{
    BroadcastOperator, Config, DisconnectReason, IntoRooms, Namespace, NamespaceFamily, Sending, Stats,
    engine::{Connection, Core, Peer, Service},
    namespace::Shared,
    peer::ClientPeer,
    registry::Registry,
    transport::{self, PollRequest, WebSocket, WebSocketRequest},
};

/// A Socket.IO server. Cloning it is cheap, and all clones are the same server: create one outside of the `HttpServer` closure, mount it in
/// each worker, and keep a clone to emit from anywhere.
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
///         .tcp_nodelay(true)
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

/// Creates a client's side of Socket.IO for each connection.
struct Connector(Arc<Registry>);

impl Service for Connector {
    fn connect(&self, connection: &Connection) -> Arc<dyn Peer> {
        ClientPeer::connect(&self.0, connection)
    }
}

impl SocketIo {
    fn new(shared: Arc<Shared>, core: impl FnOnce(Box<dyn Service>) -> Arc<Core>) -> Self {
        let registry = Registry::new(shared);
        let core = core(Box::new(Connector(registry.clone())));
        let io = Self { registry, core };
        io.of("/");
        io
    }

    /// Starts a builder: settings first, then [`build`](Builder::build).
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Mounts the server at [`Config::path`], for [`App::configure`](actix_web::App::configure).
    pub fn routes(&self) -> impl FnOnce(&mut ServiceConfig) + use<> {
        transport::routes(self.core.clone())
    }

    /// Answers a poll or a post of an open session without [`routes`](Self::routes), for servers that recognize such requests themselves:
    /// most requests are polls and posts. Returns `None` for anything else, for a body that is too large, and always while there are hooks
    /// for requests ([`Builder::on_headers`], [`Builder::on_refused_request`]); the request then belongs to the routes, and nothing has
    /// been done or counted for it. The answer is the same as that of the routes, including CORS headers. Dropping the future before it is
    /// ready ends the session, as when a client disconnects during a poll.
    pub fn answer_poll(&self, request: &PollRequest<'_>) -> Option<LocalBoxFuture<'static, HttpResponse>> {
        transport::answer_poll(&self.core, request)
    }

    /// Opens a WebSocket without [`routes`](Self::routes), for servers that recognize such requests themselves: of a new session, or for a
    /// polling one. `incoming` is what the client sends on it. Returns `None` for a request that is to be refused whatever the application
    /// says, while there are hooks for requests, and with [`Config::trust_proxy`]; the request then belongs to the routes, and nothing has
    /// been done or counted for it. The answer is that of the routes: a [`WebSocket`], or what a client gets instead of one.
    pub fn answer_upgrade(
        &self,
        request: &WebSocketRequest<'_>,
        incoming: impl Stream<Item = Result<Bytes, PayloadError>> + 'static,
    ) -> Option<LocalBoxFuture<'static, Result<HttpResponse<WebSocket>, HttpResponse>>> {
        transport::answer_upgrade(&self.core, request, incoming)
    }

    /// A namespace, which is created if it does not exist. A missing slash at the beginning is added.
    pub fn of(&self, name: &str) -> Namespace {
        let name = if name.starts_with('/') { ByteString::from(name) } else { ByteString::from(format!("/{name}")) };
        self.registry.of(name)
    }

    /// All namespaces whose name `accepts` returns true for. They are created when the first client asks for them.
    ///
    /// ```no_run
    /// # let io = socketio::SocketIo::builder().build();
    /// io.of_matching(|name| name.strip_prefix("/tenant-").is_some_and(|id| id.parse::<u32>().is_ok()))
    ///     .on_connect(async |socket| println!("{} in {}", socket.id(), socket.namespace().name()));
    /// ```
    pub fn of_matching(&self, accepts: impl Fn(&str) -> bool + Send + Sync + 'static) -> NamespaceFamily {
        self.registry.of_matching(accepts)
    }

    /// The existing namespaces.
    pub fn namespaces(&self) -> Vec<Namespace> {
        self.registry.all()
    }

    /// Selects all sockets in these rooms of the namespace `/`.
    pub fn to(&self, rooms: impl IntoRooms) -> BroadcastOperator {
        self.of("/").to(rooms)
    }

    /// The same as [`to`](Self::to).
    pub fn in_(&self, rooms: impl IntoRooms) -> BroadcastOperator {
        self.to(rooms)
    }

    /// Selects all sockets of the namespace `/` except those in these rooms.
    pub fn except(&self, rooms: impl IntoRooms) -> BroadcastOperator {
        self.of("/").except(rooms)
    }

    /// Sends an event to all sockets of the namespace `/`.
    pub fn emit<T: Serialize + ?Sized>(&self, event: &str, args: &T) -> Sending {
        self.of("/").emit(event, args)
    }

    /// A snapshot of the counters.
    pub fn stats(&self) -> Stats {
        self.core.counters.snapshot()
    }

    /// The settings.
    pub fn config(&self) -> &Config {
        &self.core.config
    }

    /// Refuses new connections, ends all sockets with [`ServerShuttingDown`](DisconnectReason::ServerShuttingDown) and closes the
    /// transports. Clients reconnect, to this server or another; their sessions are kept if recovery is on. Closing takes a moment: all
    /// connections have ended when [`Stats::connections`] is 0. Call this before you stop the HTTP server, whose stop waits for open
    /// requests.
    ///
    /// All of this has begun when it returns. Await the result to wait until no connection is left.
    ///
    /// ```no_run
    /// # async fn example(io: socketio::SocketIo) {
    /// io.close().await;
    /// # }
    /// ```
    pub fn close(&self) -> Closing {
        for connection in self.core.begin_close() {
            connection.shut_down(DisconnectReason::ServerShuttingDown);
        }
        let core = self.core.clone();
        Closing(Box::pin(async move { core.idle().await }))
    }

    /// Called with each namespace that is created from now on, by [`of`](Self::of) or because a client asks for one of
    /// [`of_matching`](Self::of_matching): `new_namespace` in Node.
    pub fn on_new_namespace(&self, hook: impl Fn(&Namespace) + Send + Sync + 'static) {
        self.registry.on_new(hook);
    }
}

/// Resolves when all connections have ended, after [`SocketIo::close`]. Dropping this does not cancel the close.
pub struct Closing(BoxFuture<'static, ()>);

impl Future for Closing {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().poll(cx)
    }
}

impl std::fmt::Debug for Closing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Closing").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for SocketIo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SocketIo").field("path", &self.core.config.path).finish_non_exhaustive()
    }
}
