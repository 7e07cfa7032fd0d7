//! Subscriptions: durable cursors on streams, whose workers are woken when there is something after them (PROTOCOL.md of Durable Streams, §6, §7).
//!
//! ```text
//! request ─▶ http ─▶ the process that has the lease: holder ─▶ book decides ─▶ entries are stored ─▶ answer
//! append ─▶ Changes of the log ─▶ holder ─▶ book: a wake ─▶ stored ─▶ delivery: POST to the webhook, or an append to the wake stream
//! ```
//!
//! Of all processes on a bus one has the lease: it has all subscriptions in memory ([`book`]), stores each change before it has an effect
//! ([`stored`]), and sends ([`delivery`]). The others pass requests on to it. See docs/decisions/0139-subscriptions-of-streams.md.

mod ack;
mod book;
mod command;
mod delivery;
mod holder;
pub(crate) mod http;
mod limits;
#[cfg(feature = "openapi")]
pub(crate) mod openapi;
pub mod pattern;
pub mod request;
mod signing;
mod status;
mod stored;
mod subscription;

use actix_web::rt;
use edge::{service::Service, settings::StreamSettings};
use outgoing::Guard;

use self::holder::Holder;

/// Starts the part that has the subscriptions, in turn with other processes on the bus. Call it once, within an actix runtime.
pub fn start(service: &Service) {
    if !service.edge.settings.streams.names.is_empty() {
        rt::spawn(Holder::new(service).run());
    }
}

/// Where webhooks of subscriptions may be.
fn guard(settings: &StreamSettings) -> Guard {
    let allowed = settings.hook_allow.clone();
    if allowed.is_empty() {
        return Guard::default();
    }
    Guard::new(move |address| allowed.iter().any(|network| network.contains(address)))
}
