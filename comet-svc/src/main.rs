//! The comet transport as a process of its own.

use std::io;

use shared::edge::{Settings, logging, service::Service};

#[actix_web::main]
async fn main() -> io::Result<()> {
    let settings = Settings::parse(&comet_svc::DEFAULTS);
    logging::init(settings.log);
    let service = Service::open(settings, &comet_svc::DEFAULTS).map_err(io::Error::other)?;
    comet_svc::start_demo(&service);
    let running = service.start(service.listen()?, |config| {
        comet_svc::routes(config);
        comet_svc::home(config);
    })?;
    running.until_signal().await
}
