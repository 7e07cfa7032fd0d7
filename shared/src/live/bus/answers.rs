//! The answers to publications with an idempotency key, for buses that store them in this process.

use std::{
    collections::{HashMap, hash_map::Entry},
    time::Duration,
};

use super::{
    BusError, IdempotencyKey, Publication, Published,
    digest::Digest,
    keys::{Hash, Keys},
};
use crate::pure::{Cursor, Draft, Epoch};

/// What identifies a publication with a key. To be computed without a lock: hashing a large batch takes longer than everything under it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) scope: Hash,
    pub(super) key: Hash,
    pub(super) digest: Digest,
}

impl Claim {
    pub(super) fn of(key: &IdempotencyKey, drafts: &[Draft]) -> Self {
        let (scope, key) = Hash::of(key);
        Self { scope, key, digest: Digest::of(drafts) }
    }

    /// The claim of a publication, if it has a key, and its messages.
    pub(super) fn split(Publication { drafts, key, original, .. }: Publication) -> (Option<Self>, Vec<Draft>) {
        (key.map(|key| Self::of(&key, original.as_ref().unwrap_or(&drafts))), drafts)
    }
}

/// The answer to a publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Given {
    pub(super) digest: Digest,
    /// The first id; those of a batch are consecutive.
    pub(super) first: Cursor,
    pub(super) count: usize,
}

impl Given {
    /// The ids, in a log whose ids belong to `epoch`.
    fn ids(&self, epoch: Epoch) -> Vec<Cursor> {
        let next = |id: &Cursor| Some(id.next_in(epoch, 0));
        std::iter::successors(Some(self.first), next).take(self.count).collect()
    }
}

/// The answers, until their keys expire.
#[derive(Debug)]
pub(super) struct Answers {
    given: HashMap<Hash, Given>,
    keys: Keys,
}

impl Answers {
    pub(super) fn new(most_bytes: Option<usize>) -> Self {
        Self { given: HashMap::new(), keys: Keys::new(most_bytes) }
    }

    pub(super) fn keys(&self) -> &Keys {
        &self.keys
    }

    /// The answer to an earlier publication with the same key, in a log whose ids belong to `epoch`.
    ///
    /// # Errors
    /// [`BusError::Reused`] if that was another one.
    pub(super) fn find(&mut self, claim: &Claim, epoch: Epoch, mono_ms: u64) -> Result<Option<Published>, BusError> {
        while self.expire(mono_ms) {}
        match self.given.get(&claim.key) {
            Some(first) if first.digest == claim.digest => {
                Ok(Some(Published { ids: first.ids(epoch), is_repeat: true }))
            }
            Some(_) => Err(BusError::Reused),
            None => Ok(None),
        }
    }

    /// Reserves space for the key, whose answer is then [set](Self::set).
    ///
    /// # Errors
    /// [`BusError::Keys`] if there is none.
    pub(super) fn reserve(&mut self, claim: &Claim, mono_ms: u64) -> Result<(), BusError> {
        self.keys.add(claim.scope, claim.key, mono_ms).map_err(|retry_after: Duration| BusError::Keys { retry_after })
    }

    pub(super) fn set(&mut self, claim: &Claim, first: Cursor, count: usize) {
        self.given.insert(claim.key, Given { digest: claim.digest, first, count });
    }

    /// Adds the answer of an earlier process, which expires at `end_ms` on the monotonic clock: not before those that were added before.
    pub(super) fn restore(&mut self, scope: Hash, key: Hash, given: Given, end_ms: u64) {
        if let Entry::Vacant(entry) = self.given.entry(key)
            && self.keys.add_until(scope, key, end_ms, 0).is_ok()
        {
            entry.insert(given);
        }
    }

    /// Takes back the key that was reserved last.
    pub(super) fn take_back(&mut self) {
        if let Some(key) = self.keys.take_back() {
            self.given.remove(&key);
        }
    }

    /// Removes an expired key; `false` if there is none.
    fn expire(&mut self, mono_ms: u64) -> bool {
        let expired = self.keys.expire(mono_ms);
        expired.is_some_and(|key| self.given.remove(&key).is_some())
    }

    /// Removes expired keys: one slice, which takes about a millisecond. Returns whether there are more.
    pub(super) fn sweep(&mut self, mono_ms: u64) -> bool {
        const SLICE: usize = 4_096;
        if (0..SLICE).all(|_| self.expire(mono_ms)) {
            return true;
        }
        if self.given.capacity() > 4 * self.given.len().max(1_024) {
            self.given.shrink_to(2 * self.given.len());
            self.keys.shrink();
        }
        false
    }
}
