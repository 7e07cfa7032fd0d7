//! One reader in place of many that have read everything: of the same channels, each at a place of its own.
//!
//! A reader that has read everything is two cursors; its subscriptions are the same as those of any other reader of its channels.
//!
//! ```text
//! Reader ─▶ join ─▶ Place … seek, read ─▶ the next Place … ─▶ leave ─▶ Reader
//! ```

use std::{fmt, sync::Arc, task::Waker};

use super::{Batch, Limit, Reader, Subscription};
use crate::{live::log::Waiter, pure::Cursor};

/// The place of a reader that has read everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    cursor: Cursor,
    /// The newest cursor that its client has.
    client: Cursor,
}

impl Place {
    /// Everything up to here has been returned, or belonged to other channels.
    #[must_use]
    pub fn cursor(self) -> Cursor {
        self.cursor
    }
}

/// Identifies the channels that a reader reads. Two readers have the same channels of the same log if these are equal while both exist.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ChannelSet(Box<[usize]>);

/// A subscription that the members of a cohort share. They are readers of the same channels that have read everything.
pub struct CohortReader {
    reader: Reader,
    members: usize,
}

impl Reader {
    /// Whether it can join a cohort: its position is determined, it waits for nothing older from disk, and no channel is read from a later
    /// position. The caller ensures that it has read everything, which includes copies: they are older than their stream.
    #[must_use]
    pub fn can_join(&self) -> bool {
        self.opening.is_none()
            && self.matching.is_none()
            && !self.is_waiting()
            && self.subscriptions.iter().all(|subscription| subscription.from <= self.cursor)
    }

    /// The channels that it reads.
    #[must_use]
    pub fn channel_set(&self) -> ChannelSet {
        // A channel that is read is the only one of its name in its log.
        let mut channels: Box<[usize]> =
            self.subscriptions.iter().map(|subscription| Arc::as_ptr(&subscription.channel).addr()).collect();
        channels.sort_unstable();
        ChannelSet(channels)
    }

    fn place_in_cohort(&self) -> Place {
        Place { cursor: self.cursor, client: self.client }
    }
}

impl CohortReader {
    /// A cohort with this reader as its first member. It returns the ends of streams, also if that did not because it
    /// [read copies](Reader::with_copies).
    #[must_use]
    pub fn new(mut reader: Reader) -> (Self, Place) {
        reader.reads_copies = false;
        let place = reader.place_in_cohort();
        (Self { reader, members: 1 }, place)
    }

    /// The channels that it reads.
    #[must_use]
    pub fn channel_set(&self) -> ChannelSet {
        self.reader.channel_set()
    }

    /// Another reader of the same channels joins.
    pub fn join(&mut self, reader: Reader) -> Place {
        debug_assert!(reader.can_join() && reader.channel_set() == self.reader.channel_set(), "{reader:?}");
        self.members += 1;
        // Every member counts as a reader of its channels. Only the first one's subscriptions are its own.
        self.reader.log.count_subscriptions(self.reader.subscriptions.len());
        reader.place_in_cohort()
    }

    /// A member is gone. Returns whether there are no others.
    pub fn remove(&mut self) -> bool {
        self.members -= 1;
        if self.members > 0 {
            self.reader.log.discount_subscriptions(self.reader.subscriptions.len());
        }
        self.members == 0
    }

    /// A reader for a member at `place` that leaves; [`remove`](Self::remove) it, too. Publishers are not delayed.
    #[must_use]
    pub fn reader_at(&self, place: Place) -> Reader {
        let log = self.reader.log.clone();
        let waiter = Arc::<Waiter>::default();
        waiter.at(place.cursor);
        // The cohort reads these channels, so that they are in the log, and stay there.
        let subscribe = |of: &Subscription| Subscription {
            channel: of.channel.clone(),
            key: Some(of.channel.add_waiter(&waiter)),
            from: Cursor::ZERO,
            reported: 0,
            removal_reported_up_to: Cursor::ZERO,
            ends_after: place.cursor,
        };
        let subscriptions: Vec<_> = self.reader.subscriptions.iter().map(subscribe).collect();
        log.count_subscriptions(subscriptions.len());
        let Place { cursor, client } = place;
        Reader {
            log,
            subscriptions,
            waiter,
            cursor,
            client,
            opener: None,
            opening: None,
            older: None,
            matching: None,
            reads_copies: false,
        }
    }

    /// Wakes `waker` once when there may be something to read after this call.
    pub fn register(&self, waker: &Waker) {
        self.reader.waiter.waker.register(waker);
    }

    /// Whether the log is closed. Ask before reading: everything published before the end can then be read.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.reader.log.is_closed()
    }

    /// Moves to the place of a member, which can then [`read`](Self::read) on.
    pub fn seek(&mut self, place: Place) {
        self.reader.move_to(place);
    }

    /// What follows, as for a reader of its own, and the place after it. `None` also if that [is only on disk](Self::is_on_disk).
    pub fn read(&mut self, limit: Limit) -> Option<(Batch, Place)> {
        let batch = self.reader.read(limit)?;
        Some((batch, self.reader.place_in_cohort()))
    }

    /// Where it is.
    #[must_use]
    pub fn place(&self) -> Place {
        self.reader.place_in_cohort()
    }

    /// Whether what follows is not in memory any more: a member at this place has to leave.
    #[must_use]
    pub fn is_on_disk(&self) -> bool {
        self.reader.is_waiting()
    }

    /// The place of the member that is the furthest behind, for the measurement of lag.
    pub fn set_slowest(&self, place: Place) {
        self.reader.waiter.at(place.cursor);
    }
}

impl Reader {
    fn move_to(&mut self, place: Place) {
        self.cursor = place.cursor;
        self.client = place.client;
        self.older = None;
        // Whatever was dropped up to the cursor had been read. The rest is not reported yet.
        self.requires_losses();
        self.requires_ends();
    }
}

impl Drop for CohortReader {
    fn drop(&mut self) {
        let others = self.members.saturating_sub(1);
        self.reader.log.discount_subscriptions(others * self.reader.subscriptions.len());
    }
}

impl fmt::Debug for CohortReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CohortReader").field("reader", &self.reader).field("members", &self.members).finish()
    }
}
