//! The bus of a single process: the log itself gives the order.

use std::{collections::HashMap, fmt, future::ready, sync::Arc, time::Duration};

use bytes::Bytes;
use parking_lot::Mutex;

use super::{
    Answer, Bus, BusError, Entry, EntryChange, IdempotencyKey, KeyStats, Lease, Publication, Published,
    answers::{Answers, Claim},
};
use crate::{
    live::{
        clock::Clock,
        log::{Limits, Log},
    },
    pure::{
        ChannelName, Cursor, Draft, Epoch,
        stream::{StreamInfo, StreamOp, StreamReply},
    },
};

/// All in this process. A restart loses everything: older cursors then get a gap.
pub struct MemoryBus {
    log: Arc<Log>,
    clock: Clock,
    answers: Mutex<Answers>,
    states: Mutex<HashMap<&'static str, Bytes>>,
    entries: Mutex<HashMap<&'static str, HashMap<Vec<u8>, Bytes>>>,
}

impl MemoryBus {
    /// A bus with an empty log, by `clock`.
    ///
    /// Its ids carry a mark of this process: a cursor of an earlier process is a gap even if this one has newer ids, which happens if the
    /// clock was set back in between.
    #[must_use]
    pub fn new(limits: Limits, clock: Clock) -> Self {
        Self::numbered(limits, clock, rand::random())
    }

    /// The same, with the epoch mark `number`, which must differ between the processes that use one log.
    #[must_use]
    pub fn numbered(limits: Limits, clock: Clock, number: u32) -> Self {
        Self::of_epoch(limits, clock, Epoch::numbered(number))
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
        Self {
            log,
            clock,
            answers: Mutex::new(Answers::new(None)),
            states: Mutex::default(),
            entries: Mutex::default(),
        }
    }

    fn publish_now(&self, publication: Publication) -> Result<Published, BusError> {
        // Before the lock.
        let (claim, drafts) = Claim::split(publication);
        let Some(claim) = claim else {
            return Ok(Published { ids: self.log.publish(drafts, (self.clock)())?, is_repeat: false });
        };
        let count = drafts.len();
        // Locked during the append, so that of two simultaneous requests with the same key one adds the messages and the other gets its
        // answer.
        let mut answers = self.answers.lock();
        let now = (self.clock)();
        if let Some(published) = answers.find(&claim, self.log.epoch(), now.mono_ms)? {
            return Ok(published);
        }
        answers.reserve(&claim, now.mono_ms)?;
        // A rejected publication may be repeated with its key, and has no answer.
        let ids = self.log.publish(drafts, now).inspect_err(|_| answers.take_back())?;
        answers.set(&claim, ids.first().copied().unwrap_or_default(), count);
        Ok(Published { ids, is_repeat: false })
    }
}

impl Bus for MemoryBus {
    fn log(&self) -> &Arc<Log> {
        &self.log
    }

    fn publish(&self, publication: Publication) -> Answer<'_, Result<Published, BusError>> {
        Box::pin(ready(self.publish_now(publication)))
    }

    fn find<'a>(
        &'a self,
        key: &'a IdempotencyKey,
        drafts: &'a [Draft],
    ) -> Answer<'a, Result<Option<Published>, BusError>> {
        let claim = Claim::of(key, drafts);
        let found = self.answers.lock().find(&claim, self.log.epoch(), (self.clock)().mono_ms);
        Box::pin(ready(found))
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
        // All of them, whatever the first returns.
        self.answers.lock().sweep(now.mono_ms) | self.log.sweep(now) | self.log.sweep_streams(now)
    }

    fn purge(&self, channel: ChannelName) -> Answer<'_, Result<Cursor, BusError>> {
        Box::pin(ready(Ok(self.log.purge(&channel))))
    }

    fn stream(&self, op: StreamOp) -> Answer<'_, Result<StreamReply, BusError>> {
        Box::pin(ready(self.log.stream(op, (self.clock)()).map_err(BusError::Stream)))
    }

    fn stream_info(&self, channel: &ChannelName, renews: bool) -> Result<StreamInfo, BusError> {
        self.log.stream_info(channel, renews, (self.clock)()).map_err(BusError::Stream)
    }

    fn keys(&self) -> KeyStats {
        self.answers.lock().keys().stats()
    }

    /// No other process can have it.
    fn lease(&self, _: &'static str, _: Duration) -> Answer<'_, Option<Lease>> {
        Box::pin(ready(Some(Lease::Kept)))
    }

    fn read_state(&self, name: &'static str) -> Answer<'_, Result<Option<Bytes>, BusError>> {
        Box::pin(ready(Ok(self.states.lock().get(name).cloned())))
    }

    fn write_state(&self, name: &'static str, state: Bytes) -> Answer<'_, Result<(), BusError>> {
        self.states.lock().insert(name, state);
        Box::pin(ready(Ok(())))
    }

    fn read_entries(&self, name: &'static str) -> Answer<'_, Result<Vec<Entry>, BusError>> {
        let entries = self.entries.lock().get(name).cloned().unwrap_or_default();
        Box::pin(ready(Ok(entries.into_iter().collect())))
    }

    fn write_entries(&self, name: &'static str, changes: Vec<EntryChange>) -> Answer<'_, Result<(), BusError>> {
        let mut entries = self.entries.lock();
        let entries = entries.entry(name).or_default();
        for (key, value) in changes {
            match value {
                Some(value) => entries.insert(key, value),
                None => entries.remove(&key),
            };
        }
        Box::pin(ready(Ok(())))
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

#[cfg(test)]
mod tests;
