//! The ordered log of a process: published messages by channel, and the readers that wait for more.
//!
//! A bus appends under the writer's lock: the message is stored in its channel's history, then the head is advanced, then the channel's
//! readers are woken. A reader takes the head *first* and each history after it. What it finds up to that head is therefore complete over
//! all its channels: every id up to the head was in its history before the head was advanced. Nothing here blocks.
//!
//! On a bus of several processes the log is a copy, and a copy can be behind. Until it has been [filled](Log::filled) its readers see
//! nothing. A reader whose cursor is newer than the head waits until the position of the bus has been [probed](Log::begin_probe), before
//! that cursor is treated as one of another log.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    task::Waker,
};

use parking_lot::{Mutex, MutexGuard};

use super::clock::Moment;
use crate::pure::{ChannelName, Cursor, Draft, Epoch, Message, forms::FormCache};

mod archive;
mod changes;
mod channel;
mod channels;
mod kind;
mod lag;
mod lifecycle;
mod limits;
mod listing;
mod pool;
mod progress;
mod streams;
mod watch;
mod writer;

pub(super) use archive::{Archive, Awaited, Piece, PieceShare, Request};
pub use changes::Changes;
pub use channel::Opener;
use channel::wake;
pub(super) use channel::{Channel, Waiter};
use kind::Kind;
pub use lag::Lag;
pub(super) use lifecycle::{Admission, Change, Decision, Reserved, Staged, Stored};
pub use limits::{Limits, Vacancy};
pub use listing::{ChannelStats, Listing};
pub(super) use progress::{Present, State};
pub(super) use watch::Noted;
pub use watch::Watch;
use writer::Writer;

/// Maximum number of messages, or of messages' forms, in one slice of a sweep.
const SLICE: usize = 256;
/// Maximum number of messages whose forms one publication evicts.
const EVICTED_AT_ONCE: usize = 256;

/// The log. One for each process, shared by all its readers.
pub struct Log {
    limits: Limits,
    /// Identifies the cursors that this log can have issued.
    epoch: Epoch,
    /// Ranges of ids that were handed out and lost, each after its first cursor up to and including its second.
    holes: Vec<(Cursor, Cursor)>,
    /// Where older messages are.
    archive: Option<Arc<dyn Archive>>,
    /// The state that readers use. Locked for an instant only, and without taking another lock.
    state: Mutex<State>,
    closed: AtomicBool,
    /// Locked by one appender at a time: ids grow in the order in which they are assigned.
    writer: Mutex<Writer>,
    /// Readers whose cursor cannot be checked before the next probe, and those without a channel, which only the end of the log concerns.
    probe_waiters: Mutex<Vec<Arc<Waiter>>>,
    forms: Arc<FormCache>,
    /// The number of readers' subscriptions to channels.
    subscriptions: AtomicUsize,
    /// See [`Present`].
    losses: Arc<AtomicU64>,
}

/// The size of the log and the lag of its readers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogStats {
    /// Channels with messages, with dropped messages, or with readers.
    pub channels: usize,
    /// Stored messages.
    pub messages: usize,
    /// Bytes of stored data.
    pub bytes: usize,
    /// Bytes of memory, as limited by [`Limits::total`].
    pub footprint: usize,
    /// Bytes of memory of the server's own channels, as limited by [`Limits::server`].
    pub server_footprint: usize,
    /// Streams.
    pub streams: usize,
    /// Bytes of memory of streams, as limited by [`Limits::streams`].
    pub stream_footprint: usize,
    /// Bytes of encoded forms, as limited by [`Limits::forms`].
    pub forms: usize,
    /// Bytes of messages that the log has dropped, or never had, and that only readers have.
    pub left: usize,
    /// Bytes of the lists of channels that readers of patterns have not read yet.
    pub pattern_bytes: usize,
    /// Subscriptions of readers, one for each channel of each.
    pub subscriptions: usize,
    /// The largest number of stored messages that a reader has not read yet.
    pub lag_messages: usize,
    /// Age in milliseconds of the oldest stored message that a reader has not read yet.
    pub lag_ms: u64,
}

impl Log {
    /// An empty log that knows nothing of messages up to `floor`: an older cursor gets a gap.
    #[must_use]
    pub fn new(limits: Limits, floor: Cursor) -> Self {
        let state = State { head: floor, floor, start: Some(floor), probes_begun: 0, ended_probe: None };
        Self::with(limits, Epoch::ANY, state)
    }

    /// As [`new`](Self::new), from `floor_ms` on, with ids of its own `epoch`: a cursor of another epoch gets a gap, wherever it is.
    #[must_use]
    pub fn of_epoch(limits: Limits, epoch: Epoch, floor_ms: u64) -> Self {
        let floor = epoch.first(floor_ms);
        let state = State { head: floor, floor, start: Some(floor), probes_begun: 0, ended_probe: None };
        Self::with(limits, epoch, state)
    }

    /// A log that will be a copy of the bus, and shows its readers nothing until it is [`filled`](Self::filled).
    #[must_use]
    pub fn unfilled(limits: Limits) -> Self {
        let state =
            State { head: Cursor::ZERO, floor: Cursor::ZERO, start: None, probes_begun: 0, ended_probe: Some(0) };
        Self::with(limits, Epoch::ANY, state)
    }

    fn with(limits: Limits, epoch: Epoch, state: State) -> Self {
        let forms = Arc::new(FormCache::new(limits.forms));
        let writer = Writer::new(&limits, state.head, forms.clone());
        Self {
            limits,
            epoch,
            holes: Vec::new(),
            archive: None,
            state: Mutex::new(state),
            closed: AtomicBool::new(false),
            losses: writer.visible_losses(),
            writer: Mutex::new(writer),
            probe_waiters: Mutex::default(),
            forms,
            subscriptions: AtomicUsize::new(0),
        }
    }

    /// The same log, in which messages with ids after the first and up to the second cursor of each pair were lost after clients may have
    /// received them: a cursor among them gets a gap.
    pub(super) fn with_holes(self, holes: Vec<(Cursor, Cursor)>) -> Self {
        Self { holes, ..self }
    }

    /// The same log, whose older messages are in `archive`.
    pub(super) fn with_archive(self, archive: Arc<dyn Archive>) -> Self {
        self.writer.lock().streams.is_stored = true;
        Self { archive: Some(archive), ..self }
    }

    /// Where messages are that are not in memory any more.
    pub(super) fn archive(&self) -> Option<&Arc<dyn Archive>> {
        self.archive.as_ref()
    }

    /// The epoch of its ids.
    pub(super) fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Whether `cursor`, if a clock issued it, can have been issued by this log.
    #[must_use]
    pub fn can_have_issued(&self, cursor: Cursor) -> bool {
        self.epoch.issued(cursor) && !self.holes.iter().any(|(after, up_to)| cursor > *after && cursor <= *up_to)
    }

    /// Appends `drafts` with ids from the clock, which reads `now`. They become visible together.
    pub fn append(&self, drafts: Vec<Draft>, now: impl Into<Moment>) -> Vec<Cursor> {
        let now = now.into();
        let writer = self.writer.lock();
        let (messages, ids) = self.place(&writer, drafts, now);
        self.insert(writer, messages, now);
        ids
    }

    /// Appends messages that have ids, which are greater than the head and ascending. They become visible together. Their age is measured
    /// from their ids, by the time of day in `now`.
    ///
    /// # Errors
    /// The first message that is not newer than its predecessor; none is appended then.
    pub fn append_placed(&self, messages: Vec<Message>, now: impl Into<Moment>) -> Result<(), Cursor> {
        let writer = self.writer.lock();
        let mut last = writer.last;
        for message in &messages {
            if message.id <= last {
                return Err(message.id);
            }
            last = message.id;
        }
        self.insert(writer, messages, now.into());
        Ok(())
    }

    fn insert(&self, mut writer: MutexGuard<'_, Writer>, messages: Vec<Message>, now: Moment) {
        let touched = self.insert_all(&mut writer, messages, now);
        self.unlock(writer, &touched);
    }

    /// Ends a change: unlocks the writer, and wakes the readers of `touched`.
    fn unlock(&self, mut writer: MutexGuard<'_, Writer>, touched: &[Arc<Channel>]) {
        let (gone, wakers) = (writer.take_gone(), writer.take_wakers());
        drop(writer);
        wake(touched);
        wakers.into_iter().for_each(Waker::wake);
        drop(gone);
    }

    /// Returns each channel that received a message, once.
    fn insert_all(&self, writer: &mut Writer, messages: Vec<Message>, now: Moment) -> Vec<Arc<Channel>> {
        let Some(first) = messages.first().map(|message| message.id) else { return Vec::new() };
        let mut touched = Vec::new();
        for message in messages {
            let published = now.mono_at(message.time());
            touched.extend(writer.insert(message, first, published, &self.limits, now.mono_ms));
        }
        writer.make_room();
        writer.evict_forms(EVICTED_AT_ONCE);
        writer.note(&touched);
        self.publish_head(writer.last);
        touched
    }

    /// Drops messages that exceed the maximum age at `now`, and forms beyond their limit: one slice of at most
    /// 256. Returns whether there is more to do.
    ///
    /// Call it about once a second, until there is no more: between calls, a channel's age limit is checked only when it gets a message.
    pub fn sweep(&self, now: impl Into<Moment>) -> bool {
        let now = now.into();
        let mut writer = self.writer.lock();
        let mut left = SLICE;
        for kind in Kind::ALL {
            while left > 0
                && let Some(channel) = writer.pool(kind).first()
            {
                // All channels have the same maximum age, so the first message that is young enough ends it.
                let retention = self.limits.retention(kind);
                if !channel.history.lock().is_over(&retention, now.mono_ms) || !writer.drop_first(kind) {
                    break;
                }
                left -= 1;
            }
        }
        // Forms that readers have encoded since the last append.
        let is_over = writer.evict_forms(SLICE);
        let oldest = writer.oldest().unwrap_or_else(|| writer.last.next(0));
        // Tables that were much larger once are shrunk.
        let has_room = left > 0 && writer.channels.shrink(SLICE);
        let gone = writer.take_gone();
        // Waiting threads first: the next slice would otherwise take the lock again before they are awake.
        MutexGuard::unlock_fair(writer);
        drop(gone);
        self.forms.forget_before(oldest);
        left == 0 || is_over || has_room
    }

    /// Whether `channels` can be read: how many do not exist yet, and how many can be created.
    pub fn vacancy(&self, channels: &[ChannelName]) -> Vacancy {
        let writer = self.writer.lock();
        let is_new = |name: &&ChannelName| !name.is_pattern() && !writer.channels.contains_key(&name[..]);
        let new = channels.iter().filter(is_new).count();
        let left = self.limits.channels.map(|most| most.saturating_sub(writer.read_while_empty()));
        Vacancy { new, left }
    }

    /// The newest message that the memory has of any of `channels`, which may be patterns. See [`newest`](super::reader::newest).
    pub(in crate::live) fn newest(&self, channels: &[ChannelName]) -> Option<Arc<Message>> {
        let head = self.head();
        let newest = |channel: Arc<Channel>| channel.history.lock().own(Cursor::ZERO, head).next_back().cloned();
        let selected = channels.iter().flat_map(|name| self.selected_by(name));
        selected.filter_map(newest).max_by_key(|message| message.id)
    }

    /// The newest `count` messages that the memory has of `channel` up to and including `last`, oldest first. See
    /// [`latest`](super::reader::latest).
    pub(in crate::live) fn latest(&self, channel: &ChannelName, count: usize, last: Cursor) -> Vec<Arc<Message>> {
        let last = last.min(self.head());
        let Some(channel) = self.find(channel) else { return Vec::new() };
        let history = channel.history.lock();
        let range = history.own(Cursor::ZERO, last);
        let skipped = range.len().saturating_sub(count);
        range.skip(skipped).cloned().collect()
    }

    fn find(&self, name: &ChannelName) -> Option<Arc<Channel>> {
        self.writer.lock().channels.get(name).cloned()
    }

    /// Ends all readers, present and future, once they have read all stored messages.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
        let channels: Vec<_> = self.writer.lock().channels.values().cloned().collect();
        wake(&channels);
        self.wake_probe_waiters();
    }

    /// Whether [`close`](Self::close) was called.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// The size of the log, and the lag of its readers at `now`. Visits every channel with messages: for tests and logs. Frequent callers
    /// use [`counts`](Self::counts) and [measure](Self::measure) the lag in steps.
    pub fn stats(&self, now: impl Into<Moment>) -> LogStats {
        let (now, mut lag) = (now.into(), self.lag());
        while self.measure(&mut lag, now) {}
        LogStats { lag_messages: lag.messages, lag_ms: lag.age_ms, ..self.counts() }
    }

    /// The size of the log, without the lag of its readers.
    pub fn counts(&self) -> LogStats {
        let writer = self.writer.lock();
        LogStats {
            channels: writer.channels.len(),
            messages: writer.messages(),
            bytes: writer.bytes,
            footprint: writer.pool(Kind::Client).footprint,
            server_footprint: writer.pool(Kind::Server).footprint,
            streams: writer.streams.len(),
            stream_footprint: writer.pool(Kind::Stream).footprint,
            forms: self.forms.used(),
            left: self.forms.left(),
            pattern_bytes: Noted::bytes(&writer.watches),
            subscriptions: self.subscriptions.load(Ordering::Relaxed),
            ..LogStats::default()
        }
    }

    /// Adds `waiter` to the channel `name`. If the channel does not exist, it is created and counts for `opener`.
    pub(super) fn add_waiter(
        &self,
        name: &ChannelName,
        waiter: &Arc<Waiter>,
        opener: Option<&Arc<Opener>>,
    ) -> (Arc<Channel>, usize) {
        self.subscriptions.fetch_add(1, Ordering::Relaxed);
        // Under the writer's lock, so that the channel is not removed before the waiter is added.
        self.writer.lock().add_waiter(name, waiter, opener)
    }

    /// Counts subscriptions of readers that share a waiter with others.
    pub(super) fn count_subscriptions(&self, count: usize) {
        self.subscriptions.fetch_add(count, Ordering::Relaxed);
    }

    /// These subscriptions have ended.
    pub(super) fn discount_subscriptions(&self, count: usize) {
        self.subscriptions.fetch_sub(count, Ordering::Relaxed);
    }

    /// Removes a waiter from its channel, and the channel from the log if it has neither messages nor readers.
    pub(super) fn remove_waiter(&self, channel: &Arc<Channel>, key: usize) {
        self.subscriptions.fetch_sub(1, Ordering::Relaxed);
        // In this order: whoever drops the last message checks for readers afterwards.
        if channel.remove_waiter(key) && channel.history.lock().is_empty() {
            self.retire_if_unused(channel);
        }
    }

    /// Removes `channel` from the log if it is still in it, has no messages, and nobody reads it.
    pub(super) fn retire_if_unused(&self, channel: &Arc<Channel>) {
        let mut writer = self.writer.lock();
        // Two readers that leave one after the other may both get here. Somebody may publish in between: then the channel of this name is
        // another one, which stores a message.
        let is_it = writer.channels.get(&channel.name).is_some_and(|known| Arc::ptr_eq(known, channel));
        if is_it && channel.is_unused() {
            writer.retire(channel);
        }
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").field("limits", &self.limits).field("head", &self.head()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
