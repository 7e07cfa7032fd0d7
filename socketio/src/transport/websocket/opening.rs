//! Requests for WebSockets of a server that reads requests itself.

use std::{net::IpAddr, sync::Arc};

use actix_web::{
    HttpResponse, HttpResponseBuilder,
    error::PayloadError,
    http::header::{self, HeaderMap, HeaderValue},
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, future::LocalBoxFuture, stream};

use super::{
    super::{Arrival, Query, answered, cors, wants_upgrade},
    ClientBytes, WebSocket,
};
use crate::{
    engine::{Conn, Core, Handshake, Protocol, Refusal, Transport},
    websocket::handshake,
};

/// A request for a WebSocket, for servers that read requests themselves. It is one that RFC 6455 §4.2.1 allows as far as its method, its HTTP
/// version, `Connection` and `Upgrade` are concerned, and has no body.
#[derive(Clone, Debug)]
pub struct WebSocketRequest<'a> {
    /// The path, which is that of the server.
    pub path: &'a str,
    /// Without the question mark.
    pub query: &'a str,
    /// All fields.
    pub headers: &'a HeaderMap,
    /// The address of the peer.
    pub address: Option<IpAddr>,
}

/// What an upgrade leads to.
type Answer = Result<HttpResponse<WebSocket>, HttpResponse>;

/// See [`SocketIo::answer_upgrade`](crate::SocketIo::answer_upgrade).
pub(crate) fn answer_upgrade(
    core: &Arc<Core>,
    request: &WebSocketRequest<'_>,
    incoming: impl Stream<Item = Result<Bytes, PayloadError>> + 'static,
) -> Option<LocalBoxFuture<'static, Answer>> {
    let (config, headers, hooks) = (&core.config, request.headers, &core.hooks);
    let query = Query::parse(request.query);
    // Whatever is refused before the application is asked goes by the routes, and so does what is seen by hooks.
    let is_plain = query.transport.as_deref() == Some("websocket")
        && config.websocket
        && !config.trust_proxy
        && hooks.are_empty()
        && hooks.take_data.is_none()
        && wants_upgrade(headers)
        && cors::is_well_formed(headers)
        && config.origins.allow(headers);
    let accepted = handshake::accept(headers).ok().filter(|_| is_plain)?;
    if query.has_sid() {
        let conn = core.find_alive(query.sid.as_deref()?)?;
        return Some(Box::pin(async move { upgrade(conn, accepted, incoming.boxed_local()) }));
    }
    let protocol = match query.eio.as_deref() {
        Some("4") => Protocol::V4,
        #[cfg(feature = "eio3")]
        _ if config.allow_eio3 => Protocol::V3,
        _ => return None,
    };
    let url = format!("{}?{}", request.path, request.query);
    let handshake = Handshake::new(headers, &url, request.address, Transport::WebSocket, false, config);
    let core = core.clone();
    Some(Box::pin(async move {
        let entered = answered(async {
            let handshake = Arc::new(handshake);
            let permit = core.admission.allow(&handshake).await.map_err(Refusal::Forbidden)?;
            Arrival { protocol, handshake, permit }.enter(&core)
        });
        match entered.await {
            Ok(conn) => Ok(switch(accepted).finish().set_body(WebSocket::open(conn, incoming.boxed_local()))),
            Err(refusal) => {
                refusal.count(&core.counters);
                log::debug!("refused an upgrade: {refusal}");
                Err(refusal.into_upgrade_response())
            }
        }
    }))
}

#[expect(clippy::result_large_err, reason = "it is the answer")]
fn upgrade(conn: Arc<Conn>, accepted: HeaderValue, incoming: ClientBytes) -> Answer {
    match WebSocket::attach(conn, incoming) {
        Ok(socket) => Ok(switch(accepted).finish().set_body(socket)),
        Err(goodbye) => Err(switch(accepted).streaming(stream::iter([Ok::<_, PayloadError>(goodbye)]))),
    }
}

/// The head of the answer.
fn switch(accepted: HeaderValue) -> HttpResponseBuilder {
    let mut response = HttpResponse::SwitchingProtocols();
    response.upgrade("websocket").insert_header((header::SEC_WEBSOCKET_ACCEPT, accepted));
    // As actix-web has it for every streamed body.
    response.insert_header((header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream")));
    response
}
