//! `/socket.io/`, checked against docs/PROTOCOL.md over real WebSockets.

#![allow(clippy::unwrap_used, reason = "tests say what they expect by failing")]

mod application;
mod client;
mod connect;
mod history;
mod limits;
mod origins;
mod parking;
mod recovery;
mod registration;
mod streams;
mod values;

use chat_svc::Chat;
use edge::{service::Service, testing::Site};

use crate::client::Client;

/// The service, with settings beyond the usual.
fn site(settings: &[(&str, &str)]) -> Site {
    Site::start_with(&chat_svc::DEFAULTS, settings, |service| {
        let chat = Chat::new(service).unwrap();
        let polls = chat.clone();
        (move |_: &Service| polls.routes(), move |config: &mut actix_web::web::ServiceConfig| chat.application(config))
    })
}
