//! A request whose head is decoded: what answers it, and where the rest of its body goes.

use std::{future::poll_fn, io::ErrorKind, net::IpAddr, task::Poll, time::Duration};

use actix_http::{Payload, Request};
use actix_web::http::{Method, StatusCode};
use bytes::Bytes;

use super::{
    connection::{Connection, Input, READ},
    decoder::Decoder,
    incoming::Incoming,
    outgoing::Shape,
};
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
    /// When it began, in milliseconds of the worker's clock, if it was parked meanwhile.
    pub(super) since: Option<u64>,
}

/// A request and the writer of its body.
pub(super) struct Whole {
    pub(super) request: Request,
    pub(super) shape: Shape,
    pub(super) body: Option<Incoming>,
    /// The client waits for a 100 before it sends its body (RFC 9110 §10.1.1).
    pub(super) expects: bool,
}

/// A body that is still to arrive through `body`.
fn stream(body: &mut Option<Incoming>) -> RequestBody {
    let (incoming, reading) = Incoming::new();
    *body = Some(incoming);
    RequestBody::Stream(Box::pin(reading))
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
    /// The next request, within `patience` unless its head has begun. `None` if the connection is to be closed.
    pub(super) async fn read_request(
        &mut self,
        patience: Duration,
        routes: &Routes,
        edge: &Edge,
    ) -> Option<NextRequest> {
        let mut has_begun = Decoder::has_begun(&self.inbox);
        // Whose request it is, is not known before its head is complete.
        let peer = self.peer.map_or(IpAddr::from([0; 4]), |peer| peer.ip());
        let mut share = edge.receiving.anonymous_share(peer);
        self.alarm.set(if has_begun { self.head_timeout } else { patience });
        self.alarm.set_idle(true);
        loop {
            match self.decoder.read_head(&mut self.inbox) {
                Ok(Some(head)) => {
                    self.alarm.clear();
                    self.alarm.set_idle(false);
                    let keeps = head.keeps_alive && !self.clock.is_stopping();
                    let is_head = *head.request.method() == Method::HEAD;
                    let shape = Shape { version: head.request.version(), is_head, keeps };
                    let next = match self.route(&head.request, head.expects_continue, shape, routes, edge) {
                        Some(next) => next,
                        None => NextRequest::Application(Box::new(self.whole(
                            head.request,
                            head.has_body,
                            head.expects_continue,
                            shape,
                        ))),
                    };
                    self.shrink_inbox();
                    return Some(next);
                }
                Ok(None) => {}
                Err(status) => {
                    self.refuse(status);
                    return None;
                }
            }
            self.shrink_inbox();
            if share.set(self.inbox.capacity()).is_err() {
                edge.metrics.refusals.receive_total.inc();
                self.refuse(StatusCode::SERVICE_UNAVAILABLE);
                return None;
            }
            // Only the head itself has its timeout. Empty lines before it neither start it nor extend the idle timeout.
            if !has_begun && Decoder::has_begun(&self.inbox) {
                has_begun = true;
                self.alarm.set(self.head_timeout);
            }
            let filled = poll_fn(|cx| {
                if let Poll::Ready(read) = self.poll_fill(cx, READ) {
                    return Poll::Ready(Some(read));
                }
                let is_over = self.alarm.is_over(cx.waker()) || (!has_begun && self.clock.is_stopping());
                if self.alarm.is_evicted() {
                    // Immediately: the descriptor is needed.
                    return Poll::Ready(Some(Err(ErrorKind::ConnectionAborted.into())));
                }
                if is_over { Poll::Ready(None) } else { Poll::Pending }
            });
            match filled.await {
                Some(Ok(1..)) => {}
                Some(Ok(0)) => return None,
                Some(Err(_)) => {
                    self.input = Input::Broken;
                    return None;
                }
                None => {
                    if has_begun {
                        edge.metrics.refusals.slow_head.inc();
                        self.refuse(StatusCode::REQUEST_TIMEOUT);
                    }
                    return None;
                }
            }
        }
    }

    /// Begins the response of the request's route. None: the application answers it.
    fn route(
        &mut self,
        request: &Request,
        expects: bool,
        shape: Shape,
        routes: &Routes,
        edge: &Edge,
    ) -> Option<NextRequest> {
        let route = routes.find(request.path())?;
        let head = request.head();
        let parts = RequestParts {
            method: &head.method,
            path: request.path(),
            query: head.uri.query().unwrap_or_default(),
            headers: &head.headers,
            peer: self.peer,
            park_after: self.park_after(),
        };
        let complete = self.decoder.whole_body(&self.inbox).filter(|_| !expects).map(Bytes::copy_from_slice);
        let has_arrived = complete.is_some();
        let mut body = None;
        let (response, half_closed) = match &route.target {
            Target::Shortcut(shortcut) => {
                let content = match complete {
                    Some(complete) => RequestBody::Complete(complete),
                    None if self.decoder.is_tunnel() => stream(&mut body),
                    None => return None,
                };
                (shortcut(&parts, content)?, half_closed(parts.method, true))
            }
            Target::Resource(resource) => {
                let content = match complete {
                    Some(complete) => RequestBody::Complete(complete),
                    None => stream(&mut body),
                };
                (
                    resource.respond(&edge.settings.origins, &parts, content),
                    half_closed(parts.method, resource.waits(parts.method)),
                )
            }
        };
        if has_arrived {
            self.decoder.skip_whole_body(&mut self.inbox);
        }
        let active = ActiveRequest::begin(edge, &parts);
        let expects = expects && body.is_some();
        let request = Routed { active, label: route.label, response, shape, body, expects, half_closed, since: None };
        Some(NextRequest::Routed(Box::new(request)))
    }

    fn whole(&self, mut request: Request, has_body: bool, expects: bool, shape: Shape) -> Whole {
        request.head_mut().peer_addr = self.peer;
        if !has_body {
            return Whole { request, shape, body: None, expects: false };
        }
        let (body, reading) = Incoming::new();
        let request = request.replace_payload(Payload::Stream { payload: Box::pin(reading) as _ }).0;
        Whole { request, shape, body: Some(body), expects }
    }
}
