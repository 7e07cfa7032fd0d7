//! Answers of the last minute for clients that poll: each of their requests is a new one, and the application is not asked about each.

use std::{
    collections::{HashMap, VecDeque},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use tokio::{sync::OnceCell, time::timeout_at};

use crate::ApiError;

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

/// The answer for one client, once there is one. Requests that come before that wait for the same answer, or the same failure.
type Cell<T> = Arc<OnceCell<Result<Arc<T>, ApiError>>>;

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
    /// The answer for a client: the last one, or what `ask` gives. A failure is shared by those that wait for it, and asked about again
    /// afterwards. `None` if somebody else asks, and has no answer by `deadline`.
    pub(super) async fn get(
        &self,
        credential: Credential,
        deadline: Instant,
        ask: impl AsyncFnOnce() -> Result<T, ApiError>,
    ) -> Option<Result<Arc<T>, ApiError>> {
        let cell = self.cell(credential, Instant::now());
        let is_asking = AtomicBool::new(false);
        let answer = cell.get_or_init(async || {
            is_asking.store(true, Relaxed);
            let answer = ask().await.map(Arc::new);
            if answer.is_err() {
                self.renew(credential, &cell);
            }
            answer
        });
        let mut answer = pin!(answer);
        match timeout_at(deadline.into(), answer.as_mut()).await {
            Ok(answer) => Some(answer.clone()),
            // The deadline of the call itself has come, too: its failure is counted.
            Err(_) if is_asking.load(Relaxed) => Some(answer.await.clone()),
            Err(_) => None,
        }
    }

    /// The answer for this client does not apply any more: the next request asks.
    pub(super) fn forget(&self, credential: Credential, answer: &Arc<T>) {
        let cell = self.0.lock().cells.get(&credential).cloned();
        if let Some(cell) = cell
            && cell.get().is_some_and(|known| known.as_ref().is_ok_and(|known| Arc::ptr_eq(known, answer)))
        {
            self.renew(credential, &cell);
        }
    }

    /// Puts an empty cell in the place of `cell`.
    fn renew(&self, credential: Credential, cell: &Cell<T>) {
        if let Some(current) = self.0.lock().cells.get_mut(&credential)
            && Arc::ptr_eq(current, cell)
        {
            *current = Cell::default();
        }
    }

    /// The answer for a client that asks at `now`.
    fn cell(&self, credential: Credential, now: Instant) -> Cell<T> {
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
    use std::sync::atomic::AtomicUsize;

    use super::*;

    fn credential(text: &str) -> Credential {
        Credential::of([text.as_bytes()])
    }

    #[test]
    fn an_answer_applies_for_a_minute() {
        let (recent, start) = (Recent::<u8>::default(), Instant::now());
        let first = recent.cell(credential("a"), start);
        first.set(Ok(Arc::new(7))).unwrap();
        let later = start + LIFETIME - Duration::from_millis(1);
        assert!(matches!(recent.cell(credential("a"), later).get(), Some(Ok(seven)) if **seven == 7));
        assert!(recent.cell(credential("b"), later).get().is_none());
        assert!(recent.cell(credential("a"), start + LIFETIME).get().is_none());
    }

    #[test]
    fn the_oldest_are_forgotten_beyond_the_limit() {
        let (recent, now) = (Recent::<usize>::default(), Instant::now());
        for n in 0..=MAX_ANSWERS {
            recent.cell(credential(&n.to_string()), now).set(Ok(Arc::new(n))).unwrap();
        }
        assert_eq!(recent.0.lock().cells.len(), MAX_ANSWERS);
        assert!(recent.cell(credential(&MAX_ANSWERS.to_string()), now).get().is_some());
        assert!(recent.cell(credential("0"), now).get().is_none());
    }

    /// Each of many that wait for the same answer has its own deadline, and none begins another call when that fails.
    #[tokio::test(start_paused = true)]
    async fn a_failure_is_shared_by_those_that_wait_and_none_waits_longer_than_its_deadline() {
        let (recent, calls) = (Recent::<u8>::default(), AtomicUsize::new(0));
        let second = Duration::from_secs(1);
        let begin = tokio::time::Instant::now();
        let get = |deadline: u32| {
            recent.get(credential("a"), (begin + deadline * second).into_std(), async || {
                calls.fetch_add(1, Relaxed);
                tokio::time::sleep(5 * second).await;
                Err(ApiError::internal("no answer"))
            })
        };
        let (first, same, early) = futures_util::join!(get(5), get(9), get(2));
        assert!(first.is_some_and(|answer| answer.is_err()) && same.is_some_and(|answer| answer.is_err()));
        assert!(early.is_none());
        assert_eq!((calls.load(Relaxed), begin.elapsed()), (1, 5 * second));
        let again = recent.get(credential("a"), (begin + 9 * second).into_std(), async || Ok(7)).await;
        let again = again.unwrap().unwrap();
        assert_eq!(*again, 7, "a failure is not an answer");
        recent.forget(credential("a"), &again);
        assert!(recent.cell(credential("a"), Instant::now()).get().is_none());
    }

    #[test]
    fn parts_of_a_credential_do_not_flow_into_each_other() {
        let of = |parts: &[&str]| Credential::of(parts.iter().map(|part| part.as_bytes()));
        assert_ne!(of(&["ab", "c"]), of(&["a", "bc"]));
        assert_ne!(of(&["a", ""]), of(&["a"]));
    }
}
