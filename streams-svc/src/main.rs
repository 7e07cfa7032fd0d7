//! Durable Streams as a separate process.

use std::io;

use allocator as _;
use edge::{Settings, logging, service::Service};

#[actix_web::main]
async fn main() -> io::Result<()> {
    let settings = Settings::parse(&streams_svc::DEFAULTS);
    logging::init(settings.log);
    let (service, listener) = Service::open_with_port(settings, &streams_svc::DEFAULTS)?;
    webhooks::start(&service);
    backend::serve(&service);
    streams_svc::subscriptions::start(&service);
    let routes = |service: &Service| streams_svc::routes(service).and(backend::routes(service));
    service.start(listener, routes, |_| ())?.until_signal().await
}
