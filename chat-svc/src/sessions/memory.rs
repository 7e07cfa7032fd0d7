//! Sessions in this process's memory, lost when it ends. `ledger` limits their number.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Instant,
};

use bytestring::ByteString;
use parking_lot::Mutex;
use socketio::adapter::BoxFuture;

use super::store::{Holder, LeasedSession, Save, SaveOutcome, SessionStore, StoreUnavailable};

/// See the module.
#[derive(Default)]
pub(super) struct MemoryStore(Mutex<Table>);

#[derive(Default)]
struct Table {
    by_pid: HashMap<ByteString, Entry>,
    /// The same, ordered by expiry, with a number that distinguishes equal times.
    until: BTreeMap<(Instant, u64), ByteString>,
    next: u64,
}

struct Entry {
    until: (Instant, u64),
    holder: Holder,
    session: Arc<str>,
}

impl MemoryStore {
    /// Adds a session that an earlier process stored.
    pub(super) fn restore(&self, save: &Save) {
        self.0.lock().save(save, Instant::now());
    }

    /// The text of a session.
    pub(super) fn session(&self, pid: &str) -> Option<Arc<str>> {
        self.0.lock().by_pid.get(pid).map(|entry| entry.session.clone())
    }
}

impl Table {
    fn save(&mut self, save: &Save, now: Instant) -> SaveOutcome {
        self.forget_old(now);
        let (exists, session) = match self.by_pid.get(&save.pid) {
            Some(kept) if kept.holder != save.holder && Some(kept.holder) != save.before => {
                return SaveOutcome::TakenOver;
            }
            Some(kept) => (true, save.session.clone().or_else(|| Some(kept.session.clone()))),
            None => (false, save.session.clone()),
        };
        let Some(session) = session else { return SaveOutcome::Missing };
        if exists {
            self.remove(&save.pid);
        }
        if !save.keep.is_zero() {
            let until = (now + save.keep, self.next);
            self.next += 1;
            self.until.insert(until, save.pid.clone());
            self.by_pid.insert(save.pid.clone(), Entry { until, holder: save.holder, session });
        }
        SaveOutcome::Saved
    }

    fn acquire(&mut self, pid: &str, holder: Holder, now: Instant) -> Option<LeasedSession> {
        self.forget_old(now);
        let kept = self.by_pid.get_mut(pid)?;
        let before = std::mem::replace(&mut kept.holder, holder);
        let left = kept.until.0.saturating_duration_since(now);
        Some(LeasedSession { session: kept.session.clone(), before, left })
    }

    fn remove(&mut self, pid: &ByteString) {
        if let Some(kept) = self.by_pid.remove(pid) {
            self.until.remove(&kept.until);
        }
    }

    fn forget_old(&mut self, now: Instant) {
        while let Some(oldest) = self.until.first_entry().filter(|oldest| oldest.key().0 <= now) {
            self.by_pid.remove(&oldest.remove());
        }
        if self.by_pid.capacity() > 64 && self.by_pid.len() * 4 < self.by_pid.capacity() {
            self.by_pid.shrink_to_fit();
        }
    }
}

impl SessionStore for MemoryStore {
    fn save<'a>(&'a self, saves: &'a [Save]) -> BoxFuture<'a, Result<Vec<SaveOutcome>, StoreUnavailable>> {
        let now = Instant::now();
        let mut table = self.0.lock();
        let outcomes = saves.iter().map(|save| table.save(save, now)).collect();
        Box::pin(std::future::ready(Ok(outcomes)))
    }

    fn acquire<'a>(
        &'a self,
        pid: &'a str,
        holder: Holder,
    ) -> BoxFuture<'a, Result<Option<LeasedSession>, StoreUnavailable>> {
        let taken = self.0.lock().acquire(pid, holder, Instant::now());
        Box::pin(std::future::ready(Ok(taken)))
    }

    fn outlives_us(&self) -> bool {
        false
    }

    fn sweep(&self) -> BoxFuture<'_, ()> {
        self.0.lock().forget_old(Instant::now());
        Box::pin(std::future::ready(()))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const KEEP: Duration = Duration::from_secs(120);
    const SECOND: Duration = Duration::from_secs(1);

    fn save(pid: &str, holder: Holder) -> Save {
        Save { pid: pid.into(), holder, before: None, session: Some("{}".into()), keep: KEEP, is_live: true }
    }

    #[test]
    fn a_session_can_be_acquired_until_it_expires() {
        let (now, me) = (Instant::now(), Holder::draw());
        let mut table = Table::default();
        for (pid, after, found) in
            [("a", Duration::ZERO, true), ("b", KEEP - SECOND, true), ("c", KEEP, false), ("d", KEEP + SECOND, false)]
        {
            assert_eq!(table.save(&save(pid, me), now), SaveOutcome::Saved);
            let taken = table.acquire(pid, Holder::draw(), now + after);
            assert_eq!(taken.map(|taken| taken.left), found.then(|| KEEP - after), "{pid}");
        }
        // Acquiring a session does not extend it.
        table.save(&save("e", me), now);
        for after in [SECOND, 2 * SECOND, KEEP - SECOND] {
            assert!(table.acquire("e", Holder::draw(), now + after).is_some(), "{after:?}");
        }
        assert!(table.acquire("e", Holder::draw(), now + KEEP).is_none());
    }

    #[test]
    fn a_second_disconnection_renews_the_session() {
        let (now, me) = (Instant::now(), Holder::draw());
        let mut table = Table::default();
        table.save(&save("a", me), now);
        table.save(&save("a", me), now + SECOND);
        assert_eq!((table.by_pid.len(), table.until.len()), (1, 1));
        // A new session with the same key is not affected by the old expiry.
        assert!(table.acquire("a", me, now + KEEP).is_some());
        assert!(table.acquire("a", me, now + KEEP + SECOND).is_none());
        assert_eq!((table.by_pid.len(), table.until.len()), (0, 0));
    }
}
