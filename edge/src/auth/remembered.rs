//! Tokens whose signature was checked before: a publisher sends the same one with each request.
//!
//! A signature that held goes on holding, since keys do not change while a process lives; what changes with time, whether the
//! token is in force, is asked each time. Only tokens that held are remembered, so nobody without a key can
//! push others out.

use std::{collections::HashMap, mem, sync::Arc};

use parking_lot::Mutex;

/// Tokens of a generation. With the one before, twice as many are remembered at most.
const MOST: usize = 512;
/// Bytes of the longest token that is.
const LONGEST: usize = 2 * 1024;

/// What is known of tokens. Those that were not seen for the longest time are forgotten first, by generations.
#[derive(Debug)]
pub(super) struct Remembered<T>(Mutex<Generations<T>>);

#[derive(Debug)]
struct Generations<T> {
    young: HashMap<Box<str>, Arc<T>>,
    old: HashMap<Box<str>, Arc<T>>,
}

impl<T> Default for Remembered<T> {
    fn default() -> Self {
        Self(Mutex::new(Generations { young: HashMap::new(), old: HashMap::new() }))
    }
}

impl<T> Remembered<T> {
    /// What is known of `token`.
    pub(super) fn get(&self, token: &str) -> Option<Arc<T>> {
        let mut generations = self.0.lock();
        if let Some(known) = generations.young.get(token) {
            return Some(known.clone());
        }
        let (token, known) = generations.old.remove_entry(token)?;
        generations.insert(token, known.clone());
        Some(known)
    }

    /// Remembers `known` of `token`.
    pub(super) fn insert(&self, token: &str, known: Arc<T>) {
        if token.len() <= LONGEST {
            self.0.lock().insert(token.into(), known);
        }
    }
}

impl<T> Generations<T> {
    fn insert(&mut self, token: Box<str>, known: Arc<T>) {
        if self.young.len() >= MOST {
            self.old = mem::take(&mut self.young);
        }
        self.young.insert(token, known);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_comes_often_stays_and_the_rest_is_bounded() {
        let remembered = Remembered::default();
        remembered.insert("often", Arc::new(0));
        for n in 1..10 * MOST {
            remembered.insert(&n.to_string(), Arc::new(n));
            assert_eq!(remembered.get("often").as_deref(), Some(&0));
        }
        let generations = remembered.0.lock();
        assert!(generations.young.len() <= MOST && generations.old.len() <= MOST);
        drop(generations);
        assert_eq!(remembered.get("1"), None);
        assert_eq!(remembered.get(&(10 * MOST - 1).to_string()).as_deref(), Some(&(10 * MOST - 1)));
    }

    #[test]
    fn the_longest_are_not_kept() {
        let remembered = Remembered::default();
        let long = "x".repeat(LONGEST + 1);
        remembered.insert(&long, Arc::new(()));
        assert_eq!(remembered.get(&long), None);
    }
}
