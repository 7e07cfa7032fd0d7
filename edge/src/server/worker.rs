//! A worker: a thread that accepts connections for itself, and serves them to their end.

use std::{
    cell::Cell,
    io,
    net::{SocketAddr, TcpListener},
    rc::Rc,
    time::Duration,
};

use actix_http::Request;
use actix_rt::Arbiter;
use actix_service::{IntoServiceFactory as _, Service, ServiceFactory as _, map_config};
use actix_web::{
    dev::{AppConfig, ServiceResponse},
    rt::{self, net::TcpStream},
    web::ServiceConfig,
};
use tokio::{
    net::TcpListener as Listener,
    sync::{Notify, oneshot, watch},
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{ServerTimeouts, listeners};
use crate::{
    Edge,
    http1::{ConnectionTimeouts, WorkerContext},
    layer::{self, Body},
    operations,
    routes::Routes,
};

/// What the server asks of its workers. Each stage includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// They accept and serve.
    Serving,
    /// They close the port, and complete what is in progress.
    Draining,
}

/// A worker that runs.
#[derive(Debug)]
pub(super) struct Worker {
    arbiter: Arbiter,
    /// Resolves when it has closed the port; with an error when it has failed.
    pub(super) port_closed: oneshot::Receiver<()>,
    /// Resolves when it has no connection left after that; with an error when it has failed.
    pub(super) finished: oneshot::Receiver<()>,
}

/// How long after the kernel stops to admit connections those that are being opened may take. Longer than a round trip in a data centre.
const OPENING: Duration = Duration::from_millis(20);
/// How long a worker waits at most until no request has been received for a while.
const MAX_QUIET: Duration = Duration::from_secs(3);
/// See [`ConnectionTimeouts::brief`].
const BRIEF: Duration = Duration::from_secs(2);
/// The pause after connections cannot be accepted, because there are no descriptors, for instance.
const RETRY_ACCEPT: Duration = Duration::from_millis(100);
/// How often that is logged.
const LOG_EVERY: Duration = Duration::from_secs(1);

impl Worker {
    /// Starts a thread that serves `routes`, and what `application` adds, on `listener`, and waits until it does. `uses_ring`: it sends messages
    /// to many clients through io_uring.
    ///
    /// # Errors
    /// When the thread cannot be started, or cannot use its listener.
    pub(super) fn start<R, A>(
        listener: TcpListener,
        edge: Edge,
        routes: R,
        application: A,
        times: ServerTimeouts,
        uses_ring: bool,
        stage: watch::Receiver<Stage>,
    ) -> io::Result<Self>
    where
        R: FnOnce() -> Routes + Send + 'static,
        A: FnOnce(&mut ServiceConfig) + Send + 'static,
    {
        let arbiter = Arbiter::try_new()?;
        let (closed, port_closed) = oneshot::channel();
        let (end, finished) = oneshot::channel();
        let (ready, is_ready) = std::sync::mpsc::channel();
        arbiter.spawn_fn(move || {
            rt::spawn(async move {
                let http = ConnectionTimeouts {
                    head: edge.settings.header_timeout,
                    keep_alive: times.keep_alive,
                    write: times.write,
                    brief: BRIEF,
                };
                let application = map_config(layer::app(edge.clone(), application), |()| AppConfig::default());
                let application = application.into_factory().new_service(()).await;
                let parts = application.map_err(|()| io::Error::other("the application cannot be made"));
                let (application, listener) = match parts.and_then(|made| Ok((made, Listener::from_std(listener)?))) {
                    Ok(parts) => parts,
                    Err(error) => return drop(ready.send(Err(error))),
                };
                let routes = operations::routes(&edge).and(routes());
                let context = Rc::new(WorkerContext::new(application, routes, edge, http, uses_ring));
                rt::spawn(WorkerContext::keep_room(Rc::downgrade(&context)));
                let _ = ready.send(Ok(()));
                match run(context, listener, stage, closed, times.quiet).await {
                    Ok(()) => drop(end.send(())),
                    Err(error) => log::error!("a worker cannot close its port: {error}"),
                }
            });
        });
        let worker = Self { arbiter, port_closed, finished };
        match is_ready.recv() {
            Ok(Ok(())) => Ok(worker),
            Ok(Err(error)) => {
                worker.arbiter.stop();
                Err(error)
            }
            Err(_) => Err(io::Error::other("a thread of the server has failed")),
        }
    }

    /// Ends the threads of all. Connections that are still open are aborted. A thread that does not end within this time is left to the end of the
    /// process.
    pub(super) async fn end_all(workers: Vec<Self>, within: Duration) {
        for worker in &workers {
            worker.arbiter.stop();
        }
        let (joined, all) = oneshot::channel();
        // Not a blocking task of the runtime, which would wait for it at its own end, however long that takes.
        std::thread::spawn(move || {
            // A thread that has panicked has said so.
            workers.into_iter().for_each(|worker| drop(worker.arbiter.join()));
            let _ = joined.send(());
        });
        let _ = timeout(within, all).await;
    }
}

/// Accepts until draining begins, and then completes what is in progress.
async fn run<S>(
    context: Rc<WorkerContext<S>>,
    listener: Listener,
    mut stage: watch::Receiver<Stage>,
    closed: oneshot::Sender<()>,
    silence: Duration,
) -> io::Result<()>
where
    S: Service<Request, Response = ServiceResponse<Body>, Error = actix_web::Error> + 'static,
{
    let connections = Rc::new(Connections::default());
    let is_draining = async {
        // An error: the server was dropped.
        let _ = stage.wait_for(|stage| *stage >= Stage::Draining).await;
    };
    tokio::select! {
        () = is_draining => {}
        never = accept(&listener, &context, &connections) => match never {},
    }
    if listeners::admit_no_more(&listener) {
        let _ = timeout(OPENING, accept(&listener, &context, &connections)).await;
    }
    accept_queued(listener.into_std()?, &context, &connections);
    let _ = closed.send(());
    tokio::select! {
        () = quiet(&context, silence) => context.stop(),
        () = connections.none_left() => {}
    }
    connections.none_left().await;
    Ok(())
}

enum Never {}

async fn accept<S>(listener: &Listener, context: &Rc<WorkerContext<S>>, connections: &Rc<Connections>) -> Never
where
    S: Service<Request, Response = ServiceResponse<Body>, Error = actix_web::Error> + 'static,
{
    let mut logged = None::<Instant>;
    loop {
        match listener.accept().await {
            Ok((socket, peer)) => connections.serve(context, socket, peer),
            // The connection's own fault: it was closed before it was accepted.
            Err(error) if is_of_connection(&error) => {}
            Err(error) => {
                if logged.is_none_or(|logged| logged.elapsed() >= LOG_EVERY) {
                    log::error!("cannot accept connections, they stay in the backlog: {error}");
                    logged = Some(Instant::now());
                }
                sleep(RETRY_ACCEPT).await;
            }
        }
    }
}

/// Accepts what is queued, and closes the port at once.
fn accept_queued<S>(listener: TcpListener, context: &Rc<WorkerContext<S>>, connections: &Rc<Connections>)
where
    S: Service<Request, Response = ServiceResponse<Body>, Error = actix_web::Error> + 'static,
{
    loop {
        match listener.accept() {
            Ok((socket, peer)) => {
                // A socket that the runtime does not accept is closed.
                if socket.set_nonblocking(true).is_ok()
                    && let Ok(socket) = TcpStream::from_std(socket)
                {
                    connections.serve(context, socket, peer);
                }
            }
            Err(error) if is_of_connection(&error) || error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Err(error) => {
                log::error!("connections in the accept queue are lost: {error}");
                return;
            }
        }
    }
}

fn is_of_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// Waits until no request has been received for this long.
async fn quiet<S>(context: &WorkerContext<S>, silence: Duration)
where
    S: Service<Request, Response = ServiceResponse<Body>, Error = actix_web::Error> + 'static,
{
    let begun = context.last_request();
    loop {
        let until = (context.last_request() + silence).min(begun + MAX_QUIET);
        if until <= Instant::now() {
            return;
        }
        sleep_until(until).await;
    }
}

/// The connections of a worker.
#[derive(Default)]
struct Connections {
    count: Cell<usize>,
    /// Notified when there is none left.
    none_left: Notify,
}

impl Connections {
    /// Serves a connection in a task of its own.
    fn serve<S>(self: &Rc<Self>, context: &Rc<WorkerContext<S>>, socket: TcpStream, peer: SocketAddr)
    where
        S: Service<Request, Response = ServiceResponse<Body>, Error = actix_web::Error> + 'static,
    {
        self.count.set(self.count.get() + 1);
        let open = Open(self.clone());
        let served = context.clone().serve(socket, peer);
        rt::spawn(async move {
            served.await;
            drop(open);
        });
    }

    async fn none_left(&self) {
        while self.count.get() > 0 {
            // One thread: nothing happens between the two.
            self.none_left.notified().await;
        }
    }
}

/// Counts a connection until it is dropped, also by a panic.
struct Open(Rc<Connections>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.count.set(self.0.count.get() - 1);
        if self.0.count.get() == 0 {
            self.0.none_left.notify_waiters();
        }
    }
}
