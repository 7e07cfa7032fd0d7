//! Sets of channels: connections that read the same channels share one list of them.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, RandomState},
    ops::Deref,
    sync::{Arc, Weak},
};

use parking_lot::Mutex;
use shared::pure::ChannelName;

/// The number of parts of the table, each with its own lock.
const PARTS: usize = 16;
/// The minimum number of new sets in a part between two clean-ups.
const LOOK_AFTER: usize = 256;

/// The channels of a connection, in alphabetical order.
#[derive(Debug, PartialEq, Eq)]
pub struct ChannelSet(Box<[ChannelName]>);

impl ChannelSet {
    /// Whether `channel` is one of them.
    #[must_use]
    pub fn has(&self, channel: &ChannelName) -> bool {
        self.0.binary_search(channel).is_ok()
    }

    /// Its memory in bytes.
    pub(super) fn footprint(&self) -> usize {
        // The name's reference counts and the allocator's overhead, besides the text and the reference.
        self.0.iter().map(|channel| channel.len() + 40).sum()
    }
}

impl Deref for ChannelSet {
    type Target = [ChannelName];

    fn deref(&self) -> &[ChannelName] {
        &self.0
    }
}

/// The sets that connections have.
#[derive(Debug, Default)]
pub(super) struct ChannelSets {
    hasher: RandomState,
    parts: [Mutex<Part>; PARTS],
}

#[derive(Debug, Default)]
struct Part {
    /// By a hash of the channels. Of two sets with the same hash, only the last one is shared.
    known: HashMap<u64, Weak<ChannelSet>>,
    look_at: usize,
}

impl ChannelSets {
    /// The set of these channels.
    pub(super) fn get(&self, channels: &[ChannelName]) -> Arc<ChannelSet> {
        if channels.is_sorted() {
            return self.find(channels);
        }
        let mut sorted = channels.to_vec();
        sorted.sort_unstable();
        self.find(&sorted)
    }

    fn find(&self, channels: &[ChannelName]) -> Arc<ChannelSet> {
        let hash = self.hasher.hash_one(channels);
        let mut part = self.parts[usize::try_from(hash % PARTS as u64).unwrap_or_default()].lock();
        if let Some(known) = part.known.get(&hash).and_then(Weak::upgrade)
            && known.0[..] == *channels
        {
            return known;
        }
        if part.known.len() >= part.look_at {
            part.known.retain(|_, set| set.strong_count() > 0);
            part.look_at = 2 * part.known.len() + LOOK_AFTER;
        }
        let set = Arc::new(ChannelSet(channels.into()));
        part.known.insert(hash, Arc::downgrade(&set));
        set
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.parts.iter().map(|part| part.lock().known.len()).sum()
    }
}
