//! A connection of HTTP/1 (RFC 9112), from its first byte to its last.
//!
//! ```text
//! socket ─▶ inbox ─▶ decoder ─┬▶ head ─▶ the route of its path, or the application ─▶ response ─▶ outgoing ─▶ socket
//!                             └▶ body, as far as it is asked for ─┘
//! ```
//!
//! Actix-http's own dispatcher would do, but for what it keeps: two buffers of 8 KiB for as long as the connection lasts, however
//! little there is to say. Here most connections wait, for a message or for their next request, and one that waits holds its
//! socket, what waits in it, and no buffer. What the bytes mean is decided by one [`decoder`], before anything looks at a path; then a
//! request goes to the handler of its path, or to actix-web's application.
//!
//! A connection is one future, in the task that actix's server makes for each socket. What it waits for is timed by the
//! [`Clock`] of its worker:
//! - the head of a request, from its first byte (of the first request: from the beginning): `TRIDENT_HEADER_TIMEOUT`, then 408;
//! - the next request: [`Times::keep_alive`];
//! - a client that takes nothing of what there is for it: [`Times::write`], from each byte that it takes anew, and on a stream that
//!   is quiet as long for the acknowledgement of its keep-alive ([`quiet`]);
//! - the client's own end after our last byte: 2 s.
//!
//! A client that closes its sending side gets what is ready, and nothing is waited for on its behalf.
//!
//! Bodies of requests are timed by who reads them ([`super::body`]), and streams end by themselves.

mod answer;
mod clock;
mod connection;
pub mod decoder;
mod incoming;
mod input;
mod outgoing;
mod quiet;
mod request;
mod sockets;

use std::{
    rc::{Rc, Weak},
    time::Duration,
};

use actix_http::{Request, ServiceConfig};
use actix_service::Service;
use actix_web::{dev::ServiceResponse, rt::net::TcpStream};
use tokio::time::interval;

pub(super) use self::sockets::Sockets;
use self::{clock::Clock, connection::Connection, request::NextRequest, sockets::Excess};
use super::{Edge, layer::Body, routes::Routes};

/// The times that a server gives its clients.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// For the head of a request.
    pub(super) head: Duration,
    /// For the next request on a connection that has had one.
    pub(super) keep_alive: Duration,
    /// For a client that takes nothing of what there is for it; each byte that it takes gives it as much again.
    pub(super) write: Duration,
}

impl Times {
    /// How exactly they are kept.
    fn tick(self) -> Duration {
        (self.head.min(self.keep_alive).min(self.write) / 16)
            .clamp(Duration::from_millis(20), Duration::from_millis(250))
    }
}

/// How often it is looked whether there are too many sockets.
const ROOM_CHECK: Duration = Duration::from_millis(500);

/// What the connections of one worker share.
pub(super) struct Worker<S> {
    application: S,
    clock: Rc<Clock>,
    times: Times,
    routes: Routes,
    edge: Edge,
    /// Of actix's decoder.
    config: ServiceConfig,
}

impl<S> Worker<S>
where
    S: Service<Request, Response = ServiceResponse<Body>, Error = actix_web::Error>,
{
    /// To be made within the worker's runtime.
    pub(super) fn new(application: S, routes: Routes, edge: Edge, times: Times) -> Self {
        let config = ServiceConfig::default();
        Self { application, routes, edge, clock: Clock::start(times.tick()), times, config }
    }

    /// Connections that wait for a request close, and others once they have answered theirs.
    pub(super) fn stop(&self) {
        self.clock.stop();
    }

    /// Closes idle connections while the process has too many: without a descriptor no new one would arrive to ask for that.
    /// Ends with the worker.
    pub(super) async fn keep_room(worker: Weak<Self>) {
        let mut ticks = interval(ROOM_CHECK);
        while let Some(worker) = worker.upgrade() {
            match worker.edge.sockets.excess() {
                0 => {}
                excess => {
                    worker.make_room(Excess::Total(excess));
                }
            }
            drop(worker);
            ticks.tick().await;
        }
    }

    /// Closes idle connections of this worker for a new one. Whether that may stay.
    fn make_room(&self, excess: Excess) -> bool {
        let (address, most) = match excess {
            Excess::None => return true,
            Excess::Address(address, most) => (Some(address), most),
            Excess::Total(most) => (None, most),
        };
        let evicted = self.clock.evict(address, most);
        self.edge.sockets.evicted(evicted);
        evicted > 0 || address.is_none()
    }

    /// Serves a connection to its end.
    pub(super) async fn serve(self: Rc<Self>, socket: TcpStream) {
        let (place, excess) = self.edge.sockets.open(socket.peer_addr().ok());
        if !self.make_room(excess) {
            self.edge.metrics.refusals.sockets_per_address.inc();
            return;
        }
        let mut connection = Connection::new(&self, socket, &place);
        let mut patience = self.times.head;
        while let Some(next) = connection.read_request(patience, &self.routes, &self.edge).await {
            let keeps = match next {
                NextRequest::Routed(request) => connection.answer_routed(request).await,
                NextRequest::Application(whole) => connection.answer(&self.application, whole).await,
            };
            if !keeps {
                break;
            }
            patience = self.times.keep_alive;
        }
        connection.close().await;
    }
}

#[cfg(test)]
mod tests;
