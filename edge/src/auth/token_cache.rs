//! A cache of verified tokens: a publisher sends the same one with each request.
//!
//! A valid signature stays valid, since keys do not change while a process runs; the dates of the token are checked each time. Only valid
//! tokens are cached, so a client without a key cannot evict others.

use std::{collections::HashMap, mem, sync::Arc};

use parking_lot::Mutex;

/// Tokens of a generation. With the previous one, at most twice as many are cached.
const MAX_TOKENS: usize = 512;
/// Maximum length in bytes of a cached token.
const MAX_TOKEN_BYTES: usize = 2 * 1024;

/// The cached tokens. The least recently used ones are evicted first, by generations.
#[derive(Debug)]
pub(super) struct TokenCache<T>(Mutex<Generations<T>>);

#[derive(Debug)]
struct Generations<T> {
    young: HashMap<Box<str>, Arc<T>>,
    old: HashMap<Box<str>, Arc<T>>,
}

impl<T> Default for TokenCache<T> {
    fn default() -> Self {
        Self(Mutex::new(Generations { young: HashMap::new(), old: HashMap::new() }))
    }
}

impl<T> TokenCache<T> {
    /// The cached value of `token`.
    pub(super) fn get(&self, token: &str) -> Option<Arc<T>> {
        let mut generations = self.0.lock();
        if let Some(known) = generations.young.get(token) {
            return Some(known.clone());
        }
        let (token, known) = generations.old.remove_entry(token)?;
        generations.insert(token, known.clone());
        Some(known)
    }

    /// Caches `known` for `token`.
    pub(super) fn insert(&self, token: &str, known: Arc<T>) {
        if token.len() <= MAX_TOKEN_BYTES {
            self.0.lock().insert(token.into(), known);
        }
    }
}

impl<T> Generations<T> {
    fn insert(&mut self, token: Box<str>, known: Arc<T>) {
        if self.young.len() >= MAX_TOKENS {
            self.old = mem::take(&mut self.young);
        }
        self.young.insert(token, known);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frequent_tokens_stay_in_the_bounded_cache() {
        let cache = TokenCache::default();
        cache.insert("often", Arc::new(0));
        for n in 1..10 * MAX_TOKENS {
            cache.insert(&n.to_string(), Arc::new(n));
            assert_eq!(cache.get("often").as_deref(), Some(&0));
        }
        let generations = cache.0.lock();
        assert!(generations.young.len() <= MAX_TOKENS && generations.old.len() <= MAX_TOKENS);
        drop(generations);
        assert_eq!(cache.get("1"), None);
        assert_eq!(cache.get(&(10 * MAX_TOKENS - 1).to_string()).as_deref(), Some(&(10 * MAX_TOKENS - 1)));
    }

    #[test]
    fn the_longest_are_not_kept() {
        let cache = TokenCache::default();
        let long = "x".repeat(MAX_TOKEN_BYTES + 1);
        cache.insert(&long, Arc::new(()));
        assert_eq!(cache.get(&long), None);
    }
}
