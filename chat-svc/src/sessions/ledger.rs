//! The memory of sessions of disconnected clients, wherever they are stored: beyond the limit, the oldest are evicted.
//!
//! The client chooses the size of its session, which contains all channels that it reads. The number of connections limits the sessions of
//! connected clients; those of disconnected clients have this limit. One client that disconnects again and again [evicts its own](Aged).

use std::{collections::HashMap, time::Instant};

use bytestring::ByteString;
use edge::aged::{Aged, Owner};

use super::store::Holder;

/// The overhead of a session in addition to its text, here and in the store.
const OVERHEAD: usize = 448 + Aged::<()>::OVERHEAD;

/// See the module.
#[derive(Debug)]
pub(super) struct Ledger {
    /// In the order in which their clients disconnected.
    entries: Aged<Entry>,
    by_pid: HashMap<ByteString, u64>,
    dropped: u64,
}

#[derive(Debug)]
struct Entry {
    pid: ByteString,
    holder: Holder,
    until: Instant,
}

/// The figures for `/metrics`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    /// Sessions of disconnected clients that may still recover.
    pub(crate) sessions: usize,
    /// Their size in bytes.
    pub(crate) bytes: usize,
    /// Sessions evicted before they expired.
    pub(crate) dropped: u64,
}

impl Ledger {
    pub(super) fn new(max_bytes: Option<usize>) -> Self {
        Self { entries: Aged::new(max_bytes), by_pid: HashMap::new(), dropped: 0 }
    }

    /// A session of this many bytes, of the client `owner`, is kept until the given time. Returns those evicted for it; it may be one of them.
    pub(super) fn add(
        &mut self,
        pid: &ByteString,
        (holder, owner): (Holder, Option<Owner>),
        text: usize,
        until: Instant,
        now: Instant,
    ) -> Vec<(ByteString, Holder)> {
        self.remove(pid);
        self.expire(now);
        let place = self.entries.add(owner, text + OVERHEAD, Entry { pid: pid.clone(), holder, until });
        self.by_pid.insert(pid.clone(), place);
        let mut gone = Vec::new();
        while let Some(Entry { pid, holder, .. }) = self.entries.evict() {
            self.by_pid.remove(&pid);
            self.dropped += 1;
            gone.push((pid, holder));
        }
        gone
    }

    /// The client has resumed this session, or may no longer. Returns whose it was.
    pub(super) fn remove(&mut self, pid: &str) -> Option<Owner> {
        let place = self.by_pid.remove(pid)?;
        self.entries.remove(place)?.0
    }

    /// Removes expired sessions.
    pub(super) fn expire(&mut self, now: Instant) {
        while let Some((place, _)) = self.entries.oldest().filter(|(_, oldest)| oldest.until <= now) {
            if let Some((_, entry)) = self.entries.remove(place) {
                self.by_pid.remove(&entry.pid);
            }
        }
        if self.by_pid.capacity() > 64 && self.by_pid.len() * 4 < self.by_pid.capacity() {
            self.by_pid.shrink_to_fit();
        }
    }

    pub(super) fn figures(&self) -> Figures {
        Figures { sessions: self.entries.len(), bytes: self.entries.bytes(), dropped: self.dropped }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use edge::{aged::Owners, auth::Identity};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn pid(n: usize) -> ByteString {
        format!("pid-{n}").into()
    }

    /// Case 5.3: beyond the limit the oldest are evicted first.
    #[test]
    fn the_oldest_sessions_are_evicted_first() {
        let (now, text) = (Instant::now(), 40_000);
        let mut ledger = Ledger::new(Some(10 * (text + OVERHEAD)));
        let holders: Vec<Holder> = (0..20).map(|_| Holder::draw()).collect();
        for n in 0..20 {
            let gone = ledger.add(&pid(n), (holders[n], None), text, now + 10 * SECOND, now);
            let expected: Vec<_> = n.checked_sub(10).map(|n| (pid(n), holders[n])).into_iter().collect();
            assert_eq!(gone, expected, "{n}");
        }
        assert_eq!(ledger.figures(), Figures { sessions: 10, bytes: 10 * (text + OVERHEAD), dropped: 10 });
        // A session larger than the limit evicts all, including itself.
        let gone = ledger.add(&pid(20), (holders[0], None), 11 * text, now + SECOND, now);
        assert_eq!((gone.len(), gone.last().unwrap()), (11, &(pid(20), holders[0])));
        assert_eq!(ledger.figures(), Figures { dropped: 21, ..Figures::default() });
    }

    /// One client that connected and disconnected evicted the sessions of all others.
    #[test]
    fn a_client_with_many_sessions_evicts_its_own() {
        let (now, text) = (Instant::now(), 40_000);
        let mut ledger = Ledger::new(Some(10 * (text + OVERHEAD)));
        let owners = Owners::default();
        let owner = |n: usize| Some(owners.of(&Identity::Subject(format!("{n}").into())));
        let mut add = |n: usize, owner| {
            let gone = ledger.add(&pid(n), (Holder::draw(), owner), text, now + SECOND, now);
            gone.into_iter().map(|(pid, _)| pid).collect::<Vec<_>>()
        };
        for n in 0..4 {
            assert!(add(n, owner(n)).is_empty());
        }
        let gone: Vec<_> = (4..100).flat_map(|n| add(n, owner(7))).collect();
        assert_eq!(gone, (4..94).map(pid).collect::<Vec<_>>());
        assert_eq!([add(100, owner(8)), add(101, owner(9))], [[pid(94)], [pid(95)]]);
    }

    #[test]
    fn resumed_and_expired_sessions_no_longer_count() {
        let now = Instant::now();
        let mut ledger = Ledger::new(None);
        for n in 0..3 {
            assert_eq!(ledger.add(&pid(n), (Holder::draw(), None), 100, now + SECOND, now), []);
        }
        ledger.add(&pid(1), (Holder::draw(), None), 200, now + 2 * SECOND, now);
        assert_eq!(ledger.figures().bytes, 400 + 3 * OVERHEAD);
        assert_eq!([ledger.remove("pid-0"), ledger.remove("pid-7")], [None, None]);
        assert_eq!(ledger.figures().bytes, 300 + 2 * OVERHEAD);
        ledger.expire(now + SECOND);
        assert_eq!(ledger.figures(), Figures { sessions: 1, bytes: 200 + OVERHEAD, dropped: 0 });
        ledger.expire(now + 2 * SECOND);
        assert_eq!(ledger.figures(), Figures::default());
    }
}
