//! Durable Streams over real connections: what its public conformance tests (e2e/streams) do not ask.

#![allow(clippy::unwrap_used, reason = "tests say what they expect by failing")]

mod bounds;
mod channel;
mod live;
mod parking;
mod permission;
mod race;
mod replicas;
mod subscriptions;

use actix_web::http::Method;
use edge::testing::{Answer, Ask, Site};

const JSON: &str = "application/json";
const TEXT: &str = "text/plain";

/// The service, with settings beyond the usual. Anybody may use streams.
fn site(settings: &[(&str, &str)]) -> Site {
    let open = [("TRIDENT_STREAMS_ANONYMOUS", "on")];
    closed_site(&open.into_iter().chain(settings.iter().copied()).collect::<Vec<_>>())
}

/// The same, where streams need a token.
fn closed_site(settings: &[(&str, &str)]) -> Site {
    Site::start(&streams_svc::DEFAULTS, settings, streams_svc::routes, |_| ())
}

fn put(site: &Site, stream: &str) -> Ask {
    site.ask(Method::PUT, &format!("/streams/{stream}"))
}

fn post(site: &Site, stream: &str) -> Ask {
    site.ask(Method::POST, &format!("/streams/{stream}"))
}

/// Creates a stream with these first data.
async fn create(site: &Site, stream: &str, kind: &str, body: &'static str) -> Answer {
    let answer = put(site, stream).body(kind, body).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    answer
}

async fn close(site: &Site, stream: &str) {
    assert_eq!(post(site, stream).header("Stream-Closed", "true").send().await.status, 204);
}

async fn delete(site: &Site, stream: &str) {
    assert_eq!(site.ask(Method::DELETE, &format!("/streams/{stream}")).send().await.status, 204);
}
