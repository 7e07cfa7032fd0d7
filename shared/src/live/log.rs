//! The one ordered log of a process: what was published, per channel, and who waits for more.
//!
//! A bus appends under the writer's lock; the message lands in its channel's history, then the head is moved, then
//! whoever waits on the channel is woken. A reader takes the head *first* and each history after it, so that what it
//! finds up to that head is complete over all its channels: every id up to the head was in its history before the
//! head said so. Nothing here ever waits.
//!
//! On a bus of several processes the log is a copy, and a copy can be behind. Until it has been [filled](Log::filled)
//! its readers see nothing; and a reader whose cursor is newer than the head waits until the bus has been
//! [asked](Log::begin_probe) how far it is, before that cursor is called none of this log's.

use std::{
    fmt, mem,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use parking_lot::{Mutex, MutexGuard};

use super::clock::Moment;
use crate::pure::{ChannelName, Cursor, Draft, Epoch, Message, Retention, forms::FormCache};

mod channel;
mod channels;
mod lag;
mod watch;
mod writer;

pub use channel::Opener;
use channel::wake;
pub(super) use channel::{Channel, Waiter};
pub use lag::Lag;
use watch::Noted;
pub use watch::Watch;
use writer::Writer;

/// Messages, or messages' forms, that go in one slice of a sweep.
const SLICE: usize = 1_024;
/// Messages whose forms are evicted at most by one publication.
const EVICTED_AT_ONCE: usize = 256;

/// How much the log holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Of each channel.
    pub channel: Retention,
    /// Bytes of memory of all channels together: messages ([`Message::footprint`]) and what the channels that hold them
    /// take. The oldest messages go first.
    pub total: Option<usize>,
    /// Bytes of the encoded forms of messages, which readers share. Beyond them those of the oldest messages are dropped,
    /// never a message.
    pub forms: Option<usize>,
    /// Channels that are read while they hold nothing ([`Log::vacancy`]).
    pub channels: Option<usize>,
}

/// Whether channels can be read that hold nothing yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vacancy {
    /// How many of them the log does not know.
    pub new: usize,
    /// How many more it takes. `None` is no limit.
    pub left: Option<usize>,
}

/// The log. One for each process, shared by all its readers.
pub struct Log {
    limits: Limits,
    /// Which cursors can be this log's.
    epoch: Epoch,
    /// What readers go by. Taken for an instant only, before no other lock.
    state: Mutex<State>,
    closed: AtomicBool,
    /// One appends at a time: ids grow in the order in which they are taken.
    writer: Mutex<Writer>,
    /// Readers that cannot be told yet whether their cursor is one of this log's.
    parked: Mutex<Vec<Arc<Waiter>>>,
    forms: Arc<FormCache>,
    /// Places of readers on channels.
    subscriptions: AtomicUsize,
}

/// How far the log is, and how much it can tell.
#[derive(Clone, Copy, Debug)]
pub(super) struct State {
    /// Everything up to here is in its history.
    pub(super) head: Cursor,
    /// Before this, the log cannot tell what there was.
    pub(super) floor: Cursor,
    /// The head at the moment from which readers may see anything.
    pub(super) start: Option<Cursor>,
    /// Questions to the bus, how far it is, that have been begun.
    asked: u64,
    /// The last of them whose answer the log has come up with. `None`: there is nobody to ask, the log is the bus.
    answered: Option<u64>,
}

impl State {
    /// The question whose answer says whether a cursor newer than the head is none of this log's.
    pub(super) fn question(&self) -> u64 {
        // Not the one that is under way: the cursor may be newer than its answer.
        self.asked + 1
    }

    /// Whether that question has been answered.
    pub(super) fn is_answered(&self, question: u64) -> bool {
        self.answered.is_none_or(|answered| answered >= question)
    }
}

/// What the log holds and how far its readers are behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogStats {
    /// Channels that hold something, have dropped something, or are read.
    pub channels: usize,
    /// Messages held.
    pub messages: usize,
    /// Bytes of data held.
    pub bytes: usize,
    /// Bytes of memory, reckoned as [`Limits::total`] is.
    pub footprint: usize,
    /// Bytes of encoded forms, reckoned as [`Limits::forms`] is.
    pub forms: usize,
    /// Places that readers take, one for each channel of each.
    pub subscriptions: usize,
    /// Most messages that are held and that a reader has still before it.
    pub lag_messages: usize,
    /// Age in milliseconds of the oldest message that is held and that a reader has still before it.
    pub lag_ms: u64,
}

impl Log {
    /// An empty log. Of what there was up to `floor` it knows nothing: a cursor before it will be told of a gap.
    #[must_use]
    pub fn new(limits: Limits, floor: Cursor) -> Self {
        let state = State { head: floor, floor, start: Some(floor), asked: 0, answered: None };
        Self::with(limits, Epoch::ANY, state)
    }

    /// As [`new`](Self::new), from `floor_ms` on, with ids of its own `epoch`: a cursor of another epoch is told of a gap,
    /// wherever it is.
    #[must_use]
    pub fn of_epoch(limits: Limits, epoch: Epoch, floor_ms: u64) -> Self {
        let floor = epoch.first(floor_ms);
        let state = State { head: floor, floor, start: Some(floor), asked: 0, answered: None };
        Self::with(limits, epoch, state)
    }

    /// A log that is going to be a copy of what the bus holds, and that shows its readers nothing until it is
    /// [`filled`](Self::filled).
    #[must_use]
    pub fn unfilled(limits: Limits) -> Self {
        let state = State { head: Cursor::ZERO, floor: Cursor::ZERO, start: None, asked: 0, answered: Some(0) };
        Self::with(limits, Epoch::ANY, state)
    }

    fn with(limits: Limits, epoch: Epoch, state: State) -> Self {
        let forms = Arc::new(FormCache::new(limits.forms));
        Self {
            limits,
            epoch,
            state: Mutex::new(state),
            closed: AtomicBool::new(false),
            writer: Mutex::new(Writer::new(&limits, state.head, forms.clone())),
            parked: Mutex::default(),
            forms,
            subscriptions: AtomicUsize::new(0),
        }
    }

    /// The epoch of its ids.
    pub(super) fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Whether `cursor`, if a clock issued it, can have been issued by this log.
    #[must_use]
    pub fn can_have_issued(&self, cursor: Cursor) -> bool {
        self.epoch.issued(cursor)
    }

    /// The newest id: everything up to it can be read.
    pub fn head(&self) -> Cursor {
        self.state().head
    }

    /// The cursor before which the log cannot tell what there was.
    #[must_use]
    pub fn floor(&self) -> Cursor {
        self.state().floor
    }

    /// Whether readers see what there is; before, they wait.
    #[must_use]
    pub fn is_filled(&self) -> bool {
        self.state().start.is_some()
    }

    pub(super) fn state(&self) -> State {
        *self.state.lock()
    }

    /// Shows an unfilled log to its readers: who came for what is new gets what comes after this moment, and cursors
    /// older than `floor` are told of a gap.
    pub fn filled(&self, floor: Cursor) {
        let writer = self.writer.lock();
        let head = writer.last.max(floor);
        {
            let mut state = self.state.lock();
            state.floor = floor;
            state.head = head;
            state.start.get_or_insert(head);
        }
        let channels: Vec<_> = writer.channels.values().cloned().collect();
        drop(writer);
        wake(&channels);
    }

    /// Notes that something up to `last`, on whatever channel, may be lost, and goes on after it: every reader whose
    /// cursor is older is told of a gap. What is held stays and is still read.
    ///
    /// Does nothing where `last` is not newer than what there is.
    pub fn lose(&self, last: Cursor) {
        let mut writer = self.writer.lock();
        if last <= writer.last {
            return;
        }
        writer.lose(last);
        let channels: Vec<_> = writer.channels.values().cloned().collect();
        self.show(last);
        drop(writer);
        wake(&channels);
    }

    /// Begins a question to the bus, how far it is. The answer counts for all readers that are there already.
    pub fn begin_probe(&self) -> u64 {
        let mut state = self.state.lock();
        state.asked += 1;
        state.asked
    }

    /// Notes that the log has come as far as the bus was at `probe`: a reader that came before it with a cursor which
    /// is still newer has one of another log's.
    pub fn end_probe(&self, probe: u64) {
        {
            let mut state = self.state.lock();
            state.answered = state.answered.max(Some(probe));
        }
        let parked = mem::take(&mut *self.parked.lock());
        for waiter in parked {
            // In this order: one that looks in between and has to go on waiting comes to the list again.
            waiter.is_parked.store(false, Ordering::Release);
            waiter.bell.wake();
        }
    }

    /// Has `waiter` woken at the end of the next probe.
    pub(super) fn park(&self, waiter: &Arc<Waiter>) {
        if waiter.is_parked.swap(true, Ordering::AcqRel) {
            return;
        }
        let mut parked = self.parked.lock();
        if parked.len() == parked.capacity() {
            // The bus may be away for long, and clients come and go: who has gone makes room.
            parked.retain(|waiter| Arc::strong_count(waiter) > 1);
        }
        parked.push(waiter.clone());
    }

    /// Moves the head, which readers of an unfilled log do not see yet.
    fn show(&self, head: Cursor) {
        let mut state = self.state.lock();
        if state.start.is_some() {
            state.head = head;
        }
    }

    /// Appends `drafts` at the ids that the clock, reading `now`, gives them. They become visible together.
    pub fn append(&self, drafts: Vec<Draft>, now: impl Into<Moment>) -> Vec<Cursor> {
        let now = now.into();
        let writer = self.writer.lock();
        let mut id = writer.last;
        let place = |draft| {
            id = id.next_in(self.epoch, now.time_ms);
            Message::new(id, draft)
        };
        let messages: Vec<Message> = drafts.into_iter().map(place).collect();
        let ids = messages.iter().map(|message| message.id).collect();
        self.insert(writer, messages, now);
        ids
    }

    /// Appends messages that have their ids, which grow from the head on. They become visible together. Their age counts
    /// from their ids on, by the time of day in `now`.
    ///
    /// # Errors
    /// The first message that is not newer than what came before it; none is appended then.
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
        let gone = writer.take_gone();
        drop(writer);
        wake(&touched);
        drop(gone);
    }

    /// Appends `drafts`, and gives the number of channels whose readers were visited for it.
    #[cfg(test)]
    pub(super) fn visits_of(&self, drafts: Vec<Draft>, now_ms: u64) -> usize {
        let mut writer = self.writer.lock();
        let mut id = writer.last;
        let place = |draft| {
            id = id.next(now_ms);
            Message::new(id, draft)
        };
        let messages = drafts.into_iter().map(place).collect();
        let touched = self.insert_all(&mut writer, messages, now_ms.into());
        drop(writer);
        wake(&touched);
        touched.len()
    }

    /// Gives each channel that got a message, once.
    fn insert_all(&self, writer: &mut Writer, messages: Vec<Message>, now: Moment) -> Vec<Arc<Channel>> {
        let Some(first) = messages.first().map(|message| message.id) else { return Vec::new() };
        let mut touched = Vec::new();
        for message in messages {
            let published = now.mono_at(message.time());
            touched.extend(writer.insert(message, first, published, &self.limits.channel, now.mono_ms));
        }
        writer.make_room();
        writer.evict_forms(EVICTED_AT_ONCE);
        Noted::note(&mut writer.watches, &touched);
        self.show(writer.last);
        touched
    }

    /// Drops what has grown older at `now` than the retention lets it, and forms beyond their budget: a slice of it, which
    /// takes about a millisecond. Whether there is more to do.
    ///
    /// To be called about once a second, until there is no more: between calls, age is looked at only when a channel gets a
    /// message.
    pub fn sweep(&self, now: impl Into<Moment>) -> bool {
        let now = now.into();
        let mut writer = self.writer.lock();
        let mut left = SLICE;
        while left > 0
            && let Some((_, channel)) = writer.oldest.first_key_value()
        {
            // One age holds for all, so the first that is young enough ends it.
            if !channel.history.lock().is_over(&self.limits.channel, now.mono_ms) || !writer.drop_first() {
                break;
            }
            left -= 1;
        }
        // Forms that readers have made since the last append.
        let is_over = writer.evict_forms(SLICE);
        let oldest = writer.oldest.first_key_value().map_or_else(|| writer.last.next(0), |(id, _)| *id);
        // Tables that were much larger once give their room back.
        let has_room = left > 0 && writer.channels.shrink(SLICE);
        let gone = writer.take_gone();
        // Whoever waits comes first: the next slice would otherwise take the lock again before they are awake.
        MutexGuard::unlock_fair(writer);
        drop(gone);
        self.forms.forget_before(oldest);
        left == 0 || is_over || has_room
    }

    /// Whether `channels` can be read: how many are not known yet, and how many of those would find a place.
    pub fn vacancy(&self, channels: &[ChannelName]) -> Vacancy {
        let writer = self.writer.lock();
        let new = channels.iter().filter(|name| !writer.channels.contains_key(&name[..])).count();
        let left = self.limits.channels.map(|most| most.saturating_sub(writer.read_while_empty()));
        Vacancy { new, left }
    }

    /// The newest message held on any of `channels`.
    pub fn newest(&self, channels: &[ChannelName]) -> Option<Arc<Message>> {
        let head = self.head();
        let newest = |name| self.find(name)?.history.lock().range(Cursor::ZERO, head).next_back().cloned();
        channels.iter().filter_map(newest).max_by_key(|message| message.id)
    }

    /// The newest `count` messages held on `channel` up to and with `last`, oldest first.
    pub fn latest(&self, channel: &ChannelName, count: usize, last: Cursor) -> Vec<Arc<Message>> {
        let last = last.min(self.head());
        let Some(channel) = self.find(channel) else { return Vec::new() };
        let history = channel.history.lock();
        let range = history.range(Cursor::ZERO, last);
        let skipped = range.len().saturating_sub(count);
        range.skip(skipped).cloned().collect()
    }

    fn find(&self, name: &ChannelName) -> Option<Arc<Channel>> {
        self.writer.lock().channels.get(name).cloned()
    }

    /// Ends all readers, now and to come, once they have read what is there.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
        let channels: Vec<_> = self.writer.lock().channels.values().cloned().collect();
        wake(&channels);
    }

    /// Whether [`close`](Self::close) was called.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// What the log holds, and how far its readers are behind at `now`. Looks at every channel that holds something: for
    /// tests and logs. What is asked often has the [`counts`](Self::counts) at once and [measures](Self::measure) the rest.
    pub fn stats(&self, now: impl Into<Moment>) -> LogStats {
        let (now, mut lag) = (now.into(), self.lag());
        while self.measure(&mut lag, now) {}
        LogStats { lag_messages: lag.messages, lag_ms: lag.age_ms, ..self.counts() }
    }

    /// What the log holds, without how far its readers are behind.
    pub fn counts(&self) -> LogStats {
        let writer = self.writer.lock();
        LogStats {
            channels: writer.channels.len(),
            messages: writer.messages,
            bytes: writer.bytes,
            footprint: writer.footprint,
            forms: self.forms.used(),
            subscriptions: self.subscriptions.load(Ordering::Relaxed),
            ..LogStats::default()
        }
    }

    /// Puts `waiter` on the channel `name`, which comes to be where it is not yet and then counts for `opener`.
    pub(super) fn seat(
        &self,
        name: &ChannelName,
        waiter: &Arc<Waiter>,
        opener: Option<&Arc<Opener>>,
    ) -> (Arc<Channel>, usize) {
        self.subscriptions.fetch_add(1, Ordering::Relaxed);
        // Under the writer's lock, so that the channel is not forgotten before the waiter is on it.
        self.writer.lock().add_waiter(name, waiter, opener)
    }

    /// Takes a waiter off its channel, and the channel out of the log if it holds nothing and nobody reads it any more.
    pub(super) fn unseat(&self, channel: &Arc<Channel>, key: usize) {
        self.subscriptions.fetch_sub(1, Ordering::Relaxed);
        // In this order: whoever takes the last message out looks for readers after it.
        if channel.remove_waiter(key) && channel.history.lock().is_empty() {
            self.retire_if_unused(channel);
        }
    }

    /// Takes `channel` out of the log if it is there, holds nothing, and nobody reads it.
    pub(super) fn retire_if_unused(&self, channel: &Arc<Channel>) {
        let mut writer = self.writer.lock();
        // Two who leave one after the other may both come here. Between them somebody may publish: what has this name then is
        // another channel, which holds a message.
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
