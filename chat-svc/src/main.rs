//! The Socket.IO transport as a process of its own.

use std::io;

use actix_web::web::ServiceConfig;
use allocator as _;
use chat_svc::Chat;
use edge::{Settings, logging, service::Service};

#[actix_web::main]
async fn main() -> io::Result<()> {
    let settings = Settings::parse(&chat_svc::DEFAULTS);
    logging::init(settings.log);
    let service = Service::open(settings, &chat_svc::DEFAULTS).map_err(io::Error::other)?;
    let chat = Chat::new(&service).map_err(io::Error::other)?;
    let routed = chat.clone();
    let routes = move |config: &mut ServiceConfig| {
        routed.routes(config);
        chat_svc::home(config);
    };
    let running = service.start(service.listen()?, routes, move |_| chat.lanes())?;
    running.until_signal().await
}
