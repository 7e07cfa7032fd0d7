//! One channel of the log: its history and its waiters.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    task::Waker,
};

use atomic_waker::AtomicWaker;
use parking_lot::Mutex;
use slab::Slab;

use super::kind::Kind;
use crate::pure::{ChannelName, Cursor, History, Loss};

mod lives;

use lives::Lives;

/// The overhead of a channel in addition to its name: itself, its entries in the tables, the first slots of its history and its waiters.
const OVERHEAD: usize = 640;

/// The number of waiters that are visited while they are locked, in a search.
const SLICE: usize = 4_096;

/// One channel: its history and its waiters.
pub(in crate::live) struct Channel {
    pub(in crate::live) name: ChannelName,
    pub(in crate::live) history: Mutex<History>,
    waiters: Mutex<Waiters>,
    /// Whether it is a stream. Changed under the writer's lock.
    is_stream: AtomicBool,
    /// Whether one of its streams has ended.
    has_end: AtomicBool,
    /// Its streams.
    lives: Mutex<Option<Box<Lives>>>,
}

#[derive(Default)]
struct Waiters {
    places: Slab<Arc<Waiter>>,
    /// The reader that opened the channel, until it stores its first message.
    charge: Option<Charge>,
}

impl Channel {
    /// As the constant of the module.
    pub(super) const OVERHEAD: usize = OVERHEAD;

    /// A channel that may have lost something, opened by `opener`.
    pub(super) fn new(name: ChannelName, marked: Loss, opener: Option<&Arc<Opener>>) -> Self {
        let waiters = Waiters { places: Slab::new(), charge: opener.map(Charge::on) };
        Self {
            name,
            history: Mutex::new(History::new(marked)),
            waiters: Mutex::new(waiters),
            is_stream: AtomicBool::new(false),
            has_end: AtomicBool::new(false),
            lives: Mutex::default(),
        }
    }

    pub(in crate::live) fn add_waiter(&self, waiter: &Arc<Waiter>) -> usize {
        self.waiters.lock().places.insert(waiter.clone())
    }

    /// Removes a waiter; returns whether there are no others.
    pub(super) fn remove_waiter(&self, key: usize) -> bool {
        let places = &mut self.waiters.lock().places;
        places.remove(key);
        // Frees the slots of a channel that thousands have left.
        if places.is_empty() {
            places.shrink_to_fit();
        }
        places.is_empty()
    }

    pub(super) fn is_read(&self) -> bool {
        !self.waiters.lock().places.is_empty()
    }

    /// Whether it is empty, has no waiters, and is no stream.
    pub(super) fn is_unused(&self) -> bool {
        self.history.lock().is_empty() && !self.is_read() && !self.is_stream.load(Relaxed)
    }

    /// Whether it is a stream.
    pub(in crate::live) fn is_stream(&self) -> bool {
        self.is_stream.load(Relaxed)
    }

    /// Whose budget it counts in.
    pub(super) fn kind(&self) -> Kind {
        if self.is_stream.load(Relaxed) {
            Kind::Stream
        } else if self.name.is_server() {
            Kind::Server
        } else {
            Kind::Client
        }
    }

    /// The wakers of its waiters, which register again when they wait again.
    pub(super) fn take_wakers(&self, wakers: &mut Vec<Waker>) {
        wakers.extend(self.waiters.lock().places.iter().filter_map(|(_, waiter)| waiter.waker.take()));
    }

    /// The channel no longer counts for its opener: it stores a message.
    pub(super) fn release_opener(&self) {
        self.waiters.lock().charge = None;
    }

    /// The number of waiters, and the position of the slowest.
    pub(super) fn slowest(&self) -> (usize, Option<Cursor>) {
        let places = &self.waiters.lock().places;
        (places.len(), places.iter().map(|(_, waiter)| waiter.cursor()).min())
    }

    /// Fills in the positions of the next waiters from place `at` on whose tags are in `positions`: of several with the same tag, the slowest.
    /// Returns whether there are more: publishers, who wake the waiters, do not wait for all of it.
    pub(super) fn positions(&self, positions: &mut HashMap<u64, Option<Cursor>>, at: &mut usize) -> bool {
        let places = &self.waiters.lock().places;
        let end = places.capacity().min(*at + SLICE);
        for waiter in (*at..end).filter_map(|key| places.get(key)) {
            if let Some(position) = positions.get_mut(&waiter.tag.load(Relaxed)) {
                *position = Some(position.unwrap_or(Cursor::MAX).min(waiter.cursor()));
            }
        }
        *at = end;
        end < places.capacity()
    }

    /// Its memory while it stores messages.
    pub(super) fn footprint(&self) -> usize {
        OVERHEAD + self.name.len()
    }
}

/// Wakes all waiters of `channels`.
pub(super) fn wake(channels: &[Arc<Channel>]) {
    // Woken outside of the lock: a waker may run code of the runtime that removes its reader here.
    let mut wakers: Vec<Waker> = Vec::new();
    for channel in channels {
        channel.take_wakers(&mut wakers);
    }
    wakers.into_iter().for_each(Waker::wake);
}

/// A reader's waker. It keeps its slot in each of the reader's channels for as long as the reader exists.
#[derive(Debug, Default)]
pub(in crate::live) struct Waiter {
    pub(in crate::live) waker: AtomicWaker,
    /// The reader's position, only for the measurement of lag: the two parts may be read at different times.
    ms: AtomicU64,
    seq: AtomicU64,
    /// Names the reader in a search for its position; 0 for none.
    pub(in crate::live) tag: AtomicU64,
    /// Whether it is in the list of those that wait for the end of a probe.
    pub(super) waits_for_probe: AtomicBool,
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

/// Counts the channels that exist because one client reads them: those that it opened and that have stored no message since.
#[derive(Debug, Default)]
pub struct Opener(AtomicUsize);

impl Opener {
    /// Their number.
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
