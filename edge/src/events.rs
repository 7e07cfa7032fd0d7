//! The event feed: what happens to clients, as messages of the channel `$events`.
//!
//! ```text
//! registry of connections ─┐                       ┌─▶ Writer, a task ─▶ Bus ─▶ `$events`
//! events of Socket.IO ─────┼─▶ EventFeed ─▶ Queue ─┘
//! writes through /v1 ──────┘   (kinds)    (rate, bytes)
//! ```
//!
//! To record an event is to append it to a queue in memory, so nobody waits for the feed. What exceeds its rate or its budget is counted, and
//! becomes one event, a gap. A connection that reads the feed is not part of it. See `docs/decisions/0098-event-feed.md`.

mod entry;
mod occupancy;
mod queue;
mod writer;

#[cfg(test)]
mod tests;

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use shared::{
    live::{bus::Bus, clock::wall_clock},
    pure::{ChannelName, EventKind, EventKinds},
};

pub use self::entry::EventClient;
use self::{entry::What, occupancy::Occupancy, queue::Queue};
use crate::{
    auth::Identity,
    connections::{ChannelSet, EndReason},
    metrics::Figure,
    settings::EventSettings,
};

/// The channel of the feed.
pub const CHANNEL: &str = "$events";
/// Maximum size in bytes of the arguments of a client's event; larger ones are left out.
pub const MAX_DATA_BYTES: usize = 16 * 1024;
/// How long a process that ends waits for the last events to be written.
const FINISH: Duration = Duration::from_secs(1);
/// As [`FINISH`], for one that is late.
const MIN_FINISH: Duration = Duration::from_millis(100);

/// The feed of a process. Clones share it. It does nothing if no kinds of events are configured.
#[derive(Clone, Debug, Default)]
pub struct EventFeed(Option<Arc<Inner>>);

#[derive(Debug)]
struct Inner {
    kinds: EventKinds,
    channel: ChannelName,
    /// Distinguishes the events of this process.
    process: String,
    queue: Queue,
    /// Who reads which channels, if there are events about it.
    occupancy: Option<Occupancy>,
    is_draining: AtomicBool,
}

/// A write of a backend through `/v1`.
#[derive(Clone, Copy, Debug)]
pub struct ApiWrite<'a> {
    /// What was done.
    pub action: &'static str,
    /// Who did it: the `sub` of its token, or a fingerprint of the token.
    pub by: &'a Identity,
    /// The address of the backend.
    pub address: IpAddr,
    /// The channel that it is about.
    pub channel: Option<&'a ChannelName>,
    /// The connection that it is about.
    pub connection: Option<&'a str>,
    /// The user that it is about.
    pub user: Option<&'a str>,
    /// The id of the token that it is about.
    pub jti: Option<&'a str>,
    /// The number of connections that it ended.
    pub ended: Option<usize>,
}

impl EventFeed {
    /// The feed with these settings.
    #[must_use]
    pub fn new(settings: &EventSettings) -> Self {
        let Some(channel) = CHANNEL.parse().ok().filter(|_| !settings.kinds.is_empty()) else { return Self(None) };
        let has_occupancy = settings.kinds.is_about_readers();
        Self(Some(Arc::new(Inner {
            kinds: settings.kinds,
            channel,
            process: format!("{:08x}", rand::random::<u32>()),
            queue: Queue::new(settings.bytes, settings.rate),
            occupancy: has_occupancy.then(Occupancy::default),
            is_draining: AtomicBool::new(false),
        })))
    }

    /// Whether any event is recorded.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Writes what is recorded to `bus`, until [`EventFeed::finish`]. Call it once, in a task of its own.
    pub async fn write(self, bus: Arc<dyn Bus>, is_shared: bool) {
        if let Some(inner) = self.0 {
            writer::run(&inner, &*bus, is_shared).await;
        }
    }

    /// Writes to `bus` that other processes on it are gone, until it is closed. Call it once, in a task of its own.
    pub async fn write_gone(self, bus: Arc<dyn Bus>) {
        if let Some(inner) = self.0 {
            writer::run_gone(&inner, &*bus).await;
        }
    }

    /// The process is shutting down: connections that end from now on do for this reason.
    pub fn drain(&self) {
        if let Some(inner) = &self.0 {
            inner.is_draining.store(true, Ordering::Relaxed);
        }
    }

    /// Waits for a short time, of what is `left` for the end of the process, until everything is written; later events are not recorded.
    pub async fn finish(&self, left: Duration) {
        if let Some(inner) = &self.0 {
            inner.queue.close();
            if tokio::time::timeout(left.clamp(MIN_FINISH, FINISH), inner.queue.ended()).await.is_err() {
                log::warn!("the last events of {CHANNEL} were not written in time");
            }
        }
    }

    /// Whether a connection with these channels reads the feed.
    pub(super) fn is_read_by(&self, channels: &ChannelSet) -> bool {
        self.0.as_ref().is_some_and(|inner| channels.has(&inner.channel))
    }

    /// A connection has begun, which reads `channels`.
    pub(super) fn connected(&self, client: &EventClient, channels: &ChannelSet) {
        let Some(inner) = &self.0 else { return };
        inner.record(EventKind::Connected, || What::connection(client, None));
        channels.iter().for_each(|channel| inner.subscribed(client, channel));
    }

    /// A connection has ended, which read `channels`.
    pub(super) fn disconnected(&self, client: &EventClient, channels: &ChannelSet, reason: EndReason) {
        let Some(inner) = &self.0 else { return };
        channels.iter().for_each(|channel| inner.unsubscribed(client, channel));
        let is_draining = reason == EndReason::Closed && inner.is_draining.load(Ordering::Relaxed);
        let reason = if is_draining { EndReason::Shutdown } else { reason };
        inner.record(EventKind::Disconnected, || What::connection(client, Some(reason)));
    }

    /// A connection reads `after` instead of `before`.
    pub(super) fn changed(&self, client: &EventClient, before: &ChannelSet, after: &ChannelSet) {
        let Some(inner) = &self.0 else { return };
        before.iter().filter(|channel| !after.has(channel)).for_each(|left| inner.unsubscribed(client, left));
        after.iter().filter(|channel| !before.has(channel)).for_each(|new| inner.subscribed(client, new));
    }

    /// A Socket.IO client has emitted an event: `payload` is its JSON, `["name", arguments…]`, with binary written as base64.
    pub(super) fn client_event(&self, client: &EventClient, name: &str, payload: Option<&str>) {
        if let Some(inner) = &self.0 {
            inner.record(EventKind::ClientEvent, || What::client_event(client, name, payload));
        }
    }

    /// Whether events of clients are recorded.
    #[must_use]
    pub fn has_client_events(&self) -> bool {
        self.0.as_ref().is_some_and(|inner| inner.kinds.has(EventKind::ClientEvent))
    }

    /// A backend has written through `/v1`.
    pub fn api_write(&self, write: &ApiWrite<'_>) {
        if let Some(inner) = &self.0 {
            inner.record(EventKind::ApiWrite, || What::api_write(write));
        }
    }

    /// The metrics of the feed.
    pub(super) fn figures(&self) -> Vec<Figure> {
        self.0.as_ref().map(|inner| inner.queue.counts()).unwrap_or_default().figures()
    }
}

impl Inner {
    fn record(&self, kind: EventKind, what: impl FnOnce() -> What) {
        if self.kinds.has(kind) {
            self.queue.push(kind, wall_clock(), what);
        }
    }

    fn subscribed(&self, client: &EventClient, channel: &ChannelName) {
        self.record(EventKind::Subscribed, || What::subscription(client, channel));
        let Some(occupancy) = &self.occupancy else { return };
        // Recorded under the lock of the channel, so that its events are in the order of what happened.
        occupancy.enter(channel, client.user.as_ref(), |is_first, is_first_of_user| {
            if is_first {
                self.record(EventKind::ChannelOccupied, || What::channel(channel, None));
            }
            if is_first_of_user {
                self.record(EventKind::MemberAdded, || What::channel(channel, client.user.as_ref()));
            }
        });
    }

    fn unsubscribed(&self, client: &EventClient, channel: &ChannelName) {
        self.record(EventKind::Unsubscribed, || What::subscription(client, channel));
        let Some(occupancy) = &self.occupancy else { return };
        occupancy.leave(channel, client.user.as_ref(), |was_last, was_last_of_user| {
            if was_last_of_user {
                self.record(EventKind::MemberRemoved, || What::channel(channel, client.user.as_ref()));
            }
            if was_last {
                self.record(EventKind::ChannelVacated, || What::channel(channel, None));
            }
        });
    }
}
