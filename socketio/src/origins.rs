//! The origins whose pages may use the server.

use std::{fmt, sync::Arc};

use actix_web::http::header::{self, HeaderMap};

use crate::panics::guard;

/// Which origins may use the server from a browser. Requests without an `Origin` header do not come from a page and are accepted. A page of
/// the server's own origin (its `Origin` has the `Host` of the request) is always accepted.
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

    /// Whether every origin is allowed.
    pub(crate) fn are_any(&self) -> bool {
        matches!(self.0, Policy::Any)
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

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    #[test]
    fn listed_origins_are_allowed_and_others_are_not() {
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
