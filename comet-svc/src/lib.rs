//! The comet transport: `/data`, polled, long-polled or streamed, with a cursor of the client; and plain WebSockets ([`ws`]).
//!
//! A request is parsed into an [`ask::Ask`]. A stream becomes a reader that is the body of its response; the other modes open a reader,
//! take existing or new messages, and answer ([`answer`]). `POST /data` publishes.

mod answer;
mod ask;
mod batch;
mod data;
mod longpoll;
#[cfg(feature = "openapi")]
pub mod openapi;
mod page;
mod wire;
pub mod ws;

use edge::{
    demo, publish,
    routes::{Resource, Routes},
    service::Service,
    settings::ServiceDefaults,
};
pub use page::{home, pages};
use serde::Serialize;
use shared::pure::Payload;

/// The name of this service and its default address.
pub const DEFAULTS: ServiceDefaults = ServiceDefaults {
    name: "comet-svc",
    about: "Polling, long polling, streaming and WebSockets from Trident's log: /data, /ws",
    version: env!("CARGO_PKG_VERSION"),
    listen: "0.0.0.0:8081",
};

/// The demo channel, which is the default channel.
const RANDOM: &str = "random";

/// The routes of this service: `/data` and `/ws`.
#[must_use]
pub fn routes(service: &Service) -> Routes {
    let (read, written, opened) = (service.clone(), service.clone(), service.clone());
    let data = Resource::default()
        .subscribe(move |parts| data::handler(&read, parts))
        .post(move |parts, body| publish::handler(&written, parts, body));
    let ws = Resource::default().upgrade(move |parts, body| ws::handler(&opened, parts, body));
    Routes::default().resource("/data", data).resource("/ws", ws)
}

/// Starts publishing to the channel `random`: `{"code": <0..100>}`.
pub fn start_demo(service: &Service) {
    #[derive(Serialize)]
    struct Random {
        code: f64,
    }
    demo::tick(service, RANDOM, || Payload::from_value(&Random { code: rand::random::<f64>() * 100.0 }));
}
