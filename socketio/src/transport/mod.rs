//! The actix edge: HTTP requests in, [connections](crate::engine::Connection) behind.
//!
//! ```text
//! request ─▶ routes ─▶ check (order fixed by the protocol) ─▶ polling | websocket
//!                          └─▶ refusal, with CORS headers
//! ```

pub(crate) mod cors;
pub(crate) mod errors;
mod polling;
pub(crate) mod receiving;
mod websocket;

pub(crate) use self::websocket::answer_upgrade;
pub use self::websocket::{IdleStep, IdleWebSocket, MessageFrames, WebSocket, WebSocketRequest};

use std::{
    borrow::Cow,
    future::{Future, ready},
    sync::Arc,
};

use actix_web::{
    HttpRequest, HttpResponse,
    http::{
        Method,
        header::{self, HeaderMap},
    },
    web::{self, ServiceConfig},
};

use bytes::Bytes;
use futures_util::future::LocalBoxFuture;

use crate::{
    compress::{self, Coding},
    engine::{Conn, Core, Handshake, Permit, Protocol, Refusal, Stamp, Transport},
    panics::guarded,
};

/// A request of a polling session, for servers that read requests themselves.
#[derive(Clone, Debug)]
pub struct PollRequest<'a> {
    /// GET for a poll, POST for packets.
    pub method: &'a Method,
    /// Without the question mark.
    pub query: &'a str,
    /// `Origin`, `Host`, `Content-Type`, `Accept-Encoding` and `Upgrade` are looked at.
    pub headers: &'a HeaderMap,
    /// All of it.
    pub body: Bytes,
}

/// Mounts the server on its path and everything below.
pub(crate) fn routes(core: Arc<Core>) -> impl FnOnce(&mut ServiceConfig) {
    move |app| {
        let pattern = format!("{}{{tail:.*}}", core.config.path);
        app.service(
            web::resource(pattern)
                .to(move |request: HttpRequest, payload: web::Payload| serve(core.clone(), request, payload)),
        );
    }
}

async fn serve(core: Arc<Core>, request: HttpRequest, payload: web::Payload) -> HttpResponse {
    if *request.method() == Method::OPTIONS {
        return cors::preflight(&core.config, &request);
    }
    #[cfg(feature = "client-bundle")]
    if let Some(bundle) = &core.config.client_bundle
        && let Some(name) = request.path().strip_prefix(core.config.path.trim_end_matches('/'))
        && let Some(name) = name.strip_prefix('/')
        && let Some(mut response) = bundle.respond(name, request.method(), request.headers()).await
    {
        cors::apply(&core.config, request.headers(), response.headers_mut());
        return response;
    }
    let upgrade = wants_upgrade(request.headers());
    // The parts of the request that the answer needs. A WebSocket does not keep the request, which would keep its connection's buffers.
    let cors = cors::answer(&core.config, request.headers());
    let result = answered(answer(&core, &request, payload, upgrade)).await;
    if let Err(refusal) = &result {
        core.hooks.refused(refusal, request.method(), request.uri(), request.headers());
    }
    let is_first = !Query::parse(request.query_string()).has_sid();
    let mut response = if upgrade {
        result.unwrap_or_else(|refusal| {
            refusal.count(&core.counters);
            log::debug!("refused an upgrade: {refusal}");
            refusal.into_upgrade_response()
        })
    } else {
        conclude(&core, cors, result)
    };
    core.hooks.headers(is_first, request.uri(), request.headers(), response.headers_mut());
    response
}

/// The result of a request, also if code of the application panics that the request calls: its client waits for an answer.
async fn answered<T>(answer: impl Future<Output = Result<T, Refusal>>) -> Result<T, Refusal> {
    guarded("a hook of the application", answer).await.unwrap_or(Err(Refusal::Internal))
}

/// An answer as it goes out, a refusal too.
fn conclude(core: &Core, cors: cors::Answer, result: Result<HttpResponse, Refusal>) -> HttpResponse {
    let mut response = result.unwrap_or_else(|refusal| {
        refusal.count(&core.counters);
        log::debug!("refused a request: {refusal}");
        refusal.into_response()
    });
    cors.write(response.headers_mut());
    response
}

async fn answer(
    core: &Arc<Core>,
    request: &HttpRequest,
    payload: web::Payload,
    upgrade: bool,
) -> Result<HttpResponse, Refusal> {
    let query = Query::parse(request.query_string());
    match check(core, request, &query, upgrade).await? {
        Found::Session(conn) if upgrade => websocket::upgrade(conn, request, payload),
        Found::Session(conn) => {
            let terms = Terms::of_session(&conn, &query, request.headers());
            match *request.method() {
                Method::GET => polling::poll(&conn, &terms).await,
                Method::POST => {
                    let body = polling::read(core, request, payload);
                    polling::post(&conn, &terms, body).await
                }
                _ => Err(Refusal::BadRequest),
            }
        }
        Found::Arrival(arrival) if upgrade => websocket::open(core, arrival, request, payload),
        Found::Arrival(arrival) => polling::open(core, arrival, &Terms::of(core, &query, request.headers())).await,
    }
}

/// See [`SocketIo::answer_poll`](crate::SocketIo::answer_poll).
pub(crate) fn answer_poll(
    core: &Arc<Core>,
    request: &PollRequest<'_>,
) -> Option<LocalBoxFuture<'static, HttpResponse>> {
    let query = Query::parse(request.query);
    let is_plain = query.transport.as_deref() == Some("polling")
        && core.config.polling
        && matches!(*request.method, Method::GET | Method::POST)
        && request.body.len() <= core.config.max_http_buffer_size
        && !wants_upgrade(request.headers)
        && cors::is_well_formed(request.headers);
    let sid = query.sid.as_deref().filter(|_| is_plain)?;
    let conn = core.find_alive(sid).filter(|conn| conn.transport() == Transport::Polling)?;
    let terms = Terms::of_session(&conn, &query, request.headers);
    let cors = cors::answer(&core.config, request.headers);
    // Where hooks want to see each request, all go by the routes.
    if !core.hooks.are_empty() {
        return None;
    }
    let (core, is_get, body) = (core.clone(), *request.method == Method::GET, request.body.clone());
    Some(Box::pin(async move {
        let result = if is_get {
            answered(polling::poll(&conn, &terms)).await
        } else {
            answered(polling::post(&conn, &terms, ready(Ok(body)))).await
        };
        conclude(&core, cors, result)
    }))
}

enum Found {
    Session(Arc<Conn>),
    Arrival(Arrival),
}

/// Somebody who may come in.
struct Arrival {
    protocol: Protocol,
    handshake: Arc<Handshake>,
    permit: Option<Permit>,
}

impl Arrival {
    fn enter(self, core: &Arc<Core>) -> Result<Arc<Conn>, Refusal> {
        core.accept(self.protocol, self.handshake, self.permit)
    }
}

/// All checks before a request reaches a transport, in the order that decides which error a client gets.
async fn check(core: &Arc<Core>, request: &HttpRequest, query: &Query<'_>, upgrade: bool) -> Result<Found, Refusal> {
    let config = &core.config;
    let transport = match query.transport.as_deref() {
        Some("polling") if config.polling => Transport::Polling,
        Some("websocket") if config.websocket => Transport::WebSocket,
        _ => return Err(Refusal::UnknownTransport),
    };
    if !cors::is_well_formed(request.headers()) {
        return Err(Refusal::BadRequest);
    }
    if let Some(sid) = query.sid.as_deref().filter(|sid| !sid.is_empty()) {
        let conn = core.find_alive(sid).ok_or(Refusal::UnknownSid)?;
        if (!upgrade && conn.transport() != transport) || (upgrade && transport != Transport::WebSocket) {
            return Err(Refusal::BadRequest);
        }
        if upgrade {
            check_origin(core, request)?;
        }
        return Ok(Found::Session(conn));
    }
    if *request.method() != Method::GET {
        return Err(Refusal::BadMethod);
    }
    if upgrade != (transport == Transport::WebSocket) {
        return Err(Refusal::BadRequest);
    }
    check_origin(core, request)?;
    let mut handshake = Handshake::of(request, transport, config);
    handshake.data = core.hooks.request_data(request);
    let handshake = Arc::new(handshake);
    let permit = core.admission.allow(&handshake).await.map_err(Refusal::Forbidden)?;
    let protocol = match query.eio.as_deref() {
        Some("4") => Protocol::V4,
        #[cfg(feature = "eio3")]
        _ if config.allow_eio3 => Protocol::V3,
        _ => return Err(Refusal::UnsupportedProtocol),
    };
    Ok(Found::Arrival(Arrival { protocol, handshake, permit }))
}

/// Browsers apply CORS to polling only, and only to reading responses. An origin that is not allowed must not be admitted at all.
fn check_origin(core: &Core, request: &HttpRequest) -> Result<(), Refusal> {
    if core.config.origins.allow(request.headers()) {
        return Ok(());
    }
    core.counters.refused_origin.inc();
    Err(Refusal::Forbidden("Forbidden".into()))
}

/// The query parameters that Engine.IO knows.
#[derive(Default)]
struct Query<'a> {
    transport: Option<Cow<'a, str>>,
    eio: Option<Cow<'a, str>>,
    sid: Option<Cow<'a, str>>,
    /// The number of a JSONP callback.
    j: Option<Cow<'a, str>>,
    /// The client cannot take binary (protocol 3).
    b64: bool,
    /// Drawn anew by clients for each request.
    t: Option<Cow<'a, str>>,
}

impl<'a> Query<'a> {
    fn has_sid(&self) -> bool {
        self.sid.as_deref().is_some_and(|sid| !sid.is_empty())
    }

    fn parse(query: &'a str) -> Self {
        let mut parsed = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "transport" => parsed.transport = Some(value),
                "EIO" => parsed.eio = Some(value),
                "sid" => parsed.sid = Some(value),
                "j" => parsed.j = Some(value),
                "t" => parsed.t = Some(value),
                "b64" => parsed.b64 = !value.is_empty() && value != "0",
                _ => {}
            }
        }
        parsed
    }
}

/// In which form a client sends and takes payloads.
struct Terms {
    /// The number of a JSONP callback, where the server speaks JSONP.
    jsonp: Option<Box<str>>,
    /// It takes binary.
    binary: bool,
    /// What it sends is binary.
    sends_binary: bool,
    /// How a long answer is compressed.
    coding: Option<Coding>,
    /// By which a request that was sent again is known.
    stamp: Option<Stamp>,
}

impl Terms {
    /// Those of a request of an open session. Whether the client takes binary was settled by its handshake: later requests of protocol 3
    /// need not say `b64` again.
    fn of_session(conn: &Conn, query: &Query<'_>, headers: &HeaderMap) -> Self {
        let mut terms = Self::of(&conn.core, query, headers);
        if terms.binary && conn.protocol() != Protocol::V4 {
            let url = &conn.handshake.url;
            let handshake = Query::parse(url.split_once('?').map_or("", |(_, query)| query));
            terms.binary = !handshake.b64;
        }
        terms
    }

    fn of(core: &Core, query: &Query<'_>, headers: &HeaderMap) -> Self {
        #[cfg(feature = "jsonp")]
        let jsonp = query.j.as_deref().filter(|_| core.config.jsonp).map(Box::from);
        #[cfg(not(feature = "jsonp"))]
        let jsonp = None;
        Self {
            binary: !query.b64 && jsonp.is_none(),
            jsonp,
            sends_binary: headers.get(header::CONTENT_TYPE).is_some_and(|value| value == "application/octet-stream"),
            coding: core.config.compress_from.and_then(|_| compress::choose(headers)),
            stamp: query.t.as_deref().map(Stamp::of),
        }
    }
}

/// Whether the client asks to leave HTTP. Decides the form of an error, so it looks at what the client wants and not at whether it asks well.
fn wants_upgrade(headers: &HeaderMap) -> bool {
    headers.get(header::UPGRADE).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
}
