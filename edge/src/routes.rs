//! The routes of a process: which handler answers a path and a method.
//!
//! A connection looks up the path of each request here as soon as its head is decoded. A path without a route belongs to actix-web's
//! application, which has the pages and Socket.IO. What every answer gets is added by [`super::layer`] in both cases.

use std::{borrow::Cow, fmt, future::ready, rc::Rc};

use actix_web::{
    HttpResponse, ResponseError as _,
    error::PayloadError,
    http::{Method, header},
};
use bytes::Bytes;
use futures_util::{FutureExt as _, stream::LocalBoxStream};
use percent_encoding::percent_decode_str;

use super::{
    ApiError,
    cors::{self, Origins},
    response::ResponseBody,
};
pub use super::{
    parts::{OwnedParts, RequestParts},
    response::ResponseFuture,
};

/// The body of a request. [`super::body`] reads it within limits.
pub enum RequestBody {
    /// All of it had arrived with the head.
    Complete(Bytes),
    /// It arrives as it is read.
    Stream(LocalBoxStream<'static, Result<Bytes, PayloadError>>),
}

impl fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Complete(body) => f.debug_tuple("Complete").field(&body.len()).finish(),
            Self::Stream(_) => f.write_str("Stream"),
        }
    }
}

type Handler = Rc<dyn Fn(&RequestParts<'_>, RequestBody) -> ResponseFuture>;
type Shortcut = Rc<dyn Fn(&RequestParts<'_>, RequestBody) -> Option<ResponseFuture>>;

/// The handlers of one path, by method. `OPTIONS` is always answered, and any other method with 405 and `Allow`
/// (RFC 9110 §9.3.7, §15.5.6).
#[derive(Clone, Default)]
pub struct Resource {
    handlers: Vec<(Method, Handler)>,
    waits: bool,
}

impl Resource {
    /// A handler for `GET` and `HEAD`.
    #[must_use]
    pub fn get(mut self, handler: impl Fn(&RequestParts<'_>) -> ResponseFuture + 'static) -> Self {
        let handler: Handler = Rc::new(move |parts, _| handler(parts));
        self.handlers.push((Method::GET, handler.clone()));
        self.handlers.push((Method::HEAD, handler));
        self
    }

    /// As [`Resource::get`], for answers that wait for messages. The request ends as soon as its client closes its side of the
    /// connection: nobody is there to wait for.
    #[must_use]
    pub fn subscribe(mut self, handler: impl Fn(&RequestParts<'_>) -> ResponseFuture + 'static) -> Self {
        self.waits = true;
        self.get(handler)
    }

    /// As [`Resource::subscribe`], for a path that serves WebSockets: after a request for an upgrade, the body is what the client sends on
    /// the connection. Another request is to be answered with [`ApiError::UpgradeRequired`].
    #[must_use]
    pub fn upgrade(mut self, handler: impl Fn(&RequestParts<'_>, RequestBody) -> ResponseFuture + 'static) -> Self {
        self.waits = true;
        let handler: Handler = Rc::new(handler);
        self.handlers.push((Method::GET, handler.clone()));
        self.handlers.push((Method::HEAD, handler));
        self
    }

    /// A handler for `POST`.
    #[must_use]
    pub fn post(mut self, handler: impl Fn(&RequestParts<'_>, RequestBody) -> ResponseFuture + 'static) -> Self {
        self.handlers.push((Method::POST, Rc::new(handler)));
        self
    }

    /// A handler for `PUT`.
    #[must_use]
    pub fn put(mut self, handler: impl Fn(&RequestParts<'_>, RequestBody) -> ResponseFuture + 'static) -> Self {
        self.handlers.push((Method::PUT, Rc::new(handler)));
        self
    }

    /// A handler for `DELETE`.
    #[must_use]
    pub fn delete(mut self, handler: impl Fn(&RequestParts<'_>) -> ResponseFuture + 'static) -> Self {
        self.handlers.push((Method::DELETE, Rc::new(move |parts, _| handler(parts))));
        self
    }

    /// The answer to a request for this path.
    pub(super) fn respond(&self, origins: &Origins, parts: &RequestParts<'_>, body: RequestBody) -> ResponseFuture {
        if cors::is_preflight(parts.method, parts.headers) {
            let mut response = HttpResponse::NoContent().finish();
            origins.mark_preflight(parts.headers, response.headers_mut());
            return response_ready(Ok(response));
        }
        if let Some((_, handler)) = self.handlers.iter().find(|(method, _)| method == parts.method) {
            return handler(parts, body);
        }
        let mut methods: Vec<_> = self.handlers.iter().map(|(method, _)| method.clone()).collect();
        methods.push(Method::OPTIONS);
        response_ready(if parts.method == Method::OPTIONS {
            let allow = methods.iter().map(Method::as_str).collect::<Vec<_>>().join(", ");
            Ok(HttpResponse::NoContent().insert_header((header::ALLOW, allow)).finish())
        } else {
            Err(ApiError::MethodNotAllowed(methods))
        })
    }

    /// Whether the answer to `method` may wait for messages.
    pub(super) fn waits(&self, method: &Method) -> bool {
        self.waits && *method == Method::GET
    }
}

/// The routes of a worker, by path.
#[derive(Clone, Default)]
pub struct Routes(Vec<Route>);

/// A path and what answers it.
#[derive(Clone)]
pub(super) struct Route {
    path: Cow<'static, str>,
    /// The label of its requests in `trident_http_requests_total`.
    pub(super) label: &'static str,
    pub(super) target: Target,
}

/// What answers a path.
#[derive(Clone)]
pub(super) enum Target {
    /// Handlers for all of its requests.
    Resource(Resource),
    /// A shortcut for some requests of actix-web's application. If it returns `None`, it must have had no side effects.
    Shortcut(Shortcut),
}

impl Routes {
    /// Adds the handlers of `path`. A segment in braces, as in `/v1/channels/{channel}`, is any segment: its handler reads it with
    /// [`segment`].
    #[must_use]
    pub fn resource(mut self, path: &'static str, resource: Resource) -> Self {
        self.0.push(Route { path: path.into(), label: path, target: Target::Resource(resource) });
        self
    }

    /// Adds the handlers of all paths below `root`, such as `/streams`; see [`below`]. `label` is the pattern by which they are counted.
    #[must_use]
    pub fn below(mut self, root: &str, label: &'static str, resource: Resource) -> Self {
        let path = format!("{root}/{REST}").into();
        self.0.push(Route { path, label, target: Target::Resource(resource) });
        self
    }

    /// Adds a shortcut past the application for requests for `path` of which the whole body has arrived, and for those for an upgrade, whose
    /// body is what the client sends on the connection. `label` is the pattern of the application's own route, by which they are counted.
    #[must_use]
    pub fn shortcut(
        mut self,
        path: &'static str,
        label: &'static str,
        shortcut: impl Fn(&RequestParts<'_>, RequestBody) -> Option<ResponseFuture> + 'static,
    ) -> Self {
        self.0.push(Route { path: path.into(), label, target: Target::Shortcut(Rc::new(shortcut)) });
        self
    }

    /// These routes and those of another service.
    #[must_use]
    pub fn and(mut self, others: Self) -> Self {
        self.0.extend(others.0);
        self
    }

    /// The route of a path. Percent-encoded characters are equal to what they stand for (RFC 3986 §2.3, §6.2.2.2), but for shortcuts,
    /// which may leave any request to the application.
    pub(super) fn find(&self, path: &str) -> Option<&Route> {
        let is_exact = |route: &&Route, path: &str| !route.is_pattern() && route.path == path;
        if !path.contains('%') {
            let exact = self.0.iter().find(|route| is_exact(route, path));
            return exact.or_else(|| self.find_pattern(path));
        }
        let decoded = percent_decode_str(path).decode_utf8().ok();
        let exact = decoded.and_then(|path| {
            self.0.iter().find(|route| is_exact(route, &path) && matches!(route.target, Target::Resource(_)))
        });
        exact.or_else(|| self.find_pattern(path))
    }

    /// The route whose pattern a path has. An encoded slash is part of its segment.
    fn find_pattern(&self, path: &str) -> Option<&Route> {
        self.0.iter().filter(|route| route.is_pattern()).find(|route| {
            let (mut segments, mut wanted) = (path.split('/'), route.path.split('/'));
            loop {
                match (segments.next(), wanted.next()) {
                    (None, None) => return true,
                    (Some(_), Some(REST)) => return true,
                    (Some(segment), Some(wanted)) if wanted.starts_with('{') && !segment.is_empty() => {}
                    (Some(segment), Some(wanted)) if segment == wanted => {}
                    _ => return false,
                }
            }
        })
    }
}

impl fmt::Debug for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.iter().map(|route| &route.path)).finish()
    }
}

impl Route {
    fn is_pattern(&self) -> bool {
        self.path.contains('{')
    }
}

/// What stands for the rest of a path.
const REST: &str = "{*}";

/// The rest of a path below `root`, with percent-encoded characters decoded, slashes included.
///
/// # Errors
/// 400 if it is not UTF-8.
pub fn below<'a>(path: &'a str, root: &str) -> Result<Cow<'a, str>, ApiError> {
    let rest = path.strip_prefix(root).and_then(|rest| rest.strip_prefix('/')).unwrap_or_default();
    percent_decode_str(rest)
        .decode_utf8()
        .map_err(|_| ApiError::invalid("bad_encoding", "the path is not UTF-8 after percent-decoding"))
}

/// The `n`-th segment of a path, from 0, with percent-encoded characters decoded.
///
/// # Errors
/// 400 if it is not UTF-8.
pub fn segment(path: &str, n: usize) -> Result<Cow<'_, str>, ApiError> {
    let segment = path.split('/').nth(n + 1).unwrap_or_default();
    percent_decode_str(segment)
        .decode_utf8()
        .map_err(|_| ApiError::invalid("bad_encoding", "a segment of the path is not UTF-8 after percent-decoding"))
}

/// The future of a handler.
pub fn response<B: Into<ResponseBody>>(
    response: impl Future<Output = Result<HttpResponse<B>, ApiError>> + 'static,
) -> ResponseFuture {
    response
        .map(|response| match response {
            Ok(response) => response.map_body(|_, body| body.into()),
            Err(error) => ResponseBody::boxed(error.error_response()),
        })
        .boxed_local()
}

/// A response that is complete.
#[must_use]
pub fn response_ready(result: Result<HttpResponse, ApiError>) -> ResponseFuture {
    response(ready(result))
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderMap, HeaderValue};

    use super::*;
    fn text(text: &'static str) -> ResponseFuture {
        response_ready(Ok(HttpResponse::Ok().body(text)))
    }

    async fn respond(resource: &Resource, method: Method, headers: &HeaderMap) -> (u16, String) {
        let parts = RequestParts { method: &method, path: "/", query: "", headers, peer: None, park_after: None };
        let response = resource.respond(&Origins::default(), &parts, RequestBody::Complete(Bytes::new())).await;
        let allow = response.headers().get(header::ALLOW).map(|allow| allow.to_str().unwrap().to_owned());
        (response.status().as_u16(), allow.unwrap_or_default())
    }

    #[actix_web::test]
    async fn methods_without_a_handler_are_answered_with_the_allowed_ones() {
        let resource = Resource::default().get(|_| text("read")).post(|_, _| text("written"));
        let none = HeaderMap::new();
        for method in [Method::GET, Method::HEAD, Method::POST] {
            assert_eq!(respond(&resource, method, &none).await, (200, String::new()));
        }
        let allow = "GET, HEAD, POST, OPTIONS".to_owned();
        assert_eq!(respond(&resource, Method::OPTIONS, &none).await, (204, allow.clone()));
        assert_eq!(respond(&resource, Method::DELETE, &none).await, (405, allow));
        let mut preflight = HeaderMap::new();
        preflight.insert(header::ORIGIN, HeaderValue::from_static("http://localhost:3000"));
        preflight.insert(header::ACCESS_CONTROL_REQUEST_METHOD, HeaderValue::from_static("DELETE"));
        assert_eq!(respond(&resource, Method::OPTIONS, &preflight).await, (204, String::new()));
    }

    #[test]
    fn paths_are_found_as_they_are_and_percent_encoded() {
        let routes = Routes::default().resource("/data", Resource::default().get(|_| text("data"))).shortcut(
            "/socket.io/",
            "/socket.io/{tail:.*}",
            |_, _| None,
        );
        for (path, label) in [
            ("/data", Some("/data")),
            ("/dat%61", Some("/data")),
            ("/%64%61ta", Some("/data")),
            ("/socket.io/", Some("/socket.io/{tail:.*}")),
            ("/socket%2eio/", None),
            ("/data/", None),
            ("/Data", None),
            ("/dat%2561", None),
            ("/dat%ff", None),
            ("*", None),
        ] {
            assert_eq!(routes.find(path).map(|route| route.label), label, "{path}");
        }
    }

    #[test]
    fn a_pattern_has_any_segment_in_a_place() {
        let resource = || Resource::default().get(|_| text(""));
        let routes = Routes::default()
            .resource("/v1/channels", resource())
            .resource("/v1/channels/{channel}", resource())
            .resource("/v1/channels/{channel}/messages", resource());
        for (path, label) in [
            ("/v1/channels", Some("/v1/channels")),
            ("/v1/channels/", None),
            ("/v1/channels/a", Some("/v1/channels/{channel}")),
            ("/v1/channels/a%2Fb", Some("/v1/channels/{channel}")),
            ("/v1/channels/a/b", None),
            ("/v1/channels/a/messages", Some("/v1/channels/{channel}/messages")),
            ("/v1/channels/a%2Fb/messages", Some("/v1/channels/{channel}/messages")),
            ("/v1/channels//messages", None),
            ("/v1/channels/a/messages/", None),
            ("/v1/channels/%ff", Some("/v1/channels/{channel}")),
        ] {
            assert_eq!(routes.find(path).map(|route| route.label), label, "{path}");
        }
        assert_eq!(segment("/v1/channels/a%2Fb/messages", 2).as_deref().ok(), Some("a/b"));
        assert_eq!(
            segment("/v1/channels/%ff", 2).map_err(|error| error.code().to_owned()),
            Err("bad_encoding".to_owned())
        );
    }

    #[test]
    fn the_rest_of_a_path_may_have_any_segments() {
        let resource = || Resource::default().get(|_| text(""));
        let routes = Routes::default().resource("/v1/channels/{channel}", resource()).below(
            "/v1/stream",
            "/streams/{path}",
            resource(),
        );
        for (path, label) in [
            ("/v1/stream/a", Some("/streams/{path}")),
            ("/v1/stream/a/b%2Fc/", Some("/streams/{path}")),
            ("/v1/stream/", Some("/streams/{path}")),
            ("/v1/stream", None),
            ("/v1/streams/a", None),
            ("/v1/channels/a", Some("/v1/channels/{channel}")),
        ] {
            assert_eq!(routes.find(path).map(|route| route.label), label, "{path}");
        }
        let rest = |path| below(path, "/v1/stream").map(Cow::into_owned).ok();
        assert_eq!(rest("/v1/stream/a/b%2Fc/"), Some("a/b/c/".to_owned()));
        assert_eq!(rest("/v1/stream/%ff"), None);
    }

    #[test]
    fn only_reads_of_subscriptions_wait() {
        let waiting = Resource::default().subscribe(|_| text("")).post(|_, _| text(""));
        assert!(waiting.waits(&Method::GET) && !waiting.waits(&Method::HEAD) && !waiting.waits(&Method::POST));
        assert!(!Resource::default().get(|_| text("")).waits(&Method::GET));
    }
}
