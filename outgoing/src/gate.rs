//! How many calls there are at a time, how many of them one client has, and how much memory they take.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, RandomState},
    sync::{Arc, Weak},
};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes that a call takes besides its request: its task, its headers, its place in the queue.
pub const CALL_OVERHEAD: usize = 1024;

/// One client has at most this part of the calls at a time.
const SHARES: usize = 4;
/// The number of clients after which those without calls are forgotten.
const MIN_SWEEP: usize = 256;

/// The limits of a [`Gate`].
#[derive(Clone, Copy, Debug)]
pub struct GateLimits {
    /// Calls that are sent at a time. At least 1.
    pub concurrency: usize,
    /// Bytes of all calls, those that wait included. One call always has space. A client has at most as much of them as it leaves free.
    pub bytes: usize,
}

/// See the module. Clones share it.
#[derive(Clone, Debug)]
pub struct Gate(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    running: Arc<Semaphore>,
    limits: GateLimits,
    hasher: RandomState,
    memory: Mutex<Memory>,
    /// Of the clients that have calls at present.
    shares: Mutex<Shares>,
}

#[derive(Debug, Default)]
struct Shares {
    clients: HashMap<Box<str>, Weak<Semaphore>>,
    sweep_at: usize,
}

/// Bytes of calls.
#[derive(Debug, Default)]
struct Memory {
    all: usize,
    /// Those of each client that has calls at present, by its hash.
    clients: HashMap<u64, usize>,
}

/// A call that may be sent, until it is dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    _share: Option<OwnedSemaphorePermit>,
    _running: OwnedSemaphorePermit,
}

/// The memory of one call, released when it is dropped.
#[derive(Debug)]
pub struct Reservation {
    gate: Gate,
    client: u64,
    bytes: usize,
}

impl Gate {
    /// A gate with these limits.
    #[must_use]
    pub fn new(limits: GateLimits) -> Self {
        let running = Arc::new(Semaphore::new(limits.concurrency.clamp(1, Semaphore::MAX_PERMITS)));
        Self(Arc::new(Inner {
            running,
            limits,
            hasher: RandomState::new(),
            memory: Mutex::default(),
            shares: Mutex::default(),
        }))
    }

    /// Memory for a call of `client` whose request takes `bytes`. `None` if the calls in progress leave no space for it, or if the client would
    /// have more than it leaves free for others.
    #[must_use]
    pub fn reserve(&self, client: &str, bytes: usize) -> Option<Reservation> {
        let (client, bytes) = (self.0.hasher.hash_one(client), bytes.saturating_add(CALL_OVERHEAD));
        let mut memory = self.0.memory.lock();
        let all = memory.all.saturating_add(bytes);
        let own = memory.clients.get(&client).copied().unwrap_or_default().saturating_add(bytes);
        if memory.all > 0 && own > self.0.limits.bytes.saturating_sub(all) {
            return None;
        }
        memory.all = all;
        memory.clients.insert(client, own);
        Some(Reservation { gate: self.clone(), client, bytes })
    }

    /// Bytes of all calls.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.memory.lock().all
    }

    /// Waits until another call, of `client` if it is known, may be sent, in the order of calling. The calls of one client leave room for
    /// those of others.
    pub(crate) async fn enter(&self, client: Option<&str>) -> Option<Turn> {
        let share = match client {
            Some(client) => Some(self.share(client).acquire_owned().await.ok()?),
            None => None,
        };
        let running = self.0.running.clone().acquire_owned().await.ok()?;
        Some(Turn { _share: share, _running: running })
    }

    /// The calls that `client` may have at a time.
    fn share(&self, client: &str) -> Arc<Semaphore> {
        let mut shares = self.0.shares.lock();
        if let Some(share) = shares.clients.get(client).and_then(Weak::upgrade) {
            return share;
        }
        if shares.clients.len() >= shares.sweep_at.max(MIN_SWEEP) {
            shares.clients.retain(|_, share| share.strong_count() > 0);
            shares.sweep_at = 2 * shares.clients.len();
        }
        let share = Arc::new(Semaphore::new((self.0.limits.concurrency / SHARES).clamp(1, Semaphore::MAX_PERMITS)));
        shares.clients.insert(client.into(), Arc::downgrade(&share));
        share
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut memory = self.gate.0.memory.lock();
        memory.all -= self.bytes;
        if let Some(own) = memory.clients.get_mut(&self.client) {
            *own -= self.bytes;
            if *own == 0 {
                memory.clients.remove(&self.client);
            }
        }
        if memory.clients.is_empty() {
            memory.clients = HashMap::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A client with many slow calls keeps nobody else waiting, and is forgotten with its last one.
    #[tokio::test]
    async fn one_client_has_a_part_of_the_calls() {
        let gate = Gate::new(GateLimits { concurrency: 8, bytes: 10_000 });
        let mut turns = vec![gate.enter(Some("a")).await.unwrap(), gate.enter(Some("a")).await.unwrap()];
        let mut third = std::pin::pin!(gate.enter(Some("a")));
        assert!(tokio::time::timeout(std::time::Duration::ZERO, third.as_mut()).await.is_err());
        turns.push(gate.enter(Some("b")).await.unwrap());
        turns.push(gate.enter(None).await.unwrap());
        turns.remove(0);
        let turn = third.await.unwrap();
        drop((turns, turn));
        for n in 0..MIN_SWEEP {
            drop(gate.enter(Some(&n.to_string())).await);
        }
        assert!(gate.0.shares.lock().clients.len() <= MIN_SWEEP);
    }

    #[test]
    fn calls_share_a_budget_and_one_always_has_space() {
        let gate = Gate::new(GateLimits { concurrency: 1, bytes: 10_000 });
        let first = gate.reserve("a", 50_000).unwrap();
        assert_eq!(gate.bytes(), 50_000 + CALL_OVERHEAD);
        assert!(gate.reserve("b", 0).is_none());
        drop(first);
        let short: Vec<Reservation> = (0..100).map_while(|n| gate.reserve(&n.to_string(), 0)).collect();
        assert_eq!(short.len(), 10_000 / CALL_OVERHEAD - 1, "short ones are counted, too");
        drop(short);
        assert_eq!(gate.bytes(), 0);
    }

    /// One client took the memory of all calls.
    #[test]
    fn a_client_leaves_as_much_memory_as_it_takes() {
        let gate = Gate::new(GateLimits { concurrency: 1, bytes: 20 * CALL_OVERHEAD });
        let of = |client: &str| -> Vec<_> { std::iter::from_fn(|| gate.reserve(client, 0)).collect() };
        let (first, second) = (of("a"), of("b"));
        assert_eq!((first.len(), second.len()), (10, 5));
        drop(first);
        assert_eq!(of("a").len(), 7);
        drop(second);
        assert_eq!((gate.bytes(), gate.0.memory.lock().clients.len()), (0, 0));
    }
}
