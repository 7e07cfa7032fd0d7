//! The Socket.IO transport as a separate process.

use std::io;

use actix_web::web::ServiceConfig;
use allocator as _;
use chat_svc::Chat;
use edge::{Settings, logging, service::Service};

#[actix_web::main]
async fn main() -> io::Result<()> {
    let settings = Settings::parse(&chat_svc::DEFAULTS);
    logging::init(settings.log);
    let (service, listener) = Service::open_with_port(settings, &chat_svc::DEFAULTS)?;
    backend::serve(&service);
    webhooks::start(&service);
    let chat = Chat::new(&service).map_err(io::Error::other)?;
    let polls = chat.clone();
    let application = move |config: &mut ServiceConfig| {
        chat.application(config);
        chat_svc::home(config);
    };
    let routes = move |service: &Service| polls.routes().and(backend::routes(service));
    service.start(listener, routes, application)?.until_signal().await
}
