//! A subscription: a cursor on the log that is woken when something comes after it.
//!
//! Opening seats the reader's waiter on its channels and then takes the cursor; each poll first hangs up its bell
//! and then reads. In that order nothing can fall between reading and waiting.
//!
//! Where the log cannot tell yet what a cursor means, the reader waits for it as it waits for a message.

use std::{
    fmt,
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll},
};

mod merge;

use merge::{Merge, Taken};

use super::log::{Channel, Log, Opener, State, Waiter};
use crate::pure::{ChannelName, Cursor, Gap, Message, Since};

/// How much one read gives out at most. At least one message comes, however large it is.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    /// Messages.
    pub messages: usize,
    /// Bytes of data.
    pub bytes: usize,
}

impl Default for Limit {
    /// About one socket buffer: what a reader takes at a time it holds until it is written.
    fn default() -> Self {
        Self { messages: 256, bytes: 64 * 1024 }
    }
}

/// What came after the cursor.
#[derive(Debug)]
pub struct Batch {
    /// Something before these messages is lost: to be told first.
    pub gap: Option<Gap>,
    /// In id order, over all channels of the reader.
    pub messages: Vec<Arc<Message>>,
    /// The cursor after this batch: with it, a reader goes on where this one stopped.
    pub cursor: Cursor,
}

/// A subscription to one or more channels. Dropping it ends it.
pub struct Reader {
    log: Arc<Log>,
    seats: Vec<Seat>,
    waiter: Arc<Waiter>,
    cursor: Cursor,
    /// The newest cursor that the client has: what it came with, or what it was given last. The reader's own is often further, since it
    /// passes over what is not on its channels.
    client: Cursor,
    /// For whom a channel counts that comes to be because this reads it.
    opener: Option<Arc<Opener>>,
    /// Until the first read: how it differs from those after it.
    opening: Option<Opening>,
}

/// A place on one channel.
struct Seat {
    channel: Arc<Channel>,
    key: usize,
    /// Nothing of this channel up to here is wanted, even where the reader's cursor is before it.
    from: Cursor,
    /// What the channel has dropped up to here, the client was told of, or never asked for.
    told: Cursor,
}

/// A start that is no cursor of this log's: what was dropped before it is not missed.
enum Opening {
    /// From the oldest message held.
    Earliest,
    /// The same, for a client that brought a cursor which the log cannot vouch for and has to be told so.
    Foreign(Cursor),
    /// The log cannot tell yet where this is: it has not been filled, or is behind the cursor and may come up to it.
    Unsettled {
        since: Since,
        /// What the bus has to have answered before a cursor beyond the head is called foreign.
        question: u64,
    },
}

impl Reader {
    /// Subscribes to `channels` from `since` on. A channel named twice counts once.
    #[must_use]
    pub fn open(log: &Arc<Log>, channels: &[ChannelName], since: Since) -> Self {
        Self::open_for(log, channels, since, None)
    }

    /// As [`open`](Self::open); channels that come to be because of it, now or later, count for `opener`.
    #[must_use]
    pub fn open_for(log: &Arc<Log>, channels: &[ChannelName], since: Since, opener: Option<Arc<Opener>>) -> Self {
        let mut reader = Self {
            log: log.clone(),
            seats: Vec::new(),
            waiter: Arc::default(),
            cursor: Cursor::ZERO,
            client: Cursor::ZERO,
            opener,
            opening: None,
        };
        reader.seats.reserve_exact(channels.len());
        for name in channels {
            reader.add(name);
        }
        let state = log.state();
        reader.settle(since, state.question(), &state);
        if let (Since::Now, Some(_)) = (since, state.start) {
            reader.cursor = state.head;
            reader.client = state.head;
        }
        reader.waiter.at(if reader.is_settled() { reader.cursor } else { Cursor::MAX });
        reader
    }

    /// Channels that come to be because of this reader count for `opener` from now on.
    pub fn opens_for(&mut self, opener: Option<Arc<Opener>>) {
        self.opener = opener;
    }

    fn is_settled(&self) -> bool {
        !matches!(self.opening, Some(Opening::Unsettled { .. }))
    }

    /// Takes the place that `since` means in a log in `state`, if that can be told.
    fn settle(&mut self, since: Since, question: u64, state: &State) {
        self.opening = None;
        match (since, state.start) {
            (_, None) => self.opening = Some(Opening::Unsettled { since, question }),
            (Since::Now, Some(start)) => self.cursor = start,
            (Since::Earliest, _) => self.opening = Some(Opening::Earliest),
            (Since::After(cursor), _) if cursor > state.head && !state.is_answered(question) => {
                self.opening = Some(Opening::Unsettled { since, question });
            }
            (Since::After(cursor), _)
                if cursor > state.head
                    || (cursor.is_issued() && (cursor < state.floor || !self.log.can_have_issued(cursor))) =>
            {
                self.cursor = Cursor::ZERO;
                self.opening = Some(Opening::Foreign(cursor));
            }
            (Since::After(cursor), _) => {
                self.cursor = cursor;
                self.seats.iter_mut().for_each(|seat| seat.told = Cursor::ZERO);
            }
        }
        // Where a client that leaves before it is known would go on.
        if let Some(Opening::Unsettled { since: Since::After(cursor), .. }) = self.opening {
            self.cursor = cursor;
        }
        self.client = self.cursor;
    }

    /// The cursor that the client has is this one, which it did not get from this reader: the next gap names it.
    pub fn client_has(&mut self, cursor: Cursor) {
        self.client = cursor;
    }

    /// The newest cursor that the client has, as far as this reader knows.
    #[must_use]
    pub fn client(&self) -> Cursor {
        self.client
    }

    /// Reads `channel` too, from the present cursor on.
    pub fn add(&mut self, channel: &ChannelName) {
        self.add_from(channel, Cursor::ZERO);
    }

    /// Reads `channel` too, from the present cursor on and nothing up to `from`, which may be further.
    pub fn add_from(&mut self, channel: &ChannelName, from: Cursor) {
        if !self.reads(channel) {
            let (channel, key) = self.log.seat(channel, &self.waiter, self.opener.as_ref());
            let dropped = channel.history.lock().dropped().unwrap_or_default();
            // Of what is dropped already and not shown yet, the reader may still have to be told; see `read`.
            let told = dropped.min(self.log.head());
            self.seats.push(Seat { channel, key, from, told });
        }
    }

    /// As [`add_from`](Self::add_from), for a client that comes back: what was dropped after the cursor and after `from` is
    /// missed, even if it was dropped before now.
    pub fn claim(&mut self, channel: &ChannelName, from: Cursor) {
        self.add_from(channel, from);
        if let Some(seat) = self.seats.iter_mut().find(|seat| seat.channel.name == *channel) {
            seat.told = Cursor::ZERO;
        }
    }

    /// Of `channel`, which is read, nothing up to `from` is wanted; what is after it is, also where that was passed over until
    /// now.
    pub fn want_from(&mut self, channel: &ChannelName, from: Cursor) {
        if let Some(seat) = self.seats.iter_mut().find(|seat| seat.channel.name == *channel) {
            seat.from = from;
        }
    }

    /// Reads `channel` no longer.
    pub fn remove(&mut self, channel: &ChannelName) {
        if let Some(at) = self.seats.iter().position(|seat| seat.channel.name == *channel) {
            let seat = self.seats.swap_remove(at);
            self.log.unseat(&seat.channel, seat.key);
        }
    }

    /// Whether `channel` is one of those that are read.
    #[must_use]
    pub fn reads(&self, channel: &ChannelName) -> bool {
        self.seats.iter().any(|seat| seat.channel.name == *channel)
    }

    /// The channels that are read.
    pub fn channels(&self) -> impl Iterator<Item = &ChannelName> {
        self.seats.iter().map(|seat| &seat.channel.name)
    }

    /// Everything up to here has been given out, or was not for this reader.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// As [`cursor`](Self::cursor), for a client that may have to come back before it is given anything; nothing while
    /// coming back with it could mean another place than the one that was asked for.
    #[must_use]
    pub fn place(&self) -> Option<Cursor> {
        self.opening.is_none().then_some(self.cursor)
    }

    /// Whether the next read will tell of a gap.
    #[must_use]
    pub fn is_gap(&self) -> bool {
        let is_lost = |seat: &Seat| {
            let dropped = seat.channel.history.lock().dropped();
            dropped.is_some_and(|dropped| dropped > self.cursor.max(seat.from) && dropped > seat.told)
        };
        match self.opening {
            // Of a cursor that nobody can place yet, nobody can say that nothing is lost after it.
            Some(Opening::Foreign(_) | Opening::Unsettled { since: Since::After(_), .. }) => true,
            Some(Opening::Earliest | Opening::Unsettled { .. }) => false,
            None => self.seats.iter().any(is_lost),
        }
    }

    /// Whether it is known what the place that the reader was opened at means, after another look.
    fn look(&mut self) -> bool {
        if let Some(Opening::Unsettled { since, question }) = self.opening {
            // Parked first, so that no answer falls between looking and waiting.
            self.log.park(&self.waiter);
            self.settle(since, question, &self.log.state());
        }
        self.is_settled()
    }

    /// Waits until it is known what the place that the reader was opened at means: whether there is a gap after it
    /// ([`is_gap`](Self::is_gap)), or else that [`cursor`](Self::cursor) is it.
    pub fn poll_settled(&mut self, cx: &Context<'_>) -> Poll<()> {
        self.waiter.bell.register(cx.waker());
        if self.look() { Poll::Ready(()) } else { Poll::Pending }
    }

    /// What comes after the cursor, if anything does; the cursor moves on past it.
    pub fn read(&mut self, limit: Limit) -> Option<Batch> {
        if !self.look() {
            return None;
        }
        let head = self.log.head();
        if head == self.cursor && self.opening.is_none() {
            return None;
        }
        let mut is_lost = false;
        let Taken { messages, is_cut } = loop {
            let mut merge = Merge::new(head, limit);
            for (at, seat) in self.seats.iter_mut().enumerate() {
                let history = seat.channel.history.lock();
                let after = self.cursor.max(seat.from);
                merge.begin(at, &history, after);
                let Some(dropped) = history.dropped() else { continue };
                if dropped > after && dropped > seat.told {
                    is_lost |= self.opening.is_none();
                    // A batch larger than what a channel holds drops its own beginning before any of it is shown: a
                    // place beyond the head, which the gap of this read does not reach. The next read tells of it.
                    seat.told = dropped.min(head);
                }
            }
            match merge.finish(|at| self.seats[at].channel.history.lock()) {
                Some(taken) => break taken,
                // What came first was dropped just now, and with nothing taken there is no place before it to stop at.
                None => continue,
            }
        };
        let requested = match self.opening.take() {
            Some(Opening::Foreign(cursor)) => Some(cursor),
            Some(Opening::Earliest | Opening::Unsettled { .. }) => None,
            None => is_lost.then_some(self.client),
        };
        let gap = requested.map(|requested| Gap {
            requested,
            resumed: messages.first().map_or(head, |first| self.place_before(first.id)),
        });
        self.cursor = messages.last().filter(|_| is_cut).map_or(head, |last| last.id);
        self.waiter.at(self.cursor);
        let given = messages.last().map(|last| last.id).or(gap.as_ref().map(|gap| gap.resumed));
        self.client = given.unwrap_or(self.client);
        (gap.is_some() || !messages.is_empty()).then_some(Batch { gap, messages, cursor: self.cursor })
    }

    /// The latest cursor known before `first`, the oldest message that is held after the reader's own: coming back with
    /// it passes over nothing, and as little as can be of what was dropped counts again.
    fn place_before(&self, first: Cursor) -> Cursor {
        let dropped = self.seats.iter().filter_map(|seat| seat.channel.history.lock().dropped());
        dropped.chain([self.cursor, self.log.floor()]).filter(|place| *place < first).max().unwrap_or_default()
    }

    /// As [`read`](Self::read), waiting where there is nothing yet; `None` once the log is closed and read to its end.
    ///
    /// Cheap to call again at any time; each call replaces the waker of the one before.
    pub fn poll_read(&mut self, cx: &Context<'_>, limit: Limit) -> Poll<Option<Batch>> {
        self.waiter.bell.register(cx.waker());
        // Asked first: what was published before the end is then there to be read.
        let is_closed = self.log.is_closed();
        match self.read(limit) {
            Some(batch) => Poll::Ready(Some(batch)),
            None if is_closed => Poll::Ready(None),
            None => Poll::Pending,
        }
    }

    /// As [`poll_read`](Self::poll_read), for `async` code. Dropping the future loses nothing.
    pub async fn next(&mut self, limit: Limit) -> Option<Batch> {
        poll_fn(|cx| self.poll_read(cx, limit)).await
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        for seat in &self.seats {
            self.log.unseat(&seat.channel, seat.key);
        }
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
