//! Sessions in this process's memory, gone with the process. How many there are is for others to bound: see `ledger`.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Instant,
};

use bytestring::ByteString;
use parking_lot::Mutex;
use socketio::adapter::BoxFuture;

use super::store::{Away, Held, Holder, Save, SessionStore, Taken};

/// See the module.
#[derive(Default)]
pub(super) struct MemoryStore(Mutex<Table>);

#[derive(Default)]
struct Table {
    by_pid: HashMap<ByteString, Kept>,
    /// The same, by when they are forgotten, with a number that tells equal times apart.
    until: BTreeMap<(Instant, u64), ByteString>,
    next: u64,
}

struct Kept {
    until: (Instant, u64),
    holder: Holder,
    session: Arc<str>,
}

impl Table {
    fn save(&mut self, save: &Save, now: Instant) -> Held {
        self.forget_old(now);
        let (held, session) = match self.by_pid.get(&save.pid) {
            Some(kept) if kept.holder != save.holder && Some(kept.holder) != save.before => return Held::Lost,
            Some(kept) => (true, save.session.clone().or_else(|| Some(kept.session.clone()))),
            None => (false, save.session.clone()),
        };
        let Some(session) = session else { return Held::Missing };
        if held {
            self.remove(&save.pid);
        }
        if !save.keep.is_zero() {
            let until = (now + save.keep, self.next);
            self.next += 1;
            self.until.insert(until, save.pid.clone());
            self.by_pid.insert(save.pid.clone(), Kept { until, holder: save.holder, session });
        }
        Held::Yes
    }

    fn take(&mut self, pid: &str, holder: Holder, now: Instant) -> Option<Taken> {
        self.forget_old(now);
        let kept = self.by_pid.get_mut(pid)?;
        let before = std::mem::replace(&mut kept.holder, holder);
        let left = kept.until.0.saturating_duration_since(now);
        Some(Taken { session: kept.session.clone(), before, left })
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
    fn save<'a>(&'a self, saves: &'a [Save]) -> BoxFuture<'a, Result<Vec<Held>, Away>> {
        let now = Instant::now();
        let mut table = self.0.lock();
        let held = saves.iter().map(|save| table.save(save, now)).collect();
        Box::pin(std::future::ready(Ok(held)))
    }

    fn take<'a>(&'a self, pid: &'a str, holder: Holder) -> BoxFuture<'a, Result<Option<Taken>, Away>> {
        let taken = self.0.lock().take(pid, holder, Instant::now());
        Box::pin(std::future::ready(Ok(taken)))
    }

    fn outlives_us(&self) -> bool {
        false
    }

    fn sweep(&self) {
        self.0.lock().forget_old(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const KEEP: Duration = Duration::from_secs(120);
    const SECOND: Duration = Duration::from_secs(1);

    fn save(pid: &str, holder: Holder) -> Save {
        Save { pid: pid.into(), holder, before: None, session: Some("{}".into()), keep: KEEP }
    }

    #[test]
    fn a_session_is_had_within_its_time() {
        let (now, me) = (Instant::now(), Holder::draw());
        let mut table = Table::default();
        for (pid, after, found) in
            [("a", Duration::ZERO, true), ("b", KEEP - SECOND, true), ("c", KEEP, false), ("d", KEEP + SECOND, false)]
        {
            assert_eq!(table.save(&save(pid, me), now), Held::Yes);
            let taken = table.take(pid, Holder::draw(), now + after);
            assert_eq!(taken.map(|taken| taken.left), found.then(|| KEEP - after), "{pid}");
        }
        // Taking it makes its time no longer.
        table.save(&save("e", me), now);
        for after in [SECOND, 2 * SECOND, KEEP - SECOND] {
            assert!(table.take("e", Holder::draw(), now + after).is_some(), "{after:?}");
        }
        assert!(table.take("e", Holder::draw(), now + KEEP).is_none());
    }

    #[test]
    fn who_is_cut_off_again_is_kept_anew() {
        let (now, me) = (Instant::now(), Holder::draw());
        let mut table = Table::default();
        table.save(&save("a", me), now);
        table.save(&save("a", me), now + SECOND);
        assert_eq!((table.by_pid.len(), table.until.len()), (1, 1));
        // The first one's end is not the second one's.
        assert!(table.take("a", me, now + KEEP).is_some());
        assert!(table.take("a", me, now + KEEP + SECOND).is_none());
        assert_eq!((table.by_pid.len(), table.until.len()), (0, 0));
    }
}
