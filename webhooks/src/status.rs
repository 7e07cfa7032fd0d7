//! What the sender reports: metrics, and that it fails.

use std::sync::Arc;

use edge::{
    health::{Degradation, reason},
    hooks::{HookError, HookState},
    metrics::Figure,
};
use parking_lot::Mutex;
use shared::live::clock::wall_clock;

/// See the module. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Status(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    is_sender: bool,
    /// Why the last attempt failed, if the batch has not been delivered since.
    failing: Option<String>,
    /// The last attempt that failed, even if the batch has been delivered since.
    last_error: Option<HookError>,
    /// Why the position cannot be stored at present.
    unstored: Option<String>,
    /// When the oldest event that is not delivered was published, in milliseconds since the Unix epoch.
    oldest: Option<u64>,
    batches: u64,
    events: u64,
    failures: u64,
    losses: u64,
}

impl Inner {
    fn lag_seconds(&self) -> u64 {
        self.oldest.map_or(0, |oldest| wall_clock().saturating_sub(oldest) / 1_000)
    }
}

impl Status {
    /// Whether this process has the lease.
    pub(crate) fn set_sender(&self, is_sender: bool) {
        let mut inner = self.0.lock();
        inner.is_sender = is_sender;
        if !is_sender {
            (inner.failing, inner.unstored, inner.oldest) = (None, None, None);
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
        inner.last_error = Some(HookError { time: wall_clock(), message: why.clone() });
        inner.failing.replace(why).is_none()
    }

    /// The position cannot be read or stored. Returns whether it could be before.
    pub(crate) fn unstored(&self, why: String) -> bool {
        let mut inner = self.0.lock();
        let message = format!("the position cannot be stored: {why}");
        inner.last_error = Some(HookError { time: wall_clock(), message });
        inner.unstored.replace(why).is_none()
    }

    /// The bus has answered about the position.
    pub(crate) fn stored(&self) {
        self.0.lock().unstored = None;
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
        let inner = self.0.lock();
        let unstored = inner.unstored.as_ref().map(|why| format!("the position cannot be stored: {why}"));
        let why = unstored.or_else(|| inner.failing.clone());
        let describe = |why| Degradation::new(reason::WEBHOOKS, format!("webhooks are not delivered: {why}"));
        why.map(describe).into_iter().collect()
    }

    pub(crate) fn state(&self) -> HookState {
        let inner = self.0.lock();
        HookState {
            is_sender: inner.is_sender,
            is_failing: inner.failing.is_some() || inner.unstored.is_some(),
            batches: inner.batches,
            events: inner.events,
            failures: inner.failures,
            losses: inner.losses,
            lag_seconds: inner.lag_seconds(),
            last_error: inner.last_error.clone(),
        }
    }

    pub(crate) fn figures(&self) -> Vec<Figure> {
        let inner = self.0.lock();
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
            figure(
                "trident_hook_lag_seconds",
                "Age of the first event of the batch that is being sent",
                inner.lag_seconds(),
                false,
            ),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A store that answers again is no problem any more, although no batch follows. A batch that is lost leaves the application failing.
    #[test]
    fn each_problem_ends_when_its_own_cause_does() {
        let status = Status::default();
        let problem = || status.degraded().first().map(|problem| problem.message.clone());
        assert!(status.unstored("away".to_owned()) && !status.unstored("away".to_owned()));
        assert!(problem().unwrap().contains("the position cannot be stored: away"));
        status.stored();
        assert_eq!(problem(), None);
        assert!(status.fail("503".to_owned()));
        status.unstored("away".to_owned());
        status.stored();
        status.lost();
        assert!(problem().unwrap().contains("503"));
        let failures = status.figures().iter().find(|figure| figure.name == "trident_hook_failures").unwrap().value;
        assert_eq!(failures, 1, "what the application did not accept");
        assert!(status.delivered(1));
        assert_eq!(problem(), None);
    }
}
