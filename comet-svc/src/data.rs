//! `GET /data`: poll, long poll and stream.

use std::{
    convert::Infallible,
    sync::Arc,
    time::{Duration, SystemTime},
};

use actix_web::{HttpResponse, ResponseError as _, http::Method};
use edge::{
    Access, ApiError,
    calls::{ConnectCall, Opening},
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
    live::reader::{self, Batch, Reader},
    pure::{Message, Since},
};
use tokio::time::{Instant, sleep};

use crate::{
    answer::{self, held},
    ask::{Ask, Format, Mode},
    longpoll::LongPoll,
    wire::Lines,
};

/// How long a client waits for the answer that says again that everything has ended.
const REPEAT: Duration = Duration::from_secs(1);

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
    let (ask, is_head, park_after) = (Ask::read(parts, &access), parts.method == Method::HEAD, parts.park_after);
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
                        answer::raw(ask.style(), &batch, &service.edge.unread, figures)
                    }
                    None => {
                        let batch = answer::stored(&ask, &mut reader, &service).await;
                        answer::require_place(&ask, &reader, batch.as_ref())?;
                        answer::answer(&ask, &reader, batch, &service.edge.unread, figures)
                    }
                };
                Ok(held(answer, slot))
            }
            Mode::LongPoll => {
                let slot = slot(Transport::LongPoll)?;
                let is_late = service.edge.drain.is_draining();
                let reader = ask.subscription.open(&service).await?;
                let is_over = answer::ended(&ask, &reader).is_some();
                if is_head || is_over {
                    // In a box: few need the room for it.
                    return Box::pin(answer_at_once(service, ask, reader, slot, is_head)).await;
                }
                // An answer that was opened with a token ends when the token expires.
                let wait = access.expires_in(SystemTime::now()).map_or(ask.wait, |left| left.min(ask.wait));
                let polling = access.register_poll(&ask.subscription.channels, ask.wait);
                let until = Instant::now() + wait;
                let park_after = park_after.filter(|_| !is_late);
                // In boxes: the one may become the answer that its connection waits for, the other is gone then.
                let poll = Box::new(LongPoll { service, access, ask, polling, until, is_late });
                Box::pin(poll.respond(reader, slot, park_after)).await
            }
        }
    })
}

/// The answer to a long poll that does not wait: to a `HEAD`, which delivers no messages, and to a client after which nothing follows.
async fn answer_at_once(
    service: Service,
    ask: Ask,
    mut reader: Reader,
    slot: Slot,
    is_head: bool,
) -> Result<HttpResponse<ResponseBody>, ApiError> {
    let batch = answer::stored(&ask, &mut reader, &service).await;
    if batch.is_none() && answer::ended(&ask, &reader).is_none() {
        return Ok(ResponseBody::boxed(answer::unknown(&ask)));
    }
    if batch.is_none() {
        // The client knows the end. If it does not understand it, it asks again and again.
        sleep(REPEAT).await;
    }
    answer::require_place(&ask, &reader, batch.as_ref())?;
    let uncounted = TransportMetrics::default();
    let figures = if is_head { &uncounted } else { slot.figures() };
    Ok(held(answer::answer(&ask, &reader, batch, &service.edge.unread, figures), slot))
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
        let parts = |method, query| RequestParts {
            method,
            path: "/data",
            query,
            headers: &headers,
            peer: None,
            park_after: None,
        };
        let poll = handler(&service, &parts(&Method::GET, "channel=a"));
        let publish =
            edge::publish::handler(&service, &parts(&Method::POST, "channel=a"), RequestBody::Complete("1".into()));
        let sizes = (size_of_val(&*poll), size_of_val(&*publish));
        assert!(sizes.0 <= MAX_FUTURE && sizes.1 <= MAX_FUTURE, "{sizes:?} bytes");
    }
}
