//! Long-polling: each GET takes what waits, each POST brings packets.
//!
//! ```text
//! GET  ─▶ Conn::begin_poll ─▶ (wait) ─▶ packets ─▶ payload ─▶ compressed ─▶ 200
//! POST ─▶ body, bounded in size and time ─▶ payload ─▶ packets ─▶ Conn::receive ─▶ `ok`
//! ```

use std::{
    convert::Infallible,
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use actix_web::{
    HttpRequest, HttpResponse, HttpResponseBuilder,
    body::{BodySize, MessageBody},
    http::header::{self, HeaderValue},
    rt::time::{sleep, timeout},
    web,
};
use bytes::{Bytes, BytesMut};
use flate2::Compression;
use futures_util::StreamExt as _;

use super::{
    Arrival, Terms,
    receiving::{NoRoom, Receiving},
    websocket::PIECE,
};
use crate::{
    DisconnectReason,
    compress::compress,
    engine::{
        Charge, Conn, Core, Data, Item, Posted, Protocol, Refusal, Transport,
        packet::{DecodeError, Packet},
        payload,
    },
    stats::Counters,
};

/// Opens a session; the answer is its first payload.
pub(super) async fn open(core: &Arc<Core>, arrival: Arrival, terms: &Terms) -> Result<HttpResponse, Refusal> {
    let conn = arrival.enter(core)?;
    let mut response = poll(&conn, terms).await?;
    if let Some(cookie) = &core.config.cookie {
        let value = format!("{}={}; {}", cookie.name, conn.sid, cookie.attributes);
        match HeaderValue::from_str(&value) {
            Ok(value) => response.headers_mut().append(header::SET_COOKIE, value),
            Err(_) => log::error!("the cookie option is not a valid header value"),
        }
    }
    Ok(response)
}

/// An open poll. If it is dropped before its answer is ready, the session ends: the client may have lost messages.
struct Polling<'a> {
    conn: &'a Arc<Conn>,
    answered: bool,
}

impl Drop for Polling<'_> {
    fn drop(&mut self) {
        self.conn.counters().polls_waiting.dec();
        if self.answered {
            self.conn.end_poll();
        } else {
            self.conn.abort_poll();
        }
    }
}

/// Answers a GET as soon as there is something to say.
pub(super) async fn poll(conn: &Arc<Conn>, terms: &Terms) -> Result<HttpResponse, Refusal> {
    conn.begin_poll(terms.stamp).map_err(|_| Refusal::BadRequest)?;
    conn.counters().polls_waiting.inc();
    let mut polling = Polling { conn, answered: false };
    let packets = poll_fn(|cx| collect(conn, cx)).await;
    polling.answered = true;
    drop(polling);
    if packets.is_empty() {
        // It came in before the packet by which the client had changed to a WebSocket, and is answered as if after it.
        return Err(if conn.is_closed() { Refusal::UnknownSid } else { Refusal::BadRequest });
    }
    Ok(respond(conn, &packets, terms))
}

/// All queued messages, up to about the budget. The open packet is sent alone, as in Node: clients read it from the first payload alone.
fn collect(conn: &Arc<Conn>, cx: &mut Context<'_>) -> Poll<Vec<Packet>> {
    let mut packets = Vec::new();
    let mut bytes = 0;
    while bytes < conn.core.config.max_http_buffer_size {
        match conn.poll_outgoing(Transport::Polling, cx) {
            Poll::Ready(Some(Item::Packet(packet))) => {
                let is_open = matches!(packet, Packet::Open(_));
                packets.push(packet);
                if is_open {
                    break;
                }
            }
            Poll::Ready(Some(Item::Message(message, form))) => {
                bytes += message.len();
                packets.extend(message.frames(form).packets());
            }
            Poll::Ready(Some(Item::Batch(messages, form))) => {
                for message in messages {
                    bytes += message.len();
                    packets.extend(message.frames(form).packets());
                }
            }
            Poll::Ready(None) => break,
            Poll::Pending if packets.is_empty() => return Poll::Pending,
            Poll::Pending => break,
        }
    }
    Poll::Ready(packets)
}

fn respond(conn: &Arc<Conn>, packets: &[Packet], terms: &Terms) -> HttpResponse {
    let config = &conn.core.config;
    let encoded = payload::encode(packets, conn.protocol(), terms.binary);
    let (content_type, body): (_, Bytes) = match (encoded, &terms.jsonp) {
        #[cfg(feature = "jsonp")]
        (Data::Text(text), Some(j)) => ("text/javascript; charset=UTF-8", payload::jsonp::wrap(j, &text).into()),
        (Data::Text(text), _) => ("text/plain; charset=UTF-8", text.into_bytes()),
        (Data::Binary(bytes), _) => ("application/octet-stream", bytes),
    };
    let mut response = HttpResponse::Ok();
    response.insert_header((header::CONTENT_TYPE, HeaderValue::from_static(content_type)));
    // Whoever compresses on the way (RFC 9111 §5.2.2.6) would hold the answer back.
    response.insert_header((header::CACHE_CONTROL, HeaderValue::from_static("no-store, no-transform")));
    if config.compress_from.is_some_and(|from| body.len() >= from) {
        response.append_header((header::VARY, "Accept-Encoding"));
        if let Some((compressed, encoding)) =
            terms.coding.and_then(|coding| compress(coding, Compression::fast(), &body))
        {
            response.insert_header((header::CONTENT_ENCODING, encoding));
            return with_body(response, compressed, conn.counters());
        }
    }
    with_body(response, body, conn.counters())
}

/// An answer; a long one is given out in pieces, and counts as waiting until its client has taken it.
fn with_body(mut response: HttpResponseBuilder, body: Bytes, counters: &Arc<Counters>) -> HttpResponse {
    if body.len() <= PIECE {
        return response.body(body);
    }
    let charge = Charge::new(counters, body.len());
    response.body(LongBody { rest: body, _charge: charge })
}

struct LongBody {
    rest: Bytes,
    _charge: Charge,
}

impl MessageBody for LongBody {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.rest.len() as u64)
    }

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, Infallible>>> {
        let rest = &mut self.get_mut().rest;
        let piece = rest.split_to(rest.len().min(PIECE));
        Poll::Ready((!piece.is_empty()).then_some(Ok(piece)))
    }
}

/// A POST in progress. If it is dropped before its body is complete, the session ends: its packets are lost, and later ones would be out of
/// sequence.
struct Posting<'a> {
    conn: &'a Arc<Conn>,
    has_come: bool,
}

impl Drop for Posting<'_> {
    fn drop(&mut self) {
        if !self.has_come {
            self.conn.finish(DisconnectReason::TransportError);
        }
        self.conn.end_post();
    }
}

/// Takes a POST's packets.
pub(super) async fn post(
    conn: &Arc<Conn>,
    terms: &Terms,
    body: impl Future<Output = Result<Bytes, Unread>>,
) -> Result<HttpResponse, Refusal> {
    let posted = conn.begin_post(terms.stamp).map_err(|_| Refusal::BadRequest)?;
    let mut posting = Posting { conn, has_come: false };
    let protocol = conn.protocol();
    if terms.sends_binary && protocol == Protocol::V4 {
        conn.finish(DisconnectReason::TransportError);
        return Err(Refusal::BadRequest);
    }
    let body = body.await;
    posting.has_come = matches!(body, Ok(_) | Err(Unread::TooLarge));
    let body = match body {
        Ok(body) => body,
        Err(Unread::TooLarge) => return Err(Refusal::TooLarge),
        Err(Unread::Aborted) => return Err(Refusal::BadRequest),
        Err(Unread::TooSlow) => return Err(Refusal::Timeout),
        Err(Unread::NoRoom) => return Err(Refusal::NoRoom),
    };
    if posted == Posted::Repeated {
        log::debug!("a POST was repeated: its packets are ignored");
    } else if is_goodbye(&body, protocol, terms) {
        let _leaving = Leaving(conn);
        wait_for_poll(conn).await;
    } else if receive(conn, body, protocol, terms).is_err() {
        conn.finish(DisconnectReason::ParseError);
        return Err(Refusal::BadRequest);
    }
    // `text/html`: with `text/plain`, some old browsers offer the answer as a download.
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, HeaderValue::from_static("text/html")))
        .insert_header((header::CACHE_CONTROL, HeaderValue::from_static("no-store")))
        .body("ok"))
}

/// Whether this is a close packet and nothing else.
fn is_goodbye(body: &[u8], protocol: Protocol, terms: &Terms) -> bool {
    let close: &[u8] = match protocol {
        Protocol::V4 => b"1",
        #[cfg(feature = "eio3")]
        Protocol::V3 => b"1:1",
    };
    body == close && terms.jsonp.is_none() && !terms.sends_binary
}

/// A goodbye, which is taken at the end of its wait. Dropped before, it counts no less: who leaves need not wait for an answer.
struct Leaving<'a>(&'a Arc<Conn>);

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.0.receive(Transport::Polling, Packet::Close);
    }
}

/// A client that leaves sends its close packet while its poll is open, on another TCP connection and perhaps to another thread. The close
/// packet can overtake the poll, which would then find no session instead of a clean end.
async fn wait_for_poll(conn: &Arc<Conn>) {
    for _ in 0..5 {
        if conn.has_poll() {
            return;
        }
        sleep(Duration::from_millis(5)).await;
    }
}

/// Hands the packets over one by one, so that those before a bad one count.
fn receive(conn: &Arc<Conn>, body: Bytes, protocol: Protocol, terms: &Terms) -> Result<(), DecodeError> {
    #[cfg(feature = "jsonp")]
    let body = if terms.jsonp.is_some() { payload::jsonp::unwrap(&body)? } else { body };
    for packet in payload::Packets::new(body, protocol, terms.sends_binary)? {
        conn.receive(Transport::Polling, packet?);
        if conn.is_closed() {
            break;
        }
    }
    Ok(())
}

/// Why there is no body.
pub(super) enum Unread {
    TooLarge,
    Aborted,
    TooSlow,
    NoRoom,
}

/// Reads a body, within its size and its time.
pub(super) async fn read(core: &Arc<Core>, request: &HttpRequest, payload: web::Payload) -> Result<Bytes, Unread> {
    let config = &core.config;
    let read = read_up_to(request, payload, config.max_http_buffer_size, Receiving::new(config, &core.counters));
    timeout(config.body_timeout, read).await.unwrap_or(Err(Unread::TooSlow))
}

async fn read_up_to(
    request: &HttpRequest,
    mut payload: web::Payload,
    limit: usize,
    mut receiving: Receiving,
) -> Result<Bytes, Unread> {
    let declared =
        request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if declared.is_some_and(|declared| declared > limit) {
        return Err(Unread::TooLarge);
    }
    let mut body = BytesMut::new();
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|_| Unread::Aborted)?;
        if body.len() + chunk.len() > limit {
            return Err(Unread::TooLarge);
        }
        body.extend_from_slice(&chunk);
        receiving.set(body.capacity()).map_err(|NoRoom| Unread::NoRoom)?;
    }
    Ok(body.freeze())
}
