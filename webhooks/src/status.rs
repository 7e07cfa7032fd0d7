//! What the sender reports: metrics, and that it fails.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use edge::{
    health::{Degradation, reason},
    metrics::Figure,
};
use parking_lot::Mutex;

/// See the module. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Status(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    is_sender: bool,
    /// Why the last attempt failed, if the batch has not been delivered since.
    failing: Option<String>,
    /// When the oldest event that is not delivered was published, in milliseconds since the Unix epoch.
    oldest: Option<u64>,
    batches: u64,
    events: u64,
    failures: u64,
    losses: u64,
}

impl Status {
    /// Whether this process has the lease.
    pub(crate) fn set_sender(&self, is_sender: bool) {
        let mut inner = self.0.lock();
        inner.is_sender = is_sender;
        if !is_sender {
            (inner.failing, inner.oldest) = (None, None);
        }
    }

    /// A batch is to be sent, whose first event was published at this time.
    pub(crate) fn begin(&self, oldest: u64) {
        self.0.lock().oldest = Some(oldest);
    }

    /// An attempt failed. Returns whether the previous one did not.
    pub(crate) fn fail(&self, why: String) -> bool {
        let mut inner = self.0.lock();
        inner.failures += 1;
        inner.failing.replace(why).is_none()
    }

    /// A batch of `events` was delivered. Returns whether attempts failed before.
    pub(crate) fn delivered(&self, events: usize) -> bool {
        let mut inner = self.0.lock();
        inner.batches += 1;
        inner.events += events as u64;
        inner.oldest = None;
        inner.failing.take().is_some()
    }

    /// Events will not be delivered.
    pub(crate) fn lost(&self) {
        let mut inner = self.0.lock();
        inner.losses += 1;
        inner.oldest = None;
    }

    pub(crate) fn degraded(&self) -> Vec<Degradation> {
        let failing = self.0.lock().failing.clone();
        let describe = |why| Degradation::new(reason::WEBHOOKS, format!("webhooks are not delivered: {why}"));
        failing.map(describe).into_iter().collect()
    }

    pub(crate) fn figures(&self) -> Vec<Figure> {
        let inner = self.0.lock();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let age =
            inner.oldest.map_or(0, |oldest| u64::try_from(now).unwrap_or(u64::MAX).saturating_sub(oldest) / 1_000);
        let figure = |name, help, value, is_counter| Figure { name, help, value, is_counter };
        vec![
            figure(
                "trident_hook_sender",
                "Whether this process sends the webhooks (1) or not (0)",
                inner.is_sender.into(),
                false,
            ),
            figure("trident_hook_batches", "Batches of webhooks that were delivered", inner.batches, true),
            figure("trident_hook_events", "Events in these batches", inner.events, true),
            figure("trident_hook_failures", "Attempts to deliver a batch that failed", inner.failures, true),
            figure("trident_hook_losses", "Gaps in what webhooks deliver", inner.losses, true),
            figure("trident_hook_lag_seconds", "Age of the first event of the batch that is being sent", age, false),
        ]
    }
}
