//! What is to be sent, and what became of it.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use rand::RngExt as _;
use shared::pure::ChannelName;

use super::{Book, Entry, Snapshot};
use crate::subscriptions::{
    limits::{MAX_SENDING, MAX_SENDING_PER_CLIENT},
    request::Delivery,
    subscription::{Phase, Streams, Subscription},
};

/// A wake that is to be sent.
#[derive(Debug)]
pub(in crate::subscriptions) struct Job {
    /// The subscription.
    pub(in crate::subscriptions) id: String,
    pub(in crate::subscriptions) wake_id: String,
    pub(in crate::subscriptions) sending: Sending,
    /// JSON.
    pub(in crate::subscriptions) body: Bytes,
    /// What is processed when its receiver says so.
    pub(in crate::subscriptions) snapshot: Snapshot,
}

/// Where a wake is sent.
#[derive(Debug)]
pub(in crate::subscriptions) enum Sending {
    /// To this URL.
    Webhook(String),
    /// To this stream.
    Event(ChannelName),
}

/// What became of a wake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::subscriptions) enum Outcome {
    /// It is there; with `true`, its receiver has processed all of it.
    Delivered(bool),
    Failed,
}

impl Book {
    /// Ends leases that are over, and begins wakes. Where the time of day was set back, nothing waits for the time that was.
    pub(in crate::subscriptions) fn advance(&mut self, streams: &impl Streams, now_ms: u64) {
        for (id, subscription) in &mut self.subscriptions {
            subscription.clamp(now_ms);
            let is_over = subscription
                .wake
                .as_ref()
                .is_some_and(|wake| matches!(wake.phase, Phase::Leased { until_ms, .. } if until_ms <= now_ms));
            if is_over {
                subscription.wake = None;
                self.changed.insert(Entry::Subscription(id.clone()));
                self.unchecked.insert(id.clone());
            }
        }
        for id in std::mem::take(&mut self.unchecked) {
            if self.subscriptions.get_mut(&id).is_some_and(|subscription| subscription.begin_wake(streams, now_ms)) {
                self.changed.insert(Entry::Subscription(id));
            }
        }
    }

    /// When there is something to do after `now_ms` if nothing happens. What is due and not sent yet waits for what is being sent.
    pub(in crate::subscriptions) fn deadline(&self, now_ms: u64) -> Option<u64> {
        let next = |subscription: &Subscription| match &subscription.wake.as_ref()?.phase {
            Phase::Due(at_ms) => Some(*at_ms).filter(|at_ms| *at_ms > now_ms),
            Phase::Leased { until_ms, .. } => Some(*until_ms),
            Phase::Announced => None,
        };
        self.subscriptions.values().filter_map(next).min()
    }

    /// The wakes that are to be sent now. A few of each client at a time: one whose receivers do not answer does not delay others.
    pub(in crate::subscriptions) fn due(&mut self, streams: &impl Streams, now_ms: u64) -> Vec<Job> {
        let mut sending: BTreeMap<String, usize> = BTreeMap::new();
        for one in self.subscriptions.values().filter(|one| one.attempt.is_some()) {
            *sending.entry(one.owner.clone()).or_default() += 1;
        }
        let since = |one: &Subscription| match one.wake.as_ref()?.phase {
            Phase::Due(at_ms) => Some(at_ms).filter(|at_ms| *at_ms <= now_ms && one.attempt.is_none()),
            Phase::Announced | Phase::Leased { .. } => None,
        };
        // Those that have waited longest first.
        let ids: BTreeSet<_> =
            self.subscriptions.iter().filter_map(|(id, one)| Some((since(one)?, id.clone()))).collect();
        let mut jobs = Vec::new();
        for (_, id) in ids {
            self.prune(&id, streams);
            let Some(one) = self.subscriptions.get_mut(&id) else { continue };
            let of_client = sending.get(&one.owner).copied().unwrap_or_default();
            if of_client >= MAX_SENDING_PER_CLIENT || sending.values().sum::<usize>() >= MAX_SENDING {
                continue;
            }
            let Some(wake_id) = one.wake.as_ref().map(|wake| wake.id.clone()) else { continue };
            sending.insert(one.owner.clone(), of_client + 1);
            let token = self.key.token(&one.nonce, one.generation);
            let (to, body) = match &one.config.delivery {
                Delivery::Webhook(url) => (Sending::Webhook(url.clone()), one.notification(&id, &token, streams)),
                Delivery::PullWake(stream) => (Sending::Event(stream.clone()), one.event(&id, now_ms)),
            };
            one.attempt = Some(wake_id.clone());
            let snapshot = one.snapshot(streams);
            jobs.push(Job { id, wake_id, sending: to, body: body.to_string().into(), snapshot });
        }
        jobs
    }

    /// What became of a job.
    pub(in crate::subscriptions) fn sent(&mut self, job: Job, outcome: Outcome, now_ms: u64) {
        let Job { id, wake_id, snapshot, .. } = job;
        let Some(one) = self.subscriptions.get_mut(&id) else { return };
        if one.attempt.as_ref() == Some(&wake_id) {
            one.attempt = None;
        }
        // A worker may have finished in the meantime.
        let Some(wake) = one.wake.as_mut().filter(|wake| wake.id == wake_id) else { return };
        self.changed.insert(Entry::Subscription(id.clone()));
        let is_due = matches!(wake.phase, Phase::Due(_));
        match outcome {
            Outcome::Failed if is_due => one.failed(now_ms, rand::rng().random_range(-1.0..=1.0)),
            // Its worker has called back, so it has it.
            Outcome::Failed => {}
            Outcome::Delivered(true) => {
                one.succeeded();
                one.wake = None;
                let acked = one.ack(snapshot);
                self.changed.extend(acked.into_iter().map(|name| Entry::Link(id.clone(), name)));
                self.unchecked.insert(id);
            }
            Outcome::Delivered(false) => {
                match one.config.delivery {
                    Delivery::PullWake(_) if is_due => wake.phase = Phase::Announced,
                    Delivery::Webhook(_) if is_due => one.extend_lease(now_ms, None),
                    _ => {}
                }
                one.succeeded();
            }
        }
    }
}
