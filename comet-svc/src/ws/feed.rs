//! The messages that one connection reads: one cursor in the log for all its channels, and catch-ups from older positions.
//!
//! A subscription without a cursor joins the live reader at the head of the log. One from a cursor that the live reader has passed gets a
//! reader of its own, up to the live reader's position, and the live reader waits meanwhile: each channel is delivered in order.

use std::{
    collections::VecDeque,
    sync::Arc,
    task::{Context, Poll, ready},
};

use edge::{ApiError, subscribe::MAX_CHANNELS};
use shared::{
    live::{
        log::{Log, Opener},
        reader::{Batch, Limit, Reader},
    },
    pure::{ChannelName, Cursor, Since},
};

#[cfg(test)]
mod tests;

/// Maximum number of catch-ups that are not done.
const MAX_CATCH_UPS: usize = 32;
/// Maximum number of channels of all of them together.
const MAX_CATCH_UP_CHANNELS: usize = 256;

/// See the module.
pub(super) struct Feed {
    log: Arc<Log>,
    live: Reader,
    /// Those that are not done, the current one first.
    catch_ups: VecDeque<CatchUp>,
    /// The reader of the current one, which few connections have at a time.
    reader: Option<Box<Older>>,
    /// A stream has ended after the position that the client had, or the client has named one at which some may have ended already.
    has_end: bool,
}

/// Channels that are read again from an older position.
struct CatchUp {
    channels: Vec<ChannelName>,
    since: Since,
}

/// The reader of a catch-up.
struct Older {
    reader: Reader,
    /// Where it began, once that is known.
    from: Option<Cursor>,
}

impl Feed {
    /// Reads what `live` reads. `has_cursor`: the client has named its position.
    pub(super) fn new(log: &Arc<Log>, live: Reader, has_cursor: bool) -> Self {
        Self { log: log.clone(), live, catch_ups: VecDeque::new(), reader: None, has_end: has_cursor }
    }

    /// Subscribes to `channels` from `since` on: those that are not read yet, or all of them again from an older position. Channels that
    /// exist because of it count for `opener`. Returns the cursor after which they are delivered.
    ///
    /// # Errors
    /// 400 for more channels than one connection may read; 429 while earlier subscriptions are still being delivered.
    pub(super) fn subscribe(
        &mut self,
        channels: Vec<ChannelName>,
        since: Since,
        opener: Option<Arc<Opener>>,
    ) -> Result<Cursor, ApiError> {
        let new = channels.iter().filter(|channel| !self.live.reads(channel)).count();
        if self.live.channels().count() + new > MAX_CHANNELS {
            let message = format!("a connection can read at most {MAX_CHANNELS} channels");
            return Err(ApiError::invalid("too_many_channels", message));
        }
        let (head, position) = (self.log.head(), self.live.cursor());
        let is_ahead = matches!(since, Since::After(cursor) if (position..=head).contains(&cursor) && self.log.can_have_issued(cursor));
        let is_older = since != Since::Now && !is_ahead;
        if is_older && self.is_full(channels.len()) {
            return Err(ApiError::TooMany { message: STILL_CATCHING_UP.to_owned(), retry_after: 1 });
        }
        if opener.is_some() {
            self.live.opens_for(opener);
        }
        let cursor = match since {
            // Of channels that are read already, what precedes the head may still be delivered.
            Since::Now if new < channels.len() => position.min(head),
            Since::Now => head,
            Since::After(cursor) => cursor,
            Since::Earliest => Cursor::ZERO,
        };
        for channel in &channels {
            match since {
                // The client may repeat its subscription, and what it has not got of it yet is still to be returned.
                Since::Now if self.live.reads(channel) => {}
                Since::Now => {
                    self.live.add_from(channel, head);
                    self.live.require_closed(channel);
                }
                // Not before its catch-up is done.
                _ if is_older => self.live.add_from(channel, Cursor::MAX),
                Since::After(cursor) => {
                    self.live.require_from(channel, cursor);
                    self.live.include_after(channel, cursor);
                }
                Since::Earliest => {}
            }
        }
        self.has_end |= matches!(since, Since::After(_));
        if is_older {
            self.catch_ups.push_back(CatchUp { channels, since });
        }
        Ok(cursor)
    }

    /// Stops reading `channels`.
    pub(super) fn unsubscribe(&mut self, channels: &[ChannelName]) {
        for channel in channels {
            self.live.remove(channel);
            if let Some(older) = &mut self.reader {
                older.reader.remove(channel);
            }
        }
        for catch_up in &mut self.catch_ups {
            catch_up.channels.retain(|channel| !channels.contains(channel));
        }
    }

    /// Whether it reads some channels, and all of them from the position of the live reader on.
    pub(super) fn is_idle(&self) -> bool {
        self.catch_ups.is_empty() && self.live.can_join() && self.live.channels().next().is_some()
    }

    /// Whether all channels are streams that have ended, and nothing follows. Ask when there is nothing to read.
    pub(super) fn is_over(&self) -> bool {
        self.has_end && self.catch_ups.is_empty() && self.live.ended().is_some()
    }

    /// The live reader.
    pub(super) fn into_live(self) -> Reader {
        self.live
    }

    /// The channels that it reads.
    pub(super) fn channels(&self) -> Vec<ChannelName> {
        self.live.channels().cloned().collect()
    }

    /// Whether `channel` is subscribed to.
    pub(super) fn reads(&self, channel: &ChannelName) -> bool {
        self.live.reads(channel)
    }

    fn is_full(&self, more: usize) -> bool {
        let waiting: usize = self.catch_ups.iter().map(|catch_up| catch_up.channels.len()).sum();
        self.catch_ups.len() >= MAX_CATCH_UPS || waiting + more > MAX_CATCH_UP_CHANNELS
    }

    /// The next messages; `None` once the log is closed and read to its end.
    pub(super) fn poll_next(&mut self, cx: &Context<'_>, limit: Limit) -> Poll<Option<Batch>> {
        while !self.catch_ups.is_empty() {
            match self.poll_catch_up(cx, limit) {
                Poll::Ready(None) => {}
                Poll::Ready(batch) => return Poll::Ready(batch),
                // What has to be waited for is delivered after the client has reconnected.
                Poll::Pending if self.log.is_closed() => return Poll::Ready(None),
                Poll::Pending => return Poll::Pending,
            }
        }
        let before = self.live.cursor();
        self.live.poll_read(cx, limit).map(|batch| {
            let end = batch.as_ref().and_then(|batch| batch.end.as_ref());
            self.has_end |= end.is_some_and(|end| end.id > before);
            batch
        })
    }

    /// The next messages of the current catch-up. `None` if there are none at present, or it is done.
    fn poll_catch_up(&mut self, cx: &Context<'_>, limit: Limit) -> Poll<Option<Batch>> {
        ready!(self.live.poll_resolved(cx));
        let Some(catch_up) = self.catch_ups.front() else { return Poll::Ready(None) };
        let until = self.live.cursor();
        let older = self.reader.get_or_insert_with(|| {
            Box::new(Older { reader: Reader::open(&self.log, &catch_up.channels, catch_up.since), from: None })
        });
        ready!(older.reader.poll_resolved(cx));
        let from = *older.from.get_or_insert(older.reader.place().unwrap_or_default());
        let batch = if from < until {
            ready!(older.reader.poll_stored(cx, limit)).map(|batch| up_to(batch, until))
        } else {
            None
        };
        if from >= until || older.reader.cursor() >= until {
            // From a cursor of another process that was ahead, the live reader continues there.
            for channel in &catch_up.channels {
                self.live.include_after(channel, until.max(from));
            }
            self.catch_ups.pop_front();
            self.reader = None;
        }
        if let Some(last) = batch.as_ref().and_then(last_delivered) {
            // The live reader waits meanwhile, so the client has everything up to this position.
            self.live.client_has(self.live.client().max(last));
        }
        Poll::Ready(batch.filter(|batch| batch.gap.is_some() || batch.end.is_some() || !batch.messages.is_empty()))
    }
}

const STILL_CATCHING_UP: &str = "earlier subscriptions are still being delivered; subscribe again later";

/// A batch of a catch-up without what is after `until`, which the live reader delivers.
fn up_to(mut batch: Batch, until: Cursor) -> Batch {
    batch.messages.retain(|message| message.id <= until);
    batch.end = batch.end.filter(|end| end.id <= until);
    if let Some(gap) = &mut batch.gap {
        gap.resumed = gap.resumed.min(until);
    }
    batch
}

/// The cursor of the client after a batch.
fn last_delivered(batch: &Batch) -> Option<Cursor> {
    batch.messages.last().map(|last| last.id).or(batch.gap.as_ref().map(|gap| gap.resumed))
}
