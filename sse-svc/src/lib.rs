//! The SSE transport: `/events`, where every message is an event and every event's id is a cursor.
//!
//! A request names channels and a cursor. It becomes a reader of the log, and the reader becomes the body of a response that lasts until
//! its maximum age. `POST /events` publishes.

mod events;
mod long;
#[cfg(feature = "openapi")]
pub mod openapi;
mod page;
mod wire;

use actix_web::http::{Method, header};
use edge::{
    demo, publish,
    routes::{RequestParts, Resource, Routes},
    service::Service,
    settings::ServiceDefaults,
};
pub use page::{home, pages};
use shared::pure::Payload;

/// The name of this service and its default address.
pub const DEFAULTS: ServiceDefaults = ServiceDefaults {
    name: "sse-svc",
    about: "Server-sent events from Trident's log: /events",
    version: env!("CARGO_PKG_VERSION"),
    listen: "0.0.0.0:8083",
};

/// The demo channel, which is the default channel.
const TIME: &str = "time";

/// The routes of this service: `/events`, and `/` for clients that ask for an event stream there, as
/// `new EventSource("http://127.0.0.1:8080/")` does.
#[must_use]
pub fn routes(service: &Service) -> Routes {
    let (read, written, tutorial) = (service.clone(), service.clone(), service.clone());
    let events = Resource::default()
        .subscribe(move |parts| events::handler(&read, parts))
        .post(move |parts, body| publish::handler(&written, parts, body));
    Routes::default()
        .resource("/events", events)
        .shortcut("/", "/", move |parts, _| wants_events(parts).then(|| events::handler(&tutorial, parts)))
}

/// Whether a request is a `GET` that asks for an event stream by name; `*/*` does not.
fn wants_events(parts: &RequestParts<'_>) -> bool {
    let accepted = parts.headers.get_all(header::ACCEPT).filter_map(|value| value.to_str().ok());
    let mut ranges =
        accepted.flat_map(|value| value.split(',')).map(|range| range.split(';').next().unwrap_or_default());
    parts.method == Method::GET && ranges.any(|range| range.trim().eq_ignore_ascii_case("text/event-stream"))
}

/// Starts publishing to the channel `time`: the second of the minute, as a text.
pub fn start_demo(service: &Service) {
    demo::tick(service, TIME, || {
        let second = shared::live::clock::wall_clock() / 1_000 % 60;
        Payload::from_text(&format!("时间:{second}"))
    });
}
