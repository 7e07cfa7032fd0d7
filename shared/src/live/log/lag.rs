//! The lag of readers, measured in slices: a log may have a million channels.

use std::{
    collections::HashMap,
    ops::Bound::{Excluded, Included, Unbounded},
    sync::Arc,
};

use super::{Channel, Log, kind::Kind};
use crate::{
    live::clock::Moment,
    pure::{ChannelName, Cursor},
};

/// Maximum number of channels in one slice.
const CHANNELS: usize = 1_024;
/// The number of readers after which a slice ends early.
const READERS: usize = 65_536;

/// A measurement in progress; see [`Log::measure`].
#[derive(Clone, Copy, Debug)]
pub struct Lag {
    /// The largest number of stored messages that a reader has not read yet.
    pub messages: usize,
    /// The age in milliseconds of the oldest stored message that a reader has not read yet.
    pub age_ms: u64,
    after: Option<Cursor>,
    until: Cursor,
}

impl Log {
    /// Starts to measure the lag of the readers.
    #[must_use]
    pub fn lag(&self) -> Lag {
        Lag { messages: 0, age_ms: 0, after: None, until: self.head() }
    }

    /// Continues to fill in the positions of the readers of `channel` whose tags ([`Reader::set_tag`](super::super::reader::Reader::set_tag)) are in
    /// `positions`: of several with the same tag, the slowest. A reader that has joined others has none. `at` is 0 at first. Returns whether there
    /// are more readers, so that others have their turn meanwhile.
    pub fn positions(
        &self,
        channel: &ChannelName,
        positions: &mut HashMap<u64, Option<Cursor>>,
        at: &mut usize,
    ) -> bool {
        self.find(channel).is_some_and(|channel| channel.positions(positions, at))
    }

    /// The number of stored messages of `channel` after `cursor`, as far as the memory has them.
    #[must_use]
    pub fn count_after(&self, channel: &ChannelName, cursor: Cursor) -> usize {
        let until = self.head();
        self.find(channel).map_or(0, |channel| channel.history.lock().own(cursor, until).len())
    }

    /// Measures another slice; `false` after the last one.
    pub fn measure(&self, lag: &mut Lag, now: impl Into<Moment>) -> bool {
        let now = now.into();
        let channels: Vec<(Cursor, Arc<Channel>)> = {
            let writer = self.writer.lock();
            // A channel only moves up in this order, so none that existed at the beginning is missed.
            let range = (lag.after.map_or(Unbounded, Excluded), Included(lag.until.max(lag.after.unwrap_or_default())));
            let of = |kind| writer.pool(kind).oldest.range(range).take(CHANNELS);
            let mut found: Vec<_> =
                Kind::ALL.into_iter().flat_map(of).map(|(id, channel)| (*id, channel.clone())).collect();
            found.sort_unstable_by_key(|(id, _)| *id);
            found.truncate(CHANNELS);
            found
        };
        let mut visited = 0;
        for (id, channel) in &channels {
            lag.after = Some(*id);
            let (readers, slowest) = channel.slowest();
            if let Some(slowest) = slowest {
                let history = channel.history.lock();
                let mut ahead = history.range(slowest, Cursor::MAX);
                lag.messages = lag.messages.max(ahead.len());
                let age = ahead.next().map_or(0, |oldest| now.mono_ms.saturating_sub(oldest.published()));
                lag.age_ms = lag.age_ms.max(age);
            }
            visited += readers;
            if visited > READERS {
                return true;
            }
        }
        channels.len() == CHANNELS
    }
}
