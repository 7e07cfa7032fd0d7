//! What every request goes through, and the application around the routes of a service.
//!
//! In: a preflight is answered on the spot; anything else is counted as in flight and goes on to its handler. Out: an
//! error of actix's own gets our form, CORS headers go on, a process on its way out asks the client to leave the
//! connection, and the body carries the count until its last byte.

use std::sync::Once;

use actix_web::{
    App, Error, HttpRequest, HttpResponse, Resource,
    body::{BodySize, BoxBody, MessageBody},
    dev::{ServiceFactory, ServiceRequest, ServiceResponse},
    http::{
        ConnectionType, Method, StatusCode, Version,
        header::{self, HeaderMap, HeaderValue},
    },
    middleware::{Next, from_fn},
    web::{self, ServiceConfig},
};
use prometheus_client::metrics::gauge::Gauge;

use super::{ApiError, Edge, drain::InFlight, error, guarded::Guarded, health, metrics, page};

/// What is answered, counted while it lives.
pub type Body = Guarded<BoxBody, Option<Counted>>;

/// The application of a service: its own routes, `/healthz`, `/readyz`, `/metrics`, a 404 in our form for everything
/// else, and this layer around all of it. For the server, and for tests without one.
pub fn app(
    edge: Edge,
    routes: impl FnOnce(&mut ServiceConfig),
) -> App<
    impl ServiceFactory<ServiceRequest, Config = (), Response = ServiceResponse<Body>, Error = Error, InitError = ()>,
> {
    App::new()
        .app_data(web::Data::new(edge))
        .configure(routes)
        .configure(page::common)
        .service(read_only("/healthz").route(web::get().to(health::healthz)).route(web::head().to(health::healthz)))
        .service(read_only("/readyz").route(web::get().to(health::readyz)).route(web::head().to(health::readyz)))
        .service(read_only("/metrics").route(web::get().to(metrics::handler)).route(web::head().to(metrics::handler)))
        .default_service(web::to(async || Err::<HttpResponse, _>(ApiError::NotFound)))
        .wrap(from_fn(layer))
}

fn read_only(path: &str) -> Resource {
    resource(path, &[Method::GET, Method::HEAD])
}

/// A resource that answers 405 with `Allow` to every method it has no route for. `OPTIONS` is always answered.
#[must_use]
pub fn resource(path: &str, methods: &[Method]) -> Resource {
    let mut methods = methods.to_vec();
    methods.push(Method::OPTIONS);
    web::resource(path).default_service(web::to(move |request: HttpRequest| {
        let methods = methods.clone();
        async move {
            if request.method() == Method::OPTIONS {
                let allow = methods.iter().map(Method::as_str).collect::<Vec<_>>().join(", ");
                return Ok(HttpResponse::NoContent().insert_header((header::ALLOW, allow)).finish());
            }
            Err(ApiError::MethodNotAllowed(methods))
        }
    }))
}

/// A request as it is counted while its answer lives. Only the layer makes one.
#[derive(Debug)]
pub struct Counted {
    _in_flight: InFlight,
    gauge: Gauge,
}

impl Counted {
    fn new(edge: &Edge) -> Self {
        let gauge = edge.metrics.in_flight.clone();
        gauge.inc();
        Self { _in_flight: edge.drain.enter(), gauge }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.gauge.dec();
    }
}

async fn layer(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<Body>, Error> {
    let edge = request.app_data::<web::Data<Edge>>().cloned();
    let edge = edge.ok_or_else(|| ApiError::internal("the application was built without its Edge"))?;
    let counted = Counted::new(&edge);
    warn_of_proxy(&edge, request.request());
    let method = request.method().clone();

    let mut response = if super::cors::is_preflight(&method, request.headers()) {
        let mut answer = HttpResponse::NoContent().finish();
        edge.settings.origins.mark_preflight(request.headers(), answer.headers_mut());
        request.into_response(answer)
    } else {
        let asked = Asked::of(request.headers());
        match next.call(request).await {
            Ok(response) => error::same_shape(response.map_into_boxed_body()),
            // Only a middleware of a service fails in this way: its request is gone, its answer is made further out.
            Err(mut error) => {
                let edge = edge.clone();
                error.add_response_mapper(move |mut response| {
                    edge.settings.origins.mark(&asked.0, response.headers_mut());
                    response
                });
                return Err(error);
            }
        }
    };

    let (request, answer) = (response.request().clone(), response.response_mut());
    edge.settings.origins.mark(request.headers(), answer.headers_mut());
    // Whatever we answer is what we say it is (Fetch standard §3.6): no page may run a message as a script.
    answer.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let status = answer.status();
    if edge.drain.is_draining() && status != StatusCode::SWITCHING_PROTOCOLS {
        answer.head_mut().set_connection_type(ConnectionType::Close);
    }
    // Nobody reads the rest of this body, and in chunks it may have no end.
    if status != StatusCode::SWITCHING_PROTOCOLS
        && request.headers().contains_key(header::TRANSFER_ENCODING)
        && (method != Method::POST || status.is_client_error() || status.is_server_error())
    {
        answer.head_mut().set_connection_type(ConnectionType::Close);
    }
    edge.metrics.answered(request.match_pattern(), method.as_str(), status.as_u16());
    if response.response().body().size() == BodySize::Stream {
        let head = response.response_mut().head_mut();
        // HTTP/1.0 knows no chunks (RFC 9112 §6.1): there the connection's end is the body's.
        head.no_chunking(request.version() < Version::HTTP_11);
        // Whoever comes back after a stream may be sent elsewhere, so it comes back on a connection of its own.
        if status != StatusCode::SWITCHING_PROTOCOLS {
            head.set_connection_type(ConnectionType::Close);
        }
    }
    Ok(response.map_body(|_, body| Guarded::new(body, Some(counted))))
}

/// Says once that a proxy nobody named stands before us: limits would count all its clients as one, and that one would
/// soon have had enough.
fn warn_of_proxy(edge: &Edge, request: &HttpRequest) {
    static ONCE: Once = Once::new();
    if ONCE.is_completed() || !request.headers().contains_key(header::X_FORWARDED_FOR) {
        return;
    }
    let Some(peer) = request.peer_addr().map(|peer| peer.ip()) else { return };
    if !edge.settings.trusted_proxies.iter().any(|network| network.contains(peer)) {
        ONCE.call_once(|| {
            log::warn!(
                "X-Forwarded-For from {peer} is not believed; if this is your proxy, name it in TRIDENT_TRUSTED_PROXIES, or \
                 limits count all its clients as one"
            );
        });
    }
}

/// The headers that CORS looks at, kept where the request does not come back.
struct Asked(HeaderMap);

impl Asked {
    fn of(headers: &HeaderMap) -> Self {
        let mut kept = HeaderMap::with_capacity(2);
        for name in [header::ORIGIN, header::HOST] {
            if let Some(value) = headers.get(&name) {
                kept.insert(name, value.clone());
            }
        }
        Self(kept)
    }
}

#[cfg(test)]
mod tests;
