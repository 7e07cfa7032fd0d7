//! What `/events` says of itself, for docs/openapi.json; see [`edge::openapi`].

#![allow(dead_code, reason = "what is described here is never called")]

use edge::openapi::{Refused, publishing};
use shared::pure::{ChannelName, Cursor};
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

/// What an event has as its data.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
enum Format {
    Raw,
    Message,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
struct EventsQuery {
    /// What to read; `time` where none is named. Messages of several channels come in the order of their ids.
    #[param(max_items = 128, style = Form, explode)]
    channel: Option<Vec<ChannelName>>,
    /// After which cursor, or `earliest` for all that is held; from now on unless it is given.
    #[param(pattern = r"^(earliest|(0|[1-9]\d*)-(0|[1-9]\d*))$")]
    since: Option<String>,
    /// `raw`, the default, has the data of the message as the data of the event, `message` the whole `Message`.
    #[param(inline)]
    format: Option<Format>,
    /// As the header `Last-Event-ID`, for polyfills that cannot set it; the last one counts.
    #[param(rename = "lastEventId", max_items = 16, style = Form, explode)]
    last_event_id: Option<Vec<String>>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
struct EventsHeaders {
    /// The cursor; takes precedence over `since`. Browsers send it by themselves when they reconnect. An id that is not a cursor is a gap.
    #[param(rename = "Last-Event-ID")]
    last_event_id: Option<Cursor>,
}

/// Read an event stream
///
/// The id of each event is its cursor. `event: gap` tells that messages are lost, with a `Gap` as its data. A comment comes after
/// 15 s of silence. The stream ends after about ten minutes, and browsers come back by themselves. When there is no room, the answer
/// is a stream that ends at once and says when to come back, since browsers never come back after another status than 200.
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
             ("X-Accel-Buffering" = String, description = "`no`: proxies are to hand each event on as it comes"))),
        Refused,
    ),
    security((), ("bearer" = []), ("cookie" = []))
)]
fn events() {}
