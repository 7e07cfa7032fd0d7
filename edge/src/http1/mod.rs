//! A connection of HTTP/1 (RFC 9112), from its first byte to its last.
//!
//! ```text
//! socket ─▶ inbox ─▶ decoder ─┬▶ head ─▶ the route of its path, or the application ─▶ response ─▶ outgoing ─▶ socket
//!                             └▶ body, as far as it is asked for ─┘
//! ```
//!
//! Actix-http's own dispatcher would work, except that it keeps two buffers of 8 KiB for as long as the connection lasts. Here most
//! connections wait, for a message or for their next request, and a waiting one costs its socket, its queued data, and no buffer. The
//! [`decoder`] interprets the bytes before anything uses a path; then a request goes to the handler of its path, or to actix-web's
//! application.
//!
//! A connection is one future, in the task that the worker creates for each socket. The [`Clock`] of its worker has its
//! timeouts:
//! - the head of a request, from its first byte (of the first request: from the beginning): `TRIDENT_HEADER_TIMEOUT`, then 408;
//! - the next request: [`ConnectionTimeouts::keep_alive`];
//! - a client that reads nothing of what is queued for it: [`ConnectionTimeouts::write`], restarted by each byte that it reads, and on a quiet
//!   stream the same time for the acknowledgement of its keep-alive ([`quiet`]);
//! - the client's own end after the last byte of the server: 2 s.
//!
//! A stream or a request that waits for messages needs none of this: its connection is parked among the [`cohorts`] of the worker, and its
//! future ends.
//!
//! A client that closes its sending side gets what is ready, and the server waits for nothing else on its behalf.
//!
//! The readers of request bodies have their own timeouts ([`super::body`]), and streams end themselves.

mod answer;
mod clock;
mod cohorts;
mod connection;
pub mod decoder;
mod incoming;
mod input;
mod outgoing;
mod quiet;
mod request;
mod sockets;

use std::{
    io,
    net::SocketAddr,
    rc::{Rc, Weak},
    time::Duration,
};

use actix_http::{Request, ServiceConfig};
use actix_service::Service;
use actix_web::{dev::ServiceResponse, rt::net::TcpStream};
use futures_util::{FutureExt as _, future::LocalBoxFuture};
use tokio::time::{Instant, interval};

pub(super) use self::sockets::Sockets;
use self::{
    answer::Answered,
    clock::Clock,
    cohorts::Cohorts,
    connection::Connection,
    request::NextRequest,
    sockets::{Excess, Socket},
};
use super::{Edge, layer::Body, routes::Routes};

/// The timeouts of a server's clients.
#[derive(Clone, Copy, Debug)]
pub(super) struct ConnectionTimeouts {
    /// For the head of a request.
    pub(super) head: Duration,
    /// For the next request on a connection that has had one.
    pub(super) keep_alive: Duration,
    /// For a client that reads nothing of what is queued for it; restarted by each byte that it reads.
    pub(super) write: Duration,
    /// A request that is answered within this time makes its connection wait by itself for as long the next time, before it is parked: to be parked costs
    /// more than so short a wait.
    pub(super) brief: Duration,
}

impl ConnectionTimeouts {
    /// Their precision.
    fn tick(self) -> Duration {
        (self.head.min(self.keep_alive).min(self.write) / 16)
            .clamp(Duration::from_millis(20), Duration::from_millis(250))
    }
}

/// Whether workers can send to many clients through io_uring.
///
/// # Errors
/// Those of the kernel, if they cannot.
pub(super) fn try_ring() -> io::Result<()> {
    cohorts::try_ring()
}

/// How often the number of sockets is checked.
const ROOM_CHECK: Duration = Duration::from_millis(500);

/// What serves the connections of one worker.
pub(super) struct WorkerContext<S> {
    application: S,
    routes: Routes,
    worker: Rc<Worker>,
    cohorts: Rc<Cohorts>,
}

/// The shared state of the connections of one worker.
pub(super) struct Worker {
    clock: Rc<Clock>,
    times: ConnectionTimeouts,
    edge: Edge,
    /// Messages are sent to many clients through io_uring.
    uses_ring: bool,
    /// Of actix's decoder.
    config: ServiceConfig,
}

impl<S> WorkerContext<S>
where
    S: Service<Request, Response = ServiceResponse<Body>, Error = actix_web::Error> + 'static,
{
    /// Create it within the worker's runtime. `uses_ring`: messages are sent to many clients through io_uring.
    pub(super) fn new(application: S, routes: Routes, edge: Edge, times: ConnectionTimeouts, uses_ring: bool) -> Self {
        let config = ServiceConfig::default();
        let worker = Rc::new(Worker { clock: Clock::start(times.tick()), times, edge, uses_ring, config });
        Self { application, routes, cohorts: Cohorts::new(worker.clone()), worker }
    }

    /// Connections that wait for a request close, and others after their response.
    pub(super) fn stop(&self) {
        self.worker.clock.stop();
    }

    /// When the last request was received since the first call; the time of that call, if none was.
    pub(super) fn last_request(&self) -> Instant {
        self.worker.clock.last_request()
    }

    /// Closes idle connections while the process has too many: without a descriptor no new one could be accepted and ask for that. Ends
    /// with the worker.
    pub(super) async fn keep_room(worker: Weak<Self>) {
        let mut ticks = interval(ROOM_CHECK);
        while let Some(worker) = worker.upgrade() {
            match worker.worker.edge.sockets.excess() {
                0 => {}
                excess => {
                    worker.make_room(Excess::Total(excess));
                }
            }
            drop(worker);
            ticks.tick().await;
        }
    }

    /// Closes idle connections of this worker for a new one. Returns whether that one may stay.
    fn make_room(&self, excess: Excess) -> bool {
        let (address, most) = match excess {
            Excess::None => return true,
            Excess::Address(address, most) => (Some(address), most),
            Excess::Total(most) => (None, most),
        };
        let evicted = self.worker.clock.evict(address, most);
        self.worker.edge.sockets.evicted(evicted);
        evicted > 0 || address.is_none()
    }

    /// Serves a connection to its end, or until it is parked. If nothing else is parked, it serves what is parked from then on, until there
    /// is nothing left: so the worker counts a connection as long as any is open.
    pub(super) async fn serve(self: Rc<Self>, socket: TcpStream, peer: SocketAddr) {
        let edge = &self.worker.edge;
        let (place, excess) = edge.sockets.open(peer);
        if !self.make_room(excess) {
            edge.metrics.refusals.sockets_per_address.inc();
            return;
        }
        let connection = Connection::new(&self.worker, socket, peer, &place);
        let patience = self.worker.times.head;
        if let Some(host) = self.serve_from(connection, place, patience).await {
            host.await;
        }
    }

    /// Serves requests until the connection is closed or parked. Returns the [host](Cohorts::park), if there is none yet.
    async fn serve_from(
        self: Rc<Self>,
        mut connection: Connection,
        place: Socket,
        mut patience: Duration,
    ) -> Option<LocalBoxFuture<'static, ()>> {
        let edge = &self.worker.edge;
        while let Some(next) = connection.read_request(patience, &self.routes, edge).await {
            let answered = match next {
                NextRequest::Routed(request) => connection.answer_routed(request).await,
                NextRequest::Application(whole) => connection.answer(&self.application, whole).await,
            };
            match answered {
                Answered::Next => patience = self.worker.times.keep_alive,
                Answered::Last => break,
                Answered::Waits(waiting) => {
                    let requests: Rc<dyn Requests> = self.clone();
                    return self.cohorts.park(connection, place, waiting, &requests);
                }
            }
        }
        connection.close().await;
        None
    }
}

/// What serves the next request of a connection that was parked.
trait Requests {
    /// Serves requests until the connection is closed or parked again. Returns the [host](Cohorts::park), if there is none any more.
    fn serve_next(
        self: Rc<Self>,
        connection: Connection,
        place: Socket,
    ) -> LocalBoxFuture<'static, Option<LocalBoxFuture<'static, ()>>>;
}

impl<S> Requests for WorkerContext<S>
where
    S: Service<Request, Response = ServiceResponse<Body>, Error = actix_web::Error> + 'static,
{
    fn serve_next(
        self: Rc<Self>,
        connection: Connection,
        place: Socket,
    ) -> LocalBoxFuture<'static, Option<LocalBoxFuture<'static, ()>>> {
        let patience = self.worker.times.keep_alive;
        self.serve_from(connection, place, patience).boxed_local()
    }
}

#[cfg(test)]
mod tests;
