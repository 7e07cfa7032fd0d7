//! The SSE transport as a separate process.

use std::io;

use actix_web::web::ServiceConfig;
use allocator as _;
use edge::{Settings, logging, service::Service};

#[actix_web::main]
async fn main() -> io::Result<()> {
    let settings = Settings::parse(&sse_svc::DEFAULTS);
    logging::init(settings.log);
    let (service, listener) = Service::open_with_port(settings, &sse_svc::DEFAULTS)?;
    webhooks::start(&service);
    sse_svc::start_demo(&service);
    backend::serve(&service);
    let pages = |config: &mut ServiceConfig| {
        sse_svc::pages(config);
        sse_svc::home(config);
    };
    let routes = |service: &Service| sse_svc::routes(service).and(backend::routes(service));
    service.start(listener, routes, pages)?.until_signal().await
}
