//! How far readers are behind, measured in slices: a log may have a million channels.

use std::{
    ops::Bound::{Excluded, Included, Unbounded},
    sync::Arc,
};

use super::{Channel, Log};
use crate::{live::clock::Moment, pure::Cursor};

/// Channels that are looked at in one slice.
const CHANNELS: usize = 1_024;
/// Readers after which a slice ends early.
const READERS: usize = 65_536;

/// A measurement under way; see [`Log::measure`].
#[derive(Clone, Copy, Debug)]
pub struct Lag {
    /// Most messages that are held and that a reader has still before it.
    pub messages: usize,
    /// Age in milliseconds of the oldest message that is held and that a reader has still before it.
    pub age_ms: u64,
    after: Option<Cursor>,
    until: Cursor,
}

impl Log {
    /// Begins to measure how far the readers are behind.
    #[must_use]
    pub fn lag(&self) -> Lag {
        Lag { messages: 0, age_ms: 0, after: None, until: self.head() }
    }

    /// Measures another slice; `false` when that was the last one.
    pub fn measure(&self, lag: &mut Lag, now: impl Into<Moment>) -> bool {
        let now = now.into();
        let channels: Vec<(Cursor, Arc<Channel>)> = {
            let writer = self.writer.lock();
            // A channel only moves up in this order, so none that was there at the beginning is passed over.
            let range = (lag.after.map_or(Unbounded, Excluded), Included(lag.until.max(lag.after.unwrap_or_default())));
            writer.oldest.range(range).take(CHANNELS).map(|(id, channel)| (*id, channel.clone())).collect()
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
