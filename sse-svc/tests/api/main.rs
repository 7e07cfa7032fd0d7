//! `/events`, checked against docs/PROTOCOL.md over real connections.

#![allow(clippy::unwrap_used, reason = "tests say what they expect by failing")]

mod connect;
mod endings;
mod events;
mod patterns;
mod permission;
mod publishing;
mod resuming;
mod slow;
mod streams;

use edge::testing::Site;

/// The service, with settings beyond the usual.
fn site(settings: &[(&str, &str)]) -> Site {
    Site::start(&sse_svc::DEFAULTS, settings, sse_svc::routes, sse_svc::pages)
}
