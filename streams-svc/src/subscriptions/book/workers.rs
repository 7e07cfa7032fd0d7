//! What workers do with their wakes.

use serde_json::json;

use super::{Book, Entry};
use crate::subscriptions::{
    ack::Ack,
    command::{Act, Reply},
    request::Delivery,
    subscription::Streams,
};

impl Book {
    /// A worker takes the wake (§7.2).
    pub(super) fn claim(&mut self, id: &str, worker: String, streams: &impl Streams, now_ms: u64) -> Reply {
        self.prune(id, streams);
        let Some(subscription) = self.subscriptions.get_mut(id) else { return Reply::missing() };
        if matches!(subscription.config.delivery, Delivery::Webhook(_)) {
            return Reply::error(400, "INVALID_REQUEST", "a subscription of the type `webhook` is not claimed");
        }
        if let Some(holder) = subscription.holder() {
            let error = json!({
                "code": "ALREADY_CLAIMED",
                "message": "another worker has the lease",
                "current_holder": holder,
                "generation": subscription.generation,
            });
            return Reply::of(409, json!({ "error": error }));
        }
        self.changed.insert(Entry::Subscription(id.to_owned()));
        if subscription.pending(streams).is_none() {
            // Whatever it was announced for does not exist any more: what follows is announced again.
            subscription.wake = None;
            return Reply::error(409, "NO_PENDING_WORK", "there is nothing to do");
        }
        subscription.begin_wake(streams, now_ms);
        subscription.extend_lease(now_ms, Some(worker));
        let body = json!({
            "wake_id": subscription.wake.as_ref().map(|wake| &wake.id),
            "generation": subscription.generation,
            "token": self.key.token(&subscription.nonce, subscription.generation),
            "streams": subscription.streams(streams),
            "lease_ttl_ms": subscription.config.lease_ms,
        });
        Reply::of(200, body)
    }

    /// A worker acknowledges what it has processed, or releases the wake (§7.1, §7.2, §7.3).
    pub(super) fn work(
        &mut self,
        id: &str,
        token: &str,
        ack: Ack,
        act: Act,
        streams: &impl Streams,
        now_ms: u64,
    ) -> Reply {
        let Some(subscription) = self.subscriptions.get_mut(id) else { return Reply::missing() };
        if (act == Act::Callback) != matches!(subscription.config.delivery, Delivery::Webhook(_)) {
            return Reply::error(400, "INVALID_REQUEST", "the subscription is of another type");
        }
        let Ok(generation) = self.key.generation_of(&subscription.nonce, token) else {
            return Reply::error(401, "TOKEN_INVALID", "the token is not one of this subscription");
        };
        let is_current = [generation, ack.generation].iter().all(|one| *one == subscription.generation);
        if !is_current || subscription.wake.as_ref().is_none_or(|wake| wake.id != ack.wake_id) {
            return Reply::error(409, "FENCED", "the wake is not the current one");
        }
        self.changed.insert(Entry::Subscription(id.to_owned()));
        let is_over = act == Act::Release || ack.done;
        if act != Act::Release {
            if let Err(message) = subscription.check(&ack, streams) {
                return Reply::error(409, "INVALID_OFFSET", message);
            }
            let acked = subscription.ack(ack.acks.into_iter().flatten());
            self.changed.extend(acked.into_iter().map(|name| Entry::Link(id.to_owned(), name)));
        }
        subscription.succeeded();
        if !is_over {
            let holder = subscription.holder().map(ToOwned::to_owned);
            subscription.extend_lease(now_ms, holder);
            return Reply::of(200, json!({ "ok": true, "next_wake": false }));
        }
        subscription.wake = None;
        let is_woken = subscription.begin_wake(streams, now_ms);
        if act == Act::Release { Reply::done() } else { Reply::of(200, json!({ "ok": true, "next_wake": is_woken })) }
    }
}
