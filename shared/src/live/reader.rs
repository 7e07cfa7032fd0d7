//! A subscription: a cursor in the log that is woken when messages follow it.
//!
//! Opening adds the reader's waiter to its channels and then takes the cursor; each poll first registers its waker and then reads. In that
//! order no message can be missed between reading and waiting.
//!
//! While the log cannot check a cursor yet, the reader waits for that as it waits for a message.

use std::{
    fmt,
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll},
};

mod backlog;
mod batch;
pub mod cohort;
mod latest;
mod lifecycle;
mod losses;
mod merge;
mod older;
mod patterns;
mod subscriptions;
mod tag;

pub(in crate::live) use backlog::COLLECTED_BYTES;
pub use batch::{Batch, Limit};
pub use latest::{latest, newest};
use losses::Found;
use merge::{Merge, Merged};
use older::{Older, OlderState};
use patterns::Matching;
use subscriptions::Subscription;

use super::log::{Log, Opener, Present, State, Waiter};
use crate::pure::{ChannelName, Cursor, Gap, History, Loss, Message, Since};

/// A subscription to one or more channels. Dropping it ends it.
pub struct Reader {
    log: Arc<Log>,
    subscriptions: Vec<Subscription>,
    waiter: Arc<Waiter>,
    cursor: Cursor,
    /// The newest cursor that the client has: the one that it sent, or the last one that it was given. The reader's own is often newer,
    /// since it skips messages of other channels.
    client: Cursor,
    /// The opener for which a channel counts that exists because this reader reads it.
    opener: Option<Arc<Opener>>,
    /// Set until the first read, which differs from later ones.
    opening: Option<Opening>,
    /// What it reads from disk, once it has.
    older: Option<Box<OlderState>>,
    /// The patterns that it reads, if it reads any.
    matching: Option<Box<Matching>>,
    /// Whether it gets the messages that a fork has copied from its source.
    reads_copies: bool,
}

/// A start without a cursor of this log: messages dropped before it are not missed.
enum Opening {
    /// From the oldest stored message.
    Earliest,
    /// The same, for a client with a cursor that the log cannot check: it gets a gap.
    Foreign(Cursor),
    /// The log does not know yet where this is: it has not been filled, or is behind the cursor and may reach it.
    Unresolved {
        since: Since,
        /// The probe that has to end before a cursor beyond the head is treated as foreign.
        probe: u64,
    },
}

impl Reader {
    /// Subscribes to `channels` from `since` on. A channel that is named twice counts once.
    #[must_use]
    pub fn open(log: &Arc<Log>, channels: &[ChannelName], since: Since) -> Self {
        Self::open_for(log, channels, since, None)
    }

    /// As [`open`](Self::open); channels created by it, now or later, count for `opener`.
    #[must_use]
    pub fn open_for(log: &Arc<Log>, channels: &[ChannelName], since: Since, opener: Option<Arc<Opener>>) -> Self {
        let mut reader = Self {
            log: log.clone(),
            subscriptions: Vec::new(),
            waiter: Arc::default(),
            cursor: Cursor::ZERO,
            client: Cursor::ZERO,
            opener,
            opening: None,
            older: None,
            matching: None,
            reads_copies: false,
        };
        reader.subscriptions.reserve_exact(channels.len());
        for name in channels {
            if name.is_pattern() {
                // From now on, there is nothing to find.
                reader.add_pattern(name, Cursor::ZERO, since != Since::Now);
            } else {
                reader.add(name);
            }
        }
        let state = log.state();
        reader.resolve(since, state.next_probe(), &state);
        if let (Since::Now, Some(_)) = (since, state.start) {
            reader.cursor = state.head;
            reader.client = state.head;
        }
        if reader.is_resolved() && reader.matching.is_some() {
            // Most logs have few channels, all of which are found now.
            reader.find_channels();
        }
        reader.waiter.at(if reader.is_resolved() { reader.cursor } else { Cursor::MAX });
        reader
    }

    /// The same, for a reader of one stream that gets what a fork has copied from its source, too. Both have the same ids, so a reader of several
    /// channels could not tell by its cursor which of them it has received.
    #[must_use]
    pub fn with_copies(mut self) -> Self {
        debug_assert!(self.subscriptions.len() == 1 && self.matching.is_none());
        self.reads_copies = true;
        self
    }

    /// Channels created by this reader count for `opener` from now on.
    pub fn opens_for(&mut self, opener: Option<Arc<Opener>>) {
        self.opener = opener;
    }

    fn is_resolved(&self) -> bool {
        !matches!(self.opening, Some(Opening::Unresolved { .. }))
    }

    /// Moves to the position that `since` means in a log in `state`, if it can be determined.
    fn resolve(&mut self, since: Since, probe: u64, state: &State) {
        self.opening = None;
        match (since, state.start) {
            (_, None) => self.opening = Some(Opening::Unresolved { since, probe }),
            (Since::Now, Some(start)) => {
                self.cursor = start;
                self.requires_closed();
            }
            (Since::Earliest, _) => {
                self.opening = Some(Opening::Earliest);
                self.requires_closed();
                // What the memory has forgotten may be on disk, where a pattern does not find it.
                if self.log.archive().is_some_and(|archive| archive.has_before(self.log.forgotten().up_to)) {
                    self.requires_forgotten();
                }
            }
            (Since::After(cursor), _) if cursor > state.head && !state.has_ended(probe) => {
                self.opening = Some(Opening::Unresolved { since, probe });
            }
            (Since::After(cursor), _)
                if cursor > state.head
                    || (cursor.is_issued() && (self.is_before(cursor, state) || !self.log.can_have_issued(cursor))) =>
            {
                self.cursor = Cursor::ZERO;
                self.opening = Some(Opening::Foreign(cursor));
                self.requires_closed();
            }
            (Since::After(cursor), _) => {
                self.cursor = cursor;
                self.requires_losses();
                self.requires_ends();
            }
        }
        // The cursor of a client that leaves before it is determined.
        if let Some(Opening::Unresolved { since: Since::After(cursor), .. }) = self.opening {
            self.cursor = cursor;
        }
        self.client = self.cursor;
    }

    /// Whether `cursor` is from before what the log knows of its channels: of a stream it knows everything.
    fn is_before(&self, cursor: Cursor, state: &State) -> bool {
        let is_stream = |subscription: &Subscription| subscription.channel.is_stream();
        let others = self.matching.is_some() || self.subscriptions.is_empty();
        cursor < state.floor && (others || !self.subscriptions.iter().all(is_stream))
    }

    /// Sets the cursor that the client last received from another reader: it becomes `requested` of the next gap.
    pub fn client_has(&mut self, cursor: Cursor) {
        self.client = cursor;
    }

    /// The newest cursor that the client has, as far as this reader knows.
    #[must_use]
    pub fn client(&self) -> Cursor {
        self.client
    }

    /// Everything up to here has been returned, or belonged to other channels.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// As [`cursor`](Self::cursor), for a client that may have to resume before it has received anything. `None` while the position is not
    /// determined yet, so that resuming from it could skip or repeat messages.
    #[must_use]
    pub fn place(&self) -> Option<Cursor> {
        self.opening.is_none().then_some(self.cursor)
    }

    /// Whether the next read will report a gap, as far as that is known without the disk. See [`poll_gap`](Self::poll_gap).
    #[must_use]
    pub fn is_gap(&self) -> bool {
        match self.opening {
            // As long as a cursor cannot be checked, messages after it may be lost.
            Some(Opening::Foreign(_) | Opening::Unresolved { since: Since::After(_), .. }) => true,
            Some(Opening::Earliest) => self.is_forgotten(),
            Some(Opening::Unresolved { .. }) => false,
            None => self.is_forgotten() || self.subscriptions.iter().any(|subscription| self.is_lost(subscription)),
        }
    }

    /// Checks again whether the requested position is determined.
    fn check(&mut self) -> bool {
        if let Some(Opening::Unresolved { since, probe }) = self.opening {
            // Registered first, so that no probe ends between checking and waiting.
            self.log.wait_for_probe(&self.waiter);
            self.resolve(since, probe, &self.log.state());
        }
        self.is_resolved()
    }

    /// Waits until the requested position is determined: either there is a gap after it ([`is_gap`](Self::is_gap)), or it is
    /// [`cursor`](Self::cursor).
    pub fn poll_resolved(&mut self, cx: &Context<'_>) -> Poll<()> {
        self.waiter.waker.register(cx.waker());
        if self.check() { Poll::Ready(()) } else { Poll::Pending }
    }

    /// The messages after the cursor, if there are any; advances the cursor. `None` also while older ones are [read](Self::is_waiting) from disk.
    pub fn read(&mut self, limit: Limit) -> Option<Batch> {
        if !self.check() {
            return None;
        }
        loop {
            let present = self.log.present();
            let head = present.head;
            // Afterwards: whatever is visible has been noted.
            self.match_channels();
            let end = self.next_end(head);
            let is_done = head == self.cursor && self.opening.is_none() && end.is_none();
            if is_done && self.end_scans() {
                return None;
            }
            if !self.find_matched() || is_done {
                return None;
            }
            let up_to = self.activate(head);
            // A batch ends where a stream does.
            let up_to = end.as_ref().map_or(up_to, |end| up_to.min(end.id.max(self.cursor)));
            match self.read_older(present, up_to, limit) {
                Older::None => {}
                Older::Waiting => return None,
                Older::Batch(batch) => return Some(batch),
                Older::Skipped => continue,
            }
            // Otherwise older messages are on disk.
            let Some(batch) = self.read_memory(present, up_to, limit) else { continue };
            match end.filter(|end| end.id <= self.cursor) {
                Some(end) => return Some(self.with_end(batch, end)),
                // Other channels of a pattern are next.
                None if batch.is_none() && up_to < head => {}
                None => return batch,
            }
        }
    }

    /// What is in memory after the cursor, up to `up_to`, which is at most the head; `None` if older messages are on disk.
    fn read_memory(&mut self, present: Present, up_to: Cursor, limit: Limit) -> Option<Option<Batch>> {
        let has_archive = self.log.archive().is_some();
        let mut found = Found::in_read(present);
        let Merged { messages, is_truncated } = loop {
            let mut merge = Merge::new(up_to, limit);
            for (at, subscription) in self.subscriptions.iter_mut().enumerate() {
                let history = subscription.channel.history.lock();
                let after = self.cursor.max(subscription.from);
                let (first, losses) = match self.reads_copies {
                    true => (after, history.losses_after(after)),
                    false => (history.after_copies(after), subscription.channel.losses(&history)),
                };
                merge.begin(at, &history, first);
                for loss in losses.into_iter().filter(|loss| loss.up_to > after) {
                    if !has_archive || subscription.channel.is_stream() {
                        found.add(loss, subscription.reported);
                    } else if up_to > after {
                        return None;
                    }
                }
            }
            match merge.finish(|at| self.subscriptions[at].channel.history.lock()) {
                Some(taken) => break taken,
                // The first message was dropped just now, and without any message there is no position before it to stop at.
                None => continue,
            }
        };
        let end = messages.last().filter(|_| is_truncated).map_or(up_to, |last| last.id);
        Some(self.deliver(messages, end, found))
    }

    /// A batch of `messages`, which are everything up to `end`; `None` if there is nothing to deliver. `found` is what its channels have lost.
    fn deliver(&mut self, messages: Vec<Arc<Message>>, end: Cursor, mut found: Found) -> Option<Batch> {
        // From the oldest message on, only damage is a loss.
        let is_lost = found.is_damaged || (found.is_news && self.opening.is_none());
        let is_lost = self.find_forgotten(&mut found) || is_lost;
        let is_begin = self.opening.is_some();
        let requested = match self.opening.take() {
            Some(Opening::Foreign(cursor)) => Some(cursor),
            Some(Opening::Earliest | Opening::Unresolved { .. }) | None => is_lost.then_some(self.client),
        };
        let gap = requested.map(|requested| Gap {
            requested,
            resumed: messages.first().map_or(end, |first| self.place_before(first.id)),
        });
        if is_begin || gap.is_some() {
            self.has_reported(found.losses);
        }
        self.cursor = end;
        self.waiter.at(self.cursor);
        self.deactivate();
        let given = messages.last().map(|last| last.id).or(gap.as_ref().map(|gap| gap.resumed));
        self.client = given.unwrap_or(self.client);
        (gap.is_some() || !messages.is_empty()).then_some(Batch { gap, messages, end: None, cursor: self.cursor })
    }

    /// The latest cursor known before `first`, the oldest stored message after the reader's own cursor: resuming from it skips nothing, and
    /// reports as few dropped messages again as possible.
    fn place_before(&self, first: Cursor) -> Cursor {
        let losses = |subscription: &Subscription| self.losses(&subscription.channel.history.lock());
        let dropped = self.subscriptions.iter().flat_map(losses).map(|loss| loss.up_to);
        let removed = self.older.iter().flat_map(|older| older.removed());
        let forgotten = self.matching.iter().map(|_| self.log.forgotten().up_to);
        let places = dropped.chain(removed).chain(forgotten).chain([self.cursor, self.log.floor()]);
        places.filter(|place| *place < first).max().unwrap_or_default()
    }

    /// As [`read`](Self::read), waiting if there are no messages; `None` once the log is closed and read to its end.
    /// Cheap to call again at any time; each call replaces the waker of the previous one.
    pub fn poll_read(&mut self, cx: &Context<'_>, limit: Limit) -> Poll<Option<Batch>> {
        self.waiter.waker.register(cx.waker());
        if !self.has_channel() {
            self.log.wait_for_probe(&self.waiter);
        }
        // Checked first: everything published before the end can then be read.
        let is_closed = self.log.is_closed();
        match self.read(limit) {
            Some(batch) => Poll::Ready(Some(batch)),
            None if is_closed && !self.is_waiting() => Poll::Ready(None),
            None => Poll::Pending,
        }
    }

    /// As [`poll_read`](Self::poll_read), for `async` code. No message is lost if the future is dropped.
    pub async fn next(&mut self, limit: Limit) -> Option<Batch> {
        poll_fn(|cx| self.poll_read(cx, limit)).await
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.end_subscriptions();
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let channels: Vec<_> = self.channels().collect();
        f.debug_struct("Reader").field("channels", &channels).field("cursor", &self.cursor).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
