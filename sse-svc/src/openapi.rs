//! What `/events` says of itself, for docs/openapi.json; see [`edge::openapi`].

#![allow(dead_code, reason = "these functions are never called")]

use edge::openapi::{Refused, Selector, publishing};
use shared::pure::Cursor;
use utoipa::{IntoParams, OpenApi, ToSchema};

/// The path of this service.
#[must_use]
pub fn openapi() -> utoipa::openapi::OpenApi {
    let mut openapi = Sse::openapi();
    if let Some(events) = openapi.paths.paths.get_mut("/events") {
        events.post = Some(publishing("publish"));
    }
    openapi
}

#[derive(OpenApi)]
#[openapi(paths(events))]
struct Sse;

/// The data of an event.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
enum Format {
    Raw,
    Message,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
struct EventsQuery {
    /// The channels to read; with `trident.api` also patterns such as `chat.*`. Default: `time`. Messages of several channels arrive in the order of their ids.
    #[param(max_items = 128, style = Form, explode)]
    channel: Option<Vec<Selector>>,
    /// The cursor to begin after, or `earliest` for everything that is stored. Default: from now on.
    #[param(pattern = r"^(earliest|(0|[1-9]\d*)-(0|[1-9]\d*))$")]
    since: Option<String>,
    /// `raw`, the default: the data of the message is the data of the event. `message`: the whole `Message` is.
    #[param(inline)]
    format: Option<Format>,
    /// Like the header `Last-Event-ID`, for polyfills that cannot set it; the last one is used.
    #[param(rename = "lastEventId", max_items = 16, style = Form, explode)]
    last_event_id: Option<Vec<String>>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
struct EventsHeaders {
    /// The cursor; takes precedence over `since`. Browsers send it automatically when they reconnect. An id that is not a cursor is a gap.
    #[param(rename = "Last-Event-ID")]
    last_event_id: Option<Cursor>,
}

/// Read an event stream
///
/// The id of each event is its cursor. `event: gap` reports that messages are lost, with a `Gap` as its data, and `event: end` that a Durable Stream has ended.
/// When all channels have ended, the stream ends, and a browser that reconnects gets 204. A comment is sent after 15 s
/// of silence. The stream ends after about ten minutes, and browsers reconnect automatically. At the connection limit, the answer is a
/// stream that ends immediately and contains the time after which to reconnect, since browsers never reconnect after another status than
/// 200.
#[utoipa::path(
    get,
    path = "/events",
    tag = "read",
    operation_id = "readEvents",
    params(EventsQuery, EventsHeaders),
    responses(
        (status = 200, description = "Events (WHATWG HTML, \"Server-sent events\")",
         content((String = "text/event-stream", example = "id: 1763800000000-0\nevent: price\ndata: {\"of\":\"tea\",\"is\":4}\n\n")),
         headers(
             ("Cache-Control" = String, description = "`no-store, no-transform`"),
             ("X-Accel-Buffering" = String, description = "`no`: proxies are to forward each event immediately"))),
        Refused,
    ),
    security((), ("bearer" = []), ("cookie" = []))
)]
fn events() {}
