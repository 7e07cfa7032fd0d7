//! The HTTP client of `listen` and `publish`: URL, token, TLS, and error messages.

use std::{fmt, str::FromStr, sync::Arc, time::Duration};

use actix_web::http::{StatusCode, Uri, header::HeaderMap};
use awc::{Client, Connector};
use rand::RngExt as _;
use rustls::{ClientConfig, RootCertStore};
use serde::Deserialize;

use crate::plain::plain;

/// Timeout of connecting to a server.
const CONNECT: Duration = Duration::from_secs(10);
/// The longest `Retry-After` that is respected.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// The address of a server: the URL in front of `/events` and `/data`, without a slash at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrl(String);

impl BaseUrl {
    /// The URL of `path`, which begins with a slash, with these query parameters. Values other than names and cursors are escaped.
    pub(crate) fn with<'a>(&self, path: &str, query: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
        let mut url = format!("{}{path}", self.0);
        for (at, (name, value)) in query.into_iter().enumerate() {
            url.push(if at == 0 { '?' } else { '&' });
            url.push_str(name);
            url.push('=');
            for byte in value.bytes() {
                if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
                    url.push(char::from(byte));
                } else {
                    url.push_str(&format!("%{byte:02X}"));
                }
            }
        }
        url
    }

    fn is_encrypted(&self) -> bool {
        self.0.starts_with("https:")
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `http://host:port` or `https://…`, with a path prefix if there is one; it may end with the path of a service.
impl FromStr for BaseUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = |what: &str| format!("{what}; expected http://host:port or https://host");
        let whole = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let uri: Uri = whole.parse().map_err(|_| bad("invalid URL"))?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none_or(str::is_empty) {
            return Err(bad("invalid server URL"));
        }
        if uri.query().is_some() {
            return Err(bad("use flags for channels and cursors, not the URL"));
        }
        let mut base = whole.trim_end_matches('/');
        for path in ["/events", "/data"] {
            base = base.strip_suffix(path).unwrap_or(base);
        }
        Ok(Self(base.to_owned()))
    }
}

/// A client for one server, with `token` on each request.
///
/// # Errors
/// When the system's certificate authorities cannot be read, although the server uses https.
pub(crate) fn open(base: &BaseUrl, token: Option<&str>) -> Result<Client, String> {
    let roots = if base.is_encrypted() { authorities()? } else { RootCertStore::empty() };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    let connector = Connector::new().rustls_0_23(Arc::new(tls)).timeout(CONNECT).handshake_timeout(CONNECT);
    let mut client = Client::builder()
        .connector(connector)
        .disable_timeout()
        .add_default_header(("User-Agent", concat!("trident-standalone/", env!("CARGO_PKG_VERSION"))));
    if let Some(token) = token {
        client = client.bearer_auth(token);
    }
    Ok(client.finish())
}

fn authorities() -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    let (good, _) = roots.add_parsable_certificates(found.certs);
    if good > 0 {
        return Ok(roots);
    }
    let why = found.errors.first().map(|error| format!(" ({error})")).unwrap_or_default();
    Err(format!("this system has no certificate authorities{why}: install ca-certificates, or set SSL_CERT_FILE"))
}

/// An error response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    status: StatusCode,
    message: Option<String>,
    retry_after: Option<Duration>,
}

impl Refusal {
    /// From the parts of a response.
    pub(crate) fn of(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Self {
        #[derive(Deserialize)]
        struct ErrorBody {
            error: Inner,
        }
        #[derive(Deserialize)]
        struct Inner {
            message: String,
        }
        let message = serde_json::from_slice::<ErrorBody>(body).ok().map(|answer| answer.error.message);
        let seconds = headers.get("Retry-After").and_then(|value| value.to_str().ok()?.trim().parse().ok());
        Self { status, message, retry_after: seconds.map(Duration::from_secs) }
    }

    /// How long to wait before the same request may succeed; `None` if it never will, as far as is known.
    pub(crate) fn worth_another(&self) -> Option<Duration> {
        let may_pass = self.status.is_server_error() && self.status != StatusCode::NOT_IMPLEMENTED
            || matches!(self.status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT);
        may_pass.then(|| self.retry_after.unwrap_or_default().min(MAX_WAIT))
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.message {
            Some(message) => write!(f, "{}: {}", self.status, plain(message))?,
            None => write!(f, "{}", self.status)?,
        }
        // The server's message names headers, which are not used here.
        if self.status == StatusCode::UNAUTHORIZED {
            f.write_str(" (set a token with TRIDENT_TOKEN or --token)")?;
        }
        Ok(())
    }
}

/// Growing, random pauses between attempts, so that many clients that lost one server do not reconnect at the same time.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(500);
    const MAX_PAUSE: Duration = Duration::from_secs(15);

    /// How long to wait after another failure: `asked` or longer.
    pub(crate) fn next(&mut self, asked: Duration) -> Duration {
        let ceiling = Self::FIRST.saturating_mul(1 << self.failures.min(10)).min(Self::MAX_PAUSE);
        self.failures = self.failures.saturating_add(1);
        asked + ceiling.mul_f64(rand::rng().random_range(0.5..=1.0))
    }

    /// Resets the pauses after a success.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_url_is_the_prefix_of_the_services_paths() {
        for (text, base) in [
            ("http://localhost:8080", "http://localhost:8080"),
            ("localhost:8080", "http://localhost:8080"),
            ("https://push.example.org/", "https://push.example.org"),
            ("https://example.org/push/events", "https://example.org/push"),
            ("http://[::1]:80/data", "http://[::1]:80"),
        ] {
            assert_eq!(text.parse::<BaseUrl>().unwrap().to_string(), base, "{text}");
        }
        for text in ["", "ftp://x", "http://", "http://x y", "http://x/events?channel=a"] {
            assert!(text.parse::<BaseUrl>().is_err(), "{text}");
        }
    }

    #[test]
    fn queries_are_escaped() {
        let base: BaseUrl = "x".parse().unwrap();
        assert_eq!(base.with("/events", []), "http://x/events");
        assert_eq!(
            base.with("/events", [("channel", "a.b~"), ("event", "chat message&ü")]),
            "http://x/events?channel=a.b~&event=chat%20message%26%C3%BC"
        );
    }

    #[test]
    fn some_refusals_pass_and_others_do_not() {
        let refusal = |status, retry_after: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            if let Some(value) = retry_after {
                headers.insert(
                    actix_web::http::header::RETRY_AFTER,
                    actix_web::http::header::HeaderValue::from_static(value),
                );
            }
            Refusal::of(
                StatusCode::from_u16(status).unwrap(),
                &headers,
                b"{\"error\":{\"code\":\"x\",\"message\":\"no\\u001b \\\"a\\\"\"}}",
            )
        };
        for (status, after, wait) in [
            (503, Some("2"), Some(2)),
            (503, None, Some(0)),
            (429, Some("9999"), Some(60)),
            (502, Some("Sun, 06 Nov 1994 08:49:37 GMT"), Some(0)),
            (400, Some("2"), None),
            (401, None, None),
            (403, None, None),
            (404, None, None),
        ] {
            assert_eq!(refusal(status, after).worth_another(), wait.map(Duration::from_secs), "{status} {after:?}");
        }
        assert_eq!(refusal(403, None).to_string(), "403 Forbidden: no\\u{1b} \"a\"");
        assert!(refusal(401, None).to_string().ends_with("\"a\" (set a token with TRIDENT_TOKEN or --token)"));
    }

    #[test]
    fn pauses_grow_to_a_maximum_and_reset() {
        let mut backoff = Backoff::default();
        let waits: Vec<Duration> = (0..20).map(|_| backoff.next(Duration::ZERO)).collect();
        for (at, wait) in waits.iter().enumerate() {
            let ceiling = Duration::from_millis(500 << at.min(5)).min(Duration::from_secs(15));
            assert!((ceiling / 2..=ceiling).contains(wait), "{at}: {wait:?}");
        }
        backoff.reset();
        assert!(backoff.next(Duration::from_secs(2)) <= Duration::from_millis(2_500));
    }
}
