//! The bus of a single process: the log itself gives the order.

use std::{collections::HashMap, fmt, future::ready, sync::Arc, time::Duration};

use parking_lot::Mutex;

use super::{
    Answer, Bus, BusError, KeyStats, Lease, Publication, Published,
    digest::Digest,
    keys::{Hash, Keys},
};
use crate::{
    live::{
        clock::Clock,
        log::{Limits, Log},
    },
    pure::{Cursor, Epoch},
};

/// All in this process. A restart loses everything: older cursors then get a gap.
pub struct MemoryBus {
    log: Arc<Log>,
    clock: Clock,
    answers: Mutex<Answers>,
}

impl MemoryBus {
    /// A bus with an empty log, by `clock`.
    ///
    /// Its ids carry a mark of this process: a cursor of an earlier process is a gap even if this one has newer ids, which happens if the
    /// clock was set back in between.
    #[must_use]
    pub fn new(limits: Limits, clock: Clock) -> Self {
        Self::of_epoch(limits, clock, Epoch::numbered(rand::random()))
    }

    /// The same, with a limit in bytes for idempotency keys.
    #[must_use]
    pub fn with_key_bytes(self, most: usize) -> Self {
        Self { answers: Mutex::new(Answers::new(Some(most))), ..self }
    }

    fn of_epoch(limits: Limits, clock: Clock, epoch: Epoch) -> Self {
        // Earlier ids would mean "from the beginning".
        let start = clock().time_ms.max(Cursor::FIRST_ISSUED.ms);
        let log = Arc::new(Log::of_epoch(limits, epoch, start));
        Self { log, clock, answers: Mutex::new(Answers::new(None)) }
    }

    fn publish_now(&self, publication: Publication) -> Result<Published, BusError> {
        let Publication { drafts, key } = publication;
        let Some(key) = key else {
            return Ok(Published { ids: self.log.append(drafts, (self.clock)()), is_repeat: false });
        };
        // Before the lock: hashing a large batch takes longer than everything under the lock.
        let ((scope, key), digest, count) = (Hash::of(&key), Digest::of(&drafts), drafts.len());
        // Locked during the append, so that of two simultaneous requests with the same key one adds the messages and the other gets its
        // answer.
        let mut answers = self.answers.lock();
        let now = (self.clock)();
        while answers.expire(now.mono_ms) {}
        match answers.given.get(&key) {
            Some(first) if first.digest == digest => return Ok(Published { ids: self.ids(first), is_repeat: true }),
            Some(_) => return Err(BusError::Reused),
            None => {}
        }
        answers.keys.add(scope, key, now.mono_ms).map_err(|retry_after| BusError::Keys { retry_after })?;
        let ids = self.log.append(drafts, now);
        let first = ids.first().copied().unwrap_or_default();
        answers.given.insert(key, Given { digest, first, count });
        Ok(Published { ids, is_repeat: false })
    }

    /// The ids of a publication: those of a batch are consecutive.
    fn ids(&self, given: &Given) -> Vec<Cursor> {
        let next = |id: &Cursor| Some(id.next_in(self.log.epoch(), 0));
        std::iter::successors(Some(given.first), next).take(given.count).collect()
    }
}

impl Bus for MemoryBus {
    fn log(&self) -> &Arc<Log> {
        &self.log
    }

    fn publish(&self, publication: Publication) -> Answer<'_, Result<Published, BusError>> {
        Box::pin(ready(self.publish_now(publication)))
    }

    fn wait_for(&self, _: Cursor) -> Answer<'_, ()> {
        Box::pin(ready(()))
    }

    fn filled(&self) -> Answer<'_, ()> {
        Box::pin(ready(()))
    }

    fn ready(&self) -> Result<(), BusError> {
        Ok(())
    }

    fn sweep(&self) -> bool {
        let now = (self.clock)();
        // Both, whatever the first returns.
        self.answers.lock().sweep(now.mono_ms) | self.log.sweep(now)
    }

    fn keys(&self) -> KeyStats {
        let keys = &self.answers.lock().keys;
        KeyStats { keys: keys.len(), bytes: keys.bytes() }
    }

    /// No other process can have it.
    fn lease(&self, _: &'static str, _: Duration) -> Answer<'_, Option<Lease>> {
        Box::pin(ready(Some(Lease::Kept)))
    }

    fn release(&self, _: &'static str, _: Cursor) -> Answer<'_, ()> {
        Box::pin(ready(()))
    }
}

impl fmt::Debug for MemoryBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryBus").field("log", &self.log).finish_non_exhaustive()
    }
}

/// The answers to publications with a key, until the keys expire.
struct Answers {
    given: HashMap<Hash, Given>,
    keys: Keys,
}

/// The answer to a publication.
#[derive(Debug)]
struct Given {
    digest: Digest,
    first: Cursor,
    count: usize,
}

impl Answers {
    fn new(most_bytes: Option<usize>) -> Self {
        Self { given: HashMap::new(), keys: Keys::new(most_bytes) }
    }

    /// Removes an expired key; `false` if there is none.
    fn expire(&mut self, mono_ms: u64) -> bool {
        let expired = self.keys.expire(mono_ms);
        expired.is_some_and(|key| self.given.remove(&key).is_some())
    }

    /// Removes expired keys: one slice, which takes about a millisecond. Returns whether there are more.
    fn sweep(&mut self, mono_ms: u64) -> bool {
        const SLICE: usize = 4_096;
        if (0..SLICE).all(|_| self.expire(mono_ms)) {
            return true;
        }
        if self.given.capacity() > 4 * self.given.len().max(1_024) {
            self.given.shrink_to(2 * self.given.len());
            self.keys.shrink();
        }
        false
    }
}

#[cfg(test)]
mod tests;
