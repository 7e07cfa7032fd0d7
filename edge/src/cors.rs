//! CORS (Fetch standard §3.2): which pages may read responses, by a list of origins.
//!
//! The browser sends `Origin`; [`Origins`] decides whether that page is allowed; the layer in [`super::server`] adds the headers to every
//! response, including errors, since a page that cannot read an error cannot show what is wrong, and including those of Socket.IO, whose
//! own headers are off. The same list is used for Socket.IO's handshake and for WebSocket upgrades, which CORS itself does not cover.

use std::{fmt, str::FromStr};

use actix_web::http::{
    Method,
    header::{self, HeaderMap, HeaderName, HeaderValue},
};

/// Request headers that pages may send, in addition to those that are always allowed.
const ALLOWED_HEADERS: &str =
    "Accept, Authorization, Cache-Control, Content-Type, Idempotency-Key, If-None-Match, Last-Event-ID";
/// Response headers that pages may read, in addition to those that are always allowed.
const EXPOSED_HEADERS: &str = "ETag, Trident-Gap, Trident-End, Retry-After, WWW-Authenticate, Allow";
const ALLOWED_METHODS: &str = "GET, HEAD, POST, PUT, DELETE, OPTIONS";
/// The relation between the page that sends a request and its target (Fetch Metadata §2.3).
pub(super) const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// Seconds for which a browser may cache a preflight; no browser caches it for more than two hours.
const MAX_AGE: &str = "7200";

/// The origins whose pages may read responses and connect.
///
/// A page of the server's own origin (scheme, host and port) is always allowed. An entry `https://example.org` is exactly that origin, with
/// the scheme's default port; `https://example.org:*` is any port; loopback hosts (`localhost`, 127.0.0.0/8, `[::1]`) without a port are
/// any port, as development servers choose theirs. `*` is all origins, but without credentials; `null` is the origin of sandboxed frames
/// and local files, without credentials, too. `none` allows no other origin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origins {
    listed: Vec<Entry>,
    anybody: bool,
    null: bool,
    /// Cookies of listed pages are ignored.
    listed_without_credentials: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    scheme: String,
    host: String,
    /// `None` is any port.
    port: Option<u16>,
}

/// An invalid origin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a valid origin: expected scheme://host[:port], scheme://host:*, `*`, `null` or `none`")]
pub struct OriginError(String);

/// Whether a page may read an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// Yes, with cookies.
    WithCredentials,
    /// Yes, as any page, without cookies.
    WithoutCredentials,
    No,
}

impl Origins {
    /// Whether a page of `origin` may connect to `host` (the header `Host`).
    #[must_use]
    pub fn allows(&self, origin: &str, host: Option<&str>) -> bool {
        self.verdict(origin, host) != Verdict::No
    }

    /// As [`Origins::allows`] for a request with these headers whose cookies are used: `*` is not sufficient for that.
    #[must_use]
    pub fn allow_credentials(&self, origin: &str, request: &HeaderMap) -> bool {
        self.verdict_of(origin, request) == Verdict::WithCredentials
    }

    /// The same origins, but without cookies: for a default that nobody has chosen. Any program on a user's machine can serve a page of a
    /// loopback origin.
    #[must_use]
    pub fn without_credentials(self) -> Self {
        Self { listed_without_credentials: true, ..self }
    }

    /// The permissions of a page of `origin` that sends the request with these headers.
    fn verdict_of(&self, origin: &str, request: &HeaderMap) -> Verdict {
        self.verdict(origin, host(request).filter(|_| is_same_scheme(origin, request)))
    }

    /// The permissions of a page of `origin`; `host` is that of the request, if the page may be of the same origin.
    fn verdict(&self, origin: &str, host: Option<&str>) -> Verdict {
        let open = |open: bool| if open { Verdict::WithoutCredentials } else { Verdict::No };
        if origin == "null" {
            return open(self.null || self.anybody);
        }
        let Some((scheme, name, port)) = split(origin) else { return open(self.anybody) };
        let listed = |entry: &Entry| {
            entry.scheme == scheme && entry.host == name && entry.port.is_none_or(|listed| Some(listed) == port)
        };
        if same_host(&scheme, &name, port, host) {
            return Verdict::WithCredentials;
        }
        match self.listed.iter().any(listed) {
            true if self.listed_without_credentials => Verdict::WithoutCredentials,
            true => Verdict::WithCredentials,
            false => open(self.anybody),
        }
    }

    /// Adds the CORS headers to a response to a request with these headers. `Vary: Origin` is always added, so that no cache serves one
    /// page's response to another (Fetch standard §3.2.5).
    pub fn mark(&self, request: &HeaderMap, answer: &mut HeaderMap) {
        vary_by_origin(answer);
        let Some(value) = request.get(header::ORIGIN) else { return };
        let Ok(origin) = value.to_str() else { return };
        match self.verdict_of(origin, request) {
            Verdict::No => return,
            Verdict::WithoutCredentials if self.anybody => {
                answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
            }
            Verdict::WithoutCredentials => {
                answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, value.clone());
            }
            Verdict::WithCredentials => {
                answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, value.clone());
                answer.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
            }
        }
        // Of a handler that has others, the handler adds them.
        if !answer.contains_key(header::ACCESS_CONTROL_EXPOSE_HEADERS) {
            answer.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED_HEADERS));
        }
    }

    /// Adds the headers of a preflight response, in addition to [`Origins::mark`]; nothing for pages that are not allowed.
    pub fn mark_preflight(&self, request: &HeaderMap, answer: &mut HeaderMap) {
        let allowed = request
            .get(header::ORIGIN)
            .and_then(|origin| origin.to_str().ok())
            .is_some_and(|origin| self.verdict_of(origin, request) != Verdict::No);
        if !allowed {
            return;
        }
        answer.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(ALLOWED_METHODS));
        answer.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, allowed_headers(request));
        answer.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(MAX_AGE));
    }
}

/// The fixed list, and the headers that the page asks for: clients of Socket.IO can send additional headers (`extraHeaders`), and a page
/// that may connect gains nothing by a header that the server ignores.
fn allowed_headers(request: &HeaderMap) -> HeaderValue {
    let asked = request.get(header::ACCESS_CONTROL_REQUEST_HEADERS).and_then(|asked| asked.to_str().ok());
    let mut list = ALLOWED_HEADERS.to_owned();
    let known = |name: &str| ALLOWED_HEADERS.split(", ").any(|known| known.eq_ignore_ascii_case(name));
    for name in asked.unwrap_or_default().split(',').map(str::trim).take(32) {
        if !name.is_empty() && !known(name) && name.len() <= 64 && name.parse::<HeaderName>().is_ok() {
            list.push_str(", ");
            list.push_str(name);
        }
    }
    HeaderValue::from_str(&list).unwrap_or(HeaderValue::from_static(ALLOWED_HEADERS))
}

/// Whether a request is a preflight.
#[must_use]
pub fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    method == Method::OPTIONS && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

fn host(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::HOST).and_then(|host| host.to_str().ok())
}

fn vary_by_origin(answer: &mut HeaderMap) {
    let named = |value: &HeaderValue| {
        let value = value.to_str().unwrap_or_default();
        value.split(',').map(str::trim).any(|name| name == "*" || name.eq_ignore_ascii_case("origin"))
    };
    if !answer.get_all(header::VARY).any(named) {
        answer.append(header::VARY, HeaderValue::from_static("Origin"));
    }
}

/// Whether a page of `origin` has the scheme under which the request was sent, which matters if an attacker can answer for `http://` on the
/// network and the cookie belongs to `https://`.
///
/// TLS ends in the proxy, which sends `X-Forwarded-Proto`; the first of several proxies faces the client. Otherwise the browser's
/// `Sec-Fetch-Site` is used: it is `same-origin` only if the schemes agree. A page can set neither: the browser writes `Sec-Fetch-Site`, and
/// another header of a page needs a preflight, which its origin does not pass.
fn is_same_scheme(origin: &str, request: &HeaderMap) -> bool {
    let text = |name: &HeaderName| request.get(name).and_then(|value| value.to_str().ok());
    let forwarded = text(&header::X_FORWARDED_PROTO).and_then(|protocols| protocols.split(',').next()).map(str::trim);
    let scheme = origin.split_once("://").map_or("", |(scheme, _)| scheme);
    let is_forwarded = forwarded.is_none_or(|forwarded| forwarded.eq_ignore_ascii_case(scheme));
    is_forwarded && text(&SEC_FETCH_SITE).is_none_or(|site| site == "same-origin")
}

/// Whether the page is of the requested host. Without a port, the host has the default port of the page's scheme.
fn same_host(scheme: &str, name: &str, port: Option<u16>, host: Option<&str>) -> bool {
    let Some((asked, asked_port)) = host.and_then(authority) else { return false };
    let asked_port = match asked_port {
        Port::None => default_port(scheme),
        Port::Number(number) => Some(number),
        Port::Any => return false,
    };
    asked == name && asked_port == port
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Port {
    None,
    Number(u16),
    Any,
}

/// Scheme, host and port of an origin in lower case; the default port of the scheme if there is none.
fn split(origin: &str) -> Option<(String, String, Option<u16>)> {
    let (scheme, rest) = origin.split_once("://")?;
    let scheme = scheme.to_ascii_lowercase();
    let (host, port) = authority(rest)?;
    match port {
        Port::None => Some((scheme.clone(), host, default_port(&scheme))),
        Port::Number(port) => Some((scheme, host, Some(port))),
        Port::Any => None,
    }
}

fn authority(text: &str) -> Option<(String, Port)> {
    let (host, port) = match text.rfind(':') {
        // The colons of an IPv6 host are within its brackets.
        Some(colon) if !text[colon..].contains(']') => (&text[..colon], Some(&text[colon + 1..])),
        _ => (text, None),
    };
    let port = match port {
        None => Port::None,
        Some("*") => Port::Any,
        Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => Port::Number(port.parse().ok()?),
        Some(_) => return None,
    };
    let legal = |c: char| c.is_ascii_alphanumeric() || "-._~[]:".contains(c);
    let bracketed = host.starts_with('[') == host.ends_with(']') && (host.starts_with('[') || !host.contains(':'));
    (!host.is_empty() && host.chars().all(legal) && bracketed).then(|| (host.to_ascii_lowercase(), port))
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" | "ws" => Some(80),
        "https" | "wss" => Some(443),
        _ => None,
    }
}

fn is_loopback(host: &str) -> bool {
    let ip = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host == "localhost" || host.ends_with(".localhost") || ip.is_ok_and(|ip| ip.is_loopback())
}

impl FromStr for Origins {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, OriginError> {
        let mut origins = Self::default();
        for entry in text.split(',').map(str::trim) {
            match entry {
                "" if text.trim().is_empty() => {}
                "none" => {}
                "*" => origins.anybody = true,
                "null" => origins.null = true,
                entry => origins.listed.push(Entry::read(entry)?),
            }
        }
        Ok(origins)
    }
}

impl Entry {
    fn read(text: &str) -> Result<Self, OriginError> {
        let read = || {
            // A slash at the end is a common mistake; anything behind it would be a path, which origins do not have.
            let (scheme, rest) = text.strip_suffix('/').unwrap_or(text).split_once("://")?;
            let scheme = scheme.to_ascii_lowercase();
            let starts = scheme.starts_with(|c: char| c.is_ascii_alphabetic());
            if !starts || !scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c)) {
                return None;
            }
            let (host, port) = authority(rest)?;
            let port = match port {
                Port::Any => None,
                Port::Number(port) => Some(port),
                Port::None if is_loopback(&host) => None,
                Port::None => default_port(&scheme),
            };
            Some(Self { scheme, host, port })
        };
        read().ok_or_else(|| OriginError(text.chars().take(80).flat_map(char::escape_default).collect()))
    }
}

impl fmt::Display for Origins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let listed = self.listed.iter().map(|entry| {
            let port = entry.port.map_or("*".to_owned(), |port| port.to_string());
            format!("{}://{}:{port}", entry.scheme, entry.host)
        });
        let all: Vec<String> =
            listed.chain(self.anybody.then(|| "*".to_owned())).chain(self.null.then(|| "null".to_owned())).collect();
        f.write_str(if all.is_empty() { "none" } else { "" })?;
        f.write_str(&all.join(","))
    }
}

#[cfg(test)]
mod tests;
