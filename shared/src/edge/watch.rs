//! Sets the options of accepted sockets.
use std::{any::Any, sync::Arc, time::Duration};
use actix_web::dev::Extensions;
use super::metrics::Metrics;
/// x
#[derive(Clone)]
pub(super) struct Watch;
impl Watch {
    pub(super) fn start(_: Duration, _: Duration, _: Arc<Metrics>) -> Self { Self }
    pub(super) fn accept(&self, _: &dyn Any, _: &mut Extensions) {}
}
