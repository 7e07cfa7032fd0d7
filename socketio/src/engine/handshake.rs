//! The first request of a connection, stored compactly: an idle connection keeps it for its whole life.

use std::{
    any::Any,
    net::IpAddr,
    sync::Arc,
    time::{Instant, SystemTime},
};

use actix_web::{
    HttpRequest,
    http::header::{self, HeaderMap},
};

use super::Transport;
use crate::Config;

/// The first request of a connection.
#[derive(Clone, Debug)]
pub struct Handshake {
    /// The request's headers.
    pub headers: Headers,
    /// The path and query, unchanged.
    pub url: Box<str>,
    /// The address of the client, if known.
    pub address: Option<IpAddr>,
    /// The requested transport. A session may be upgraded to another later.
    pub transport: Transport,
    /// Whether the request came from a page of another origin.
    pub xdomain: bool,
    /// Whether the connection is encrypted.
    pub secure: bool,
    /// The time of the request.
    pub time: SystemTime,
    /// The same on the monotonic clock.
    pub since: Instant,
    /// The value of [`Builder::request_data`](crate::Builder::request_data), of any type: see [`request_data`](Self::request_data).
    pub data: Option<Arc<dyn Any + Send + Sync>>,
}

impl Handshake {
    pub(crate) fn of(request: &HttpRequest, transport: Transport, config: &Config) -> Self {
        let trust_proxy = config.trust_proxy;
        let info = request.connection_info();
        let address = if trust_proxy {
            info.realip_remote_addr().and_then(parse_address)
        } else {
            request.peer_addr().map(|peer| peer.ip())
        };
        let secure = if trust_proxy { info.scheme() == "https" } else { request.app_config().secure() };
        let url = request.uri().path_and_query().map_or("/", |url| url.as_str());
        Self::new(request.headers(), url, address, transport, secure, config)
    }

    /// From the parts of the first request.
    pub(crate) fn new(
        headers: &HeaderMap,
        url: &str,
        address: Option<IpAddr>,
        transport: Transport,
        secure: bool,
        config: &Config,
    ) -> Self {
        Self {
            headers: Headers::of(headers, config.kept_headers.as_deref()),
            url: url.into(),
            address,
            transport,
            xdomain: headers.contains_key(header::ORIGIN),
            secure,
            time: SystemTime::now(),
            since: Instant::now(),
            data: None,
        }
    }

    /// The value that [`Builder::request_data`](crate::Builder::request_data) returned for the request.
    pub fn request_data<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        self.data.clone()?.downcast().ok()
    }

    /// The query's pairs, decoded, in order.
    pub fn query(&self) -> Vec<(String, String)> {
        let query = self.url.split_once('?').map_or("", |(_, query)| query);
        parse_query(query)
    }

    /// The first value of a query parameter, decoded.
    pub fn query_value(&self, name: &str) -> Option<String> {
        self.query().into_iter().find_map(|(key, value)| (key == name).then_some(value))
    }

    /// Milliseconds from 1970 to the request: Node's `issued`.
    pub fn issued(&self) -> u64 {
        self.time
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |since| since.as_millis().try_into().unwrap_or(u64::MAX))
    }
}

/// A query string's pairs. Invalid UTF-8 is replaced after decoding, as in browsers.
pub(crate) fn parse_query(query: &str) -> Vec<(String, String)> {
    form_urlencoded::parse(query.as_bytes()).into_owned().collect()
}

fn parse_address(text: &str) -> Option<IpAddr> {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    bare.parse().or_else(|_| text.parse().map(|peer: std::net::SocketAddr| peer.ip())).ok()
}

/// The headers of a request as one block of text: the original map takes several times as much.
#[derive(Clone)]
pub struct Headers(Box<str>);

/// Names and values as in a request, for an application's own tests: names are in lower case, and values contain no line breaks.
impl<N: AsRef<str>, V: AsRef<str>> FromIterator<(N, V)> for Headers {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(headers: I) -> Self {
        let mut text = String::new();
        for (name, value) in headers {
            text.push_str(name.as_ref());
            text.push(':');
            text.push_str(value.as_ref());
            text.push('\n');
        }
        Self(text.into())
    }
}

impl Headers {
    /// The headers of a request that are to be kept.
    fn of(map: &HeaderMap, kept: Option<&[String]>) -> Self {
        let is_kept = |name: &str| kept.is_none_or(|kept| kept.iter().any(|kept| kept == name));
        map.iter()
            .filter(|(name, _)| is_kept(name.as_str()))
            .map(|(name, value)| (name.as_str(), String::from_utf8_lossy(value.as_bytes())))
            .collect()
    }

    /// The first value of a header; its name in lower case.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find_map(|(key, value)| (key == name).then_some(value))
    }

    /// All headers, names in lower case.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.lines().filter_map(|line| line.split_once(':'))
    }
}

impl std::fmt::Debug for Headers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Names only: values contain cookies and tokens, and handshakes are written to logs.
        f.debug_set().entries(self.iter().map(|(name, _)| name)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;

    #[test]
    fn kept_small_and_whole() {
        let request = TestRequest::with_uri("/socket.io/?EIO=4&token=a%20b&t=")
            .insert_header(("X-One", "1: 2"))
            .insert_header(("origin", "http://a.example"))
            .peer_addr("192.0.2.1:5".parse().unwrap())
            .to_http_request();
        let handshake = Handshake::of(&request, Transport::Polling, &Config::default());
        assert_eq!(handshake.headers.get("x-one"), Some("1: 2"));
        assert_eq!(handshake.headers.get("missing"), None);
        assert_eq!(handshake.query_value("token").as_deref(), Some("a b"));
        assert_eq!(handshake.query_value("t").as_deref(), Some(""));
        assert_eq!(handshake.address, Some("192.0.2.1".parse().unwrap()));
        assert!(handshake.xdomain && !handshake.secure);
        assert!(!format!("{handshake:?}").contains("1: 2"));
        let config = Config { kept_headers: Some(vec!["x-one".into(), "x-two".into()]), ..Config::default() };
        let handshake = Handshake::of(&request, Transport::Polling, &config);
        assert_eq!(handshake.headers.iter().collect::<Vec<_>>(), [("x-one", "1: 2")]);
        assert!(handshake.xdomain);
    }

    #[test]
    fn proxies_are_trusted_when_configured() {
        let request = TestRequest::default()
            .insert_header(("x-forwarded-for", "198.51.100.7"))
            .insert_header(("x-forwarded-proto", "https"))
            .peer_addr("127.0.0.1:5".parse().unwrap())
            .to_http_request();
        let near = Handshake::of(&request, Transport::Polling, &Config::default());
        assert_eq!(near.address, Some("127.0.0.1".parse().unwrap()));
        assert!(!near.secure);
        let far = Handshake::of(&request, Transport::Polling, &Config { trust_proxy: true, ..Config::default() });
        assert_eq!(far.address, Some("198.51.100.7".parse().unwrap()));
        assert!(far.secure);
    }
}
