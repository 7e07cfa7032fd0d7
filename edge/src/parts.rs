//! The head of a request, as handlers read it.

use std::net::SocketAddr;

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
}

/// [`RequestParts`] that outlive their request, for a handler that waits before it reads them.
#[derive(Clone, Debug)]
pub struct OwnedParts {
    method: Method,
    path: String,
    query: String,
    headers: HeaderMap,
    peer: Option<SocketAddr>,
}

impl OwnedParts {
    /// The parts.
    #[must_use]
    pub fn parts(&self) -> RequestParts<'_> {
        let Self { method, path, query, headers, peer } = self;
        RequestParts { method, path, query, headers, peer: *peer }
    }
}

impl From<&RequestParts<'_>> for OwnedParts {
    fn from(parts: &RequestParts<'_>) -> Self {
        let RequestParts { method, path, query, headers, peer } = *parts;
        Self { method: method.clone(), path: path.to_owned(), query: query.to_owned(), headers: headers.clone(), peer }
    }
}

impl<'a> From<&'a HttpRequest> for RequestParts<'a> {
    fn from(request: &'a HttpRequest) -> Self {
        let (method, query, headers) = (request.method(), request.query_string(), request.headers());
        Self { method, path: request.path(), query, headers, peer: request.peer_addr() }
    }
}
