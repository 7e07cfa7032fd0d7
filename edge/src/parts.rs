//! The head of a request, as handlers read it.

use std::{net::SocketAddr, time::Duration};

use actix_web::{
    HttpRequest,
    http::{Method, header::HeaderMap},
};

/// What a handler reads of the head of a request.
#[derive(Clone, Copy, Debug)]
pub struct RequestParts<'a> {
    /// GET, POST, …
    pub method: &'a Method,
    /// As it was sent: percent-encoded.
    pub path: &'a str,
    /// Without the question mark; empty if there is none.
    pub query: &'a str,
    /// The header fields.
    pub headers: &'a HeaderMap,
    /// The peer of the connection.
    pub peer: Option<SocketAddr>,
    /// How long a request waits by itself before its connection can be parked with a [waiting answer](super::response::ResponseBody::waiting).
    /// `None`: it cannot be parked.
    pub park_after: Option<Duration>,
}

/// [`RequestParts`] that outlive their request, for a handler that waits before it reads them.
#[derive(Clone, Debug)]
pub struct OwnedParts {
    method: Method,
    path: String,
    query: String,
    headers: HeaderMap,
    peer: Option<SocketAddr>,
    park_after: Option<Duration>,
}

impl OwnedParts {
    /// The parts.
    #[must_use]
    pub fn parts(&self) -> RequestParts<'_> {
        let Self { method, path, query, headers, peer, park_after } = self;
        RequestParts { method, path, query, headers, peer: *peer, park_after: *park_after }
    }
}

impl From<&RequestParts<'_>> for OwnedParts {
    fn from(parts: &RequestParts<'_>) -> Self {
        let RequestParts { method, path, query, headers, peer, park_after } = *parts;
        let (method, headers) = (method.clone(), headers.clone());
        Self { method, path: path.to_owned(), query: query.to_owned(), headers, peer, park_after }
    }
}

impl<'a> From<&'a HttpRequest> for RequestParts<'a> {
    fn from(request: &'a HttpRequest) -> Self {
        let (method, query, headers) = (request.method(), request.query_string(), request.headers());
        Self { method, path: request.path(), query, headers, peer: request.peer_addr(), park_after: None }
    }
}
