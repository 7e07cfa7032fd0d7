//! `GET` and `HEAD`: what is in a stream after an offset, at once or as soon as there is something.

use std::{future::poll_fn, time::SystemTime};

use actix_web::{
    HttpResponse, HttpResponseBuilder,
    body::{BoxBody, None as NoBody},
    http::header::{self, HeaderValue},
};
use edge::{
    Access, ApiError,
    connections::End,
    guarded::Guarded,
    limits::Slot,
    pieces::PiecesBody,
    response::ResponseBody,
    routes::{OwnedParts, RequestParts, ResponseFuture},
    service::Service,
    settings::CallKind,
    subscribe::Subscription,
};
use shared::{
    live::{
        clock::wall_clock,
        reader::{Batch, Limit, Reader},
    },
    pure::{Cursor, Since, stream::StreamInfo},
};

use crate::{
    ask::{self, Ask, Mode},
    body, cdn_cursor,
    fields::{self, CLOSED, CURSOR, NEXT_OFFSET, UP_TO_DATE},
    info, live,
    offset::{Offset, Position},
    refusal::{Refusal, respond},
    target,
    wait::{self, Found, Use},
};

/// How soon a client retries that was answered because the process is shutting down.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("2");
/// Maximum number of messages of an answer.
const MAX_MESSAGES: usize = 10_000;

/// Reads the stream of the path.
pub(crate) fn handler(service: &Service, parts: &RequestParts<'_>) -> ResponseFuture {
    let (owned, owner) = (OwnedParts::from(parts), service.clone());
    respond(service, parts, async move {
        let (service, parts) = (owner, owned.parts());
        let access = Access::of(&service.edge, &parts);
        let transport = ask::transport(parts.query);
        let access = target::reader(&service, &parts, transport, access).await?;
        let ask = Ask::read(&service, &parts, access)?;
        // The permission first: who may not read a stream does not learn whether it exists.
        let mut subscription = target::subscription(&service, &ask.access, &ask.channel, Since::Now)?;
        if ask.mode != Mode::Sse {
            subscription.is_poll();
        }
        subscription.permit(&service).await?;
        if ask.is_head {
            return head(&service, &ask, subscription).await;
        }
        read(&service, ask, subscription).await
    })
}

/// The metadata of a stream, within the limits of a `GET`, and with its status if that is an error. It does not count as a use.
async fn head(
    service: &Service,
    ask: &Ask,
    mut subscription: Subscription,
) -> Result<HttpResponse<ResponseBody>, Refusal> {
    let info = info::current(service, &ask.channel, false).await?;
    subscription.since = ask.since(&info);
    let _slot = service.edge.limits.connect(ask.access.address(), ask.transport()).map_err(ApiError::from)?;
    let mut reader = subscription.open(service).await?.with_copies();
    poll_fn(|cx| reader.poll_resolved(cx)).await;
    if poll_fn(|cx| reader.poll_gap(cx)).await {
        return Err(ask.lost(&info).into());
    }
    let mut answer = HttpResponse::Ok();
    fields::tail(&mut answer, &info);
    fields::add_lifetime(&mut answer, info.lifetime);
    answer.insert_header((header::CONTENT_TYPE, info.content_type.as_str()));
    answer.insert_header((header::CACHE_CONTROL, HeaderValue::from_static("no-store")));
    // Not that of nothing: the length of the GET's response is unknown here (RFC 9110 §8.6).
    Ok(answer.finish().set_body(BoxBody::new(NoBody::new()).into()))
}

async fn read(
    service: &Service,
    ask: Ask,
    mut subscription: Subscription,
) -> Result<HttpResponse<ResponseBody>, Refusal> {
    let info = match ask.position {
        // It continues from what it has received, and gets the rest in any case.
        Position::After(cursor) if ask.mode == Mode::LongPoll => {
            service.bus.wait_for(cursor).await;
            info::known(service, &ask.channel, true).await?
        }
        _ => info::current(service, &ask.channel, true).await?,
    };
    subscription.since = ask.since(&info);
    let slot = service.edge.limits.connect(ask.access.address(), ask.transport()).map_err(ApiError::from)?;
    let mut reader = subscription.open(service).await?.with_copies();
    match ask.mode {
        Mode::Sse => {
            // Before the answer begins: a client that got an empty one would only retry with the same offset.
            poll_fn(|cx| reader.poll_resolved(cx)).await;
            if poll_fn(|cx| reader.poll_gap(cx)).await {
                slot.figures().gaps.inc();
                return Err(ask.lost(&info).into());
            }
            Ok(live::answer(service, &ask, &info, reader, slot))
        }
        Mode::CatchUp => {
            let batch = if ask.position == Position::Now { None } else { reader.stored(limit(service)).await };
            Answer { service, ask: &ask, before: &info }.of(batch, slot)
        }
        Mode::LongPoll => long_poll(service, &ask, &info, &mut reader, slot).await,
    }
}

/// The limit of one answer; the client continues from its `Stream-Next-Offset`.
fn limit(service: &Service) -> Limit {
    Limit { messages: MAX_MESSAGES, bytes: service.edge.unread.limit() }
}

async fn long_poll(
    service: &Service,
    ask: &Ask,
    info: &StreamInfo,
    reader: &mut Reader,
    slot: Slot,
) -> Result<HttpResponse<ResponseBody>, Refusal> {
    let wait = ask.access.expires_in(SystemTime::now()).map_or(ask.wait, |left| left.min(ask.wait));
    let _in_use = Use::of(service, &ask.channel);
    let polling = ask.access.register_poll(std::slice::from_ref(&ask.channel), ask.wait);
    let found = tokio::select! {
        biased;
        end = polling.ended() => return Err(ended(end).into()),
        found = tokio::time::timeout(wait, wait::next(reader, info.created, limit(service))) => found,
    };
    let is_draining = matches!(found, Ok(Found::Draining));
    if is_draining {
        // With an earlier answer, the client would retry here immediately.
        service.edge.drain.port_closed().await;
    }
    let batch = if let Ok(Found::Batch(batch)) = found { Some(batch) } else { None };
    let mut answer = Answer { service, ask, before: info }.of(batch, slot)?;
    if is_draining {
        answer.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER);
    }
    Ok(answer)
}

/// The answer to a poll that is ended from outside.
fn ended(end: End) -> ApiError {
    match end {
        End::Revoked => ApiError::BadToken("the token has been revoked".to_owned()),
        End::Behind => ApiError::unavailable("overloaded", "this client is too far behind; retry later"),
        End::Disconnected => ApiError::forbidden("disconnected", "a backend has disconnected this client"),
    }
}

/// What an answer is made of.
struct Answer<'a> {
    service: &'a Service,
    ask: &'a Ask,
    /// The stream before it was read. Another one of the same name is not continued with, and an answer without messages
    /// does not pass over what was appended since.
    before: &'a StreamInfo,
}

impl Answer<'_> {
    /// The answer with the messages of `batch`, or without any.
    fn of(&self, batch: Option<Batch>, slot: Slot) -> Result<HttpResponse<ResponseBody>, Refusal> {
        let Self { service, ask, before } = *self;
        let info = service.bus.stream_info(&ask.channel, false)?;
        if info.created != before.created {
            return Err(ApiError::missing("stream_not_found", "the stream was deleted while it was read").into());
        }
        if batch.as_ref().is_some_and(|batch| batch.gap.is_some()) {
            slot.figures().gaps.inc();
            return Err(ask.lost(&info).into());
        }
        let messages = batch.map(|batch| batch.messages).unwrap_or_default();
        let next = messages.last().map_or_else(|| ask.after_nothing(before), |last| last.id);
        let is_complete = next >= info.tail;
        let is_end = is_complete && info.end.is_some();
        let is_long_poll = ask.mode == Mode::LongPoll;
        let mut answer = match () {
            () if is_long_poll && messages.is_empty() => HttpResponse::NoContent(),
            () => HttpResponse::Ok(),
        };
        let first = messages.first().map(|first| first.id);
        let etag = (ask.position != Position::Now).then(|| etag(ask, info.created, first, next, is_end));
        if let Some(etag) = &etag {
            answer.insert_header((header::ETAG, etag.as_str()));
        }
        answer.insert_header((NEXT_OFFSET, Offset(next).to_string()));
        answer.insert_header((header::CACHE_CONTROL, caching(service, ask, messages.is_empty())));
        if is_complete {
            answer.insert_header((UP_TO_DATE, "true"));
        }
        if is_end {
            answer.insert_header((CLOSED, "true"));
        } else if is_long_poll {
            answer.insert_header((CURSOR, cdn_cursor::next(ask.cdn_cursor, wall_clock()).to_string()));
        }
        if etag.is_some_and(|etag| ask.has(&etag)) && !is_long_poll {
            return Ok(ResponseBody::boxed(not_modified(answer)));
        }
        slot.figures().deliver(&messages);
        answer.insert_header((header::CONTENT_TYPE, info.content_type.as_str()));
        if is_long_poll && messages.is_empty() {
            return Ok(ResponseBody::boxed(answer.finish()));
        }
        let body = PiecesBody::new(body::body(&info.content_type, messages), &service.edge.unread);
        // The slot is kept until the client has read it.
        Ok(answer.finish().set_body(BoxBody::new(Guarded::new(body, slot)).into()))
    }
}

fn not_modified(mut answer: HttpResponseBuilder) -> HttpResponse {
    answer.status(actix_web::http::StatusCode::NOT_MODIFIED).finish()
}

/// Differs when the answer does: by the stream, the range, the first message, which is another one or none after a purge, and whether it ends
/// there.
fn etag(ask: &Ask, created: Cursor, first: Option<Cursor>, next: Cursor, is_end: bool) -> String {
    let from = match ask.position {
        Position::After(cursor) => cursor.to_string(),
        Position::Start | Position::Now => "-1".to_owned(),
    };
    let first = first.map_or_else(|| "none".to_owned(), |first| first.to_string());
    format!("\"{created}:{from}:{first}:{next}{}\"", if is_end { ":c" } else { "" })
}

/// What caches may do. Data before an offset never changes; that there is none yet does. Others may not get what a token or the application has
/// allowed to one.
fn caching(service: &Service, ask: &Ask, is_empty: bool) -> HeaderValue {
    let is_asked = [CallKind::Connect, CallKind::Subscribe].into_iter().any(|kind| service.edge.calls.asks(kind));
    let is_private = ask.access.has_token() || is_asked;
    // Whoever compresses a poll on the way (RFC 9111 §5.2.2.6) would hold it back.
    let is_poll = ask.mode == Mode::LongPoll;
    HeaderValue::from_static(match (is_empty || ask.position == Position::Now, is_private, is_poll) {
        (true, _, false) => "no-store",
        (true, _, true) => "no-store, no-transform",
        (false, true, false) => "private, max-age=60, stale-while-revalidate=300",
        (false, true, true) => "private, max-age=60, stale-while-revalidate=300, no-transform",
        (false, false, false) => "public, max-age=60, stale-while-revalidate=300",
        (false, false, true) => "public, max-age=60, stale-while-revalidate=300, no-transform",
    })
}
