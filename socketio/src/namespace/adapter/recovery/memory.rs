//! What is kept for all namespaces: within bounds, and no longer than it is of use.
//!
//! ```text
//! use of a store ─▶ (above the bound) ─▶ the largest are trimmed
//!                └▶ (no sweeper runs) ─▶ one task, which drops what has expired, a slice at a time, until nothing is kept
//! ```

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use actix_web::rt::{task::yield_now, time::sleep};
use bytestring::ByteString;

use super::store::{Store, lock};
use crate::{
    Recovery,
    adapter::Local,
    engine::{Sid, worker::Workers},
    stats::Counters,
};

/// How many sessions or packets the sweeper drops before it lets others have the store and the thread.
const SLICE: usize = 256;

/// The shortest time between two sweeps.
const MIN_PERIOD: Duration = Duration::from_millis(5);

type Stores = HashMap<ByteString, Arc<Mutex<Store>>>;

/// The stores of all namespaces.
pub(super) struct Memory {
    limits: Recovery,
    stores: Mutex<Stores>,
    /// Bytes of all stores.
    bytes: AtomicUsize,
    /// Sessions and packets of all stores.
    sessions: AtomicUsize,
    packets: AtomicUsize,
    /// Locked by the one thread that evicts.
    shrinking: Mutex<()>,
    /// Where the sweeper runs.
    workers: OnceLock<Workers>,
    is_swept: AtomicBool,
}

impl Memory {
    pub(super) fn new(limits: Recovery) -> Self {
        Self {
            limits,
            stores: Mutex::default(),
            bytes: AtomicUsize::new(0),
            sessions: AtomicUsize::new(0),
            packets: AtomicUsize::new(0),
            shrinking: Mutex::default(),
            workers: OnceLock::new(),
            is_swept: AtomicBool::new(false),
        }
    }

    pub(super) fn limits(&self) -> &Recovery {
        &self.limits
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(super) fn sessions(&self) -> usize {
        self.sessions.load(Ordering::Relaxed)
    }

    /// Whether there is nothing that could expire.
    fn is_empty(&self) -> bool {
        self.sessions() == 0 && self.packets.load(Ordering::Acquire) == 0
    }

    pub(super) fn stores(&self) -> MutexGuard<'_, Stores> {
        self.stores.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn store(&self, nsp: &ByteString) -> Option<Arc<Mutex<Store>>> {
        let mut stores = self.stores();
        if let Some(store) = stores.get(nsp) {
            return Some(store.clone());
        }
        let store = Store::new(Sid::random().ok()?);
        self.bytes.fetch_add(store.bytes(), Ordering::Relaxed);
        let store = Arc::new(Mutex::new(store));
        stores.insert(nsp.clone(), store.clone());
        Some(store)
    }

    /// Uses the store of a namespace, and then keeps the bounds.
    pub(super) fn with<R>(
        self: &Arc<Self>,
        local: &Local,
        use_store: impl FnOnce(&mut Store, &Arc<Mutex<Store>>, &Recovery) -> R,
    ) -> Option<R> {
        let result = loop {
            let shared = self.store(local.name())?;
            let mut store = lock(&shared);
            if !store.is_removed {
                break self.change(&mut store, |store| use_store(store, &shared, &self.limits));
            }
        };
        self.trim();
        self.report(local.counters());
        self.sweep_later(local.counters());
        Some(result)
    }

    /// The namespace is gone. Its store stays for its sessions.
    pub(super) fn close(&self, local: &Local) {
        // Only if there is one: a name that nobody asks for again is not to cost anything.
        let Some(shared) = self.stores().get(local.name()).cloned() else { return };
        lock(&shared).is_open = false;
        self.remove_unused(local.name());
        self.report(local.counters());
    }

    fn report(&self, counters: &Counters) {
        counters.recovery_bytes.set(self.bytes() as u64);
        counters.recovery_sessions.set(self.sessions() as u64);
    }

    /// Changes a store and counts what that changes.
    fn change<R>(&self, store: &mut Store, change: impl FnOnce(&mut Store) -> R) -> R {
        let figures = |store: &Store| [store.bytes(), store.sessions(), store.packets()];
        let before = figures(store);
        let result = change(store);
        let counters = [&self.bytes, &self.sessions, &self.packets];
        for ((counter, before), after) in counters.into_iter().zip(before).zip(figures(store)) {
            if after > before {
                counter.fetch_add(after - before, Ordering::Release);
            } else {
                counter.fetch_sub(before - after, Ordering::Release);
            }
        }
        result
    }

    /// Makes room if more is kept than may be.
    fn trim(&self) {
        let total = self.limits.max_total_bytes;
        if self.bytes() > total
            && let Ok(_alone) = self.shrinking.try_lock()
        {
            // A little below the bound, so that this is done once in a while and not for each packet.
            let mut sizes = Vec::new();
            self.for_all(|store| sizes.push(store.bytes()));
            let share = fair_share(sizes, total - total / 8);
            self.for_all(|store| store.trim(share));
        }
    }

    fn all(&self) -> Vec<(ByteString, Arc<Mutex<Store>>)> {
        self.stores().iter().map(|(name, store)| (name.clone(), store.clone())).collect()
    }

    fn for_all(&self, mut change: impl FnMut(&mut Store)) {
        for (name, shared) in self.all() {
            self.for_one(&name, &shared, &mut change);
        }
    }

    /// Changes a store, and drops it if its namespace is gone and it has no session.
    fn for_one<R>(&self, name: &ByteString, shared: &Mutex<Store>, change: impl FnOnce(&mut Store) -> R) -> Option<R> {
        let mut store = lock(shared);
        let result = (!store.is_removed).then(|| self.change(&mut store, change));
        let is_unused = !store.is_open && store.sessions() == 0;
        drop(store);
        if is_unused {
            self.remove_unused(name);
        }
        result
    }

    fn remove_unused(&self, name: &ByteString) {
        let mut stores = self.stores();
        let Some(shared) = stores.get(name).cloned() else { return };
        let mut store = lock(&shared);
        if !store.is_open && store.sessions() == 0 {
            store.is_removed = true;
            self.bytes.fetch_sub(store.bytes(), Ordering::Relaxed);
            self.packets.fetch_sub(store.packets(), Ordering::Relaxed);
            stores.remove(name);
            if stores.capacity() > 64 && stores.len() * 4 < stores.capacity() {
                stores.shrink_to_fit();
            }
        }
    }

    /// From now on expired sessions and packets are dropped in time, on these threads.
    pub(super) fn sweep_on(&self, workers: &Workers) {
        let _ = self.workers.set(workers.clone());
    }

    /// Starts the sweeper, unless it runs or there is nothing to sweep.
    fn sweep_later(self: &Arc<Self>, counters: &Arc<Counters>) {
        let Some(workers) = self.workers.get() else { return };
        if self.is_empty() || self.is_swept.swap(true, Ordering::AcqRel) {
            return;
        }
        let sweeper = Sweeper { memory: Arc::downgrade(self), counters: counters.clone(), has_ended: false };
        workers.spawn(sweeper.run(self.period()));
    }

    fn period(&self) -> Duration {
        (self.limits.max_disconnection / 4).max(MIN_PERIOD)
    }

    /// Drops what has expired.
    pub(super) async fn sweep(&self, now: Instant) {
        for (at, (name, shared)) in self.all().into_iter().enumerate() {
            if at % SLICE == SLICE - 1 {
                yield_now().await;
            }
            let expire =
                || self.for_one(&name, &shared, |store| store.expire(self.limits.max_disconnection, now, SLICE));
            while expire().is_some_and(|dropped| dropped >= SLICE) {
                yield_now().await;
            }
        }
    }
}

/// The task that drops what has expired. There is one at most, and none while nothing is kept.
struct Sweeper {
    memory: Weak<Memory>,
    counters: Arc<Counters>,
    has_ended: bool,
}

impl Sweeper {
    async fn run(mut self, period: Duration) {
        loop {
            sleep(period).await;
            let Some(memory) = self.memory.upgrade() else { return };
            memory.sweep(Instant::now()).await;
            memory.report(&self.counters);
            if memory.is_empty() {
                memory.is_swept.store(false, Ordering::Release);
                // Somebody may have kept something just before, and have found a sweeper.
                self.has_ended = memory.is_empty() || memory.is_swept.swap(true, Ordering::AcqRel);
                if self.has_ended {
                    return;
                }
            }
        }
    }
}

impl Drop for Sweeper {
    /// Also when the task ends with its thread: the next use starts another.
    fn drop(&mut self) {
        if !self.has_ended
            && let Some(memory) = self.memory.upgrade()
        {
            memory.is_swept.store(false, Ordering::Release);
        }
    }
}

/// The size to which the largest are cut so that all together have at most `total`: those that are smaller keep what they have.
pub(super) fn fair_share(mut sizes: Vec<usize>, total: usize) -> usize {
    sizes.sort_unstable();
    let (mut left, mut count) = (total, sizes.len());
    for size in sizes {
        let share = left / count;
        if size > share {
            return share;
        }
        left -= size;
        count -= 1;
    }
    usize::MAX
}
