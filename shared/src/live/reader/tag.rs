//! The name of a reader, by which others find how far it is.

use std::sync::atomic::Ordering;

use super::Reader;

impl Reader {
    /// Names the reader for [`Log::positions`](super::super::log::Log::positions). Readers of one client may have the same tag.
    pub fn set_tag(&self, tag: u64) {
        self.waiter.tag.store(tag, Ordering::Relaxed);
    }
}
