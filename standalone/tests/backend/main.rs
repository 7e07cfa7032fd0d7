//! What a backend sees and does: the users of messages and their channels, connections, and `/v1`.

#![allow(clippy::unwrap_used, reason = "tests say what they expect by failing")]

mod audit;
mod channels;
mod client;
mod connections;
mod events;
mod overlap;
mod replicas;
mod traces;
mod users;

use std::time::Duration;

use edge::testing::{Answer, Site};

/// The whole server.
fn site(settings: &[(&str, &str)]) -> Site {
    Site::start_with(&standalone::DEFAULTS, settings, |service| {
        backend::serve(service);
        let chat = chat_svc::Chat::new(service).unwrap();
        (standalone::routes(&chat), standalone::application(&chat))
    })
}

/// A token of `user` with these rights.
fn token(site: &Site, user: &str, publish: &str, subscribe: &str) -> String {
    site.token_for(Some(user), publish, subscribe, Duration::from_secs(3600))
}

/// Publishes a JSON text with a token.
async fn publish(site: &Site, token: &str, channel: &str, json: &'static str) -> Answer {
    let ask = site.ask("POST".parse().unwrap(), &format!("/events?channel={channel}")).token(token);
    ask.body("application/json", json).await
}
