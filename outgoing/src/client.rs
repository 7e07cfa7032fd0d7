//! One request to an application: a pooled connection, a signature, a deadline, and a bounded answer.
//!
//! Connections belong to a thread with a runtime of its own, which is started with the first request. A worker of the web server sends
//! its request there and waits for the answer: all workers share the connections, and none is lost with the worker that opened it.

use std::{
    error::Error as StdError,
    fmt,
    pin::Pin,
    sync::{Arc, OnceLock, mpsc},
    task::{Context, Poll},
    thread,
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode,
    header::{ACCEPT, CONTENT_TYPE, RETRY_AFTER, USER_AGENT},
};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::CertificateDer};
use tokio::{
    runtime::{Builder, Handle},
    sync::oneshot,
    task::JoinHandle,
};

use crate::{Endpoint, Guard, Sign, guard::Resolver};

/// Maximum size of an answer in bytes. A larger one is an error.
pub const MAX_ANSWER_BYTES: usize = 64 * 1024;
/// How long a connection without a request stays open: less than the 5 s of Node.js, so that a request rarely meets a connection that its
/// server is closing.
const IDLE: Duration = Duration::from_secs(4);
/// How often a request is sent at most whose application says that it has not processed it.
const MAX_ATTEMPTS: usize = 3;
/// A connection of HTTP/2 is checked if nothing came for this long while requests wait, and given up after as long again.
const CHECK: Duration = Duration::from_secs(5);

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const AGENT: &str = concat!("Trident/", env!("CARGO_PKG_VERSION"));

type Connector = HttpsConnector<HttpConnector<Resolver>>;

/// Sends requests; see the module. Clones share the thread, which ends with the last of them. Redirects are not followed, proxies of the
/// environment are not used, cookies are not kept.
#[derive(Clone, Debug, Default)]
pub struct Outgoing(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// Instead of those of the system.
    authorities: Option<Vec<CertificateDer<'static>>>,
    /// Which addresses requests may go to; any without it.
    guard: Option<Guard>,
    running: OnceLock<Result<Running, String>>,
}

/// The thread of the connections.
struct Running {
    runtime: Handle,
    client: Client<Connector, Full<Bytes>>,
    /// For requests without TLS: a [`Guard`] permits them less.
    plain: Client<Connector, Full<Bytes>>,
    /// Dropped with the last user, which ends the thread.
    _end: oneshot::Sender<()>,
}

/// A `POST` of JSON.
#[derive(Clone, Debug)]
pub struct Post<'a> {
    /// Where to.
    pub to: &'a Endpoint,
    /// Visible ASCII; a repetition has the same.
    pub id: &'a str,
    /// JSON.
    pub body: Bytes,
    /// Signs it.
    pub signer: &'a dyn Sign,
    /// When it fails at the latest.
    pub deadline: Instant,
    /// The header `traceparent` (W3C Trace Context), if it is part of a trace.
    pub traceparent: Option<&'a str>,
}

/// The answer of an application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Of any class; redirects, too.
    pub status: StatusCode,
    /// The seconds in `Retry-After`, if it has any.
    pub retry_after: Option<Duration>,
    /// At most [`MAX_ANSWER_BYTES`].
    pub body: Bytes,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PostError {
    /// There is none by the deadline. The application may have got the request.
    #[error("the backend did not answer in time")]
    Deadline,
    /// No connection could be opened, so the application has not got the request.
    #[error("the backend cannot be reached: {0}")]
    Unreachable(String),
    /// The connection broke. The application may have got the request.
    #[error("the connection to the backend broke: {0}")]
    Broken(String),
    /// The answer is too large.
    #[error("the answer of the backend has more than {MAX_ANSWER_BYTES} bytes")]
    TooLarge,
}

impl Outgoing {
    /// As the default, with these certificate authorities instead of those of the system.
    #[must_use]
    pub fn trusting(authorities: Vec<CertificateDer<'static>>) -> Self {
        Self(Arc::new(Inner { authorities: Some(authorities), ..Inner::default() }))
    }

    /// As the default, for URLs of clients: requests go only to addresses that `guard` permits.
    #[must_use]
    pub fn guarded(guard: Guard) -> Self {
        Self(Arc::new(Inner { guard: Some(guard), ..Inner::default() }))
    }

    /// Sends `post` and waits for the whole answer. Dropping the future cancels the request.
    ///
    /// # Errors
    /// When there is no whole answer. An answer with any status is an answer.
    pub async fn post(&self, post: Post<'_>) -> Result<Answer, PostError> {
        let Inner { authorities, guard, running } = &*self.0;
        let running = running.get_or_init(|| Running::start(authorities.as_deref(), guard.as_ref())).as_ref();
        let running = running.map_err(|error| PostError::Unreachable(error.clone()))?;
        let Post { to, id, body, signer, deadline, traceparent } = post;
        if let Some(guard) = guard {
            // An address is not looked up, so the resolver does not see it.
            guard.check(to).map_err(|error| PostError::Unreachable(error.to_string()))?;
        }
        let mut request = Request::new(Full::new(body.clone()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = to.uri().clone();
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        if let Some(Ok(traceparent)) = traceparent.map(HeaderValue::from_str) {
            headers.insert(TRACEPARENT, traceparent);
        }
        signer.sign(id, SystemTime::now(), &body, headers);
        let client = if to.is_plain() { &running.plain } else { &running.client };
        let exchange = exchange(client.clone(), request);
        let exchange = async move { tokio::time::timeout_at(deadline.into(), exchange).await };
        let answer = CancelOnDrop(running.runtime.spawn(exchange)).await;
        answer
            .unwrap_or(Ok(Err(PostError::Broken("the request was cancelled".to_owned()))))
            .unwrap_or(Err(PostError::Deadline))
    }
}

async fn exchange(client: Client<Connector, Full<Bytes>>, request: Request<Full<Bytes>>) -> Result<Answer, PostError> {
    let mut attempts = 1;
    let response = loop {
        match client.request(request.clone()).await {
            Ok(response) => break response,
            Err(error) if attempts < MAX_ATTEMPTS && is_unprocessed(&error) => attempts += 1,
            Err(error) => {
                let why = chain(&error);
                return Err(if error.is_connect() { PostError::Unreachable(why) } else { PostError::Broken(why) });
            }
        }
    };
    let (head, body) = response.into_parts();
    let body = Limited::new(body, MAX_ANSWER_BYTES).collect().await.map_err(|error| {
        if error.is::<LengthLimitError>() { PostError::TooLarge } else { PostError::Broken(chain(&*error)) }
    })?;
    Ok(Answer {
        status: head.status,
        retry_after: retry_after(&head.headers, SystemTime::now()),
        body: body.to_bytes(),
    })
}

/// Whether the application has said over HTTP/2 that it did not process the request, so that repeating it is safe whatever it does: it closes the
/// connection and has not reached this request (`GOAWAY`, RFC 9113 §6.8), or has refused it (`REFUSED_STREAM`, §8.7).
fn is_unprocessed(error: &(dyn StdError + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<h2::Error>() {
            // h2 reports the `GOAWAY` of the application only to requests after the last one that it names. When the connection then closes, the
            // others fail with an error of the connection.
            let is_refused = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
            return error.is_remote() && (error.is_go_away() || is_refused);
        }
        cause = error.source();
    }
    false
}

/// `Retry-After`: seconds, or a date (RFC 9110 §10.2.3).
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let date = || Some(httpdate::parse_http_date(text).ok()?.duration_since(now).unwrap_or_default());
    text.parse().ok().map(Duration::from_secs).or_else(date)
}

/// An error with its causes: the outermost one of hyper says little.
fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

impl Running {
    fn start(authorities: Option<&[CertificateDer<'static>]>, guard: Option<&Guard>) -> Result<Self, String> {
        let tls = tls(authorities).map_err(|error| format!("TLS cannot be used: {error}"))?;
        let [client, plain] =
            [false, true].map(|is_plain| client(tls.clone(), Resolver::new(guard.cloned(), is_plain)));
        let (ready, started) = mpsc::channel();
        let (end, ended) = oneshot::channel::<()>();
        let run = move || {
            let runtime = match Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(error) => return drop(ready.send(Err(error.to_string()))),
            };
            if ready.send(Ok(runtime.handle().clone())).is_ok() {
                let _ = runtime.block_on(ended);
            }
            // A lookup of a name may be running, and nobody waits for it.
            runtime.shutdown_background();
        };
        thread::Builder::new().name("outgoing".to_owned()).spawn(run).map_err(|error| error.to_string())?;
        let runtime = started.recv().map_err(|error| error.to_string())??;
        Ok(Self { runtime, client, plain, _end: end })
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").finish_non_exhaustive()
    }
}

fn tls(authorities: Option<&[CertificateDer<'static>]>) -> Result<ClientConfig, rustls::Error> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(authorities.map_or_else(of_system, <[_]>::to_vec));
    Ok(ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

fn client(tls: ClientConfig, resolver: Resolver) -> Client<Connector, Full<Bytes>> {
    let mut connector = HttpConnector::new_with_resolver(resolver);
    connector.set_nodelay(true);
    connector.enforce_http(false);
    // HTTP/2 where the application offers it in the TLS handshake.
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_or_http()
        .enable_all_versions()
        .wrap_connector(connector);
    Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE)
        .http2_keep_alive_interval(CHECK)
        .http2_keep_alive_timeout(CHECK)
        .build(connector)
}

fn of_system() -> Vec<CertificateDer<'static>> {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        log::warn!("certificate authorities: {error}");
    }
    found.certs
}

/// A task that ends when nobody waits for it any more.
struct CancelOnDrop<T>(JoinHandle<T>);

impl<T> Future for CancelOnDrop<T> {
    type Output = Option<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        Pin::new(&mut self.0).poll(cx).map(Result::ok)
    }
}

impl<T> Drop for CancelOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = UNIX_EPOCH + Duration::from_secs(784_111_777);
        for (text, seconds) in [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("Sun, 06 Nov 1994 08:49:40 GMT", Some(3)),
            ("Sunday, 06-Nov-94 08:49:40 GMT", Some(3)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
        ] {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_str(text).unwrap())]);
            assert_eq!(retry_after(&headers, now), seconds.map(Duration::from_secs), "{text}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }
}
