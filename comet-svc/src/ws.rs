//! `GET /ws`: the log over a plain WebSocket, for clients without a library.
//!
//! ```text
//! request ─▶ Opening: origin, token, query, slot ─▶ 101, whose body is the connection ([`socket`])
//! frames  ─▶ Frames ─▶ Conversation: commands, limits ─▶ run ─▶ answer ┐
//! log     ─▶ Feed: a cursor, and catch-ups ────────────────▶ messages ┴▶ body
//! ```
//!
//! The body is polled only while the client receives, and then pulls from the log: a client that does not read costs its cursor. One command
//! runs at a time. While it runs, no further frame is read. A connection that waits for messages is [`parking`].

mod answer;
mod close;
mod command;
mod conversation;
mod feed;
mod frames;
mod keep_alive;
mod parking;
mod run;
mod socket;

use actix_web::{
    HttpResponse, HttpResponseBuilder,
    http::{
        StatusCode,
        header::{self, HeaderMap, HeaderValue},
    },
};
pub use command::{Action, Command, CommandError};
use edge::{
    Access, ApiError, address,
    calls::{self, ConnectCall},
    limits::Slot,
    metrics::Transport,
    query::Query,
    response::ResponseBody,
    routes::{RequestBody, RequestParts, ResponseFuture, response},
    service::Service,
    subscribe::{CHANNEL, SINCE, Subscription, selectors},
};
use shared::{live::reader::Reader, pure::Since};
use socketio::websocket::handshake::{self, HandshakeError};

use self::{close::Close, socket::Socket};

/// The subprotocol of this version.
const PROTOCOL: &str = "trident.v1";
/// The beginning of the subprotocol that is the client's token: browsers cannot set other headers of a WebSocket.
const BEARER: &str = "trident.bearer.";
/// The channel of a connection that names none, as at `/events`; nothing if the client may not read it.
const DEFAULT_CHANNEL: &str = "time";

/// Opens a WebSocket.
pub(crate) fn handler(service: &Service, parts: &RequestParts<'_>, body: RequestBody) -> ResponseFuture {
    let opening = Opening::read(service, parts);
    let service = service.clone();
    response(async move {
        let Opening { mut head, admitted, mut slot } = opening?;
        let admitted = match admitted {
            Admitted::Now(admitted) => admitted,
            Admitted::Asked(call, query) => identify(call, &query).await?,
        };
        let (access, subscription) = match admitted {
            Ok(admitted) => admitted,
            Err(close) => return Ok(head.finish().set_body(close.frame().into())),
        };
        let has_cursor = subscription.as_ref().is_some_and(|it| matches!(it.since, Since::After(_)));
        let (reader, channels) = match subscription {
            Some(subscription) => match subscription.open(&service).await {
                Ok(reader) => (reader, subscription.channels),
                Err(error) => {
                    let close = Close::forbidden(&error).ok_or(error)?;
                    return Ok(head.finish().set_body(close.frame().into()));
                }
            },
            None => (Reader::open(service.log(), &[], Since::Now), Vec::new()),
        };
        // Only a request without an upgrade, which is rejected, has another body.
        let RequestBody::Stream(incoming) = body else { return Err(upgrade_required()) };
        access.register(&mut slot, &channels);
        let socket = Socket::new(service, access, (reader, has_cursor), slot, incoming);
        Ok(head.finish().set_body(ResponseBody::live(Box::new(socket))))
    })
}

/// A request for an upgrade, which is answered with 101.
struct Opening {
    head: HttpResponseBuilder,
    admitted: Admitted,
    slot: Slot,
}

/// The client and its channels, if it may read them. Otherwise the connection is closed with a code: browsers do not show the status of a
/// handshake to a page.
type Client = Result<(Access, Option<Subscription>), Close>;

/// Who opens the WebSocket.
enum Admitted {
    /// What the token says.
    Now(Client),
    /// The application is to be asked; with the query, which is read afterwards.
    Asked(ConnectCall, String),
}

impl Opening {
    /// Reads the request.
    ///
    /// # Errors
    /// 426 if it asks for no WebSocket of this version, 400 for an invalid key or query, 403 for a page of another origin, 429 and 503
    /// beyond limits.
    fn read(service: &Service, parts: &RequestParts<'_>) -> Result<Self, ApiError> {
        let (edge, headers) = (&service.edge, parts.headers);
        let query = Query::read(parts.query, &[CHANNEL, SINCE])?;
        // A page that cannot open the WebSocket learns of an invalid name by a plain request.
        selectors(&query)?;
        // Present exactly if the connection can become a WebSocket; see `edge::http1::decoder`.
        if !headers.contains_key(header::UPGRADE) {
            return Err(upgrade_required());
        }
        let accepted = handshake::accept(headers).map_err(|error| match error {
            HandshakeError::Version => ApiError::UpgradeRequired(error.to_string()),
            HandshakeError::Key => ApiError::invalid("bad_upgrade", error),
        })?;
        require_origin(service, headers)?;
        let peer = address::client(parts.peer, headers, &edge.settings.trusted_proxies);
        let shown = handshake::protocols(headers).find_map(|protocol| protocol.strip_prefix(BEARER));
        let access = Access::of_handshake(edge, shown, headers, peer).and_then(|access| {
            access.require_connection()?;
            Ok(access)
        });
        let transport = Transport::PlainWebSocket;
        let opening = || calls::Opening { transport, namespace: None, headers, auth: None };
        let admitted = match access.map(|access| (ConnectCall::new(edge, &access, opening), access)) {
            Ok((Some(call), _)) => Admitted::Asked(call, parts.query.to_owned()),
            Ok((None, access)) => Admitted::Now(client(access, &query)?),
            Err(error) => Admitted::Now(Err(Close::forbidden(&error).ok_or(error)?)),
        };
        let slot = edge.limits.connect(peer, Transport::PlainWebSocket)?;
        let mut head = HttpResponse::build(StatusCode::SWITCHING_PROTOCOLS);
        head.insert_header((header::UPGRADE, HeaderValue::from_static("websocket")));
        head.insert_header((header::SEC_WEBSOCKET_ACCEPT, accepted));
        if handshake::protocols(headers).any(|protocol| protocol == PROTOCOL) {
            head.insert_header((header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(PROTOCOL)));
        }
        Ok(Self { head, admitted, slot })
    }
}

/// The client as the application identifies it.
async fn identify(call: ConnectCall, query: &str) -> Result<Client, ApiError> {
    let access = call.access().await.and_then(|access| {
        access.require_connection()?;
        Ok(access)
    });
    match access {
        Ok(access) => client(access, &Query::read(query, &[CHANNEL, SINCE])?),
        Err(error) => Ok(Err(Close::forbidden(&error).ok_or(error)?)),
    }
}

/// A client with `access`, and its channels.
fn client(access: Access, query: &Query<'_>) -> Result<Client, ApiError> {
    match subscription(query, &access) {
        Ok(subscription) => Ok(Ok((access, subscription))),
        Err(error) => Ok(Err(Close::forbidden(&error).ok_or(error)?)),
    }
}

/// The subscription in the query.
fn subscription(query: &Query<'_>, access: &Access) -> Result<Option<Subscription>, ApiError> {
    let default = DEFAULT_CHANNEL.parse().map_err(ApiError::internal)?;
    if query.get(CHANNEL.name).is_none() && !access.may_subscribe(&default) {
        return Ok(None);
    }
    Subscription::read(query, access, DEFAULT_CHANNEL).map(Some)
}

/// Browsers do not apply CORS to WebSockets, so any page could open one with the cookies of its user (RFC 6455 §10.2).
fn require_origin(service: &Service, headers: &HeaderMap) -> Result<(), ApiError> {
    let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let edge = &service.edge;
    if origin.to_str().is_ok_and(|origin| edge.settings.origins.allows(origin, host)) {
        return Ok(());
    }
    edge.metrics.refusals.bad_origin.inc();
    let message = "only a page of this host or of an origin in TRIDENT_ORIGINS may open a WebSocket";
    Err(ApiError::forbidden("bad_origin", message))
}

fn upgrade_required() -> ApiError {
    let message = "this path serves WebSockets: send a GET of HTTP/1.1 with `Connection: Upgrade`, `Upgrade: websocket` and \
                   `Sec-WebSocket-Version: 13`";
    ApiError::UpgradeRequired(message.to_owned())
}
