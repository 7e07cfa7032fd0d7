//! Builds a server: settings, an adapter, and hooks for admission.

use std::{sync::Arc, time::Duration};

use actix_web::HttpRequest;

use super::SocketIo;
#[cfg(feature = "client-bundle")]
use crate::bundle::Bundle;
use crate::{
    Config, Handshake, LocalAdapter, Origins, Recovery,
    adapter::Adapter,
    engine::{Admission, Core, worker::Workers},
    hooks::{AnswerHeaders, Hooks, RefusedRequest},
    namespace::Shared,
    socket::{assemble::Limits, client::ClientConfig},
};

/// Builds a [`SocketIo`].
#[derive(Default)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct Builder {
    config: Config,
    adapter: Option<Arc<dyn Adapter>>,
    admission: Admission,
    hooks: Hooks,
}

impl Builder {
    /// Replaces all settings.
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

    /// The path where it is mounted; see [`Config::path`].
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
    #[cfg(feature = "client-bundle")]
    pub fn client_bundle(mut self, bundle: Bundle) -> Self {
        self.config.client_bundle = Some(bundle);
        self
    }

    /// Connects rooms with a cluster. Default: a [`LocalAdapter`], for a single server.
    pub fn adapter(mut self, adapter: Arc<dyn Adapter>) -> Self {
        self.adapter = Some(adapter);
        self
    }

    /// Called with the first request, before a connection opens. The client receives the error, with status 403. If the hook panics, the
    /// response is 500.
    ///
    /// The returned value is kept until the connection ends, even if the client never connects to a namespace. Use it, for example, for a
    /// slot in a limit per address that its `Drop` releases. [`Connection::permit`](crate::engine::Connection::permit) returns it, by its
    /// type. Return `()` to keep nothing.
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

    /// Provides the first characters of each session's id, for a load balancer that sends all requests of one session to one server by
    /// hashing them: all but the first request contain the id as `sid` in their query.
    ///
    /// The balancer chooses four characters, sends the first request to the server that it hashes them to, and puts them into a header. At
    /// most four of the characters `A-Z a-z 0-9 _ -` are used, which leaves 96 random bits; anything else is ignored. If the balancer does
    /// not overwrite the header, a client can choose the characters, and thereby its server.
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

    /// Called with each rejected request, before the answer: `io.engine.on("connection_error")` in Node. [`Stats`](crate::Stats) counts
    /// them by reason.
    ///
    /// ```no_run
    /// # use socketio::SocketIo;
    /// let io = SocketIo::builder()
    ///     .on_refused_request(|refused| println!("{:?}: {}", refused.code, refused.message))
    ///     .build();
    /// ```
    pub fn on_refused_request(mut self, hook: impl Fn(&RefusedRequest<'_>) + Send + Sync + 'static) -> Self {
        self.hooks.on_refused = Some(Arc::new(hook));
        self
    }

    /// Called with the headers of each answer of a session, in order to change them, including rejections but not preflights and client
    /// files: `initial_headers` and `headers` of Node's engine.
    pub fn on_headers(mut self, hook: impl Fn(&mut AnswerHeaders<'_>) + Send + Sync + 'static) -> Self {
        self.hooks.on_headers = Some(Arc::new(hook));
        self
    }

    /// Keeps a value of the first request of each connection, such as what the application's middlewares put into the request's extensions
    /// (a session, a user): [`Handshake::request_data`] returns it, from [`allow_request`](Self::allow_request) on.
    ///
    /// ```no_run
    /// # use socketio::SocketIo;
    /// use actix_web::HttpMessage as _;
    ///
    /// struct User(String);
    ///
    /// let io = SocketIo::builder()
    ///     .request_data(|request| request.extensions().get::<String>().cloned().map(User))
    ///     .build();
    /// io.of("/").on_connect(async |socket| {
    ///     let user = socket.handshake().request_data::<Option<User>>();
    ///     # drop(user);
    /// });
    /// ```
    pub fn request_data<T: Send + Sync + 'static>(
        mut self,
        take: impl Fn(&HttpRequest) -> T + Send + Sync + 'static,
    ) -> Self {
        self.hooks.take_data = Some(Arc::new(move |request| Arc::new(take(request))));
        self
    }

    /// Builds the server. It answers once it is mounted.
    pub fn build(self) -> SocketIo {
        let Self { config, adapter, admission, hooks } = self;
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
        SocketIo::new(shared, |service| Core::new(config, counters, workers, admission, hooks, service))
    }
}

fn client_config(config: &Config) -> ClientConfig {
    ClientConfig {
        connect_timeout: config.connect_timeout,
        binary_timeout: config.binary_timeout,
        max_namespaces: config.max_namespaces,
        #[cfg(feature = "msgpack")]
        msgpack: config.msgpack,
        limits: Limits {
            max_attachments: config.max_attachments,
            max_bytes: match config.max_packet_bytes {
                0 => config.max_http_buffer_size.saturating_mul(config.max_attachments.saturating_add(1)),
                limit => limit,
            },
        },
    }
}
