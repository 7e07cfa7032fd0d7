//! All of Trident in one process on one port: the three transports and Durable Streams on one bus, in memory or on disk, without other software.

pub mod check;
pub mod cli;
pub mod client;
pub mod listen;
pub mod log;
mod page;
mod plain;
pub mod program;
pub mod publish;
pub mod shell;
pub mod token;
mod welcome;

use std::io;

use actix_web::web::ServiceConfig;
use edge::{
    Settings, logging,
    routes::Routes,
    service::Service,
    settings::{Secret, ServiceDefaults},
};

/// The name of this process and its default address.
pub const DEFAULTS: ServiceDefaults = ServiceDefaults {
    name: "standalone",
    about: "Trident in one process: comet at /data, Socket.IO at /socket.io, SSE at /events, Durable Streams at /streams",
    version: env!("CARGO_PKG_VERSION"),
    listen: "0.0.0.0:8080",
};

/// The routes of all services.
pub fn routes(chat: &chat_svc::Chat) -> impl Fn(&Service) -> Routes + Clone + Send + use<> {
    let chat = chat.clone();
    move |service| {
        let transports = comet_svc::routes(service).and(sse_svc::routes(service)).and(streams_svc::routes(service));
        transports.and(chat.routes()).and(backend::routes(service))
    }
}

/// Socket.IO, the pages of all three services, and the playground at `/`.
pub fn application(chat: &chat_svc::Chat) -> impl FnOnce(&mut ServiceConfig) + Clone + Send + use<> {
    let chat = chat.clone();
    move |config: &mut ServiceConfig| {
        config
            .configure(comet_svc::pages)
            .configure(sse_svc::pages)
            .configure(|config| chat.application(config))
            .configure(page::routes);
    }
}

/// Serves until a signal. Without a key for tokens, it creates a temporary one.
///
/// # Errors
/// When the bus cannot be opened or the address cannot be bound.
pub async fn serve(mut settings: Settings) -> io::Result<()> {
    logging::init(settings.log);
    let is_own_key = settings.secrets.is_empty() && settings.public_keys.is_empty();
    if is_own_key {
        settings.secrets.push(token::fresh_secret()?);
    }
    let (service, listener) = Service::open_with_port(settings, &DEFAULTS)?;
    webhooks::start(&service);
    comet_svc::start_demo(&service);
    sse_svc::start_demo(&service);
    backend::serve(&service);
    streams_svc::subscriptions::start(&service);
    let own_key: Option<&Secret> = service.edge.settings.secrets.first().filter(|_| is_own_key);
    eprint!("{}", welcome::text(&service.edge.settings, listener.local_addr()?, own_key)?);
    let chat = chat_svc::Chat::new(&service).map_err(io::Error::other)?;
    service.start(listener, routes(&chat), application(&chat))?.until_signal().await
}
