//! Start and graceful shutdown of a service's HTTP server.
//!
//! [`bind`] opens the port, [`start`] serves on it, [`Running::until_signal`] waits for a signal and then shuts down: it reports not ready,
//! ends every stream, completes requests in progress, and exits within ten seconds.
//!
//! This replaces `actix_web::HttpServer`, with the same public parts, for two reasons: [`http1`](super::http1) serves connections without
//! keeping buffers for idle ones, and each [`worker`] accepts connections for itself and decides when to close them, so that a shutdown loses
//! no request.
//!
//! An idle connection is kept for 75 s: longer than nginx keeps an upstream connection (60 s), so that the server never closes one on which
//! nginx is about to send a request.

use std::{
    io::{self, IsTerminal as _},
    mem,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use actix_web::web::ServiceConfig;
use futures_util::future::{join_all, select_all};
use tokio::sync::watch;

use shared::live::bus::Bus;

#[cfg(any(test, not(target_os = "linux")))]
pub(super) use self::listeners::prepare;
pub use self::listeners::{Port, bind};
use self::worker::{Stage, Worker};
use super::{Edge, http1, open_files, routes::Routes, settings::IoUring};

mod listeners;
mod worker;

/// How long the end waits until the last spans are sent.
const MAX_FLUSH: Duration = Duration::from_secs(2);

/// Timeouts without a setting. Tests use others.
#[derive(Clone, Copy, Debug)]
struct ServerTimeouts {
    /// How long an idle connection is kept open for its client's next request.
    keep_alive: Duration,
    /// How long a client may read nothing of what is queued for it.
    write: Duration,
    /// How long the port stays open after draining begins, for connections that are being opened.
    settle: Duration,
    /// How long after the last request a draining worker closes its idle connections. A proxy sends its next request on one of them until it
    /// has noticed the shutdown, and that request would be lost.
    quiet: Duration,
    /// After this time of the shutdown, whatever is still open is dropped.
    shutdown: Duration,
    /// After this time the shutdown ends, whatever is left to do.
    hard_end: Duration,
}

const TIMES: ServerTimeouts = ServerTimeouts {
    keep_alive: Duration::from_secs(75),
    write: Duration::from_secs(30),
    settle: Duration::from_millis(100),
    quiet: Duration::from_millis(200),
    shutdown: Duration::from_secs(8),
    hard_end: Duration::from_millis(9500),
};

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
    let (uses_ring, writes) = writes(edge.settings.io_uring)?;
    let (stage, asked) = watch::channel(Stage::Serving);
    let listeners = listeners::one_for_each(listener, edge.settings.workers)?;
    let workers: io::Result<Vec<_>> = listeners
        .into_iter()
        .map(|listener| {
            Worker::start(listener, edge.clone(), routes.clone(), application.clone(), times, uses_ring, asked.clone())
        })
        .collect();
    // If one has failed, the others end when `stage` is dropped.
    let workers = workers?;
    log::info!("listening on http://{address}, {} workers, fan-out by {writes}", edge.settings.workers);
    Ok(Running { address, edge: edge.clone(), stage, workers, times, bus: None })
}

/// Whether messages are sent to many clients through io_uring, and the name of what is used, for the log.
fn writes(io_uring: IoUring) -> io::Result<(bool, String)> {
    if io_uring == IoUring::Off {
        return Ok((false, "write(2)".to_owned()));
    }
    match (http1::try_ring(), io_uring) {
        (Ok(()), _) => Ok((true, "io_uring".to_owned())),
        (Err(error), IoUring::On) => {
            Err(io::Error::new(error.kind(), format!("TRIDENT_IO_URING=on, but io_uring cannot be used: {error}")))
        }
        (Err(error), _) => Ok((false, format!("write(2), since io_uring cannot be used ({error})"))),
    }
}

/// A running server.
#[derive(Debug)]
pub struct Running {
    address: SocketAddr,
    edge: Edge,
    /// What the workers are to do.
    stage: watch::Sender<Stage>,
    workers: Vec<Worker>,
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

    /// Graceful shutdown: reports not ready, calls the callbacks of [`Drain::on_begin`](crate::drain::Drain::on_begin), which end the streams,
    /// closes the port, and completes requests in progress. Takes 10 s at most; then open connections are aborted.
    ///
    /// No request is lost: connections that were opened before the port was closed are served, and idle ones are kept until their clients
    /// send no more requests. Every response asks its client to close the connection.
    pub async fn stop(self) {
        let Self { edge, stage, mut workers, times, .. } = self;
        let begun = tokio::time::Instant::now();
        edge.readiness.not_ready("draining", "the process is shutting down");
        edge.drain.begin();
        let ordered = async {
            tokio::time::sleep(times.settle).await;
            // The port is closed, and not just ignored: a connection to a closed port fails immediately, and the client tries another server.
            stage.send_replace(Stage::Draining);
            join_all(workers.iter_mut().map(|worker| &mut worker.port_closed)).await;
            edge.drain.close_port();
            join_all(workers.iter_mut().map(|worker| &mut worker.finished)).await;
            // Work that belongs to no request is done by the workers, too. No request is left that begins any.
            edge.drain.idle().await;
        };
        let on_time = tokio::time::timeout(times.shutdown, ordered).await.is_ok();
        let left = edge.drain.in_flight();
        let rest = || times.hard_end.saturating_sub(begun.elapsed());
        Worker::end_all(workers, rest()).await;
        edge.events.finish(rest()).await;
        // A collector that does not answer does not delay the end for long.
        let _ = tokio::time::timeout(rest().min(MAX_FLUSH), edge.traces.flush(&edge.outgoing)).await;
        if on_time && left == 0 {
            log::info!("stopped in {:.1} s", begun.elapsed().as_secs_f64());
        } else {
            log::warn!("stopped after {:.1} s; {left} requests were aborted", begun.elapsed().as_secs_f64());
        }
    }

    /// Immediate end: every connection is aborted. For tests of clients.
    pub async fn kill(self) {
        Worker::end_all(self.workers, self.times.hard_end).await;
    }

    /// Waits for SIGTERM or SIGINT, then shuts down gracefully; a second signal exits immediately, with 128 + its number, as shells expect.
    /// SIGHUP has the same meaning in a process that was started in a terminal: the terminal was closed. Elsewhere it is ignored.
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
            (_, failed, _) = select_all(self.workers.iter_mut().map(|worker| &mut worker.finished)) => {
                log::error!("shutting down, because a worker ended unexpectedly");
                self.workers.remove(failed);
                result = Err(io::Error::other("a worker of the server ended unexpectedly"));
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
    hangup: tokio::signal::unix::Signal,
    /// Whether SIGHUP is one of them. A terminal that is closed may send it twice, which is no second request.
    ends_on_hangup: bool,
}

#[cfg(unix)]
impl Signals {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            // Afterwards, a terminal that is closed is none any more.
            ends_on_hangup: io::stdin().is_terminal() || io::stderr().is_terminal(),
        })
    }

    async fn next(&mut self) -> (&'static str, i32) {
        loop {
            let is_last = mem::take(&mut self.ends_on_hangup);
            tokio::select! {
                _ = self.term.recv() => return ("SIGTERM", 15),
                _ = self.int.recv() => return ("SIGINT", 2),
                _ = self.hangup.recv() => {
                    if is_last {
                        return ("SIGHUP", 1);
                    }
                    log::info!("SIGHUP is ignored: settings are read at the start");
                }
            }
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
