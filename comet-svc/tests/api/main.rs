//! `/data`, checked against docs/PROTOCOL.md over real connections.

#![allow(clippy::unwrap_used, reason = "tests say what they expect by failing")]

mod asking;
mod batch;
mod connect;
mod endings;
mod publishing;
mod raw;
mod stream;
mod streams;
mod waiting;
mod ws;

use edge::{
    metrics::Transport,
    testing::{Site, until},
};

/// The service, with settings beyond the usual.
fn site(settings: &[(&str, &str)]) -> Site {
    Site::start(&comet_svc::DEFAULTS, settings, comet_svc::routes, comet_svc::pages)
}

/// Publishes `count` numbers from 0 on; their ids.
async fn publish(site: &Site, channel: &str, count: usize) -> Vec<String> {
    let mut ids = Vec::new();
    for n in 0..count {
        ids.push(site.publish(channel, n.to_string()).await.to_string());
    }
    ids
}

/// Waits until this many long polls are open: they receive what is published from then on.
async fn waiting(site: &Site, count: i64) {
    let figures = site.service.edge.metrics.transport(Transport::LongPoll);
    // Counted just before the cursor is taken, on a worker that does nothing else meanwhile but that.
    until("the long poll waits", || {
        figures.connections.get() == count
            && site.service.log().stats(0).subscriptions >= usize::try_from(count).unwrap()
    })
    .await;
}
