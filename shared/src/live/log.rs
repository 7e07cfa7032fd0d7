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
    collections::{BTreeMap, HashMap},
    fmt, mem,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::Waker,
};

use atomic_waker::AtomicWaker;
use parking_lot::Mutex;
use slab::Slab;

use crate::pure::{ChannelName, Cursor, Draft, History, Message, Retention, meter::Meter};

/// Channels that hold nothing but the memory of what they dropped; beyond these that memory becomes one for all.
const MOST_TOMBSTONES: usize = 65_536;
/// Of the memory that the log may take, one for each so many bytes: a small log remembers less, and then a sixteenth at most
/// goes into it.
const BYTES_A_TOMBSTONE: usize = 8 * 1024;
/// What a channel costs beside its name: itself, its place in the tables, the first places of its history and its readers.
const CHANNEL_OVERHEAD: usize = 640;

/// How much the log holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Of each channel.
    pub channel: Retention,
    /// Bytes of memory of all channels together: messages ([`Message::footprint`]), their wire forms, and what the
    /// channels that hold them take. The oldest messages go first.
    pub total: Option<usize>,
    /// Channels that hold nothing and are kept because they are read, or for the memory of what they dropped: who would
    /// read one more is refused ([`Log::has_room`]).
    pub channels: Option<usize>,
}

/// The log. One for each process, shared by all its readers.
pub struct Log {
    limits: Limits,
    /// What readers go by. Taken for an instant only, before no other lock.
    state: Mutex<State>,
    closed: AtomicBool,
    /// One appends at a time: ids grow in the order in which they are taken.
    writer: Mutex<Writer>,
    /// Readers that cannot be told yet whether their cursor is one of this log's.
    parked: Mutex<Vec<Arc<Waiter>>>,
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

struct Writer {
    /// The newest id: the head, but for a log that is being filled.
    last: Cursor,
    channels: HashMap<ChannelName, Arc<Channel>>,
    /// Every channel that holds something, by the id of its oldest message: what goes first, by age or for room.
    oldest: BTreeMap<Cursor, Arc<Channel>>,
    /// What all of it takes.
    meter: Arc<Meter>,
    messages: usize,
    bytes: usize,
    /// Up to here, channels that nobody remembers may have dropped something.
    forgotten: Option<Cursor>,
    /// Channels that hold nothing and may come together before those that nobody reads are forgotten.
    tombstones: usize,
    /// How many empty channels there are when they are forgotten next: as many more as were left the last time, since
    /// those that are read stay, and looking at all of them for each message would take too long.
    forget_at: usize,
    /// Whether they were looked at for a reader since the last sweep.
    may_forget: bool,
}

/// One channel: what it holds, and who waits on it.
pub(super) struct Channel {
    pub(super) name: ChannelName,
    pub(super) history: Mutex<History>,
    waiters: Mutex<Slab<Arc<Waiter>>>,
}

/// A reader's bell. It stays at its place in each of the reader's channels for as long as the reader lives.
#[derive(Default)]
pub(super) struct Waiter {
    pub(super) bell: AtomicWaker,
    /// Where the reader is, for the measurement of lag only: the two may be read apart.
    ms: AtomicU64,
    seq: AtomicU64,
    /// Whether it is among those that wait for the end of a probe.
    is_parked: AtomicBool,
}

impl Waiter {
    pub(super) fn at(&self, cursor: Cursor) {
        self.ms.store(cursor.ms, Ordering::Relaxed);
        self.seq.store(cursor.seq, Ordering::Relaxed);
    }

    fn cursor(&self) -> Cursor {
        Cursor::new(self.ms.load(Ordering::Relaxed), self.seq.load(Ordering::Relaxed))
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
        Self::with(limits, State { head: floor, floor, start: Some(floor), asked: 0, answered: None })
    }

    /// A log that is going to be a copy of what the bus holds, and that shows its readers nothing until it is
    /// [`filled`](Self::filled).
    #[must_use]
    pub fn unfilled(limits: Limits) -> Self {
        Self::with(limits, State { head: Cursor::ZERO, floor: Cursor::ZERO, start: None, asked: 0, answered: Some(0) })
    }

    fn with(limits: Limits, state: State) -> Self {
        let tombstones = limits.total.map_or(MOST_TOMBSTONES, |total| MOST_TOMBSTONES.min(total / BYTES_A_TOMBSTONE));
        let writer = Writer {
            last: state.head,
            channels: HashMap::new(),
            oldest: BTreeMap::new(),
            meter: Arc::new(Meter::new(limits.total)),
            messages: 0,
            bytes: 0,
            forgotten: None,
            tombstones,
            forget_at: tombstones,
            may_forget: true,
        };
        Self {
            limits,
            state: Mutex::new(state),
            closed: AtomicBool::new(false),
            writer: Mutex::new(writer),
            parked: Mutex::default(),
        }
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
        writer.last = last;
        writer.forgotten = Some(last);
        let channels: Vec<_> = writer.channels.values().cloned().collect();
        channels.iter().for_each(|channel| channel.history.lock().lose(last));
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

    /// Appends `drafts` at the ids that the clock, reading `now_ms`, gives them. They become visible together.
    pub fn append(&self, drafts: Vec<Draft>, now_ms: u64) -> Vec<Cursor> {
        let mut writer = self.writer.lock();
        let mut id = writer.last;
        let place = |draft| {
            id = id.next(now_ms);
            Message::new(id, draft)
        };
        let messages: Vec<Message> = drafts.into_iter().map(place).collect();
        let ids = messages.iter().map(|message| message.id).collect();
        let touched = self.insert(&mut writer, messages, now_ms);
        drop(writer);
        wake(&touched);
        ids
    }

    /// Appends messages that have their ids, which grow from the head on. They become visible together.
    ///
    /// # Errors
    /// The first message that is not newer than what came before it; none is appended then.
    pub fn append_placed(&self, messages: Vec<Message>, now_ms: u64) -> Result<(), Cursor> {
        let mut writer = self.writer.lock();
        let mut last = writer.last;
        for message in &messages {
            if message.id <= last {
                return Err(message.id);
            }
            last = message.id;
        }
        let touched = self.insert(&mut writer, messages, now_ms);
        drop(writer);
        wake(&touched);
        Ok(())
    }

    fn insert(&self, writer: &mut Writer, messages: Vec<Message>, now_ms: u64) -> Vec<Arc<Channel>> {
        let mut touched: Vec<Arc<Channel>> = Vec::new();
        for message in messages {
            writer.last = message.id;
            let channel = writer.insert(message, &self.limits.channel, now_ms);
            // Batches mostly stay on one channel, or go to a few: a set would cost more than it saves.
            if touched.len() > 64 || !touched.iter().any(|other| Arc::ptr_eq(other, &channel)) {
                touched.push(channel);
            }
        }
        writer.make_room();
        if writer.empty() > writer.forget_at {
            writer.forget_empty();
        }
        self.show(writer.last);
        touched
    }

    /// Drops what has grown older at `now_ms` than the retention lets it, and forgets channels that hold nothing.
    ///
    /// To be called about once a second: between calls, age is looked at only when a channel gets a message.
    pub fn sweep(&self, now_ms: u64) {
        let mut writer = self.writer.lock();
        while let Some((_, channel)) = writer.oldest.first_key_value() {
            // One age holds for all, so the first that is young enough ends it.
            if !channel.history.lock().is_over(&self.limits.channel, now_ms) || !writer.drop_first() {
                break;
            }
        }
        // Wire forms that readers have made since the last append.
        writer.make_room();
        writer.may_forget = true;
        if writer.empty() > writer.forget_at {
            writer.forget_empty();
        }
    }

    /// Whether `channels` can be read: all of those that are not known yet would find a place.
    pub fn has_room(&self, channels: &[ChannelName]) -> bool {
        let Some(most) = self.limits.channels else { return true };
        let mut writer = self.writer.lock();
        let new = channels.iter().filter(|name| !writer.channels.contains_key(&name[..])).count();
        if new > 0 && writer.empty() + new > most && mem::take(&mut writer.may_forget) {
            writer.forget_empty();
        }
        new == 0 || writer.empty() + new <= most
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

    /// What is held after `cursor` on all channels whose names begin so, in id order, with the cursor after it. Looks at every
    /// channel: for one reader of everything, not for many.
    pub fn after(&self, prefix: &str, cursor: Cursor) -> (Vec<Arc<Message>>, Cursor) {
        let head = self.head();
        if head <= cursor {
            return (Vec::new(), cursor);
        }
        let is_meant = |channel: &&Arc<Channel>| channel.name.starts_with(prefix);
        let channels: Vec<_> = self.writer.lock().channels.values().filter(is_meant).cloned().collect();
        let mut found = Vec::new();
        for channel in channels {
            found.extend(channel.history.lock().range(cursor, head).cloned());
        }
        found.sort_unstable_by_key(|message| message.id);
        (found, head)
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

    /// What the log holds and how far its readers are behind at `now_ms`. Visits every reader: for scrapes, not paths.
    pub fn stats(&self, now_ms: u64) -> LogStats {
        let writer = self.writer.lock();
        let mut stats = LogStats {
            channels: writer.channels.len(),
            messages: writer.messages,
            bytes: writer.bytes,
            footprint: writer.meter.used(),
            ..LogStats::default()
        };
        let channels: Vec<_> = writer.channels.values().cloned().collect();
        drop(writer);
        for channel in channels {
            let slowest = {
                let waiters = channel.waiters.lock();
                stats.subscriptions += waiters.len();
                waiters.iter().map(|(_, waiter)| waiter.cursor()).min()
            };
            let Some(slowest) = slowest else { continue };
            let history = channel.history.lock();
            let mut ahead = history.range(slowest, Cursor::MAX);
            stats.lag_messages = stats.lag_messages.max(ahead.len());
            stats.lag_ms = stats.lag_ms.max(ahead.next().map_or(0, |message| now_ms.saturating_sub(message.time())));
        }
        stats
    }

    /// Seats `waiter` on the channel `name`, which comes to be where it is not yet.
    pub(super) fn seat(&self, name: &ChannelName, waiter: &Arc<Waiter>) -> (Arc<Channel>, usize) {
        // Under the writer's lock, so that the channel is not forgotten before the waiter sits on it.
        let mut writer = self.writer.lock();
        let channel = writer.channel(name).clone();
        let key = channel.waiters.lock().insert(waiter.clone());
        (channel, key)
    }

    /// Takes a waiter off its seat, and the channel out of the log if nothing would be lost with it.
    pub(super) fn unseat(&self, channel: &Arc<Channel>, key: usize) {
        let left = {
            let mut waiters = channel.waiters.lock();
            waiters.remove(key);
            // A channel that thousands have left gives their places back.
            if waiters.is_empty() {
                waiters.shrink_to_fit();
            }
            waiters.is_empty()
        };
        if left && channel.history.lock().is_empty() {
            self.forget_if_blank(channel);
        }
    }

    /// Takes `channel` out of the log if it is there and nothing would be lost with it.
    pub(super) fn forget_if_blank(&self, channel: &Arc<Channel>) {
        let mut writer = self.writer.lock();
        // Two who leave one after the other may both come here. Between them somebody may publish: what has this name then is
        // another channel, which holds a message.
        let is_it = writer.channels.get(&channel.name).is_some_and(|known| Arc::ptr_eq(known, channel));
        if is_it && channel.is_blank(writer.forgotten) && channel.waiters.lock().is_empty() {
            writer.channels.remove(&channel.name);
        }
    }
}

impl Writer {
    fn channel(&mut self, name: &ChannelName) -> &Arc<Channel> {
        self.channels.entry(name.clone()).or_insert_with(|| {
            Arc::new(Channel {
                name: name.clone(),
                history: Mutex::new(History::new(self.forgotten)),
                waiters: Mutex::default(),
            })
        })
    }

    fn insert(&mut self, mut message: Message, retention: &Retention, now_ms: u64) -> Arc<Channel> {
        let channel = self.channel(&message.draft.channel).clone();
        self.messages += 1;
        self.bytes += message.len();
        message.held_by(&self.meter);
        let mut history = channel.history.lock();
        let before = history.oldest().map(|oldest| oldest.id);
        history.push(Arc::new(message));
        while history.is_over(retention, now_ms) {
            let Some(gone) = history.drop_oldest() else { break };
            self.count_out(&gone);
        }
        let after = history.oldest().map(|oldest| oldest.id);
        drop(history);
        self.reorder(&channel, before, after);
        channel
    }

    /// Drops the oldest message of all; `false` when there is none.
    fn drop_first(&mut self) -> bool {
        let Some((before, channel)) = self.oldest.first_key_value().map(|(id, channel)| (*id, channel.clone())) else {
            return false;
        };
        let mut history = channel.history.lock();
        if let Some(gone) = history.drop_oldest() {
            self.count_out(&gone);
        }
        let after = history.oldest().map(|oldest| oldest.id);
        drop(history);
        self.reorder(&channel, Some(before), after);
        true
    }

    fn reorder(&mut self, channel: &Arc<Channel>, before: Option<Cursor>, after: Option<Cursor>) {
        if before == after {
            return;
        }
        match before {
            Some(before) => drop(self.oldest.remove(&before)),
            None => self.meter.add(channel.footprint()),
        }
        match after {
            Some(after) => drop(self.oldest.insert(after, channel.clone())),
            None => self.meter.take(channel.footprint()),
        }
    }

    fn count_out(&mut self, gone: &Message) {
        self.messages -= 1;
        self.bytes -= gone.len();
        gone.let_go();
    }

    /// Drops the oldest messages until the rest fits. The newest stays however large it is.
    fn make_room(&mut self) {
        while self.meter.is_over() && self.messages > 1 && self.drop_first() {}
    }

    /// Channels that hold nothing.
    fn empty(&self) -> usize {
        self.channels.len() - self.oldest.len()
    }

    /// Forgets every channel that holds nothing and that nobody reads, and remembers for all of them at once that
    /// something may have been dropped.
    fn forget_empty(&mut self) {
        let forgotten = &mut self.forgotten;
        self.channels.retain(|_, channel| {
            let history = channel.history.lock();
            let stays = !history.is_empty() || !channel.waiters.lock().is_empty();
            if !stays {
                *forgotten = (*forgotten).max(history.dropped());
            }
            stays
        });
        self.channels.shrink_to_fit();
        self.forget_at = self.empty() + self.tombstones;
    }
}

impl Channel {
    /// What it takes while it holds something.
    fn footprint(&self) -> usize {
        CHANNEL_OVERHEAD + self.name.len()
    }

    /// Whether forgetting this channel would lose nothing, where `forgotten` is remembered for all.
    fn is_blank(&self, forgotten: Option<Cursor>) -> bool {
        let history = self.history.lock();
        history.is_empty() && history.dropped() <= forgotten
    }
}

/// Rings everybody who waits on `channels`.
fn wake(channels: &[Arc<Channel>]) {
    // Rung outside the lock: a waker may run code of the runtime's that comes back here, to unseat its reader.
    let mut bells: Vec<Waker> = Vec::new();
    for channel in channels {
        bells.extend(channel.waiters.lock().iter().filter_map(|(_, waiter)| waiter.bell.take()));
    }
    bells.into_iter().for_each(Waker::wake);
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").field("limits", &self.limits).field("head", &self.head()).finish_non_exhaustive()
    }
}
