//! A connection of HTTP/1 (RFC 9112), from its first byte to its last.
//!
//! ```text
//! socket ─▶ inbox ─▶ actix's decoder ─▶ request ─▶ the application ─▶ response ─▶ head and body ─▶ outgoing ─▶ socket
//!             │          └─▶ body of the request, as far as it is asked for ─┘        ▲
//!             └──▶ a plain request, if its path has a lane ──────────────────────────┘
//! ```
//!
//! Actix-http's own dispatcher would do, but for what it keeps: two buffers of 8 KiB for as long as the connection lasts, however
//! little there is to say. Here most connections wait, for a message or for their next request, and one that waits holds its
//! socket, what waits in it, and no buffer. Requests are still read by actix-http's decoder, with all that it refuses, and
//! answered by actix-web's application.
//!
//! A connection is one future, in the task that actix's server makes for each socket. What it waits for is timed by the
//! [`Clock`] of its worker:
//! - the head of a request, from its first byte (of the first request: from the beginning): `TRIDENT_HEADER_TIMEOUT`, then 408;
//! - the next request: [`Times::keep_alive`];
//! - a response of known length, that the client takes it: [`UNHURRIED`] and a second for each [`SLOWEST`] bytes;
//! - the client's own end after our last byte: [`CLOSING`].
//!
//! Bodies of requests are timed by who reads them ([`super::body`]), and streams end by themselves.

mod answer;
mod clock;
mod connection;
mod incoming;
mod outgoing;
mod plain;

use std::{rc::Rc, time::Duration};

use actix_http::{Request, ServiceConfig};
use actix_service::Service;
use actix_web::{dev::ServiceResponse, rt::net::TcpStream};

use self::{
    clock::Clock,
    connection::{Connection, Heard},
};
use super::{Edge, lane::Lanes, layer::Body};

/// The times that a server gives its clients.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// For the head of a request.
    pub(super) head: Duration,
    /// For the next request on a connection that has had one.
    pub(super) keep_alive: Duration,
}

impl Times {
    /// How exactly they are kept.
    fn tick(self) -> Duration {
        (self.head.min(self.keep_alive) / 16).clamp(Duration::from_millis(20), Duration::from_millis(250))
    }
}

/// What the connections of one worker share.
pub(super) struct Worker<S> {
    application: S,
    clock: Rc<Clock>,
    times: Times,
    lanes: Lanes,
    edge: Edge,
    /// Of actix's decoder.
    config: ServiceConfig,
}

impl<S> Worker<S>
where
    S: Service<Request, Response = ServiceResponse<Body>, Error = actix_web::Error>,
{
    /// To be made within the worker's runtime.
    pub(super) fn new(application: S, lanes: Lanes, edge: Edge, times: Times) -> Self {
        let config = ServiceConfig::default();
        Self { application, lanes, edge, clock: Clock::start(times.tick()), times, config }
    }

    /// Connections that wait for a request close, and others once they have answered theirs.
    pub(super) fn stop(&self) {
        self.clock.stop();
    }

    /// Serves a connection to its end.
    pub(super) async fn serve(self: Rc<Self>, socket: TcpStream) {
        let mut connection = Connection::new(&self, socket);
        let mut patience = self.times.head;
        while let Some(heard) = connection.hear(patience, &self.lanes, &self.edge).await {
            let keeps = match heard {
                Heard::Plain(passing, route, answering) => connection.answer_plain(passing, route, answering).await,
                Heard::Request(request) => connection.answer(&self.application, request).await,
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
