//! `GET /events`: an event stream (WHATWG HTML, "Server-sent events").

use std::convert::Infallible;

use actix_web::{
    HttpResponse, HttpResponseBuilder,
    http::{
        Method,
        header::{self, HeaderName, HeaderValue},
    },
};
use edge::{
    Access, ApiError,
    metrics::Transport,
    query::{Parameter, Query},
    routes::{RequestParts, ResponseFuture, response},
    service::Service,
    stream::{Form as _, Retry, Stream, Times},
    subscribe::{CHANNEL, SINCE, Subscription, since_last_event},
};
use futures_util::stream;

use crate::wire::{EventStream, Format};

const FORMAT: Parameter = Parameter::once("format");
const LAST_EVENT_ID: &str = "Last-Event-ID";
/// The same in the query, as polyfills of `EventSource` send it that may set no header. They repeat what the URL had.
const LAST_EVENT_ID_QUERY: Parameter = Parameter::repeated("lastEventId", 16);

/// Streams what comes after the cursor; `HEAD` gets the headers alone, and is limited as a `GET` is.
///
/// A browser's `EventSource` never comes back after a status but 200, so a server that has no room says so with an empty
/// stream, and with the time after which to come back.
pub(crate) fn handler(service: &Service, parts: &RequestParts<'_>) -> ResponseFuture {
    let access = Access::of(&service.edge, parts);
    let (read, is_head) = (read(parts, &access), parts.method == Method::HEAD);
    let service = service.clone();
    response(async move {
        let (subscription, format) = read?;
        let mut answer = head();
        let form = EventStream { format, retry: Retry::draw() };
        let Ok(slot) = service.edge.limits.connect(access.address(), Transport::Sse) else {
            return Ok(answer.body(form.closing()));
        };
        if is_head {
            // A body of unknown length, as the GET has, of which a HEAD is sent nothing.
            return Ok(answer.streaming(stream::empty::<Result<_, Infallible>>()));
        }
        let times = Times::of(&service.edge.settings, &access);
        let Ok(reader) = subscription.open(&service).await else {
            return Ok(answer.body(form.closing()));
        };
        Ok(answer.body(Stream::new(reader, form, slot, times)))
    })
}

/// What is asked for.
fn read(parts: &RequestParts<'_>, access: &Access) -> Result<(Subscription, Format), ApiError> {
    let query = Query::read(parts.query, &[CHANNEL, SINCE, FORMAT, LAST_EVENT_ID_QUERY])?;
    let mut subscription = Subscription::read(&query, access, crate::TIME)?;
    let format = match query.get(FORMAT.name) {
        None | Some("raw") => Format::Raw,
        Some("message") => Format::Message,
        Some(_) => return Err(ApiError::invalid("bad_format", "`format` is raw or message")),
    };
    // An empty one is what a browser has that was never given an id; it sends none, but other clients do.
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
        // With `no-transform` (RFC 9111 §5.2.2.6) proxies and middlewares do not compress, and so do not hold events back.
        // nginx then hands each event on as it comes.
        .insert_header((HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")));
    answer
}
