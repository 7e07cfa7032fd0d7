//! Answers of the last minute for clients that poll: each of their requests is a new one, and the application is not asked about each.

use std::{
    collections::HashMap,
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

use crate::{
    ApiError,
    aged::{Aged, Owners},
    auth::Identity,
};

/// How long an answer applies.
const LIFETIME: Duration = Duration::from_secs(60);
/// The memory of an answer beside itself: its places in the tables, and its cell.
const OVERHEAD: usize = 256 + Aged::<()>::OVERHEAD;

/// An answer that is remembered.
pub(super) trait Footprint {
    /// The bytes that it takes beside its own size.
    fn footprint(&self) -> usize;
}

impl Footprint for () {
    fn footprint(&self) -> usize {
        0
    }
}

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

/// See the module. Beyond a budget in bytes, answers are forgotten, and the application is asked again: the oldest ones, or those of a client with
/// [many](Aged).
#[derive(Debug)]
pub(super) struct Recent<T> {
    inner: Mutex<Inner<T>>,
    owners: Owners,
}

#[derive(Debug)]
struct Inner<T> {
    /// With their places.
    cells: HashMap<Credential, (Cell<T>, u64)>,
    aged: Aged<(Instant, Credential)>,
}

impl<T: Footprint> Recent<T> {
    /// No answers yet. They take at most `max_bytes`.
    pub(super) fn new(max_bytes: usize) -> Self {
        let inner = Inner { cells: HashMap::new(), aged: Aged::new(Some(max_bytes)) };
        Self { inner: Mutex::new(inner), owners: Owners::default() }
    }

    /// Bytes of all answers.
    pub(super) fn bytes(&self) -> usize {
        self.inner.lock().aged.bytes()
    }

    /// The answer for a client with this credential, which counts for `identity`: the last one, or what `ask` gives. A failure is shared by those that wait for it, and asked about again
    /// afterwards. `None` if somebody else asks, and has no answer by `deadline`.
    pub(super) async fn get(
        &self,
        (credential, identity): (Credential, &Identity),
        deadline: Instant,
        ask: impl AsyncFnOnce() -> Result<T, ApiError>,
    ) -> Option<Result<Arc<T>, ApiError>> {
        let cell = self.cell(credential, identity, Instant::now());
        let is_asking = AtomicBool::new(false);
        let answer = cell.get_or_init(async || {
            is_asking.store(true, Relaxed);
            let answer = ask().await.map(Arc::new);
            match &answer {
                Ok(answer) => self.count(credential, &cell, OVERHEAD + size_of::<T>() + answer.footprint()),
                Err(_) => self.renew(credential, &cell),
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
        let cell = self.inner.lock().cells.get(&credential).map(|(cell, _)| cell.clone());
        if let Some(cell) = cell
            && cell.get().is_some_and(|known| known.as_ref().is_ok_and(|known| Arc::ptr_eq(known, answer)))
        {
            self.renew(credential, &cell);
        }
    }

    /// Puts an empty cell in the place of `cell`.
    fn renew(&self, credential: Credential, cell: &Cell<T>) {
        let Inner { cells, aged } = &mut *self.inner.lock();
        if let Some((current, place)) = cells.get_mut(&credential)
            && Arc::ptr_eq(current, cell)
        {
            *current = Cell::default();
            aged.resize(*place, OVERHEAD);
        }
    }

    /// The answer in `cell` takes this many bytes. Others are forgotten for it, or it itself.
    fn count(&self, credential: Credential, cell: &Cell<T>, bytes: usize) {
        let mut inner = self.inner.lock();
        let place = inner.cells.get(&credential).filter(|(current, _)| Arc::ptr_eq(current, cell)).map(|known| known.1);
        if let Some(place) = place {
            inner.aged.resize(place, bytes);
            inner.evict();
        }
    }

    /// The answer for a client that asks at `now`.
    fn cell(&self, credential: Credential, identity: &Identity, now: Instant) -> Cell<T> {
        let mut inner = self.inner.lock();
        while let Some((place, (_, expired))) = inner
            .aged
            .oldest()
            .filter(|(_, (at, _))| now.duration_since(*at) >= LIFETIME)
            .map(|(place, it)| (place, *it))
        {
            inner.aged.remove(place);
            inner.cells.remove(&expired);
        }
        if let Some((cell, _)) = inner.cells.get(&credential) {
            return cell.clone();
        }
        let cell = Cell::default();
        let place = inner.aged.add(Some(self.owners.of(identity)), OVERHEAD, (now, credential));
        inner.cells.insert(credential, (cell.clone(), place));
        inner.evict();
        cell
    }
}

impl<T> Inner<T> {
    fn evict(&mut self) {
        while let Some((_, credential)) = self.aged.evict() {
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

    fn client(n: usize) -> Identity {
        Identity::Subject(n.to_string().into())
    }

    impl Footprint for u8 {
        fn footprint(&self) -> usize {
            0
        }
    }

    impl Footprint for String {
        fn footprint(&self) -> usize {
            self.len()
        }
    }

    #[test]
    fn an_answer_applies_for_a_minute() {
        let (recent, start) = (Recent::<u8>::new(10_000), Instant::now());
        let cell = |text: &str, at| recent.cell(credential(text), &client(0), at);
        let first = cell("a", start);
        first.set(Ok(Arc::new(7))).unwrap();
        let later = start + LIFETIME - Duration::from_millis(1);
        assert!(matches!(cell("a", later).get(), Some(Ok(seven)) if **seven == 7));
        assert!(cell("b", later).get().is_none());
        assert!(cell("a", start + LIFETIME).get().is_none());
        assert_eq!(recent.bytes(), 2 * OVERHEAD);
    }

    /// Answers were limited by number: 8,192 of 8 KiB took 64 MiB, and one client with many credentials evicted those of all others.
    #[tokio::test]
    async fn answers_have_a_budget_in_bytes_and_a_client_evicts_its_own() {
        const SIZE: usize = 8 * 1024;
        let recent = Recent::<String>::new(100 * SIZE);
        let deadline = Instant::now() + LIFETIME;
        let calls = AtomicUsize::new(0);
        let get = async |text: &str, client: &Identity| {
            let ask = async || {
                calls.fetch_add(1, Relaxed);
                Ok("x".repeat(SIZE))
            };
            recent.get((credential(text), client), deadline, ask).await.unwrap().unwrap();
        };
        for n in 0..50 {
            get(&format!("honest {n}"), &client(n)).await;
        }
        for n in 0..500 {
            get(&format!("rotated {n}"), &client(99)).await;
        }
        assert!((90 * SIZE..=100 * SIZE).contains(&recent.bytes()), "{}", recent.bytes());
        calls.store(0, Relaxed);
        for n in 0..50 {
            get(&format!("honest {n}"), &client(n)).await;
        }
        assert_eq!(calls.load(Relaxed), 0, "they are still remembered");
        get("rotated 0", &client(99)).await;
        assert_eq!(calls.load(Relaxed), 1);
        // One that fails when it is asked again, and what expires, takes no memory.
        let known = recent.cell(credential("honest 0"), &client(0), Instant::now()).get().cloned().unwrap().unwrap();
        let before = recent.bytes();
        recent.forget(credential("honest 0"), &known);
        let failed = async || Err(ApiError::internal("no answer"));
        assert!(recent.get((credential("honest 0"), &client(0)), deadline, failed).await.unwrap().is_err());
        assert_eq!(recent.bytes(), before - SIZE - size_of::<String>());
        recent.cell(credential("last"), &client(0), Instant::now() + 2 * LIFETIME);
        assert_eq!((recent.bytes(), recent.inner.lock().cells.len()), (OVERHEAD, 1));
    }

    /// Each of many that wait for the same answer has its own deadline, and none begins another call when that fails.
    #[tokio::test(start_paused = true)]
    async fn a_failure_is_shared_by_those_that_wait_and_none_waits_longer_than_its_deadline() {
        let (recent, calls) = (Recent::<u8>::new(10_000), AtomicUsize::new(0));
        let second = Duration::from_secs(1);
        let begin = tokio::time::Instant::now();
        let ann = client(0);
        let get = |deadline: u32| {
            recent.get((credential("a"), &ann), (begin + deadline * second).into_std(), async || {
                calls.fetch_add(1, Relaxed);
                tokio::time::sleep(5 * second).await;
                Err(ApiError::internal("no answer"))
            })
        };
        let (first, same, early) = futures_util::join!(get(5), get(9), get(2));
        assert!(first.is_some_and(|answer| answer.is_err()) && same.is_some_and(|answer| answer.is_err()));
        assert!(early.is_none());
        assert_eq!((calls.load(Relaxed), begin.elapsed()), (1, 5 * second));
        let again = recent.get((credential("a"), &client(0)), (begin + 9 * second).into_std(), async || Ok(7)).await;
        let again = again.unwrap().unwrap();
        assert_eq!(*again, 7, "a failure is not an answer");
        recent.forget(credential("a"), &again);
        assert!(recent.cell(credential("a"), &ann, Instant::now()).get().is_none());
    }

    #[test]
    fn parts_of_a_credential_do_not_flow_into_each_other() {
        let of = |parts: &[&str]| Credential::of(parts.iter().map(|part| part.as_bytes()));
        assert_ne!(of(&["ab", "c"]), of(&["a", "bc"]));
        assert_ne!(of(&["a", ""]), of(&["a"]));
    }
}
