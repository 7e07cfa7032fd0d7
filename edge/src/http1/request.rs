//! A request whose head is decoded: what answers it, and where the rest of its body goes.

use std::time::Duration;

use actix_http::{Payload, Request};
use actix_web::http::Method;
use bytes::Bytes;

use super::{connection::Connection, incoming::Incoming, outgoing::Shape};
use crate::{
    Edge,
    layer::ActiveRequest,
    routes::{RequestBody, RequestParts, ResponseFuture, Routes, Target},
};

/// How long a request that only reads may still take when its client has closed its sending side.
const MAX_HALF_CLOSED_READ: Duration = Duration::from_secs(1);
/// The same for a request that changes something.
const MAX_HALF_CLOSED_WRITE: Duration = Duration::from_secs(10);

/// The next request. In boxes: it would otherwise take its room in each connection for as long as that lasts.
pub(super) enum NextRequest {
    /// Its path has a route.
    Routed(Box<Routed>),
    /// It is for the application.
    Application(Box<Whole>),
}

/// A request that its route is answering.
pub(super) struct Routed {
    pub(super) active: ActiveRequest,
    /// The label of the route.
    pub(super) label: &'static str,
    pub(super) response: ResponseFuture,
    pub(super) shape: Shape,
    /// The body that is still to arrive.
    pub(super) body: Option<Incoming>,
    /// The client waits for a 100 before it sends its body (RFC 9110 §10.1.1).
    pub(super) expects: bool,
    /// How long the response may still take when the client has closed its sending side.
    pub(super) half_closed: Duration,
}

/// A request and the writer of its body.
pub(super) struct Whole {
    pub(super) request: Request,
    pub(super) shape: Shape,
    pub(super) body: Option<Incoming>,
    /// The client waits for a 100 before it sends its body (RFC 9110 §10.1.1).
    pub(super) expects: bool,
}

/// How long a request may still take when its client has closed its sending side, which most do that have left.
pub(super) fn half_closed(method: &Method, waits: bool) -> Duration {
    match *method {
        // A request that waits for messages would wait for nobody.
        Method::GET | Method::HEAD if waits => Duration::ZERO,
        Method::GET | Method::HEAD => MAX_HALF_CLOSED_READ,
        _ => MAX_HALF_CLOSED_WRITE,
    }
}

impl Connection {
    /// Begins the response of the request's route. None: the application answers it.
    pub(super) fn route(
        &mut self,
        request: &Request,
        has_body: bool,
        expects: bool,
        shape: Shape,
        routes: &Routes,
        edge: &Edge,
    ) -> Option<NextRequest> {
        let route = routes.find(request.path())?;
        let head = request.head();
        let parts = RequestParts {
            method: &head.method,
            query: head.uri.query().unwrap_or_default(),
            headers: &head.headers,
            peer: self.peer,
        };
        let complete = self.decoder.whole_body(&self.inbox).filter(|_| !expects).map(Bytes::copy_from_slice);
        let has_arrived = complete.is_some();
        let mut body = None;
        let (response, half_closed) = match &route.target {
            Target::Shortcut(shortcut) => (shortcut(&parts, complete?)?, half_closed(parts.method, true)),
            Target::Resource(resource) => {
                let content = match complete {
                    Some(complete) => RequestBody::Complete(complete),
                    None if has_body => {
                        let (incoming, reading) = Incoming::new();
                        body = Some(incoming);
                        RequestBody::Stream(Box::pin(reading))
                    }
                    None => RequestBody::Complete(Bytes::new()),
                };
                (resource.respond(edge, &parts, content), half_closed(parts.method, resource.waits(parts.method)))
            }
        };
        if has_arrived {
            self.decoder.skip_whole_body(&mut self.inbox);
        }
        let active = ActiveRequest::begin(edge, &parts);
        let expects = expects && body.is_some();
        let request = Routed { active, label: route.label, response, shape, body, expects, half_closed };
        Some(NextRequest::Routed(Box::new(request)))
    }

    pub(super) fn whole(&self, mut request: Request, has_body: bool, expects: bool, shape: Shape) -> Whole {
        request.head_mut().peer_addr = self.peer;
        if !has_body {
            return Whole { request, shape, body: None, expects: false };
        }
        let (body, reading) = Incoming::new();
        let request = request.replace_payload(Payload::Stream { payload: Box::pin(reading) as _ }).0;
        Whole { request, shape, body: Some(body), expects }
    }
}
