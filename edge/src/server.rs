//! Start and graceful shutdown of a service's HTTP server.
//!
//! [`bind`] opens the port, [`start`] serves on it, [`Running::until_signal`] waits for a signal and then shuts down: it reports not ready,
//! ends every stream, completes requests in progress, and exits within ten seconds.
//!
//! This replaces `actix_web::HttpServer`, with the same public parts, for one reason: [`http1`] serves connections without keeping buffers
//! for idle ones.
//!
//! Differences from actix's defaults, and their reasons:
//! - `max_concurrent_connections`: actix silently stops accepting at 25,600 per worker; Trident's own limit answers with an error,
//!   so actix's has to be higher;
//! - `keep_alive` 75 s: longer than nginx keeps an upstream connection (60 s), so that the server never closes one
//!   on which nginx is about to send a request;
//! - `shutdown_timeout`: streams are ended by Trident, so whatever is left after it is stuck.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use actix_service::{IntoServiceFactory as _, ServiceFactory as _, fn_factory, fn_service, map_config};
use actix_web::{
    dev::{AppConfig, Server, ServerHandle},
    rt::{self, task::JoinHandle},
    web::ServiceConfig,
};

use shared::live::bus::Bus;

use super::{Edge, http1, layer, open_files, operations, routes::Routes};

/// The backlog of connections to be accepted; the kernel's own limit (`net.core.somaxconn`, 4096) also applies.
const BACKLOG: i32 = 4096;

/// Timeouts without a setting. Tests use others.
#[derive(Clone, Copy, Debug)]
struct ServerTimeouts {
    /// How long an idle connection is kept open for its client's next request.
    keep_alive: Duration,
    /// How long a client may read nothing of what is queued for it.
    write: Duration,
    /// How long the port stays open after draining begins, for connections that are being opened.
    settle: Duration,
    /// After this many seconds of the shutdown, actix drops whatever is still open.
    shutdown: u64,
    /// After this time the shutdown ends, whatever is still open.
    hard_end: Duration,
}

const TIMES: ServerTimeouts = ServerTimeouts {
    keep_alive: Duration::from_secs(75),
    write: Duration::from_secs(30),
    settle: Duration::from_millis(100),
    shutdown: 8,
    hard_end: Duration::from_millis(9500),
};

/// Opens the port at `address`; port 0 selects any free one.
///
/// # Errors
/// When the address is in use, not local, or not permitted.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    use socket2::{Domain, Protocol, Socket, Type};
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restart must not wait until the kernel has forgotten connections of the previous process.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    if address.is_ipv6() && address.ip().is_unspecified() {
        // `[::]` means every address, including IPv4, whatever the machine's default is.
        socket.set_only_v6(false)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Serves `routes` on `listener`, in `TRIDENT_WORKERS` threads, until the [`Running`] is stopped, and what `application` adds to
/// actix-web's application. To be called within an actix runtime.
///
/// Both are called once for each worker: what they share is made before, and moved in.
///
/// # Errors
/// When the listener has no address, or threads cannot be started.
pub fn start<R, A>(listener: TcpListener, edge: &Edge, routes: R, application: A) -> io::Result<Running>
where
    R: Fn() -> Routes + Clone + Send + 'static,
    A: FnOnce(&mut ServiceConfig) + Clone + Send + 'static,
{
    open_files::raise(&edge.settings);
    start_with(listener, edge, routes, application, TIMES)
}

fn start_with<R, A>(
    listener: TcpListener,
    edge: &Edge,
    routes: R,
    application: A,
    times: ServerTimeouts,
) -> io::Result<Running>
where
    R: Fn() -> Routes + Clone + Send + 'static,
    A: FnOnce(&mut ServiceConfig) + Clone + Send + 'static,
{
    let address = listener.local_addr()?;
    let settings = &edge.settings;
    let builder = Server::build();
    let signal = builder.graceful_shutdown_signal();
    let app_edge = edge.clone();
    let server = builder
        .workers(settings.workers)
        .max_concurrent_connections(settings.max_connections.unwrap_or(1 << 24) + 4096)
        .shutdown_timeout(times.shutdown)
        .disable_signals()
        .listen("http", listener, move || {
            let (edge, signal, routes) = (app_edge.clone(), signal.clone(), routes.clone());
            let times = http1::ConnectionTimeouts {
                head: edge.settings.header_timeout,
                keep_alive: times.keep_alive,
                write: times.write,
            };
            let application = layer::app(edge.clone(), application.clone());
            let application = map_config(application, |()| AppConfig::default()).into_factory();
            fn_factory(move || {
                let (application, edge, signal) = (application.new_service(()), edge.clone(), signal.clone());
                let routes = operations::routes(&edge).and(routes());
                async move {
                    let worker = Rc::new(http1::WorkerContext::new(application.await?, routes, edge, times));
                    rt::spawn(http1::WorkerContext::keep_room(Rc::downgrade(&worker)));
                    let stopped = worker.clone();
                    rt::spawn(async move {
                        signal.notified().await;
                        stopped.stop();
                    });
                    Ok::<_, ()>(fn_service(move |socket| {
                        let worker = worker.clone();
                        // Boxed: each of actix's layers around it would otherwise need its space once more.
                        Box::pin(async move {
                            worker.serve(socket).await;
                            Ok::<_, ()>(())
                        })
                    }))
                }
            })
        })?
        .run();
    let handle = server.handle();
    let server = rt::spawn(server);
    log::info!("listening on http://{address}, {} workers", settings.workers);
    Ok(Running { address, edge: edge.clone(), handle, server, times, bus: None })
}

/// A running server.
#[derive(Debug)]
pub struct Running {
    address: SocketAddr,
    edge: Edge,
    handle: ServerHandle,
    server: JoinHandle<io::Result<()>>,
    times: ServerTimeouts,
    /// The bus that the process ends with.
    bus: Option<Arc<dyn Bus>>,
}

impl Running {
    /// The server ends when `bus` fails, and closes it at its end.
    pub(super) fn on_bus(self, bus: Arc<dyn Bus>) -> Self {
        Self { bus: Some(bus), ..self }
    }

    /// Its address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its address as a URL: `http://127.0.0.1:8080`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Its shared state.
    #[must_use]
    pub fn edge(&self) -> &Edge {
        &self.edge
    }

    /// Graceful shutdown: reports not ready, calls the callbacks of [`Drain::on_begin`], which end the streams, closes the port, and
    /// completes requests in progress. Takes 10 s at most; then open connections are aborted.
    pub async fn stop(self) {
        let Self { edge, handle, server, times, .. } = self;
        let begun = tokio::time::Instant::now();
        edge.readiness.not_ready("draining", "the process is shutting down");
        edge.drain.begin();
        let ordered = async {
            // Requests in flight are still read and answered, with `Connection: close`. Then the port is closed, and not just ignored: a
            // connection to a closed port fails immediately, and the client tries another server.
            tokio::time::sleep(times.settle).await;
            // The workers do it.
            let _ = tokio::time::timeout(Duration::from_secs(times.shutdown), edge.drain.idle()).await;
            let stopped = handle.stop(true);
            // The accepting thread closes the port when it is scheduled; nothing reports that.
            tokio::time::sleep(times.settle).await;
            edge.drain.close_port();
            stopped.await;
            // The server's future resolves once its workers have ended.
            let _ = server.await;
        };
        let on_time = tokio::time::timeout(times.hard_end, ordered).await.is_ok();
        edge.events.finish(times.hard_end.saturating_sub(begun.elapsed())).await;
        let left = edge.drain.in_flight();
        if on_time && left == 0 {
            log::info!("stopped in {:.1} s", begun.elapsed().as_secs_f64());
        } else {
            log::warn!("stopped with {left} requests cut after {:.1} s", begun.elapsed().as_secs_f64());
        }
    }

    /// Immediate end: every connection is aborted. For tests of clients.
    pub async fn kill(self) {
        self.handle.stop(false).await;
        let _ = self.server.await;
    }

    /// Waits for SIGTERM or SIGINT, then shuts down gracefully; a second signal exits immediately, with 128 + its number, as shells expect.
    ///
    /// # Errors
    /// When signal handlers cannot be installed, when the server ended unexpectedly, or when the bus failed; then it has shut down
    /// gracefully, too.
    pub async fn until_signal(mut self) -> io::Result<()> {
        let mut signals = Signals::new()?;
        let bus = self.bus.clone();
        let failed = async {
            match &bus {
                Some(bus) => bus.failed().await,
                None => std::future::pending().await,
            }
        };
        let mut result = Ok(());
        tokio::select! {
            ended = &mut self.server => {
                return ended.map_err(io::Error::other)?.and(Err(io::Error::other("the server ended unexpectedly")));
            }
            (name, _) = signals.next() => log::info!("{name}: shutting down; a second signal exits immediately"),
            reason = failed => {
                log::error!("shutting down, because the bus failed: {reason}");
                result = Err(io::Error::other(reason));
            }
        }
        let ended = async {
            self.stop().await;
            if let Some(bus) = bus {
                bus.close().await;
            }
        };
        tokio::select! {
            () = ended => {}
            (name, number) = signals.next() => {
                log::warn!("{name} again: exiting immediately");
                std::process::exit(128 + number)
            }
        }
        result
    }
}

/// The signals for shutdown.
#[cfg(unix)]
struct Signals {
    term: tokio::signal::unix::Signal,
    int: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { term: signal(SignalKind::terminate())?, int: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> (&'static str, i32) {
        tokio::select! {
            _ = self.term.recv() => ("SIGTERM", 15),
            _ = self.int.recv() => ("SIGINT", 2),
        }
    }
}

/// Systems without signals have only Ctrl-C.
#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) -> (&'static str, i32) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        ("Ctrl-C", 2)
    }
}

#[cfg(test)]
mod tests;
