//! The channels of a log by name, in several hash tables.
//!
//! A hash table moves all of its entries when it grows or shrinks. With a million channels in one table, that would block everybody for a
//! tenth of a second; small tables bound the pause.

use std::{
    borrow::Borrow,
    collections::HashMap,
    hash::{BuildHasher, Hash, RandomState},
    sync::Arc,
};

use super::Channel;
use crate::pure::ChannelName;

/// The number of parts: of a million channels each has about four thousand.
const PARTS: usize = 256;
/// Slots that a part keeps, however few entries it has.
const MIN_CAPACITY: usize = 16;

pub(super) struct Channels {
    /// The part that a name belongs to. Each part hashes with keys of its own.
    hasher: RandomState,
    parts: Vec<HashMap<ChannelName, Arc<Channel>>>,
    len: usize,
    /// The next part to check for unused space.
    next: usize,
}

impl Channels {
    pub(super) fn new() -> Self {
        Self { hasher: RandomState::new(), parts: (0..PARTS).map(|_| HashMap::new()).collect(), len: 0, next: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn contains_key(&self, name: &str) -> bool {
        self.parts[self.part(name)].contains_key(name)
    }

    pub(super) fn get(&self, name: &ChannelName) -> Option<&Arc<Channel>> {
        self.parts[self.part(name)].get(name)
    }

    /// The channel with this name, which `make` creates if it does not exist.
    pub(super) fn get_or_insert_with(&mut self, name: &ChannelName, make: impl FnOnce() -> Channel) -> &Arc<Channel> {
        let part = self.part(name);
        let len = &mut self.len;
        self.parts[part].entry(name.clone()).or_insert_with(|| {
            *len += 1;
            Arc::new(make())
        })
    }

    pub(super) fn remove(&mut self, name: &ChannelName) {
        let part = self.part(name);
        if self.parts[part].remove(name).is_some() {
            self.len -= 1;
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&ChannelName, &Arc<Channel>)> {
        self.parts.iter().flatten()
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &Arc<Channel>> {
        self.parts.iter().flat_map(HashMap::values)
    }

    /// Calls `visit` for the channels in the part `at`; `false` if there is no such part.
    pub(super) fn visit(&self, at: usize, visit: impl FnMut(&Arc<Channel>)) -> bool {
        self.parts.get(at).map(|part| part.values().for_each(visit)).is_some()
    }

    /// Frees unused space, part by part, until about `most` entries were moved. Returns whether there may be more to do.
    pub(super) fn shrink(&mut self, most: usize) -> bool {
        let mut moved = 0;
        for _ in 0..PARTS {
            let part = &mut self.parts[self.next];
            self.next = (self.next + 1) % PARTS;
            if part.capacity() > 4 * part.len().max(MIN_CAPACITY) {
                part.shrink_to(2 * part.len());
                moved += part.len();
                if moved >= most {
                    return true;
                }
            }
        }
        false
    }

    fn part<Q>(&self, name: &Q) -> usize
    where
        ChannelName: Borrow<Q>,
        Q: Hash + ?Sized,
    {
        usize::try_from(self.hasher.hash_one(name) % PARTS as u64).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pure::Loss;

    fn name(n: usize) -> ChannelName {
        format!("c.{n}").parse().unwrap()
    }

    /// Case 10.4: the space of a million removed channels is freed in small parts.
    #[test]
    fn memory_is_released_in_parts() {
        const COUNT: usize = 100_000;
        let mut channels = Channels::new();
        for n in 0..COUNT {
            channels.get_or_insert_with(&name(n), || Channel::new(name(n), Loss::default(), None));
        }
        let largest = channels.parts.iter().map(HashMap::len).max().unwrap();
        assert!(largest < 2 * COUNT / PARTS, "{largest} of {COUNT} in one part");
        for n in COUNT / 20..COUNT {
            channels.remove(&name(n));
        }
        assert_eq!((channels.len(), channels.iter().count(), channels.values().count()), (5_000, 5_000, 5_000));
        let capacity = |channels: &Channels| channels.parts.iter().map(HashMap::capacity).sum::<usize>();
        let before = capacity(&channels);
        let mut slices = 1;
        while channels.shrink(1_000) {
            slices += 1;
        }
        assert!((5..=6).contains(&slices), "{slices} slices of some 1,000 entries");
        assert!(capacity(&channels) < before / 2, "{} of {before}", capacity(&channels));
        assert!(channels.contains_key("c.0") && !channels.contains_key("c.99999"));
        assert!(channels.get(&name(4_999)).is_some_and(|channel| channel.name == name(4_999)));
    }
}
