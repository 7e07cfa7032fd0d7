//! Which losses a reader still has to report.
//!
//! A gap says that anything may be missing after the client's cursor that had been lost until then. What is lost later needs another gap, also if it
//! is before messages whose loss was reported: a log may lose the newest messages first, and keep older ones for a while. So a reader remembers the
//! number of the last event that it has reported, and compares the losses of its channels with that and with its cursor.

use super::{History, Loss, Present, Reader, Subscription};
use crate::pure::Cursor;

/// What a read finds lost.
pub(super) struct Found {
    head: Cursor,
    /// Whether there is anything that has not been reported.
    pub(super) is_news: bool,
    /// The disk cannot read messages, which may be of any channel.
    pub(super) is_damaged: bool,
    /// The number of the last event that a gap of this read reports.
    pub(super) losses: u64,
}

impl Found {
    /// Nothing, in a read that began so.
    pub(super) fn in_read(present: Present) -> Self {
        Self { head: present.head, is_news: false, is_damaged: false, losses: present.losses }
    }

    /// A loss after the reader's position, of which events up to the one with the number `reported` are reported.
    pub(super) fn add(&mut self, loss: Loss, reported: u64) {
        self.is_news |= loss.number > reported;
        // A batch that exceeds the history of a channel drops its own beginning before any of it is visible: a position beyond the head, which
        // the gap of this read does not cover. A later read reports it.
        if loss.up_to <= self.head {
            self.losses = self.losses.max(loss.number);
        }
    }
}

impl Reader {
    /// What a channel has lost whose history is `history`.
    pub(super) fn losses(&self, history: &History) -> [Loss; 2] {
        if self.reads_copies { history.losses_after(self.cursor) } else { history.losses() }
    }

    /// Whether something of a channel is lost that is not reported, as far as that is known without the disk.
    pub(super) fn is_lost(&self, subscription: &Subscription) -> bool {
        let Subscription { channel, from, .. } = subscription;
        let after = self.cursor.max(*from);
        if let Some(archive) = self.log.archive().filter(|_| !channel.is_stream()) {
            let removed = channel.lost(archive.removed(&channel.name));
            return removed > after && removed > subscription.removal_reported_up_to;
        }
        // All messages of a stream are in memory, and what it has lost, too.
        let history = channel.history.lock();
        let losses = if self.reads_copies { self.losses(&history) } else { channel.losses(&history) };
        losses.iter().any(|loss| loss.is_news(after, subscription.reported))
    }

    /// Whatever was dropped after the cursor is reported from now on.
    pub(super) fn requires_losses(&mut self) {
        self.subscriptions.iter_mut().for_each(Subscription::require_losses);
        self.requires_forgotten();
    }

    /// All that was lost by the event `number` and before has been reported, or was never requested.
    pub(super) fn has_reported(&mut self, number: u64) {
        let of_names = self.subscriptions.iter_mut().map(|subscription| &mut subscription.reported);
        let patterns = self.matching.iter_mut().flat_map(|matching| &mut matching.patterns);
        for reported in of_names.chain(patterns.map(|pattern| &mut pattern.reported)) {
            *reported = number.max(*reported);
        }
    }
}

impl Subscription {
    /// Whatever it has lost after the reader's cursor is reported from now on.
    pub(super) fn require_losses(&mut self) {
        (self.reported, self.removal_reported_up_to) = (0, Cursor::ZERO);
    }
}

#[cfg(test)]
mod tests;
