//! CORS: the origins whose pages may use the server, and the response headers.

use std::{fmt, sync::Arc};

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{self, HeaderMap, HeaderValue},
};

use crate::{Config, config::Cors, handler::guard};

/// Which origins may use the server from a browser. Requests without an `Origin` header come from no page and are let in;
/// a page of the server's own origin (its `Origin` names the `Host` it asks) always is.
///
/// ```
/// use socketio::Origins;
///
/// let origins = Origins::list(["https://app.example", "http://localhost:*"]);
/// assert!(origins.permits("http://localhost:5173"));
/// assert!(!origins.permits("https://app.example.evil.example"));
/// ```
#[derive(Clone)]
pub struct Origins(Policy);

#[derive(Clone)]
enum Policy {
    Any,
    List(Arc<[Allowed]>),
    Decide(Arc<dyn Fn(&str) -> bool + Send + Sync>),
}

#[derive(Clone, Debug)]
struct Allowed {
    origin: String,
    any_port: bool,
}

impl Origins {
    /// The server's own pages only.
    pub fn same_origin() -> Self {
        Self(Policy::List(Arc::new([])))
    }

    /// Every origin, but without cookies: browsers receive `*`.
    pub fn any() -> Self {
        Self(Policy::Any)
    }

    /// These origins, written as `scheme://host` or `scheme://host:port`; `scheme://host:*` means any port. Cookies are allowed.
    pub fn list<T: AsRef<str>>(origins: impl IntoIterator<Item = T>) -> Self {
        let list = origins.into_iter().map(|origin| {
            let origin = origin.as_ref().trim_end_matches('/').to_ascii_lowercase();
            match origin.strip_suffix(":*") {
                Some(bare) => Allowed { origin: bare.to_owned(), any_port: true },
                None => Allowed { origin, any_port: false },
            }
        });
        Self(Policy::List(list.collect()))
    }

    /// The origins for which `decide` says true. Cookies are allowed. If it panics, the origin is refused.
    pub fn decide(decide: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        Self(Policy::Decide(Arc::new(decide)))
    }

    /// Whether this origin may use the server; the server's own is not known here.
    pub fn permits(&self, origin: &str) -> bool {
        match &self.0 {
            Policy::Any => true,
            Policy::Decide(decide) => {
                guard("the function that decides over origins", || decide(origin)).unwrap_or(false)
            }
            Policy::List(list) => {
                let origin = origin.to_ascii_lowercase();
                list.iter().any(|allowed| match origin.strip_prefix(allowed.origin.as_str()) {
                    Some("") => true,
                    Some(rest) => {
                        allowed.any_port
                            && rest
                                .strip_prefix(':')
                                .is_some_and(|port| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()))
                    }
                    None => false,
                })
            }
        }
    }

    /// Whether a request with these headers may open a connection.
    pub(crate) fn allow(&self, request: &HeaderMap) -> bool {
        match request.get(header::ORIGIN) {
            None => true,
            Some(origin) => origin.to_str().is_ok_and(|origin| is_same_origin(origin, request) || self.permits(origin)),
        }
    }
}

impl fmt::Debug for Origins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Policy::Any => f.write_str("any"),
            Policy::List(list) => list.fmt(f),
            Policy::Decide(_) => f.write_str("decided by a function"),
        }
    }
}

fn is_same_origin(origin: &str, request: &HeaderMap) -> bool {
    let host = request.get(header::HOST).and_then(|host| host.to_str().ok());
    match (origin.split_once("://"), host) {
        (Some((_, authority)), Some(host)) => authority.eq_ignore_ascii_case(host),
        _ => false,
    }
}

/// Whether the `Origin` header, if present, is a valid header value.
pub(super) fn is_well_formed(request: &HeaderMap) -> bool {
    request.get(header::ORIGIN).is_none_or(|origin| origin.to_str().is_ok())
}

/// The CORS headers of an answer, decided before the request is dropped.
pub(super) struct Answer {
    vary: bool,
    allow: Option<HeaderValue>,
    credentials: bool,
    exposed: Option<HeaderValue>,
}

pub(super) fn answer(config: &Config, request: &HeaderMap) -> Answer {
    let origins = &config.origins;
    let any = matches!(origins.0, Policy::Any);
    let allow = if any {
        Some(HeaderValue::from_static("*"))
    } else {
        request.get(header::ORIGIN).filter(|_| origins.allow(request)).cloned()
    };
    let exposed = config.cors.exposed_headers.as_deref().filter(|_| allow.is_some()).and_then(value);
    Answer { vary: !any, credentials: !any && allow.is_some(), allow, exposed }
}

impl Answer {
    pub(super) fn write(self, response: &mut HeaderMap) {
        if self.vary {
            response.append(header::VARY, HeaderValue::from_static("Origin"));
        }
        if let Some(allow) = self.allow {
            response.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allow);
        }
        if let Some(exposed) = self.exposed {
            response.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
        }
        if self.credentials {
            response.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
    }
}

/// A setting as a header value. An invalid one is omitted and logged.
fn value(text: &str) -> Option<HeaderValue> {
    HeaderValue::from_str(text)
        .inspect_err(|_| log::error!("{text:?} of the CORS settings is not a valid header value"))
        .ok()
}

/// Writes the headers of an answer.
pub(super) fn apply(config: &Config, request: &HeaderMap, response: &mut HeaderMap) {
    answer(config, request).write(response);
}

/// The answer to a browser that asks before it sends.
pub(super) fn preflight(config: &Config, request: &HttpRequest) -> HttpResponse {
    let mut response = HttpResponse::NoContent().finish();
    let headers = response.headers_mut();
    apply(config, request.headers(), headers);
    if headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN) {
        let Cors { methods, allowed_headers, max_age, .. } = &config.cors;
        let asked = || request.headers().get(header::ACCESS_CONTROL_REQUEST_HEADERS).cloned();
        let allowed = allowed_headers.as_deref().map_or_else(asked, value);
        if allowed_headers.is_none() && allowed.is_some() {
            headers.append(header::VARY, HeaderValue::from_static("Access-Control-Request-Headers"));
        }
        let max_age = max_age.map(|age| age.as_secs().into());
        for (name, value) in [
            (header::ACCESS_CONTROL_ALLOW_METHODS, value(methods)),
            (header::ACCESS_CONTROL_ALLOW_HEADERS, allowed),
            (header::ACCESS_CONTROL_MAX_AGE, max_age),
        ] {
            if let Some(value) = value {
                headers.insert(name, value);
            }
        }
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists() {
        let list = Origins::list(["https://a.example", "http://localhost:*", "http://b:81/"]);
        for (origin, expected) in [
            ("https://a.example", true),
            ("https://A.example", true),
            ("https://a.example:8443", false),
            ("http://a.example", false),
            ("https://a.example.evil", false),
            ("http://localhost", true),
            ("http://localhost:3000", true),
            ("http://localhost:", false),
            ("http://localhost:3000.evil", false),
            ("http://localhost.evil:3000", false),
            ("http://b:81", true),
            ("http://b", false),
            ("null", false),
        ] {
            assert_eq!(list.permits(origin), expected, "{origin}");
        }
    }

    #[test]
    fn own_pages_and_no_pages() {
        let mut headers = HeaderMap::new();
        let none = Origins::same_origin();
        assert!(none.allow(&headers));
        headers.insert(header::HOST, HeaderValue::from_static("a.example:80"));
        headers.insert(header::ORIGIN, HeaderValue::from_static("http://a.example:80"));
        assert!(none.allow(&headers));
        headers.insert(header::ORIGIN, HeaderValue::from_static("http://b.example"));
        assert!(!none.allow(&headers));
        assert!(Origins::any().allow(&headers));
        assert!(Origins::decide(|origin| origin.ends_with("b.example")).allow(&headers));
    }
}
