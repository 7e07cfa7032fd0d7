//! `GET /events`: an event stream (WHATWG HTML, "Server-sent events").

use std::convert::Infallible;

use actix_web::{
    HttpResponse, HttpResponseBuilder, ResponseError as _,
    http::{
        Method,
        header::{self, HeaderName, HeaderValue},
    },
};
use edge::{
    Access, ApiError,
    calls::{ConnectCall, Opening},
    limits::Slot,
    metrics::Transport,
    query::{Parameter, Query},
    response::ResponseBody,
    routes::{OwnedParts, RequestParts, ResponseFuture, response, response_ready},
    service::Service,
    stream::{Form as _, Stream, StreamSchedule},
    subscribe::{CHANNEL, SINCE, Subscription, since_last_event},
};
use futures_util::stream;
use shared::pure::{Publisher, Since};

use crate::wire::{EventStream, Format};

const FORMAT: Parameter = Parameter::once("format");
const LAST_EVENT_ID: &str = "Last-Event-ID";
/// Where the last of the channels has ended, if all have.
const END: &str = "Trident-End";
/// The same as the last id in the query, for polyfills of `EventSource` that cannot set a header. They repeat the parameters of the URL.
const LAST_EVENT_ID_QUERY: Parameter = Parameter::repeated("lastEventId", 16);

/// Streams the messages after the cursor. `HEAD` gets the headers only, and is limited like `GET`.
///
/// A browser's `EventSource` never reconnects after a status other than 200. A server at its connection limit therefore answers with an
/// empty stream that contains the time after which to reconnect.
pub(crate) fn handler(service: &Service, parts: &RequestParts<'_>) -> ResponseFuture {
    let access = Access::of(&service.edge, parts);
    let opening = || Opening { transport: Transport::Sse, namespace: None, headers: parts.headers, auth: None };
    let Some(call) = ConnectCall::new(&service.edge, &access, opening) else {
        return respond(service, parts, access, None);
    };
    // The application is not asked in vain, and while it is, the request counts as the stream that it opens.
    if let Err(error @ ApiError::Invalid { .. }) = read(parts, &access) {
        return response_ready(Err(error));
    }
    let slot = service.edge.limits.connect(access.address(), Transport::Sse);
    let (service, parts) = (service.clone(), OwnedParts::from(parts));
    Box::pin(async move {
        let Ok(slot) = slot else { return later() };
        match call.access().await {
            Ok(access) => respond(&service, &parts.parts(), access, Some(slot)).await,
            // As at the connection limit: the client retries by itself.
            Err(ApiError::Unavailable { .. }) => later(),
            Err(error) => ResponseBody::boxed(error.error_response()),
        }
    })
}

/// A stream that ends at once. Its client reconnects later.
fn later() -> HttpResponse<ResponseBody> {
    let form = EventStream { format: Format::Raw, publisher: Publisher::Hidden };
    head().finish().set_body(form.closing().into())
}

/// The answer to a client with `access`. `slot` is that of its connection, if it has one already.
fn respond(service: &Service, parts: &RequestParts<'_>, access: Access, slot: Option<Slot>) -> ResponseFuture {
    let (read, is_head) = (read(parts, &access), parts.method == Method::HEAD);
    let service = service.clone();
    response(async move {
        let (subscription, format) = read?;
        // No content is what an `EventSource` does not reconnect after (WHATWG HTML, "establish the connection").
        if access.require_connection().is_err() {
            return Ok(ResponseBody::boxed(HttpResponse::NoContent().finish()));
        }
        let mut answer = head();
        let form = EventStream { format, publisher: access.publisher() };
        let slot = slot.map_or_else(|| service.edge.limits.connect(access.address(), Transport::Sse), Ok);
        let Ok(mut slot) = slot else { return Ok(answer.finish().set_body(form.closing().into())) };
        if is_head {
            // A body of unknown length, like that of the GET; a HEAD is sent none of it.
            return Ok(ResponseBody::boxed(answer.streaming(stream::empty::<Result<_, Infallible>>())));
        }
        let times = StreamSchedule::of(&service.edge.settings, &access);
        let reader = match subscription.open(&service).await {
            Ok(reader) => reader,
            Err(denied @ ApiError::Denied { .. }) => return Err(denied),
            Err(_) => return Ok(answer.finish().set_body(form.closing().into())),
        };
        // As above: nothing follows the cursor that the client has. Others may not get this answer from a cache.
        if let (Since::After(_), Some(end)) = (subscription.since, reader.ended()) {
            let answer = HttpResponse::NoContent()
                .insert_header((header::CACHE_CONTROL, HeaderValue::from_static("no-store")))
                .insert_header((END, end.to_string()))
                .finish();
            return Ok(ResponseBody::boxed(answer));
        }
        access.register(&mut slot, &subscription.channels);
        Ok(answer.finish().set_body(Stream::new(reader, form, slot, times).into()))
    })
}

/// Parses the request.
fn read(parts: &RequestParts<'_>, access: &Access) -> Result<(Subscription, Format), ApiError> {
    let query = Query::read(parts.query, &[CHANNEL, SINCE, FORMAT, LAST_EVENT_ID_QUERY])?;
    let format = match query.get(FORMAT.name) {
        None | Some("raw") => Format::Raw,
        Some("message") => Format::Message,
        Some(_) => return Err(ApiError::invalid("bad_format", "`format` is raw or message")),
    };
    // Last: everything else does not depend on who asks.
    let mut subscription = Subscription::read(&query, access, crate::TIME)?;
    // A browser without an id has an empty one. It does not send it, but other clients do.
    if let Some(id) = parts.headers.get(LAST_EVENT_ID).filter(|id| !id.is_empty()) {
        subscription.since = since_last_event(id.to_str().ok(), subscription.since);
    } else if let Some(id) = query.all(LAST_EVENT_ID_QUERY.name).last().filter(|id| !id.is_empty()) {
        subscription.since = since_last_event(Some(id), subscription.since);
    }
    Ok((subscription, format))
}

fn head() -> HttpResponseBuilder {
    let mut answer = HttpResponse::Ok();
    answer
        .insert_header((header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream;charset=utf-8")))
        .insert_header((header::CACHE_CONTROL, HeaderValue::from_static("no-store, no-transform")))
        // With `no-transform` (RFC 9111 §5.2.2.6) proxies and middlewares do not compress, and therefore do not buffer events. With the
        // other header, nginx forwards each event immediately.
        .insert_header((HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")));
    answer
}
