//! Webhooks: events of the feed, and messages of chosen channels, posted to the application.
//!
//! ```text
//! lease ─▶ Source: what follows the cursor ─▶ batch: its bounds and its id are stored ─▶ POST, again until 2xx ─▶ the cursor moves
//! ```
//!
//! The sender is a reader of the log with a durable cursor ([`progress`]). Of all processes on a bus one has the lease and sends
//! ([`sender`]). A batch is made of the log ([`source`], [`batch`]), so another process that takes over makes the same bytes of the
//! stored bounds. See `docs/decisions/0099-webhooks.md`.

mod batch;
mod progress;
mod sender;
mod source;
mod status;

use actix_web::rt;
use edge::service::Service;

use self::{sender::Sender, status::Status};

/// Starts the sender in this process, if webhooks are configured. Call it once, within an actix runtime.
pub fn start(service: &Service) {
    let hooks = &service.edge.settings.backend.hooks;
    let status = Status::default();
    let (watched, figures) = (status.clone(), status.clone());
    service.edge.readiness.watch(move || watched.degraded());
    service.edge.metrics.watch_figures(move || figures.figures());
    if let Some(url) = &hooks.url {
        let reported = status.clone();
        service.edge.hooks.watch(move || reported.state());
        rt::spawn(Sender::new(service, url.clone(), status).run());
    }
}
