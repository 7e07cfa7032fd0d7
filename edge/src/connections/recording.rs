//! What happens to connections, recorded for the event feed.
//!
//! Everything is recorded under the lock of the connection's part of the registry, so that the events of a connection are in order.

use std::sync::{Arc, atomic::Ordering};

use shared::pure::ChannelName;

use super::{Connection, Connections, EndReason, Inner};
use crate::events::{EventClient, EventFeed};

impl Connection {
    /// The connection is about to end for this reason; the first one applies.
    pub fn ends_for(&self, reason: EndReason) {
        let _ = self.reason.compare_exchange(0, reason.number(), Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Why it ends, if it ends now.
    pub(super) fn end_reason(&self) -> EndReason {
        let outside = self.end().map(EndReason::Ended);
        outside.or_else(|| EndReason::of(self.reason.load(Ordering::Relaxed))).unwrap_or(EndReason::Closed)
    }

    fn event_client(&self) -> EventClient {
        let (user, transport) = (self.user().cloned(), self.transport());
        EventClient { id: self.id, user, transport, address: self.address }
    }
}

impl Connections {
    /// No connections yet. `events` records what happens to them.
    pub(crate) fn recorded_by(events: EventFeed) -> Self {
        Self(Arc::new(Inner { events, ..Inner::default() }))
    }

    /// What records them.
    #[must_use]
    pub fn events(&self) -> &EventFeed {
        &self.0.events
    }

    /// A connection has been added.
    pub(super) fn record_begin(&self, connection: &Connection) {
        let events = &self.0.events;
        if events.is_on() && !events.is_read_by(&connection.channels()) {
            connection.is_recorded.store(true, Ordering::Relaxed);
            events.connected(&connection.event_client(), &connection.channels());
        }
    }

    /// A connection ends; recorded once.
    pub(super) fn record_end(&self, connection: &Connection, reason: EndReason) {
        if connection.is_recorded.swap(false, Ordering::Relaxed) {
            self.0.events.disconnected(&connection.event_client(), &connection.channels(), reason);
        }
    }

    /// The connection reads these channels from now on.
    pub(crate) fn set_channels(&self, connection: &Connection, channels: &[ChannelName]) {
        let (after, events) = (self.0.sets.get(channels), &self.0.events);
        if !events.is_on() {
            return connection.channels.store(after);
        }
        let part = self.0.parts[connection.id.part()].lock();
        if events.is_read_by(&after) {
            self.record_end(connection, EndReason::ReadsEvents);
        }
        let before = connection.channels.swap(after.clone());
        if connection.is_recorded.load(Ordering::Relaxed) {
            events.changed(&connection.event_client(), &before, &after);
        }
        drop(part);
    }

    /// The client of a connection has emitted an event: `payload` is its JSON, `["name", arguments…]`, with binary written as base64.
    pub fn emitted(&self, connection: &Connection, name: &str, payload: Option<&str>) {
        if connection.is_recorded.load(Ordering::Relaxed) {
            self.0.events.client_event(&connection.event_client(), name, payload);
        }
    }
}
