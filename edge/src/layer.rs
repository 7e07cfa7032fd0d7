//! What every request and response passes, and actix-web's application, which has the pages and Socket.IO.
//!
//! A request is counted as in flight. Its response gets CORS headers, and `Connection: close` where the connection is to end; an error
//! of actix-web's own gets our form. The request stays counted until the last byte of its body is written.

use std::{borrow::Cow, sync::Once};

use actix_web::{
    App, Error, HttpResponse,
    body::{BodySize, MessageBody},
    dev::{ServiceFactory, ServiceRequest, ServiceResponse},
    http::{
        ConnectionType, Method, StatusCode,
        header::{self, HeaderMap, HeaderName, HeaderValue},
    },
    middleware::{Next, from_fn},
    web::{self, ServiceConfig},
};
use prometheus_client::metrics::gauge::Gauge;

use super::{
    ApiError, Edge, access_log::AccessRecord, cors, drain::InFlight, error, guarded::Guarded, page,
    response::ResponseBody, routes::RequestParts,
};

/// The request headers that determine the CORS headers of a response, if the first one exists.
const OF_PAGE: [HeaderName; 4] = [header::ORIGIN, header::HOST, header::X_FORWARDED_PROTO, cors::SEC_FETCH_SITE];
/// Methods that some path supports.
const EVERY_METHOD: &str = "GET, HEAD, POST, PUT, DELETE, OPTIONS";

/// The response body, which counts the request.
pub type Body = Guarded<ResponseBody, Option<Counted>>;

/// The application of a service: what `configure` adds, the pages that every service has, a 404 in our form for everything
/// else, and this layer around all of it.
pub fn app(
    edge: Edge,
    configure: impl FnOnce(&mut ServiceConfig),
) -> App<
    impl ServiceFactory<ServiceRequest, Config = (), Response = ServiceResponse<Body>, Error = Error, InitError = ()>,
> {
    App::new()
        .app_data(web::Data::new(edge))
        .configure(configure)
        .configure(page::common)
        .default_service(web::to(page::not_found))
        .wrap(from_fn(layer))
}

/// A request that is counted until its response has been sent. Only the middleware creates one.
#[derive(Debug)]
pub struct Counted {
    _in_flight: InFlight,
    gauge: Gauge,
    record: Option<Box<AccessRecord>>,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.gauge.dec();
    }
}

/// A request that is being answered, by its route or by the application.
pub(super) struct ActiveRequest {
    edge: Edge,
    counted: Counted,
    method: Method,
    /// The parts for CORS, if a page sent the request.
    page: HeaderMap,
}

impl ActiveRequest {
    /// Counts the request from now on.
    pub(super) fn begin(edge: &Edge, parts: &RequestParts<'_>) -> Self {
        warn_of_proxy(edge, parts);
        let gauge = edge.metrics.in_flight.clone();
        gauge.inc();
        let mut page = HeaderMap::new();
        if parts.headers.contains_key(header::ORIGIN) {
            for name in OF_PAGE {
                // Copied: the others are parts of the whole head, which would last as long as the request waits.
                if let Some(value) =
                    parts.headers.get(&name).and_then(|value| HeaderValue::from_bytes(value.as_bytes()).ok())
                {
                    page.insert(name, value);
                }
            }
        }
        let record = AccessRecord::begin(&edge.settings, parts);
        let counted = Counted { _in_flight: edge.drain.enter(), gauge, record };
        Self { edge: edge.clone(), counted, method: parts.method.clone(), page }
    }

    /// Completes the response. `route` is the pattern that matched, if one did.
    pub(super) fn finish(
        self,
        route: Option<Cow<'static, str>>,
        mut answer: HttpResponse<ResponseBody>,
    ) -> HttpResponse<Body> {
        complete(&self.edge, &self.page, &mut answer);
        let counted = self.answered(route, answer.status());
        answer.map_body(|_, body| Guarded::new(body, Some(counted)))
    }

    /// The parts for CORS.
    pub(super) fn page(&self) -> &HeaderMap {
        &self.page
    }

    /// Counts the response, which others have got, too. The request stays counted as long as the returned value exists.
    pub(super) fn answered(self, route: Option<Cow<'static, str>>, status: StatusCode) -> Counted {
        let Self { edge, mut counted, method, .. } = self;
        if let Some(record) = &mut counted.record {
            record.answered(status);
        }
        edge.metrics.answered(route, method.as_str(), status.as_u16());
        counted
    }
}

/// Adds to a response what all of them have. `page`: the parts of its request for CORS.
pub(super) fn complete<B: MessageBody>(edge: &Edge, page: &HeaderMap, answer: &mut HttpResponse<B>) {
    edge.settings.origins.mark(page, answer.headers_mut());
    // The declared media type is authoritative (Fetch standard §3.6): no page can run a message as a script.
    answer.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // After a stream, the client may have to use another replica, so it has to open a new connection.
    let is_last = edge.drain.is_draining() || answer.body().size() == BodySize::Stream;
    if is_last && answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        answer.head_mut().set_connection_type(ConnectionType::Close);
    }
}

/// Whether the parts for CORS of two requests are the same.
pub(super) fn is_same_page(page: &HeaderMap, other: &HeaderMap) -> bool {
    // Most have none.
    page.is_empty() && other.is_empty() || OF_PAGE.iter().all(|name| page.get(name) == other.get(name))
}

async fn layer(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<Body>, Error> {
    let edge = request.app_data::<web::Data<Edge>>().cloned();
    let edge = edge.ok_or_else(|| ApiError::internal("the application was built without its Edge"))?;
    let active = ActiveRequest::begin(&edge, &RequestParts::from(request.request()));

    let response = if super::cors::is_preflight(request.method(), request.headers()) {
        let mut answer = HttpResponse::NoContent().finish();
        edge.settings.origins.mark_preflight(request.headers(), answer.headers_mut());
        request.into_response(answer)
    } else if request.method() == Method::OPTIONS && request.path() == "*" {
        // RFC 9110 §9.3.7: about the server as a whole, like a ping.
        request.into_response(HttpResponse::NoContent().insert_header((header::ALLOW, EVERY_METHOD)).finish())
    } else {
        match next.call(request).await {
            Ok(response) => error::same_shape(response.map_into_boxed_body()),
            // Only a middleware of a service fails in this way: its request is gone, and its response is created further out.
            Err(mut error) => {
                error.add_response_mapper(move |mut response| {
                    active.edge.settings.origins.mark(&active.page, response.headers_mut());
                    response
                });
                return Err(error);
            }
        }
    };

    let (request, answer) = response.into_parts();
    let answer = active.finish(request.match_pattern().map(Cow::Owned), ResponseBody::boxed(answer));
    Ok(ServiceResponse::new(request, answer))
}

/// Warns once about a proxy that is not configured as trusted: limits would count all its clients as one, which would soon reach them.
fn warn_of_proxy(edge: &Edge, parts: &RequestParts<'_>) {
    static ONCE: Once = Once::new();
    if ONCE.is_completed() || !parts.headers.contains_key(header::X_FORWARDED_FOR) {
        return;
    }
    let Some(peer) = parts.peer.map(|peer| peer.ip()) else { return };
    if !edge.settings.trusted_proxies.iter().any(|network| network.contains(peer)) {
        ONCE.call_once(|| {
            log::warn!(
                "X-Forwarded-For from {peer} is not trusted; if this is your proxy, add it to TRIDENT_TRUSTED_PROXIES, or \
                 limits count all its clients as one"
            );
        });
    }
}

#[cfg(test)]
mod tests;
