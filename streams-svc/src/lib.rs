//! Durable Streams (<https://github.com/durable-streams/durable-streams>, PROTOCOL.md): streams that are created, appended to, read from an
//! offset, closed, forked and deleted over HTTP.
//!
//! A stream is a channel of the log with a lifecycle, and an offset is a cursor. A request names the stream by its path and becomes an operation
//! of the bus ([`create`], [`append`]) or a reader of the log ([`read`], [`live`]). [`subscriptions`] wake workers when there is something to read.

mod append;
mod ask;
pub mod body;
mod cdn_cursor;
mod create;
mod event_data;
pub mod fields;
mod info;
mod live;
pub mod offset;
#[cfg(feature = "openapi")]
pub mod openapi;
mod read;
mod refusal;
pub mod subscriptions;
pub mod target;
mod wait;

use edge::{
    routes::{Resource, Routes},
    service::Service,
    settings::ServiceDefaults,
};

/// The name of this service and its default address.
pub const DEFAULTS: ServiceDefaults = ServiceDefaults {
    name: "streams-svc",
    about: "Durable Streams on Trident's log: /streams",
    version: env!("CARGO_PKG_VERSION"),
    listen: "0.0.0.0:8084",
};

/// The routes of this service: everything below `TRIDENT_STREAMS_PATH`.
#[must_use]
pub fn routes(service: &Service) -> Routes {
    let (read, created, appended, deleted) = (service.clone(), service.clone(), service.clone(), service.clone());
    let stream = Resource::default()
        .subscribe(move |parts| read::handler(&read, parts))
        .put(move |parts, body| create::handler(&created, parts, body))
        .post(move |parts, body| append::handler(&appended, parts, body))
        .delete(move |parts| append::delete(&deleted, parts));
    let root = &service.edge.settings.streams.path;
    Routes::default()
        .below(&format!("{root}/{}", target::RESERVED), "/streams/__ds/{path}", subscriptions::http::resource(service))
        .below(root, "/streams/{path}", stream)
}
