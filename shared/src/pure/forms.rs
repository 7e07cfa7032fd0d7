//! The encoded forms of messages: a cache beside the history, with a budget of its own.
//!
//! A form is encoded by the first reader that needs it and shared by all. It can be made again at any time, so it never
//! takes the place of a message: when the forms exceed their budget, those of the oldest messages are evicted, and only
//! they. Eviction goes by id, since most readers are near the head of the log; a client that reads old messages again does
//! not displace what everybody is about to get.

use std::{
    any::Any,
    collections::BTreeMap,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
};

use bytes::Bytes;
use parking_lot::Mutex;

use super::{ChannelName, Cursor, message::Wire};

/// The forms of one message. Their bytes are counted until the last reader lets go of them.
pub(crate) struct Forms {
    wires: [OnceLock<Bytes>; Wire::COUNT],
    packet: OnceLock<Box<dyn Any + Send + Sync>>,
    bytes: AtomicUsize,
    cache: Option<Arc<FormCache>>,
}

impl Forms {
    /// What the forms of a message cost beside their bytes: this struct, its counts, its place in the cache.
    const OVERHEAD: usize = 384;

    /// No forms yet, counted by `cache`.
    pub(crate) fn new(cache: Option<Arc<FormCache>>) -> Self {
        let forms = Self { wires: Default::default(), packet: OnceLock::new(), bytes: AtomicUsize::new(0), cache };
        forms.count(Self::OVERHEAD);
        forms
    }

    pub(crate) fn wire(&self, wire: Wire) -> &OnceLock<Bytes> {
        &self.wires[wire as usize]
    }

    pub(crate) fn packet(&self) -> &OnceLock<Box<dyn Any + Send + Sync>> {
        &self.packet
    }

    /// Counts `bytes` that are kept here from now on.
    pub(crate) fn count(&self, bytes: usize) {
        if let Some(cache) = &self.cache {
            // The total first: what is taken off it has always been added before.
            cache.used.fetch_add(bytes, Relaxed);
            self.bytes.fetch_add(bytes, Relaxed);
        }
    }
}

impl Drop for Forms {
    fn drop(&mut self) {
        if let Some(cache) = &self.cache {
            cache.used.fetch_sub(*self.bytes.get_mut(), Relaxed);
        }
    }
}

/// Which messages have forms, and how many bytes these take.
#[derive(Debug)]
pub(crate) struct FormCache {
    used: AtomicUsize,
    most: usize,
    /// Milliseconds of the newest message whose forms were evicted.
    evicted_ms: AtomicU64,
    /// Where the messages with forms are. Taken when a message gets its first form, and when it loses them.
    places: Mutex<BTreeMap<Cursor, ChannelName>>,
}

impl FormCache {
    /// A cache of `most` bytes; `None` is no limit.
    pub(crate) fn new(most: Option<usize>) -> Self {
        Self {
            used: AtomicUsize::new(0),
            most: most.unwrap_or(usize::MAX),
            evicted_ms: AtomicU64::new(0),
            places: Mutex::default(),
        }
    }

    /// Bytes that are kept.
    pub(crate) fn used(&self) -> usize {
        self.used.load(Relaxed)
    }

    /// Whether `bytes` of a form of message `id` may be kept.
    ///
    /// An eighth beyond the budget is for messages newer than those evicted: just below its budget a full cache has no room,
    /// and the newest message needs some before the next eviction.
    pub(crate) fn has_room(&self, id: Cursor, bytes: usize) -> bool {
        let is_new = id.ms > self.evicted_ms.load(Relaxed);
        let most = if is_new { self.most.saturating_add(self.most / 8) } else { self.most };
        self.used().saturating_add(bytes) <= most
    }

    /// Notes that message `id` on `channel` has forms.
    pub(crate) fn enter(&self, id: Cursor, channel: &ChannelName) {
        self.places.lock().insert(id, channel.clone());
    }

    /// Notes that message `id` has no forms any more.
    pub(crate) fn leave(&self, id: Cursor) {
        self.places.lock().remove(&id);
    }

    /// Notes that no message before `id` is in the log any more. A reader may have encoded one that was just leaving it.
    pub(crate) fn forget_before(&self, id: Cursor) {
        let mut places = self.places.lock();
        while places.first_key_value().is_some_and(|(first, _)| *first < id) {
            places.pop_first();
        }
    }

    /// The oldest message with forms, if more is kept than the budget allows: its forms are to be dropped.
    pub(crate) fn evict(&self) -> Option<(Cursor, ChannelName)> {
        if self.used() <= self.most {
            return None;
        }
        let oldest = self.places.lock().pop_first()?;
        self.evicted_ms.fetch_max(oldest.0.ms, Relaxed);
        Some(oldest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What [`Forms::OVERHEAD`] stands for, so that a field added later is thought of there.
    #[test]
    fn the_overhead_is_no_less_than_what_it_stands_for() {
        let counts = 2 * size_of::<usize>();
        // Behind its counts, with a half-filled node of the map, and what the allocator adds.
        let least = counts + size_of::<Forms>() + 2 * size_of::<(Cursor, ChannelName)>() + 2 * 8;
        assert!(Forms::OVERHEAD >= least, "{} < {least}", Forms::OVERHEAD);
    }

    #[test]
    fn the_oldest_are_evicted_and_do_not_displace_newer_ones() {
        let cache = Arc::new(FormCache::new(Some(4_000)));
        let channel: ChannelName = "c".parse().unwrap();
        let forms: Vec<_> = [3, 1, 2]
            .into_iter()
            .map(|ms| {
                cache.enter(Cursor::new(ms, 0), &channel);
                let forms = Forms::new(Some(cache.clone()));
                forms.count(1_000);
                forms
            })
            .collect();
        assert_eq!(cache.used(), 3 * (1_000 + Forms::OVERHEAD));
        assert_eq!(cache.evict(), Some((Cursor::new(1, 0), channel)));
        assert!(!cache.has_room(Cursor::new(1, 0), 300) && cache.has_room(Cursor::new(4, 0), 300));
        drop(forms);
        assert_eq!((cache.used(), cache.evict()), (0, None));
        assert!(cache.has_room(Cursor::new(1, 0), 4_000), "there is room again");
    }
}
