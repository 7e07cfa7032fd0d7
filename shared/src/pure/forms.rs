//! The encoded forms of messages: a cache beside the history, with a budget of its own.
//!
//! The first reader that needs a form encodes it, and all readers share it. It can be encoded again at any time, so it never displaces a
//! message: when the forms exceed their budget, those of the oldest messages are evicted. Eviction goes by id, since most readers are near
//! the head of the log; a client that reads old messages does not displace what most readers are about to get.
//!
//! Messages that the log has dropped, and that only readers have, take the room of forms.

use std::{
    any::Any,
    collections::BTreeSet,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
};

use bytes::Bytes;
use parking_lot::Mutex;

use super::{ChannelName, Cursor};

/// A wire form that the readers of a transport share: the first of them encodes it, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// An event of an event stream, with the data only.
    Sse,
    /// One event of an event stream, with the whole message as its data.
    SseWhole,
    /// The whole message as a line of JSON.
    Line,
    /// The data as a line of JSON.
    RawLine,
    /// As [`Wire::SseWhole`], with the user who published the message.
    SseWholeWithUser,
    /// As [`Wire::Line`], with the user who published the message.
    LineWithUser,
}

impl Wire {
    /// The number of forms without the user.
    pub(crate) const COUNT: usize = 4;
}

/// The forms of one message. Their bytes count until the last reader drops them.
pub(crate) struct Forms {
    wires: [OnceLock<Bytes>; Wire::COUNT],
    /// Those with the user, which most messages do not have.
    with_user: OnceLock<Box<WithUser>>,
    packet: OnceLock<Box<dyn Any + Send + Sync>>,
    bytes: AtomicUsize,
    cache: Option<Arc<FormCache>>,
}

/// The forms with the user.
#[derive(Default)]
struct WithUser {
    line: OnceLock<Bytes>,
    sse_whole: OnceLock<Bytes>,
}

impl Forms {
    /// The overhead of a message's forms: this struct, its reference counts, its entry in the cache.
    const OVERHEAD: usize = 384;
    /// The overhead of its forms with the user.
    const WITH_USER: usize = size_of::<WithUser>() + 16;

    /// No forms yet, counted by `cache`.
    pub(crate) fn new(cache: Option<Arc<FormCache>>) -> Self {
        let bytes = AtomicUsize::new(0);
        let forms =
            Self { wires: Default::default(), with_user: OnceLock::new(), packet: OnceLock::new(), bytes, cache };
        forms.count(Self::OVERHEAD);
        forms
    }

    pub(crate) fn wire(&self, wire: Wire) -> &OnceLock<Bytes> {
        match wire {
            Wire::LineWithUser => &self.with_user().line,
            Wire::SseWholeWithUser => &self.with_user().sse_whole,
            Wire::Sse | Wire::SseWhole | Wire::Line | Wire::RawLine => &self.wires[wire as usize],
        }
    }

    fn with_user(&self) -> &WithUser {
        self.with_user.get_or_init(|| {
            self.count(Self::WITH_USER);
            Box::default()
        })
    }

    pub(crate) fn packet(&self) -> &OnceLock<Box<dyn Any + Send + Sync>> {
        &self.packet
    }

    /// Counts `bytes` more in this message and in the cache.
    pub(crate) fn count(&self, bytes: usize) {
        if let Some(cache) = &self.cache {
            // The total first: whatever is subtracted from it has been added before.
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

/// The messages that have forms, and the bytes of all forms.
#[derive(Debug)]
pub(crate) struct FormCache {
    /// Bytes of messages that the log has dropped, and that readers have.
    left: AtomicUsize,
    used: AtomicUsize,
    most: usize,
    /// Milliseconds of the newest message whose forms were evicted.
    evicted_ms: AtomicU64,
    /// The messages with forms: forks of a stream share ids. Locked when a message gets its first form, and when it loses them.
    places: Mutex<BTreeSet<(Cursor, ChannelName)>>,
}

impl FormCache {
    /// A cache of `most` bytes; `None` is no limit.
    pub(crate) fn new(most: Option<usize>) -> Self {
        Self {
            left: AtomicUsize::new(0),
            used: AtomicUsize::new(0),
            most: most.unwrap_or(usize::MAX),
            evicted_ms: AtomicU64::new(0),
            places: Mutex::default(),
        }
    }

    /// Bytes of all forms.
    pub(crate) fn used(&self) -> usize {
        self.used.load(Relaxed)
    }

    /// Bytes of messages that the log has dropped, and that readers have.
    pub(crate) fn left(&self) -> usize {
        self.left.load(Relaxed)
    }

    /// Bytes that are not free for forms: messages that the log has dropped take at most half.
    fn taken(&self) -> usize {
        self.used().saturating_add(self.left().min(self.most / 2))
    }

    /// The log has dropped a message of this many bytes.
    pub(crate) fn count_left(&self, bytes: usize) {
        self.left.fetch_add(bytes, Relaxed);
    }

    /// The last reader of such messages has them no more.
    pub(crate) fn count_left_out(&self, bytes: usize) {
        self.left.fetch_sub(bytes, Relaxed);
    }

    /// Whether `bytes` for a form of message `id` may be cached.
    ///
    /// An eighth beyond the budget is reserved for messages newer than the evicted ones: a full cache has no space just below its budget,
    /// and the newest message needs some before the next eviction.
    pub(crate) fn has_room(&self, id: Cursor, bytes: usize) -> bool {
        let is_new = id.ms > self.evicted_ms.load(Relaxed);
        let most = if is_new { self.most.saturating_add(self.most / 8) } else { self.most };
        self.taken().saturating_add(bytes) <= most
    }

    /// Records that message `id` on `channel` has forms.
    pub(crate) fn enter(&self, id: Cursor, channel: &ChannelName) {
        self.places.lock().insert((id, channel.clone()));
    }

    /// Records that message `id` on `channel` has no forms any more.
    pub(crate) fn leave(&self, id: Cursor, channel: &ChannelName) {
        self.places.lock().remove(&(id, channel.clone()));
    }

    /// Records that the log has no message before `id` any more. A reader may have encoded one at the moment when it was dropped.
    pub(crate) fn forget_before(&self, id: Cursor) {
        let mut places = self.places.lock();
        while places.first().is_some_and(|(first, _)| *first < id) {
            places.pop_first();
        }
    }

    /// The oldest message with forms, if the budget is exceeded: the caller drops its forms.
    pub(crate) fn evict(&self) -> Option<(Cursor, ChannelName)> {
        if self.taken() <= self.most {
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

    /// The parts of [`Forms::OVERHEAD`], so that a field added later is included.
    #[test]
    fn the_overhead_covers_the_allocated_memory() {
        let counts = 2 * size_of::<usize>();
        // With its reference counts, a half-filled node of the map, and the allocator's overhead.
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
