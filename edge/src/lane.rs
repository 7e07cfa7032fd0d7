//! A shorter way for requests that come often: past the application's routing, straight to their handler.
//!
//! A connection gives a decoded request whose path has a [`Lane`] to that, if all of its body is there. Both ways end in the same
//! function: the application's handler makes an [`Asked`] of its `HttpRequest`, the connection makes one of the same head.
//! What every answer gets ([`super::layer`]), it gets on either.

use std::{fmt, future::ready, net::SocketAddr, rc::Rc};

use actix_web::{
    HttpRequest, HttpResponse, ResponseError as _,
    http::{Method, header::HeaderMap},
};
use bytes::Bytes;
use futures_util::{FutureExt as _, future::LocalBoxFuture};

use super::ApiError;

/// What a handler needs of a request, whichever way that came.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// GET, POST, …
    pub method: &'a Method,
    /// Without the question mark; empty where there is none.
    pub query: &'a str,
    /// Its fields.
    pub headers: &'a HeaderMap,
    /// The other end of the connection.
    pub peer: Option<SocketAddr>,
}

impl<'a> From<&'a HttpRequest> for Asked<'a> {
    fn from(request: &'a HttpRequest) -> Self {
        let (method, query, headers) = (request.method(), request.query_string(), request.headers());
        Self { method, query, headers, peer: request.peer_addr() }
    }
}

/// An answer to come. Dropped before, it was not wanted any more.
pub type Answering = LocalBoxFuture<'static, HttpResponse>;

/// Answers a request with its whole body, or leaves it to the application: then it must not have done or counted anything.
pub type Lane = Rc<dyn Fn(&Asked<'_>, Bytes) -> Option<Answering>>;

/// The lanes of a worker, by path.
#[derive(Clone, Default)]
pub struct Lanes(Vec<Way>);

/// A path, and how the requests for it are counted and answered.
#[derive(Clone)]
pub(super) struct Way {
    pub(super) path: &'static str,
    pub(super) route: &'static str,
    pub(super) lane: Lane,
}

impl Lanes {
    /// No lane but this. `route` is the pattern by which the application's route for `path` is counted.
    #[must_use]
    pub fn one(
        path: &'static str,
        route: &'static str,
        lane: impl Fn(&Asked<'_>, Bytes) -> Option<Answering> + 'static,
    ) -> Self {
        Self(vec![Way { path, route, lane: Rc::new(lane) }])
    }

    /// These, and those of another service.
    #[must_use]
    pub fn and(mut self, others: Self) -> Self {
        self.0.extend(others.0);
        self
    }

    /// The lane of a path.
    pub(super) fn at(&self, path: &str) -> Option<&Way> {
        self.0.iter().find(|way| way.path == path)
    }
}

impl fmt::Debug for Lanes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.iter().map(|way| way.path)).finish()
    }
}

/// A handler's future as that of a lane.
pub fn answering(answer: impl Future<Output = Result<HttpResponse, ApiError>> + 'static) -> Answering {
    answer.map(|answer| answer.unwrap_or_else(|error| error.error_response())).boxed_local()
}

/// An answer that is there.
#[must_use]
pub fn answered(answer: Result<HttpResponse, ApiError>) -> Answering {
    answering(ready(answer))
}
