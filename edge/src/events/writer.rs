//! The tasks that write events to the bus.

use std::time::Duration;

use shared::{
    live::{
        bus::{Bus, BusError, IdempotencyKey, Publication},
        clock::wall_clock,
    },
    pure::{Draft, EventKind, EventName, Payload},
    throttle,
};

use super::{
    Inner,
    entry::{Entry, What},
};

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
        publish(feed, bus, &entries, key, None).await;
        if is_shared {
            feed.queue.gather(PACE).await;
        }
    }
}

/// Writes that other processes are gone, for as long as there are any. All that notice it use the same key, so it is written once.
pub(super) async fn run_gone(feed: &Inner, bus: &dyn Bus) {
    let Some(mut gone) = bus.gone().filter(|_| feed.kinds.has(EventKind::ProcessGone)) else { return };
    while let Some(name) = gone.recv().await {
        write_gone(feed, bus, name).await;
    }
}

pub(super) async fn write_gone(feed: &Inner, bus: &dyn Bus, name: String) {
    log::warn!("the process {name} is not heard any more: its connections have ended, or it cannot reach the bus");
    let key = IdempotencyKey { scope: "events:gone".to_owned(), key: name.clone() };
    let entry = |time| Entry { time, kind: Some(EventKind::ProcessGone), what: What::Process(name.clone()) };
    // It is the same publication for the key, although each process notices it at another time.
    let original = draft(feed, bus, &entry(0)).map(|draft| vec![draft]);
    publish(feed, bus, &[entry(wall_clock())], Some(key), original).await;
}

async fn publish(
    feed: &Inner,
    bus: &dyn Bus,
    entries: &[Entry],
    key: Option<IdempotencyKey>,
    original: Option<Vec<Draft>>,
) {
    let drafts: Vec<_> = entries.iter().filter_map(|entry| draft(feed, bus, entry)).collect();
    let mut pause = PAUSE;
    loop {
        let publication = Publication { original: original.clone(), ..Publication::new(drafts.clone()) };
        let error = match bus.publish(publication.with_key(key.clone())).await {
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
            let count = entries.len();
            throttle::log(
                log::Level::Warn,
                "events were not written",
                format_args!("{count} of {}: {error}", feed.channel),
            );
            return feed.queue.miss(drafts.len(), entries.first().map_or(0, |first| first.time));
        }
        log::debug!("events wait for the bus: {error}");
        tokio::time::sleep(pause).await;
        pause = (2 * pause).min(MAX_PAUSE);
    }
}

fn draft(feed: &Inner, bus: &dyn Bus, entry: &Entry) -> Option<Draft> {
    let event = EventName::from_log(entry.event_name()).ok()?;
    let payload = Payload::from_log(entry.json(bus.process().unwrap_or(&feed.process)).as_bytes(), Vec::new()).ok()?;
    Some(Draft::new(feed.channel.clone(), payload).event(event))
}
