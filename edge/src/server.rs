//! Start and ordered stop of a service's HTTP server.
//!
//! [`bind`] opens the port, [`start`] serves on it, [`Running::until_signal`] waits for the end: a signal, and then not
//! ready, every stream ended, what is being answered finished, out within ten seconds.
//!
//! This is `actix_web::HttpServer` done by hand, from the same public parts, for one reason: connections are served by
//! [`http1`], which keeps no buffers for them while they wait.
//!
//! What is set here against actix's defaults, and why:
//! - `max_concurrent_connections`: actix stops accepting at 25,600 a worker, silently; our own limit answers with an error, so
//!   actix's lies above it;
//! - `keep_alive` 75 s: longer than nginx keeps an upstream connection (60 s), so that it is never we who close one
//!   that nginx is about to send a request on;
//! - `shutdown_timeout`: streams are ended by us, so what is left after it hangs.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    ops::Deref,
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

use super::{
    auth::{Bearers, Verifier},
    drain::Drain,
    health::Readiness,
    http1, layer,
    limits::Limits,
    metrics::{Figure, Metrics},
    open_files, operations,
    receiving::Receiving,
    routes::Routes,
    settings::{ServiceDefaults, Settings},
    unread::Unread,
};

/// Connections that wait to be accepted; the kernel's own limit (`net.core.somaxconn`, 4096) also counts.
const BACKLOG: i32 = 4096;

/// The times that no setting names. Tests have others.
#[derive(Clone, Copy, Debug)]
struct Times {
    /// How long an idle connection is kept for its client's next request.
    keep_alive: Duration,
    /// How long a client may take nothing of what there is for it.
    write: Duration,
    /// How long the port stays open after the drain began, for requests that were on their way.
    settle: Duration,
    /// After so many whole seconds of the stop actix lets go of whatever is still open.
    shutdown: u64,
    /// After so long the stop is over, whatever is still open.
    hard_end: Duration,
}

const TIMES: Times = Times {
    keep_alive: Duration::from_secs(75),
    write: Duration::from_secs(30),
    settle: Duration::from_millis(100),
    shutdown: 8,
    hard_end: Duration::from_millis(9500),
};

/// What the HTTP side of one process shares: its settings and what is counted and decided by them. Clones are one and
/// the same. It is made once, outside of the closure that actix calls for each worker.
#[derive(Clone, Debug)]
pub struct Edge(Arc<Shared>);

/// The fields of an [`Edge`].
#[derive(Debug)]
pub struct Shared {
    /// The settings of the process.
    pub settings: Settings,
    /// Its figures.
    pub metrics: Arc<Metrics>,
    /// The keys that tokens are checked with.
    pub verifier: Verifier,
    /// What was verified before.
    pub(super) tokens: Bearers,
    /// Connections and rates.
    pub limits: Limits,
    /// Long answers that are not taken yet.
    pub unread: Unread,
    /// Requests that are incomplete or not answered yet.
    pub receiving: Receiving,
    /// Accepted sockets.
    pub(super) sockets: http1::Sockets,
    /// Whether it can serve.
    pub readiness: Readiness,
    /// Whether it is on its way out.
    pub drain: Drain,
}

impl Edge {
    /// The edge of the process with these settings.
    #[must_use]
    pub fn new(settings: Settings, service: &ServiceDefaults) -> Self {
        let metrics = Arc::new(Metrics::new(service.name, service.version));
        let sockets = http1::Sockets::new(&settings);
        let unread = Unread::new(settings.unread_total());
        let receiving = Receiving::new(settings.receive_total);
        let counted = (sockets.clone(), unread.clone(), receiving.clone());
        metrics.watch_figures(move || figures(&counted.0, &counted.1, &counted.2));
        Self(Arc::new(Shared {
            verifier: Verifier::new(&settings),
            tokens: Bearers::default(),
            limits: Limits::new(&settings, metrics.clone()),
            sockets,
            unread,
            receiving,
            readiness: Readiness::default(),
            drain: Drain::default(),
            metrics,
            settings,
        }))
    }
}

fn figures(sockets: &http1::Sockets, unread: &Unread, receiving: &Receiving) -> Vec<Figure> {
    let (open, evicted) = sockets.figures();
    vec![
        Figure {
            name: "trident_sockets",
            help: "TCP connections that are open",
            value: open as u64,
            is_counter: false,
        },
        Figure {
            name: "trident_sockets_evicted",
            help: "Idle TCP connections that were closed to make room for new ones",
            value: evicted,
            is_counter: true,
        },
        Figure {
            name: "trident_unread_answer_bytes",
            help: "Bytes of long answers to polls that their clients have not taken yet",
            value: unread.bytes() as u64,
            is_counter: false,
        },
        Figure {
            name: "trident_receiving_bytes",
            help: "Bytes of longer requests that are incomplete or not answered yet",
            value: receiving.bytes() as u64,
            is_counter: false,
        },
    ]
}

impl Deref for Edge {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

/// Opens the port at `address`; port 0 is any free one.
///
/// # Errors
/// When the address is taken, not ours, or not allowed.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    use socket2::{Domain, Protocol, Socket, Type};
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restart must not wait for the connections of the process before it to be forgotten.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    if address.is_ipv6() && address.ip().is_unspecified() {
        // `[::]` is every address, IPv4 too, whatever the machine's default is.
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

fn start_with<R, A>(listener: TcpListener, edge: &Edge, routes: R, application: A, times: Times) -> io::Result<Running>
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
            let times =
                http1::Times { head: edge.settings.header_timeout, keep_alive: times.keep_alive, write: times.write };
            let application = layer::app(edge.clone(), application.clone());
            let application = map_config(application, |()| AppConfig::default()).into_factory();
            fn_factory(move || {
                let (application, edge, signal) = (application.new_service(()), edge.clone(), signal.clone());
                let routes = operations::routes(&edge).and(routes());
                async move {
                    let worker = Rc::new(http1::Worker::new(application.await?, routes, edge, times));
                    rt::spawn(http1::Worker::keep_room(Rc::downgrade(&worker)));
                    let stopped = worker.clone();
                    rt::spawn(async move {
                        signal.notified().await;
                        stopped.stop();
                    });
                    Ok::<_, ()>(fn_service(move |socket| {
                        let worker = worker.clone();
                        // In a box: each of the layers that actix has around it would take its room once more.
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
    Ok(Running { address, edge: edge.clone(), handle, server, times })
}

/// A server that serves.
#[derive(Debug)]
pub struct Running {
    address: SocketAddr,
    edge: Edge,
    handle: ServerHandle,
    server: JoinHandle<io::Result<()>>,
    times: Times,
}

impl Running {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it listens, as the beginning of URLs: `http://127.0.0.1:8080`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What it shares.
    #[must_use]
    pub fn edge(&self) -> &Edge {
        &self.edge
    }

    /// The ordered stop: not ready; what was registered with [`Drain::on_begin`] ends the streams; the port closes; what
    /// is being answered is finished. Takes 10 s at most; what is open then is cut.
    pub async fn stop(self) {
        let Self { edge, handle, server, times, .. } = self;
        let begun = tokio::time::Instant::now();
        edge.readiness.not_ready("draining", "the process is on its way out");
        edge.drain.begin();
        let ordered = async {
            // Requests that are on their way are still read and answered, with `Connection: close`. Then the port is
            // closed, and not merely left alone: a connection to a closed port fails at once and is made elsewhere.
            tokio::time::sleep(times.settle).await;
            let stopped = handle.stop(true);
            // The thread that accepts closes the port once it is scheduled; nothing reports it.
            tokio::time::sleep(times.settle).await;
            edge.drain.close_port();
            stopped.await;
            // The server's future ends by itself once its workers have.
            let _ = server.await;
        };
        let on_time = tokio::time::timeout(times.hard_end, ordered).await.is_ok();
        let left = edge.drain.in_flight();
        if on_time && left == 0 {
            log::info!("stopped in {:.1} s", begun.elapsed().as_secs_f64());
        } else {
            log::warn!("stopped with {left} requests cut after {:.1} s", begun.elapsed().as_secs_f64());
        }
    }

    /// The end at once: every connection is cut. For tests of clients that have to cope.
    pub async fn kill(self) {
        self.handle.stop(false).await;
        let _ = self.server.await;
    }

    /// Waits for SIGTERM or SIGINT, then stops in order; a second signal ends the process at once, with 128 + its number
    /// as shells have it.
    ///
    /// # Errors
    /// When signals cannot be listened for, or when the server ended by itself.
    pub async fn until_signal(mut self) -> io::Result<()> {
        let mut signals = Signals::new()?;
        tokio::select! {
            ended = &mut self.server => {
                return ended.map_err(io::Error::other)?.and(Err(io::Error::other("the server ended by itself")));
            }
            (name, _) = signals.next() => log::info!("{name}: stopping; again ends at once"),
        }
        tokio::select! {
            () = self.stop() => Ok(()),
            (name, number) = signals.next() => {
                log::warn!("{name} again: ending at once");
                std::process::exit(128 + number)
            }
        }
    }
}

/// The signals that ask for the end.
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

/// Where there are no signals, Ctrl-C is all there is.
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
