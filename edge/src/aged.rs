//! Entries of many clients in the order of their age, with a budget in bytes. Beyond it the oldest are evicted: those of the client that has
//! the most, if that is more than a part of the budget, so that one client that adds entries again and again evicts its own.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    hash::{BuildHasher as _, RandomState},
};

use serde::{Deserialize, Serialize};

use crate::auth::Identity;

/// A client with no more than this part of the budget loses no entry before others do.
const PART: usize = 16;

/// A client, as a hash: its name may be long, and nobody can find another one with the same hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Owner(u64);

/// The hashes of clients in one table.
#[derive(Debug, Default)]
pub struct Owners(RandomState);

impl Owners {
    /// The client with this identity.
    #[must_use]
    pub fn of(&self, identity: &Identity) -> Owner {
        Owner(self.0.hash_one(identity))
    }
}

/// See the module.
#[derive(Debug)]
pub struct Aged<T> {
    /// `None` is no limit.
    max_bytes: Option<usize>,
    bytes: usize,
    next: u64,
    /// By place: the oldest first.
    entries: BTreeMap<u64, Entry<T>>,
    /// The places of the entries of each client.
    places: BTreeSet<(Owner, u64)>,
    bytes_of: HashMap<Owner, usize>,
    /// The same as a set, in order.
    by_bytes: BTreeSet<(usize, Owner)>,
}

#[derive(Debug)]
struct Entry<T> {
    value: T,
    /// `None` for a client that is not known: its entry counts for nobody.
    owner: Option<Owner>,
    bytes: usize,
}

impl<T> Aged<T> {
    /// The memory of an entry beside its value, in bytes: its places in the tables.
    pub const OVERHEAD: usize = 200;

    /// No entries yet. All of them together take at most `max_bytes`, as far as the caller [evicts](Self::evict) what is more.
    #[must_use]
    pub fn new(max_bytes: Option<usize>) -> Self {
        Self {
            max_bytes,
            bytes: 0,
            next: 0,
            entries: BTreeMap::new(),
            places: BTreeSet::new(),
            bytes_of: HashMap::new(),
            by_bytes: BTreeSet::new(),
        }
    }

    /// Adds an entry of this many bytes. Returns its place.
    pub fn add(&mut self, owner: Option<Owner>, bytes: usize, value: T) -> u64 {
        let place = self.next;
        self.next += 1;
        self.entries.insert(place, Entry { value, owner, bytes });
        self.places.extend(owner.map(|owner| (owner, place)));
        self.count(owner, 0, bytes);
        place
    }

    /// The entry at `place` takes this many bytes now.
    pub fn resize(&mut self, place: u64, bytes: usize) {
        if let Some(entry) = self.entries.get_mut(&place) {
            let (owner, before) = (entry.owner, std::mem::replace(&mut entry.bytes, bytes));
            self.count(owner, before, bytes);
        }
    }

    /// Removes the entry at `place`. Returns it with its client.
    pub fn remove(&mut self, place: u64) -> Option<(Option<Owner>, T)> {
        let Entry { value, owner, bytes } = self.entries.remove(&place)?;
        if let Some(owner) = owner {
            self.places.remove(&(owner, place));
        }
        self.count(owner, bytes, 0);
        Some((owner, value))
    }

    /// The oldest entry.
    #[must_use]
    pub fn oldest(&self) -> Option<(u64, &T)> {
        self.entries.first_key_value().map(|(place, entry)| (*place, &entry.value))
    }

    /// Removes one entry, if all of them exceed the budget.
    pub fn evict(&mut self) -> Option<T> {
        let max = self.max_bytes.filter(|max| self.bytes > *max)?;
        let largest = self.by_bytes.last().filter(|(bytes, _)| *bytes > max / PART);
        let its_oldest =
            largest.and_then(|(_, owner)| self.places.range((*owner, 0)..).next()).map(|(_, place)| *place);
        let place = its_oldest.or_else(|| self.oldest().map(|(place, _)| place))?;
        self.remove(place).map(|(_, value)| value)
    }

    /// Bytes of all entries.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are no entries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// An entry of `owner` takes `after` bytes instead of `before`.
    fn count(&mut self, owner: Option<Owner>, before: usize, after: usize) {
        self.bytes = self.bytes - before + after;
        let Some(owner) = owner else { return };
        let known = self.bytes_of.remove(&owner).unwrap_or_default();
        self.by_bytes.remove(&(known, owner));
        let now = known - before + after;
        if now > 0 {
            self.bytes_of.insert(owner, now);
            self.by_bytes.insert((now, owner));
        }
        if self.bytes_of.capacity() > 64 && self.bytes_of.len() * 4 < self.bytes_of.capacity() {
            self.bytes_of.shrink_to_fit();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(n: u64) -> Option<Owner> {
        Some(Owner(n))
    }

    /// Adds an entry, and returns what was evicted for it.
    fn add(aged: &mut Aged<u64>, owner: Option<Owner>, bytes: usize, value: u64) -> Vec<u64> {
        aged.add(owner, bytes, value);
        std::iter::from_fn(|| aged.evict()).collect()
    }

    #[test]
    fn the_oldest_of_many_clients_are_evicted() {
        let mut aged = Aged::new(Some(100));
        for n in 0..100 {
            assert_eq!(add(&mut aged, owner(n), 1, n), [0; 0]);
        }
        assert_eq!(add(&mut aged, owner(100), 5, 100), [0, 1, 2, 3, 4]);
        assert_eq!((aged.bytes(), aged.len(), aged.oldest()), (100, 96, Some((5, &5))));
        assert_eq!(add(&mut aged, None, 2, 101), [5, 6]);
        for place in 0..200 {
            aged.remove(place);
        }
        assert!(aged.is_empty() && aged.places.is_empty() && aged.by_bytes.is_empty() && aged.bytes_of.is_empty());
        assert_eq!(aged.bytes(), 0);
    }

    #[test]
    fn a_client_with_more_than_its_part_evicts_its_own() {
        let mut aged = Aged::new(Some(160));
        for n in 0..50 {
            assert_eq!(add(&mut aged, owner(n % 5), 1, n), [0; 0]);
        }
        let (first, more) = (100..210, 210..500);
        for n in first {
            assert_eq!(add(&mut aged, owner(7), 1, n), [0; 0]);
        }
        for (n, own) in more.zip(100..) {
            assert_eq!(add(&mut aged, owner(7), 1, n), [own]);
        }
        // What others add takes its place, too.
        assert_eq!(add(&mut aged, owner(8), 15, 1_000).len(), 15);
        assert_eq!(aged.bytes_of[&Owner(7)], 95);
        assert!((0..5).all(|n| aged.bytes_of[&Owner(n)] == 10));
        // A larger entry than all may take evicts itself.
        assert_eq!(add(&mut aged, owner(9), 161, 2_000), [2_000]);
    }

    #[test]
    fn an_entry_may_grow_and_shrink() {
        let mut aged = Aged::new(Some(10));
        let (one, other) = (aged.add(owner(1), 1, 1), aged.add(owner(2), 1, 2));
        aged.resize(other, 9);
        assert_eq!((aged.bytes(), aged.evict()), (10, None));
        aged.resize(one, 2);
        assert_eq!((aged.evict(), aged.bytes()), (Some(2), 2));
        aged.resize(one, 1);
        aged.resize(other, 5);
        assert_eq!((aged.bytes(), aged.remove(one)), (1, Some((owner(1), 1))));
    }

    /// The parts of [`Aged::OVERHEAD`]: half-filled nodes, and a table that is filled to 7/16.
    #[test]
    fn the_overhead_covers_the_tables() {
        let nodes = 2 * (size_of::<u64>() + size_of::<Option<Owner>>() + size_of::<usize>())
            + 2 * (size_of::<(Owner, u64)>() + size_of::<(usize, Owner)>());
        let table = (size_of::<(Owner, usize)>() + 1) * 16 / 7;
        assert!(Aged::<()>::OVERHEAD >= nodes + table, "{} < {}", Aged::<()>::OVERHEAD, nodes + table);
    }
}
