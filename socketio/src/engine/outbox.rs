//! What waits for one client while its transport is busy: messages, and sources that are pulled in their place among them.
//!
//! Most connections are idle, so an empty outbox is one pointer.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Source, outgoing::Outgoing, packet::Packet};
use crate::stats::Counters;

/// Bytes that each entry counts for beyond its message, so that a flood of tiny messages is bounded too.
const ENTRY_COST: usize = 64;

/// Bytes that may wait for one client whatever waits for all others, so that slow clients do not take the last place of quick ones.
const RESERVED: usize = 64 << 10;

/// How long a client counts as not yet served after a burst began, although its transport has not run.
const BURST: Duration = Duration::from_secs(1);

/// The bounds of an outbox. The total is counted in [`Counters`].
#[derive(Clone, Copy)]
pub(super) struct Limits {
    /// Bytes for this client.
    pub(super) connection: usize,
    /// Bytes for all clients of the server.
    pub(super) total: usize,
}

/// The message does not fit, even with every volatile message dropped.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full;

/// What comes next.
pub(super) enum Front {
    Empty,
    Message(Outgoing),
    Pong(Packet),
    /// To be polled without a lock, then put back with [`Outbox::put_back`] unless it has ended.
    Source(Box<dyn Source>),
    /// The source at the front is being polled by another transport of the connection.
    Busy,
}

enum Entry {
    Message(Outgoing),
    Pong(Packet),
    Source(Option<Box<dyn Source>>),
}

/// A bounded queue. An empty one takes any message that is within the connection's limit.
#[derive(Default)]
pub(super) struct Outbox(Option<Box<Queue>>);

struct Queue {
    counters: Arc<Counters>,
    entries: VecDeque<Entry>,
    /// Bytes of all entries, counted against the connection's limit.
    bytes: usize,
    /// Bytes counted in the total, where a shared message is counted once for all outboxes.
    charged: usize,
    volatile: usize,
    has_pong: bool,
    /// Of `bytes`, those at the front that the transport has had the chance to write.
    offered: usize,
    /// When the first entry came that the transport has had no chance to write.
    since: Instant,
}

impl Outbox {
    /// Appends a message. If there is no room, volatile messages are dropped, oldest first; the result is how many.
    pub(super) fn push(
        &mut self,
        message: Outgoing,
        limits: Limits,
        counters: &Arc<Counters>,
        now: Instant,
    ) -> Result<usize, Full> {
        let queue = self.queue(counters, now);
        let pushed = queue.push(message, limits, now);
        self.free_if_empty();
        pushed
    }

    /// Appends a source: its messages leave behind all that waits now and before all that comes later.
    pub(super) fn push_source(&mut self, source: Box<dyn Source>, counters: &Arc<Counters>, now: Instant) {
        let queue = self.queue(counters, now);
        queue.count(ENTRY_COST, ENTRY_COST);
        queue.entries.push_back(Entry::Source(Some(source)));
    }

    /// Appends the answer to a ping of protocol 3, behind what was sent before it. One answers all pings that come until it leaves.
    pub(super) fn push_pong(&mut self, pong: Packet, counters: &Arc<Counters>, now: Instant) {
        let queue = self.queue(counters, now);
        if !std::mem::replace(&mut queue.has_pong, true) {
            queue.count(ENTRY_COST, ENTRY_COST);
            queue.entries.push_back(Entry::Pong(pong));
        }
    }

    /// The next message or source, taken out. Whatever stays has been offered to the transport.
    pub(super) fn next(&mut self) -> Front {
        let Some(queue) = self.0.as_mut() else { return Front::Empty };
        let front = match queue.entries.front_mut() {
            Some(Entry::Source(source)) => return source.take().map_or(Front::Busy, Front::Source),
            Some(Entry::Message(_) | Entry::Pong(_)) => queue.entries.pop_front(),
            None => None,
        };
        let front = match front {
            Some(Entry::Message(message)) => {
                queue.uncount_message(&message);
                Front::Message(message)
            }
            Some(Entry::Pong(pong)) => {
                queue.uncount(ENTRY_COST, ENTRY_COST);
                queue.has_pong = false;
                Front::Pong(pong)
            }
            Some(Entry::Source(_)) | None => return Front::Empty,
        };
        queue.offered = queue.bytes;
        self.free_if_empty();
        front
    }

    /// Puts the source that is being polled back into its place, or removes its place if it has ended.
    pub(super) fn put_back(&mut self, source: Option<Box<dyn Source>>) {
        let Some(queue) = self.0.as_mut() else { return };
        // At the front, unless a message was put back before it meanwhile.
        let Some(at) = queue.entries.iter().position(|entry| matches!(entry, Entry::Source(None))) else { return };
        match source {
            Some(source) => queue.entries[at] = Entry::Source(Some(source)),
            None => {
                queue.entries.remove(at);
                queue.uncount(ENTRY_COST, ENTRY_COST);
            }
        }
        self.free_if_empty();
    }

    /// Puts a message back that was just taken out.
    pub(super) fn unpop(&mut self, message: Outgoing, counters: &Arc<Counters>, now: Instant) {
        let queue = self.queue(counters, now);
        queue.count_message(&message);
        queue.entries.push_front(Entry::Message(message));
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Whether a message of `len` bytes would not fit although the transport has not had a turn since the queue began to fill: the
    /// sender is too fast, and not the client too slow.
    pub(super) fn is_filled_by_a_burst(&self, len: usize, limits: Limits, now: Instant) -> bool {
        self.0.as_ref().is_some_and(|queue| {
            queue.offered == 0 && queue.since + BURST > now && !queue.fits(len + ENTRY_COST, len + ENTRY_COST, limits)
        })
    }

    /// Removes everything. Drop the returned entries without holding a lock.
    pub(super) fn take(&mut self) -> Self {
        std::mem::take(self)
    }

    fn queue(&mut self, counters: &Arc<Counters>, now: Instant) -> &mut Queue {
        self.0.get_or_insert_with(|| {
            Box::new(Queue {
                counters: counters.clone(),
                entries: VecDeque::with_capacity(1),
                bytes: 0,
                charged: 0,
                volatile: 0,
                has_pong: false,
                offered: 0,
                since: now,
            })
        })
    }

    fn free_if_empty(&mut self) {
        self.0.take_if(|queue| queue.entries.is_empty());
    }
}

impl Queue {
    fn push(&mut self, message: Outgoing, limits: Limits, now: Instant) -> Result<usize, Full> {
        let (cost, charge) = costs(&message);
        let mut dropped = 0;
        if !self.fits(cost, charge, limits) {
            dropped = self.drop_volatile(cost, charge, limits);
            if !self.fits(cost, charge, limits) {
                self.counters.volatile_dropped.add(dropped as u64);
                return Err(Full);
            }
        }
        if self.bytes == self.offered {
            self.since = now;
        }
        self.count_message(&message);
        self.entries.push_back(Entry::Message(message));
        Ok(dropped)
    }

    /// Whether an entry of this size fits here and in the total.
    fn fits(&self, cost: usize, charge: usize, limits: Limits) -> bool {
        if self.entries.is_empty() {
            return cost <= limits.connection.saturating_add(ENTRY_COST);
        }
        let bytes = self.bytes.saturating_add(cost);
        let total = self.counters.pending_bytes.get().saturating_add(charge as u64);
        bytes <= limits.connection && (bytes <= RESERVED || total <= limits.total as u64)
    }

    fn count(&mut self, cost: usize, charge: usize) {
        self.bytes += cost;
        self.charged += charge;
        self.counters.pending_bytes.add(charge as u64);
    }

    fn uncount(&mut self, cost: usize, charge: usize) {
        self.bytes -= cost;
        self.charged -= charge;
        self.offered = self.offered.min(self.bytes);
        self.counters.pending_bytes.sub(charge as u64);
    }

    fn count_message(&mut self, message: &Outgoing) {
        let (cost, charge) = costs(message);
        self.count(cost, charge);
        self.volatile += usize::from(message.is_volatile());
    }

    fn uncount_message(&mut self, message: &Outgoing) {
        let (cost, charge) = costs(message);
        self.uncount(cost, charge);
        self.volatile -= usize::from(message.is_volatile());
    }

    /// Drops volatile messages until an entry fits, as far as there are any; how many.
    fn drop_volatile(&mut self, cost: usize, charge: usize, limits: Limits) -> usize {
        let before = self.volatile;
        let mut at = 0;
        while self.volatile > 0 && at < self.entries.len() && !self.fits(cost, charge, limits) {
            if matches!(&self.entries[at], Entry::Message(message) if message.is_volatile()) {
                if let Some(Entry::Message(message)) = self.entries.remove(at) {
                    self.uncount_message(&message);
                }
            } else {
                at += 1;
            }
        }
        before - self.volatile
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.counters.pending_bytes.sub(self.charged as u64);
    }
}

/// What a message counts for against the connection's limit, and against the total.
fn costs(message: &Outgoing) -> (usize, usize) {
    let cost = message.len() + ENTRY_COST;
    (cost, if message.is_charged() { ENTRY_COST } else { cost })
}

#[cfg(test)]
mod tests;
