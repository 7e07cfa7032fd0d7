//! The SSE transport: `/events`, where every message is an event and every event's id is a cursor.
//!
//! A request names channels and a cursor; it becomes a reader on the log, and the reader becomes the body of a response
//! that goes on until its time is over. `POST /events` publishes.

mod events;
#[cfg(feature = "openapi")]
pub mod openapi;
mod page;
mod wire;

use actix_web::{
    guard::GuardContext,
    http::{Method, header},
    web::{self, ServiceConfig},
};
use edge::{
    demo,
    lane::{Lanes, answering},
    layer::resource,
    publish,
    service::Service,
    settings::ServiceDefaults,
};
pub use page::home;
use shared::pure::Payload;

/// What this service is called and where it listens unless told.
pub const DEFAULTS: ServiceDefaults = ServiceDefaults {
    name: "sse-svc",
    about: "Server-sent events from Trident's log: /events",
    version: env!("CARGO_PKG_VERSION"),
    listen: "0.0.0.0:8083",
};

/// The demo channel, and what is read where no channel is named.
const TIME: &str = "time";

/// The routes of this service: `/events`, its page at `/sse`, and `/` for clients that ask for an event stream there, as
/// `new EventSource("http://127.0.0.1:8080/")` does. To be configured before a page at `/`.
pub fn routes(config: &mut ServiceConfig) {
    config
        .service(web::resource("/").guard(wants_events).get(events::handler))
        .service(
            resource("/events", &[Method::GET, Method::HEAD, Method::POST])
                .route(web::get().to(events::handler))
                .route(web::head().to(events::handler))
                .route(web::post().to(publish::handler)),
        )
        .configure(page::routes);
}

/// Whether a request is a `GET` that asks for an event stream by name; `*/*` is no such wish.
fn wants_events(request: &GuardContext<'_>) -> bool {
    let head = request.head();
    let accepted = head.headers().get_all(header::ACCEPT).filter_map(|value| value.to_str().ok());
    let mut ranges =
        accepted.flat_map(|value| value.split(',')).map(|range| range.split(';').next().unwrap_or_default());
    head.method == Method::GET && ranges.any(|range| range.trim().eq_ignore_ascii_case("text/event-stream"))
}

/// The lanes of this service: `/events`.
#[must_use]
pub fn lanes(service: &Service) -> Lanes {
    let service = service.clone();
    Lanes::one("/events", "/events", move |asked, body| match *asked.method {
        Method::GET => Some(answering(events::answer(&service, asked))),
        Method::POST => publish::lane(&service, asked, body),
        _ => None,
    })
}

/// Begins the ticking of the channel `time`: the second of the minute, as a text.
pub fn start_demo(service: &Service) {
    demo::tick(service, TIME, || {
        let second = shared::live::clock::wall_clock() / 1_000 % 60;
        Payload::from_text(&format!("时间:{second}"))
    });
}
