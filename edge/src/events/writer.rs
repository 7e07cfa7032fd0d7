//! The task that writes events to the bus.

use std::time::Duration;

use shared::{
    live::bus::{Bus, BusError, IdempotencyKey, Publication},
    pure::{Draft, EventName, Payload},
};

use super::{Inner, entry::Entry};

/// The pauses between attempts to write.
const PAUSE: Duration = Duration::from_millis(50);
const MAX_PAUSE: Duration = Duration::from_secs(1);
/// How often a batch that is not full is written if each has a key. Keys are kept for minutes, in memory that clients need for theirs.
const PACE: Duration = Duration::from_millis(50);

/// Writes until the queue is closed and empty. With a bus that several processes share the outcome of a publication may be unknown; then
/// each has a key, so that it can be repeated.
pub(super) async fn run(feed: &Inner, bus: &dyn Bus, is_shared: bool) {
    let mut number = 0_u64;
    loop {
        let entries = feed.queue.take().await;
        if entries.is_empty() {
            return feed.queue.end();
        }
        number += 1;
        let key =
            is_shared.then(|| IdempotencyKey { scope: format!("events:{}", feed.process), key: number.to_string() });
        publish(feed, bus, &entries, key).await;
        if is_shared {
            feed.queue.gather(PACE).await;
        }
    }
}

async fn publish(feed: &Inner, bus: &dyn Bus, entries: &[Entry], key: Option<IdempotencyKey>) {
    let drafts: Vec<_> = entries.iter().filter_map(|entry| draft(feed, entry)).collect();
    let mut pause = PAUSE;
    loop {
        let error = match bus.publish(Publication::new(drafts.clone()).with_key(key.clone())).await {
            Ok(_) => return,
            Err(error) => error,
        };
        let may_repeat = match error {
            BusError::Unavailable(_) | BusError::DiskFull(_) | BusError::Keys { .. } => true,
            BusError::Unknown(_) => key.is_some(),
            _ => false,
        };
        // While the process ends, too, until nobody waits any more.
        if !may_repeat {
            log::warn!("{} events were not written to {}: {error}", entries.len(), feed.channel);
            return feed.queue.miss(drafts.len(), entries.first().map_or(0, |first| first.time));
        }
        log::debug!("events wait for the bus: {error}");
        tokio::time::sleep(pause).await;
        pause = (2 * pause).min(MAX_PAUSE);
    }
}

fn draft(feed: &Inner, entry: &Entry) -> Option<Draft> {
    let event = EventName::from_log(entry.event_name()).ok()?;
    let payload = Payload::from_log(feed.json(entry).as_bytes(), Vec::new()).ok()?;
    Some(Draft::new(feed.channel.clone(), payload).event(event))
}
