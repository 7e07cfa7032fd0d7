//! The bus of a single process: the log itself gives the order.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    future::ready,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use parking_lot::Mutex;

use super::{Answer, Bus, BusError, IdempotencyKey, Lease, Publication, Published, REPEATABLE_FOR, digest::Digest};
use crate::{
    live::log::{Limits, Log},
    pure::Cursor,
};

/// Milliseconds since the Unix epoch.
#[must_use]
pub fn wall_clock() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A clock that reads milliseconds since the Unix epoch. It may stand still and go back.
pub type Clock = fn() -> u64;

/// All in this process. Restarting it forgets everything: cursors of before are then told of a gap.
pub struct MemoryBus {
    log: Arc<Log>,
    clock: Clock,
    answers: Mutex<Answers>,
}

impl MemoryBus {
    /// A bus with an empty log, by `clock`.
    #[must_use]
    pub fn new(limits: Limits, clock: Clock) -> Self {
        let log = Arc::new(Log::new(limits, Cursor::new(clock(), 0)));
        Self { log, clock, answers: Mutex::default() }
    }

    fn publish_now(&self, publication: Publication) -> Result<Published, BusError> {
        let now_ms = (self.clock)();
        let added = |ids| Published { ids, is_repeat: false };
        let Some(key) = publication.key else { return Ok(added(self.log.append(publication.drafts, now_ms))) };
        // Held over the append, so that of two with the same key at once one adds and the other is answered.
        let mut answers = self.answers.lock();
        let digest = Digest::of(&publication.drafts);
        match answers.get(&key, now_ms) {
            Some((first, ids)) if *first == digest => return Ok(Published { ids: ids.clone(), is_repeat: true }),
            Some(_) => return Err(BusError::Reused),
            None => {}
        }
        answers.make_room(&key, publication.drafts.len())?;
        let ids = self.log.append(publication.drafts, now_ms);
        answers.insert(key, (digest, ids.clone()), now_ms);
        Ok(added(ids))
    }
}

impl Bus for MemoryBus {
    fn log(&self) -> &Arc<Log> {
        &self.log
    }

    fn publish(&self, publication: Publication) -> Answer<'_, Result<Published, BusError>> {
        Box::pin(ready(self.publish_now(publication)))
    }

    fn reach(&self, _: Cursor) -> Answer<'_, ()> {
        Box::pin(ready(()))
    }

    fn filled(&self) -> Answer<'_, ()> {
        Box::pin(ready(()))
    }

    fn ready(&self) -> Result<(), BusError> {
        Ok(())
    }

    /// Nobody else is there to hold it.
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

/// What was answered to publications with a key, for as long as they may be asked for again.
#[derive(Default)]
struct Answers {
    given: HashMap<Arc<IdempotencyKey>, (Digest, Vec<Cursor>)>,
    /// The same keys, oldest first, with the time at which each is forgotten.
    until: VecDeque<(u64, Arc<IdempotencyKey>)>,
    bytes: usize,
}

impl Answers {
    /// Memory that keys and their answers may take. Refusing beyond it is safe; forgetting one early is not.
    const MOST_BYTES: usize = 64 * 1024 * 1024;
    /// What a key costs beside its text and its ids.
    const OVERHEAD: usize = 176;

    fn cost(key: &IdempotencyKey, ids: usize) -> usize {
        Self::OVERHEAD + key.scope.len() + key.key.len() + ids * size_of::<Cursor>()
    }

    fn get(&mut self, key: &IdempotencyKey, now_ms: u64) -> Option<&(Digest, Vec<Cursor>)> {
        while let Some((_, key)) = self.until.pop_front_if(|(until, _)| *until <= now_ms) {
            if let Some((_, ids)) = self.given.remove(&key) {
                self.bytes -= Self::cost(&key, ids.len());
            }
        }
        self.given.get(key)
    }

    fn make_room(&self, key: &IdempotencyKey, ids: usize) -> Result<(), BusError> {
        let fits = self.bytes + Self::cost(key, ids) <= Self::MOST_BYTES;
        fits.then_some(()).ok_or(BusError::Keys)
    }

    fn insert(&mut self, key: IdempotencyKey, answer: (Digest, Vec<Cursor>), now_ms: u64) {
        let key = Arc::new(key);
        self.bytes += Self::cost(&key, answer.1.len());
        let lifetime = u64::try_from(REPEATABLE_FOR.as_millis()).unwrap_or(u64::MAX);
        self.until.push_back((now_ms.saturating_add(lifetime), key.clone()));
        self.given.insert(key, answer);
    }
}

#[cfg(test)]
mod tests;
