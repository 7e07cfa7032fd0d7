//! One channel of the log: what it holds, and who waits on it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    task::Waker,
};

use atomic_waker::AtomicWaker;
use parking_lot::Mutex;
use slab::Slab;

use crate::pure::{ChannelName, Cursor, History};

/// What a channel costs beside its name: itself, its place in the tables, the first places of its history and its readers.
const OVERHEAD: usize = 640;

/// One channel: what it holds, and who waits on it.
pub(in crate::live) struct Channel {
    pub(in crate::live) name: ChannelName,
    pub(in crate::live) history: Mutex<History>,
    waiters: Mutex<Waiters>,
}

#[derive(Default)]
struct Waiters {
    places: Slab<Arc<Waiter>>,
    /// Who opened the channel, until it holds its first message.
    charge: Option<Charge>,
}

impl Channel {
    /// A channel that has dropped everything up to `dropped`, opened by `opener`.
    pub(super) fn new(name: ChannelName, dropped: Option<Cursor>, opener: Option<&Arc<Opener>>) -> Self {
        let waiters = Waiters { places: Slab::new(), charge: opener.map(Charge::on) };
        Self { name, history: Mutex::new(History::new(dropped)), waiters: Mutex::new(waiters) }
    }

    pub(super) fn add_waiter(&self, waiter: &Arc<Waiter>) -> usize {
        self.waiters.lock().places.insert(waiter.clone())
    }

    /// Whether nobody waits on the channel any more.
    pub(super) fn remove_waiter(&self, key: usize) -> bool {
        let places = &mut self.waiters.lock().places;
        places.remove(key);
        // A channel that thousands have left gives their places back.
        if places.is_empty() {
            places.shrink_to_fit();
        }
        places.is_empty()
    }

    pub(super) fn is_read(&self) -> bool {
        !self.waiters.lock().places.is_empty()
    }

    /// Whether it holds nothing and nobody waits on it.
    pub(super) fn is_unused(&self) -> bool {
        self.history.lock().is_empty() && !self.is_read()
    }

    /// From now on the channel counts for nobody: it holds a message.
    pub(super) fn release_opener(&self) {
        self.waiters.lock().charge = None;
    }

    /// How many wait, and where the one that is furthest behind is.
    pub(super) fn slowest(&self) -> (usize, Option<Cursor>) {
        let places = &self.waiters.lock().places;
        (places.len(), places.iter().map(|(_, waiter)| waiter.cursor()).min())
    }

    /// What it takes while it holds something.
    pub(super) fn footprint(&self) -> usize {
        OVERHEAD + self.name.len()
    }
}

/// Wakes everybody who waits on `channels`.
pub(super) fn wake(channels: &[Arc<Channel>]) {
    // Woken outside the lock: a waker may run code of the runtime's that comes back here, to remove its reader.
    let mut wakers: Vec<Waker> = Vec::new();
    for channel in channels {
        wakers.extend(channel.waiters.lock().places.iter().filter_map(|(_, waiter)| waiter.bell.take()));
    }
    wakers.into_iter().for_each(Waker::wake);
}

/// A reader's waker. It stays at its place in each of the reader's channels for as long as the reader lives.
#[derive(Default)]
pub(in crate::live) struct Waiter {
    pub(in crate::live) bell: AtomicWaker,
    /// Where the reader is, for the measurement of lag only: the two may be read apart.
    ms: AtomicU64,
    seq: AtomicU64,
    /// Whether it is among those that wait for the end of a probe.
    pub(super) is_parked: AtomicBool,
}

impl Waiter {
    pub(in crate::live) fn at(&self, cursor: Cursor) {
        self.ms.store(cursor.ms, Relaxed);
        self.seq.store(cursor.seq, Relaxed);
    }

    fn cursor(&self) -> Cursor {
        Cursor::new(self.ms.load(Relaxed), self.seq.load(Relaxed))
    }
}

/// Counts the channels that exist because one client reads them: those that it opened and that have held no message since.
#[derive(Debug, Default)]
pub struct Opener(AtomicUsize);

impl Opener {
    /// How many there are.
    #[must_use]
    pub fn channels(&self) -> usize {
        self.0.load(Relaxed)
    }
}

/// One channel in the count of its opener.
struct Charge(Arc<Opener>);

impl Charge {
    fn on(opener: &Arc<Opener>) -> Self {
        opener.0.fetch_add(1, Relaxed);
        Self(opener.clone())
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Relaxed);
    }
}
