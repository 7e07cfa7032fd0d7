//! How catch-ups begin, and what one delivers of a batch.

use shared::{
    live::{clock::Moment, reader::Batch},
    pure::{ChannelName, Cursor},
};

use super::{Feed, plan::CatchUp};

/// Catch-ups that a session remembers. A client whose offset belongs to an older one cannot be recovered.
pub(super) const MAX_CATCH_UPS: usize = 32;
/// Maximum number of channels of all catch-ups together: they are stored with the session, and saved with each of its changes.
pub(super) const MAX_CATCH_UP_CHANNELS: usize = 256;

impl Feed {
    /// Adds a catch-up behind all others, and gives it its number.
    pub(super) fn begin_catch_up(&mut self, catch_up: CatchUp) {
        while self.reading > 0 && !self.has_room(0, catch_up.channels.len()) {
            self.plan.catch_ups.remove(0);
            self.reading -= 1;
        }
        let number = self.next_number;
        self.next_number += 1;
        self.plan.catch_ups.push(CatchUp { number, ..catch_up });
    }

    /// The position from which `channel` is read that was subscribed to at `head`, without a cursor: its end is delivered even if it is a stream
    /// that was closed before. If the live reader has passed the end, adds the channel to `closed`.
    pub(super) fn live_position(
        &mut self,
        channel: &ChannelName,
        head: Cursor,
        closed: &mut Vec<ChannelName>,
    ) -> Cursor {
        match self.live.reader(&self.log).closed(channel) {
            None => head,
            Some(end) if end <= self.live.cursor() => {
                closed.push(channel.clone());
                head
            }
            Some(_) => {
                let tail = self.log.stream_info(channel, false, Moment::now()).map(|info| info.tail);
                let from = self.live.cursor().max(tail.unwrap_or_default());
                self.live.reader(&self.log).include_after(channel, from);
                from
            }
        }
    }

    /// Delivers the ends of these streams, which the live reader has passed. In a catch-up, because the position of the live reader does not say
    /// whether the client has received them.
    pub(super) fn require_ends(&mut self, channels: Vec<ChannelName>) {
        if channels.is_empty() {
            return;
        }
        if self.is_full(channels.len()) {
            // The session cannot store it: a client that is disconnected now may miss them.
            let live = self.live.reader(&self.log);
            channels.iter().for_each(|channel| live.require_closed(channel));
            return;
        }
        let until = self.live.cursor();
        self.begin_catch_up(CatchUp { number: 0, channels, since: Some(until), until, is_for_ends: true });
    }

    /// Whether the catch-ups in progress are so large that a session could not store another one with this many more channels.
    pub(crate) fn is_full(&self, more: usize) -> bool {
        !self.has_room(self.reading, more)
    }

    /// Whether the catch-ups from this position on leave room for one with this many channels.
    fn has_room(&self, from: usize, more: usize) -> bool {
        let kept = self.plan.catch_ups.iter().skip(from);
        kept.len() < MAX_CATCH_UPS
            && kept.map(|catch_up| catch_up.channels.len()).sum::<usize>() + more <= MAX_CATCH_UP_CHANNELS
    }
}

/// A batch of a catch-up without what is after `until`, which the live reader delivers.
pub(super) fn up_to(mut batch: Batch, until: Cursor) -> Batch {
    batch.messages.retain(|message| message.id <= until);
    batch.end = batch.end.filter(|end| end.id <= until);
    if let Some(gap) = &mut batch.gap {
        gap.resumed = gap.resumed.min(until);
    }
    batch
}

/// The cursor of the client after a batch.
pub(super) fn last_given(batch: &Batch) -> Option<Cursor> {
    batch.messages.last().map(|last| last.id).or(batch.gap.as_ref().map(|gap| gap.resumed))
}
