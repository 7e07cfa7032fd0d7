//! `GET /data`: poll, long poll and stream.

use std::{
    convert::Infallible,
    sync::Arc,
    time::{Duration, SystemTime},
};

use actix_web::{
    HttpResponse, ResponseError as _,
    body::BoxBody,
    http::{
        Method,
        header::{self, HeaderValue},
    },
};
use edge::{
    Access, ApiError,
    calls::{ConnectCall, Opening},
    connections::End,
    guarded::Guarded,
    limits::Slot,
    metrics::{Transport, TransportMetrics},
    response::ResponseBody,
    routes::{OwnedParts, RequestParts, ResponseFuture, response, response_ready},
    service::Service,
    settings::CallKind,
    stream::{Stream, StreamSchedule},
};
use futures_util::stream;
use shared::{
    live::reader::{self, Batch, Limit},
    pure::{Message, Since},
};

use crate::{
    answer,
    ask::{Ask, Format, Mode},
    wire::Lines,
};

/// How soon a client retries that was answered because the process is shutting down.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// Answers with the messages after the cursor. `HEAD` gets the head of the `GET`, as far as it is known without waiting, and is limited
/// like `GET`.
pub(crate) fn handler(service: &Service, parts: &RequestParts<'_>) -> ResponseFuture {
    let access = Access::of(&service.edge, parts);
    if !service.edge.calls.asks(CallKind::Connect) {
        return respond(service, parts, access, None);
    }
    let transport = match Ask::transport(parts) {
        Ok(transport) => transport,
        Err(error) => return response_ready(Err(error)),
    };
    let opening = || Opening { transport, namespace: None, headers: parts.headers, auth: None };
    let Some(call) = ConnectCall::new(&service.edge, &access, opening) else {
        return respond(service, parts, access, None);
    };
    // The application is not asked in vain, and while it is, the request counts as a connection.
    if let Err(error @ ApiError::Invalid { .. }) = Ask::read(parts, &access) {
        return response_ready(Err(error));
    }
    let slot = match service.edge.limits.connect(access.address(), transport) {
        Ok(slot) => slot,
        Err(refused) => return response_ready(Err(refused.into())),
    };
    let (service, parts) = (service.clone(), OwnedParts::from(parts));
    Box::pin(async move {
        match call.access().await {
            Ok(access) => respond(&service, &parts.parts(), access, Some(slot)).await,
            Err(error) => ResponseBody::boxed(error.error_response()),
        }
    })
}

/// The answer to a client with `access`. `slot` is that of its connection, if it has one already.
fn respond(service: &Service, parts: &RequestParts<'_>, access: Access, slot: Option<Slot>) -> ResponseFuture {
    let (ask, is_head) = (Ask::read(parts, &access), parts.method == Method::HEAD);
    let service = service.clone();
    response(async move {
        let ask = ask?;
        access.require_connection()?;
        // A HEAD delivers no messages.
        let uncounted = is_head.then(TransportMetrics::default);
        let slot = |transport| slot.map_or_else(|| service.edge.limits.connect(access.address(), transport), Ok);
        match ask.mode {
            Mode::Stream => {
                let mut slot = slot(Transport::Stream)?;
                let times = StreamSchedule::of(&service.edge.settings, &access);
                let reader = ask.subscription.open(&service).await?;
                if let Some(end) = answer::ended(&ask, &reader) {
                    return Ok(ResponseBody::boxed(answer::over(end)));
                }
                let mut answer = answer::streamed(reader.place());
                if is_head {
                    // A body of unknown length, like that of the GET; a HEAD is sent none of it.
                    return Ok(ResponseBody::boxed(answer.streaming(stream::empty::<Result<_, Infallible>>())));
                }
                access.register(&mut slot, &ask.subscription.channels);
                let lines = Lines { format: ask.format, publisher: ask.publisher };
                Ok(answer.finish().set_body(Stream::new(reader, lines, slot, times).into()))
            }
            Mode::Poll => {
                let slot = slot(Transport::Poll)?;
                let figures = uncounted.as_ref().unwrap_or(slot.figures());
                let mut reader = ask.subscription.open(&service).await?;
                let answer = match newest(&ask, &service).await {
                    Some(newest) => {
                        let batch = Batch { gap: None, end: None, cursor: newest.id, messages: vec![newest] };
                        answer::raw(&ask, &batch, figures)
                    }
                    None => {
                        let batch = reader.stored(limit(&ask, &service)).await;
                        answer::require_place(&ask, &reader, batch.as_ref())?;
                        answer::answer(&ask, &reader, batch, &service.edge.unread, figures)
                    }
                };
                Ok(held(answer, slot))
            }
            Mode::LongPoll => {
                let slot = slot(Transport::LongPoll)?;
                let is_late = service.edge.drain.is_draining();
                let figures = uncounted.as_ref().unwrap_or(slot.figures());
                let mut reader = ask.subscription.open(&service).await?;
                let mut is_draining = false;
                let is_over = answer::ended(&ask, &reader).is_some();
                let batch = if is_head || is_over {
                    match reader.stored(limit(&ask, &service)).await {
                        None if !is_over => return Ok(ResponseBody::boxed(answer::unknown(&ask))),
                        batch => batch,
                    }
                } else {
                    // An answer that was opened with a token ends when the token expires.
                    let wait = access.expires_in(SystemTime::now()).map_or(ask.wait, |left| left.min(ask.wait));
                    let polling = access.register_poll(&ask.subscription.channels, ask.wait);
                    let batch = tokio::select! {
                        biased;
                        // First: it may have been ended before it was registered.
                        end = polling.ended() => return Err(ended(end, &access)),
                        batch = tokio::time::timeout(wait, reader.next(limit(&ask, &service))) => batch,
                    };
                    // The log is closed once the process drains.
                    is_draining = matches!(batch, Ok(None));
                    batch.ok().flatten()
                };
                if is_draining {
                    // With an earlier answer, the client would retry here immediately. A client that already did waits.
                    service.edge.drain.port_closed().await;
                    if is_late {
                        tokio::time::sleep(RETRY_AFTER).await;
                    }
                }
                answer::require_place(&ask, &reader, batch.as_ref())?;
                let mut answer = answer::answer(&ask, &reader, batch, &service.edge.unread, figures);
                if is_draining {
                    answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER.as_secs()));
                }
                Ok(held(answer, slot))
            }
        }
    })
}

/// The answer to a poll that is ended from outside.
fn ended(end: End, access: &Access) -> ApiError {
    match end {
        End::Revoked => ApiError::BadToken("the token has been revoked".to_owned()),
        // With the time for which the user's connections are refused; a client without a user may connect again.
        End::Disconnected => access
            .require_connection()
            .err()
            .unwrap_or_else(|| ApiError::forbidden("disconnected", "a backend has disconnected this client")),
    }
}

/// An answer that keeps its slot until the client has read it: a client that reads slowly counts for as long.
fn held(answer: HttpResponse, slot: Slot) -> HttpResponse<ResponseBody> {
    answer.map_body(|_, body| BoxBody::new(Guarded::new(body, slot)).into())
}

/// The limit of one answer. A raw answer contains one message; the client gets the next one with its next request.
fn limit(ask: &Ask, service: &Service) -> Limit {
    match ask.format {
        Format::Raw => Limit { messages: 1, bytes: usize::MAX },
        // The requested number, but not a thousand of the largest messages: the cursor leads to the rest.
        Format::Batch => Limit { messages: ask.limit, bytes: service.edge.unread.limit() },
    }
}

/// The answer to a raw poll without a cursor: the newest message.
async fn newest(ask: &Ask, service: &Service) -> Option<Arc<Message>> {
    let is_wanted = ask.mode == Mode::Poll && ask.format == Format::Raw && ask.subscription.since == Since::Now;
    if is_wanted { reader::newest(service.log(), &ask.subscription.channels).await } else { None }
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderMap;
    use edge::{Settings, routes::RequestBody, settings::ServiceDefaults};

    use super::*;

    /// In bytes.
    const MAX_FUTURE: usize = 1_536;

    /// Every request moves its future, and a long poll keeps it for as long as it waits: what few of them do is in a box of its own.
    #[actix_web::test]
    async fn the_future_of_a_request_is_small() {
        let defaults = ServiceDefaults { name: "test", about: "", version: "0", listen: "127.0.0.1:0" };
        let settings =
            Settings::from_sources(&defaults, [], [("TRIDENT_BUS", "memory"), ("TRIDENT_PUBLIC", "*")]).unwrap();
        let service = Service::open(settings, &defaults).unwrap();
        let headers = HeaderMap::new();
        let parts = |method, query| RequestParts { method, path: "/data", query, headers: &headers, peer: None };
        let poll = handler(&service, &parts(&Method::GET, "channel=a"));
        let publish =
            edge::publish::handler(&service, &parts(&Method::POST, "channel=a"), RequestBody::Complete("1".into()));
        let sizes = (size_of_val(&*poll), size_of_val(&*publish));
        assert!(sizes.0 <= MAX_FUTURE && sizes.1 <= MAX_FUTURE, "{sizes:?} bytes");
    }
}
