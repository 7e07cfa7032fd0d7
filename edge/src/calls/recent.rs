//! Answers of the last minute for clients that poll: each of their requests is a new one, and the application is not asked about each.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use tokio::sync::OnceCell;

/// How long an answer applies.
const LIFETIME: Duration = Duration::from_secs(60);
/// Maximum number of answers. Beyond, the oldest are forgotten, and the application is asked again.
const MAX_ANSWERS: usize = 8 * 1024;

/// What identifies a client, as a hash: two clients cannot choose credentials with the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Credential([u8; 32]);

impl Credential {
    /// The credential of these parts, in their order.
    pub(super) fn of<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update(part.len().to_be_bytes());
            hash.update(part);
        }
        Self(hash.finalize().into())
    }
}

/// The answer for one client, once there is one. Requests that come before that wait for the same answer.
pub(super) type Cell<T> = Arc<OnceCell<Arc<T>>>;

/// See the module.
#[derive(Debug)]
pub(super) struct Recent<T>(Mutex<Inner<T>>);

#[derive(Debug)]
struct Inner<T> {
    cells: HashMap<Credential, Cell<T>>,
    /// In the order of age.
    order: VecDeque<(Instant, Credential)>,
}

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Self(Mutex::new(Inner { cells: HashMap::new(), order: VecDeque::new() }))
    }
}

impl<T> Recent<T> {
    /// The answer for a client that asks at `now`.
    pub(super) fn cell(&self, credential: Credential, now: Instant) -> Cell<T> {
        let mut inner = self.0.lock();
        while inner.order.front().is_some_and(|(at, _)| now.duration_since(*at) >= LIFETIME) {
            inner.drop_first();
        }
        if let Some(cell) = inner.cells.get(&credential) {
            return cell.clone();
        }
        if inner.order.len() >= MAX_ANSWERS {
            inner.drop_first();
        }
        let cell = Cell::default();
        inner.order.push_back((now, credential));
        inner.cells.insert(credential, cell.clone());
        cell
    }
}

impl<T> Inner<T> {
    fn drop_first(&mut self) {
        if let Some((_, credential)) = self.order.pop_front() {
            self.cells.remove(&credential);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credential(text: &str) -> Credential {
        Credential::of([text.as_bytes()])
    }

    #[test]
    fn an_answer_applies_for_a_minute() {
        let (recent, start) = (Recent::<u8>::default(), Instant::now());
        let first = recent.cell(credential("a"), start);
        first.set(Arc::new(7)).unwrap();
        let later = start + LIFETIME - Duration::from_millis(1);
        assert_eq!(recent.cell(credential("a"), later).get().map(|seven| **seven), Some(7));
        assert!(recent.cell(credential("b"), later).get().is_none());
        assert!(recent.cell(credential("a"), start + LIFETIME).get().is_none());
    }

    #[test]
    fn the_oldest_are_forgotten_beyond_the_limit() {
        let (recent, now) = (Recent::<usize>::default(), Instant::now());
        for n in 0..=MAX_ANSWERS {
            recent.cell(credential(&n.to_string()), now).set(Arc::new(n)).unwrap();
        }
        assert_eq!(recent.0.lock().cells.len(), MAX_ANSWERS);
        assert!(recent.cell(credential(&MAX_ANSWERS.to_string()), now).get().is_some());
        assert!(recent.cell(credential("0"), now).get().is_none());
    }

    #[test]
    fn parts_of_a_credential_do_not_flow_into_each_other() {
        let of = |parts: &[&str]| Credential::of(parts.iter().map(|part| part.as_bytes()));
        assert_ne!(of(&["ab", "c"]), of(&["a", "bc"]));
        assert_ne!(of(&["a", ""]), of(&["a"]));
    }
}
