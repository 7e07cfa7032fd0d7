//! The idempotency keys in use: how many, of which scopes, and until when.
//!
//! No key is forgotten early, so when the memory is used up a new one is rejected. One scope cannot use all of it: at most as much as it
//! leaves free. One scope alone therefore gets half, two get a third each, and a new one always finds space.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    time::Duration,
};

use sha2::{Digest as _, Sha256};

use super::{IDEMPOTENCY_TTL, IdempotencyKey, KeyStats};

/// The memory of a key in bytes: its hash and its answer in a table, its expiry in two lists, each with unused capacity.
const COST: usize = 224;
/// The memory of a scope in bytes while it has keys.
const SCOPE_COST: usize = 128;

/// A key, or a scope, by its hash: 16 bytes of a SHA-256, whatever the length of its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Hash(pub(super) [u8; 16]);

impl Hash {
    /// The hash of the scope and that of the key within it. Takes no lock.
    pub(super) fn of(IdempotencyKey { scope, key }: &IdempotencyKey) -> (Self, Self) {
        let half = |hash: Sha256| {
            let mut half = [0; 16];
            half.copy_from_slice(&hash.finalize()[..16]);
            Self(half)
        };
        let of_scope = Sha256::new_with_prefix(scope);
        // The length separates scope and key, whatever they contain.
        let of_key = of_scope.clone().chain_update(key).chain_update(scope.len().to_le_bytes());
        (half(of_scope), half(of_key))
    }
}

/// In hexadecimal.
impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The keys in use.
#[derive(Debug)]
pub(super) struct Keys {
    most_bytes: usize,
    bytes: usize,
    /// Oldest first: the expiry of each key, on the monotonic clock, and its scope.
    ends: VecDeque<(u64, Hash, Hash)>,
    /// The expiries of each scope's keys, oldest first.
    scopes: HashMap<Hash, VecDeque<u64>>,
}

impl Keys {
    /// An empty set with a limit of `most_bytes`.
    pub(super) fn new(most_bytes: Option<usize>) -> Self {
        Self { most_bytes: most_bytes.unwrap_or(usize::MAX), bytes: 0, ends: VecDeque::new(), scopes: HashMap::new() }
    }

    /// Their number, and their memory.
    pub(super) fn stats(&self) -> KeyStats {
        KeyStats { keys: self.ends.len(), bytes: self.bytes }
    }

    /// Frees the space of lists that were much longer once.
    pub(super) fn shrink(&mut self) {
        self.ends.shrink_to(2 * self.ends.len());
        self.scopes.shrink_to(2 * self.scopes.len());
    }

    /// The next expired key, which is removed.
    pub(super) fn expire(&mut self, mono_ms: u64) -> Option<Hash> {
        let (_, scope, key) = self.ends.pop_front_if(|(end, ..)| *end <= mono_ms)?;
        self.bytes -= COST;
        if let Some(ends) = self.scopes.get_mut(&scope) {
            ends.pop_front();
            if ends.is_empty() {
                self.scopes.remove(&scope);
                self.bytes -= SCOPE_COST;
            }
        }
        Some(key)
    }

    /// Takes back the key that was added last.
    pub(super) fn take_back(&mut self) -> Option<Hash> {
        let (_, scope, key) = self.ends.pop_back()?;
        self.bytes -= COST;
        if let Some(ends) = self.scopes.get_mut(&scope) {
            ends.pop_back();
            if ends.is_empty() {
                self.scopes.remove(&scope);
                self.bytes -= SCOPE_COST;
            }
        }
        Some(key)
    }

    /// Adds a new key of `scope`.
    ///
    /// # Errors
    /// When there is no space for it; the error is the time after which there is.
    pub(super) fn add(&mut self, scope: Hash, key: Hash, mono_ms: u64) -> Result<(), Duration> {
        let lifetime = u64::try_from(IDEMPOTENCY_TTL.as_millis()).unwrap_or(u64::MAX);
        self.add_until(scope, key, mono_ms.saturating_add(lifetime), mono_ms)
    }

    /// As [`add`](Self::add), for a key that expires at `end`: not before those that were added before.
    ///
    /// # Errors
    /// As [`add`](Self::add).
    pub(super) fn add_until(&mut self, scope: Hash, key: Hash, end: u64, mono_ms: u64) -> Result<(), Duration> {
        let (of_scope, cost) = match self.scopes.get(&scope) {
            Some(ends) => (ends.len() * COST, COST),
            None => (0, COST + SCOPE_COST),
        };
        let free = self.most_bytes.saturating_sub(self.bytes);
        if cost > free || of_scope + cost > free {
            // A scope's own expiring key frees space for it; without any, the next one of another scope.
            let own = self.scopes.get(&scope).and_then(VecDeque::front);
            let end = own.copied().or_else(|| self.ends.front().map(|(end, ..)| *end));
            return Err(Duration::from_millis(end.unwrap_or(mono_ms).saturating_sub(mono_ms)));
        }
        self.bytes += cost;
        self.ends.push_back((end, scope, key));
        self.scopes.entry(scope).or_default().push_back(end);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFETIME: u64 = 300_000;

    fn hashes(scope: &str, key: usize) -> (Hash, Hash) {
        Hash::of(&IdempotencyKey { scope: scope.into(), key: key.to_string() })
    }

    /// Adds keys until there is no space; returns their number, and the time until there is space.
    fn fill(keys: &mut Keys, scope: &str, now: u64) -> (usize, Duration) {
        for n in 0.. {
            let (scope, key) = hashes(scope, n);
            if let Err(wait) = keys.add(scope, key, now) {
                return (n, wait);
            }
        }
        unreachable!("there is an end")
    }

    /// Case 10.3: one scope can use half at most, and every other one still finds space.
    #[test]
    fn a_scope_leaves_as_much_as_it_takes() {
        let mut keys = Keys::new(Some(1_000 * COST));
        let (first, wait) = fill(&mut keys, "a", 0);
        assert!((490..=500).contains(&first), "{first}");
        assert_eq!(wait, Duration::from_millis(LIFETIME));
        let (second, _) = fill(&mut keys, "b", 100);
        assert!((200..=260).contains(&second), "{second}");
        for n in 0..20 {
            let (scope, key) = hashes(&format!("other {n}"), 0);
            assert_eq!(keys.add(scope, key, 200), Ok(()), "{n}");
        }
        assert!(keys.bytes <= 1_000 * COST);
    }

    /// Case 10.3: after the time in a rejection, there is space.
    #[test]
    fn a_rejection_contains_the_time_to_retry() {
        let mut keys = Keys::new(Some(100 * COST));
        let (scope, first) = hashes("a", 1_000);
        keys.add(scope, first, 50).unwrap();
        let (_, wait) = fill(&mut keys, "a", 1_000);
        let after = 1_000 + u64::try_from(wait.as_millis()).unwrap();
        assert_eq!(after, 50 + LIFETIME);
        assert_eq!(keys.expire(after - 1), None);
        assert_eq!(keys.expire(after), Some(first));
        assert_eq!(keys.add(scope, first, after), Ok(()));
        while keys.expire(u64::MAX).is_some() {}
        assert_eq!((keys.stats(), keys.scopes.len()), (KeyStats::default(), 0));
    }

    #[test]
    fn a_key_that_is_taken_back_leaves_nothing() {
        let mut keys = Keys::new(None);
        let (scope, first) = hashes("a", 1);
        keys.add(scope, first, 5).unwrap();
        let before = keys.stats();
        for name in ["a", "b"] {
            let (scope, key) = hashes(name, 2);
            keys.add(scope, key, 6).unwrap();
            assert_eq!(keys.take_back(), Some(key));
            assert_eq!((keys.stats(), keys.scopes.len()), (before, 1));
        }
        assert_eq!(keys.expire(u64::MAX), Some(first));
    }

    #[test]
    fn scope_and_key_are_kept_apart() {
        let of = |scope: &str, key: &str| Hash::of(&IdempotencyKey { scope: scope.into(), key: key.into() }).1;
        assert_ne!(of("ab", "c"), of("a", "bc"));
        assert_ne!(of("a", "b"), of("a", "c"));
        assert_eq!(of("a", "b"), of("a", "b"));
    }
}
