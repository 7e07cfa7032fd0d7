//! Events that wait to be written, within a rate and a budget; what exceeds them is counted.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use shared::{live::clock::wall_clock, pure::EventKind};
use tokio::sync::{Notify, watch};

use super::entry::{Entry, What};
use crate::metrics::Figure;

/// The period in which the rate applies. A gap is written at its end, so that there is at most one in each.
const WINDOW: Duration = Duration::from_secs(1);
/// The queue may take this part of the budget, which is that of the channel.
const SHARE: usize = 4;
/// The bounds of that.
const BYTES: std::ops::RangeInclusive<usize> = 16 * 1024..=8 * 1024 * 1024;
/// Maximum number of events in one batch.
const BATCH: usize = 256;

/// See the module.
#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Notify,
    has_ended: watch::Sender<bool>,
    most_bytes: usize,
    rate: Option<u32>,
}

#[derive(Debug)]
struct State {
    entries: VecDeque<Entry>,
    bytes: usize,
    /// Missing events that no gap in the queue counts, and the time of the first of them.
    missed: u64,
    missed_since: u64,
    window: Instant,
    in_window: u32,
    is_closed: bool,
    recorded: u64,
    all_missed: u64,
}

impl State {
    fn push(&mut self, entry: Entry) {
        self.bytes += entry.bytes();
        self.entries.push_back(entry);
    }

    /// Begins the next window if it is time.
    fn turn(&mut self, now: Instant) {
        if now.saturating_duration_since(self.window) >= WINDOW {
            (self.window, self.in_window) = (now, 0);
        }
    }

    fn miss(&mut self, count: u64, since: u64) {
        self.missed_since = if self.missed == 0 { since } else { self.missed_since.min(since) };
        self.missed += count;
        self.all_missed += count;
    }

    /// Puts the missing events into the queue, as one.
    fn close_gap(&mut self) {
        if self.missed > 0 {
            let (count, since) = (std::mem::take(&mut self.missed), self.missed_since);
            self.push(Entry { time: wall_clock(), kind: None, what: What::Gap { count, since } });
        }
    }
}

impl Queue {
    /// A queue for a channel of `bytes`, with `rate` events a second.
    pub(super) fn new(bytes: Option<usize>, rate: Option<u32>) -> Self {
        let state = State {
            entries: VecDeque::new(),
            bytes: 0,
            missed: 0,
            missed_since: 0,
            window: Instant::now(),
            in_window: 0,
            is_closed: false,
            recorded: 0,
            all_missed: 0,
        };
        Self {
            state: Mutex::new(state),
            changed: Notify::new(),
            has_ended: watch::Sender::new(false),
            most_bytes: bytes.map_or(*BYTES.end(), |bytes| bytes / SHARE).clamp(*BYTES.start(), *BYTES.end()),
            rate,
        }
    }

    /// Adds an event, or counts it as missing.
    pub(super) fn push(&self, kind: EventKind, time: u64, what: impl FnOnce() -> What) {
        self.push_at(kind, time, what, Instant::now());
    }

    fn push_at(&self, kind: EventKind, time: u64, what: impl FnOnce() -> What, now: Instant) {
        // What a client has sent is parsed without the lock: everybody who connects and subscribes takes it.
        let has_room = {
            let mut state = self.state.lock();
            state.turn(now);
            !state.is_closed && state.bytes < self.most_bytes && self.is_within(&state)
        };
        let entry = has_room.then(|| Entry { time, kind: Some(kind), what: what() });
        {
            let mut state = self.state.lock();
            if state.is_closed {
                return;
            }
            match entry.filter(|entry| state.bytes + entry.bytes() <= self.most_bytes && self.is_within(&state)) {
                Some(entry) => {
                    state.close_gap();
                    state.in_window += 1;
                    state.recorded += 1;
                    state.push(entry);
                }
                None => state.miss(1, time),
            }
        }
        self.changed.notify_one();
    }

    fn is_within(&self, state: &State) -> bool {
        self.rate.is_none_or(|rate| state.in_window < rate)
    }

    /// Events that were taken could not be written: they are missing. The first one happened at `since`. A closed queue only counts them.
    pub(super) fn miss(&self, count: usize, since: u64) {
        let mut state = self.state.lock();
        if state.is_closed {
            state.all_missed += count as u64;
        } else if count > 0 {
            state.miss(count as u64, since);
            self.changed.notify_one();
        }
    }

    /// Waits for events. Empty once the queue is closed, and everything was taken.
    pub(super) async fn take(&self) -> Vec<Entry> {
        loop {
            let rest = match self.try_take(Instant::now()) {
                Ok(entries) => return entries,
                Err(rest) => rest,
            };
            match rest {
                // A gap is written at the end of its window, unless another event ends it.
                Some(rest) => drop(tokio::time::timeout(rest, self.changed.notified()).await),
                None => self.changed.notified().await,
            }
        }
    }

    /// Waits for `pace`, so that more events are taken together, unless a batch or half of the queue is full, or the queue is closed before.
    pub(super) async fn gather(&self, pace: Duration) {
        let end = tokio::time::Instant::now() + pace;
        let is_due = || {
            let state = self.state.lock();
            state.is_closed || state.entries.len() >= BATCH || state.bytes >= self.most_bytes / 2
        };
        while !is_due() && tokio::time::timeout_at(end, self.changed.notified()).await.is_ok() {}
    }

    /// # Errors
    /// Nothing is due: the time until something is, if it is known.
    fn try_take(&self, now: Instant) -> Result<Vec<Entry>, Option<Duration>> {
        let mut state = self.state.lock();
        let since = now.saturating_duration_since(state.window);
        if state.entries.is_empty() && state.missed > 0 {
            if since < WINDOW && !state.is_closed {
                return Err(Some(WINDOW - since));
            }
            state.close_gap();
        }
        if state.entries.is_empty() && !state.is_closed {
            return Err(None);
        }
        let count = state.entries.len().min(BATCH);
        let taken: Vec<_> = state.entries.drain(..count).collect();
        state.bytes -= taken.iter().map(Entry::bytes).sum::<usize>();
        Ok(taken)
    }

    /// Accepts nothing more.
    pub(super) fn close(&self) {
        self.state.lock().is_closed = true;
        self.changed.notify_one();
    }

    /// The writer has written everything, or has given up.
    pub(super) fn end(&self) {
        self.has_ended.send_replace(true);
    }

    /// Waits for [`Queue::end`].
    pub(super) async fn ended(&self) {
        // This process owns the sender, so it is not dropped before.
        let _ = self.has_ended.subscribe().wait_for(|has_ended| *has_ended).await;
    }

    pub(super) fn counts(&self) -> Counts {
        let state = self.state.lock();
        Counts { recorded: state.recorded, missed: state.all_missed, bytes: state.bytes as u64 }
    }
}

/// What a queue has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Events that were added.
    recorded: u64,
    /// Events that were not.
    missed: u64,
    /// Bytes of events that wait.
    bytes: u64,
}

impl Counts {
    pub(super) fn figures(self) -> Vec<Figure> {
        let figure = |name, help, value, is_counter| Figure { name, help, value, is_counter };
        vec![
            figure("trident_events_recorded", "Events recorded for the channel $events", self.recorded, true),
            figure("trident_events_missed", "Events that exceeded the rate or the queue", self.missed, true),
            figure("trident_events_queue_bytes", "Bytes of events that wait to be written", self.bytes, false),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{auth::Identity, events::ApiWrite};

    fn what() -> What {
        What::Channel { channel: "a".parse().unwrap(), user: None }
    }

    /// Kinds of the events that are due, and the count of each gap.
    fn taken(queue: &Queue, now: Instant) -> Vec<String> {
        let name = |entry: &Entry| match entry.what {
            What::Gap { count, .. } => format!("gap of {count}"),
            _ => entry.event_name().to_owned(),
        };
        queue.try_take(now).unwrap_or_default().iter().map(name).collect()
    }

    #[test]
    fn what_exceeds_the_rate_becomes_one_gap() {
        let (queue, start) = (Queue::new(None, Some(2)), Instant::now());
        let push = |at: Instant| queue.push_at(EventKind::ChannelOccupied, 7, what, at);
        (0..10).for_each(|n| push(start + Duration::from_millis(10 * n)));
        assert_eq!(taken(&queue, start), ["channel_occupied"; 2]);
        let later = start + Duration::from_millis(200);
        assert!(queue.try_take(later).unwrap_err().is_some(), "the gap may grow until the end of its second");
        (0..3).for_each(|_| push(later));
        assert_eq!(taken(&queue, start + Duration::from_secs(2)), ["gap of 11"], "although nothing else happens");
        // It precedes the event that ends it.
        let next = start + Duration::from_secs(3);
        (0..5).for_each(|_| push(next));
        push(next + WINDOW);
        assert_eq!(taken(&queue, next), ["channel_occupied", "channel_occupied", "gap of 3", "channel_occupied"]);
        assert_eq!(queue.try_take(next).err(), Some(None));
    }

    /// Whatever clients choose the size of, the queue is bounded in bytes.
    #[test]
    fn what_exceeds_the_budget_becomes_one_gap() {
        let queue = Queue::new(Some(4 * 64 * 1024), None);
        let by = Identity::Subject("x".repeat(1_000).into());
        let write = ApiWrite {
            action: "purged",
            by: &by,
            address: std::net::Ipv4Addr::LOCALHOST.into(),
            channel: None,
            connection: None,
            user: None,
            jti: None,
            ended: None,
        };
        let large = || What::api_write(&write);
        (0..1_000).for_each(|_| queue.push(EventKind::ApiWrite, 7, large));
        let Counts { recorded: kept, missed, bytes } = queue.counts();
        assert!((60_000..=65_536).contains(&bytes), "{bytes}");
        assert_eq!(kept + missed, 1_000);
        assert_eq!(taken(&queue, Instant::now()).len() as u64, kept);
        queue.push(EventKind::ApiWrite, 8, large);
        assert_eq!(taken(&queue, Instant::now()), [format!("gap of {missed}"), "api_write".to_owned()]);
        assert_eq!(queue.counts().bytes, 0);
    }

    /// A client's event was parsed under the lock that everybody takes who connects.
    #[test]
    fn an_event_is_made_without_the_lock() {
        let queue = Queue::new(None, Some(1));
        for expected in [true, false] {
            let is_made = std::cell::Cell::new(false);
            queue.push(EventKind::ChannelOccupied, 7, || {
                assert!(!queue.state.is_locked());
                is_made.set(true);
                what()
            });
            assert_eq!(is_made.get(), expected, "nothing is made of an event that exceeds the rate");
        }
    }

    /// Events were missed that could have been written meanwhile, where the budget is small.
    #[test]
    fn events_do_not_wait_for_others_while_the_queue_is_nearly_full() {
        let queue = Queue::new(Some(0), None);
        let is_waiting = || {
            let mut gather = std::pin::pin!(queue.gather(Duration::from_secs(60)));
            let context = &mut std::task::Context::from_waker(std::task::Waker::noop());
            gather.as_mut().poll(context).is_pending()
        };
        while queue.counts().bytes < *BYTES.start() as u64 / 2 {
            queue.push(EventKind::ChannelOccupied, 7, what);
        }
        assert!(queue.state.lock().entries.len() < BATCH && !is_waiting());
    }

    #[test]
    fn events_that_could_not_be_written_become_a_gap() {
        let (queue, start) = (Queue::new(None, None), Instant::now());
        queue.push_at(EventKind::ChannelOccupied, 7, what, start);
        assert_eq!(taken(&queue, start).len(), 1);
        queue.miss(3, 5);
        queue.miss(0, 1);
        assert_eq!(queue.counts().missed, 3);
        let next = start + WINDOW;
        assert_eq!(taken(&queue, next), ["gap of 3"], "although nothing else happens");
    }

    #[tokio::test]
    async fn a_closed_queue_gives_what_it_has() {
        let queue = Queue::new(None, Some(1));
        (0..2).for_each(|_| queue.push(EventKind::ChannelOccupied, 7, what));
        queue.close();
        queue.push(EventKind::ChannelOccupied, 7, what);
        assert_eq!(queue.take().await.len(), 1);
        assert_eq!(queue.take().await.len(), 1, "the gap");
        assert!(queue.take().await.is_empty());
    }
}
