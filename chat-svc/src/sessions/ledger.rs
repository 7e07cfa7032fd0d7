//! The memory of sessions of disconnected clients, wherever they are stored: beyond the limit, the oldest are evicted.
//!
//! The client chooses the size of its session, which contains all channels that it reads. The number of connections limits the sessions of
//! connected clients; those of disconnected clients have this limit.

use std::{
    collections::{BTreeMap, HashMap},
    time::Instant,
};

use bytestring::ByteString;

use super::store::Holder;

/// The overhead of a session in addition to its text, here and in the store.
const OVERHEAD: usize = 512;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    max_bytes: Option<usize>,
    /// In the order in which their clients disconnected.
    entries: BTreeMap<u64, Entry>,
    by_pid: HashMap<ByteString, u64>,
    next: u64,
    bytes: usize,
    dropped: u64,
}

#[derive(Debug)]
struct Entry {
    pid: ByteString,
    holder: Holder,
    bytes: usize,
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
        Self { max_bytes, ..Self::default() }
    }

    /// A session of this many bytes is kept until the given time. Returns those evicted for it, oldest first; it may be one of them.
    pub(super) fn add(
        &mut self,
        pid: &ByteString,
        holder: Holder,
        text: usize,
        until: Instant,
        now: Instant,
    ) -> Vec<(ByteString, Holder)> {
        self.remove(pid);
        self.expire(now);
        let bytes = text + OVERHEAD;
        self.bytes += bytes;
        self.by_pid.insert(pid.clone(), self.next);
        self.entries.insert(self.next, Entry { pid: pid.clone(), holder, bytes, until });
        self.next += 1;
        let mut gone = Vec::new();
        while self.max_bytes.is_some_and(|max| self.bytes > max)
            && let Some(oldest) = self.pop()
        {
            self.dropped += 1;
            gone.push((oldest.pid, oldest.holder));
        }
        gone
    }

    /// The client has resumed this session, or may no longer.
    pub(super) fn remove(&mut self, pid: &str) {
        let entry = self.by_pid.remove(pid).and_then(|at| self.entries.remove(&at));
        self.bytes -= entry.map_or(0, |entry| entry.bytes);
    }

    /// Removes expired sessions.
    pub(super) fn expire(&mut self, now: Instant) {
        while self.entries.first_key_value().is_some_and(|(_, oldest)| oldest.until <= now) {
            self.pop();
        }
        if self.by_pid.capacity() > 64 && self.by_pid.len() * 4 < self.by_pid.capacity() {
            self.by_pid.shrink_to_fit();
        }
    }

    fn pop(&mut self) -> Option<Entry> {
        let (_, oldest) = self.entries.pop_first()?;
        self.by_pid.remove(&oldest.pid);
        self.bytes -= oldest.bytes;
        Some(oldest)
    }

    pub(super) fn figures(&self) -> Figures {
        Figures { sessions: self.entries.len(), bytes: self.bytes, dropped: self.dropped }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
            let gone = ledger.add(&pid(n), holders[n], text, now + 10 * SECOND, now);
            let expected: Vec<_> = n.checked_sub(10).map(|n| (pid(n), holders[n])).into_iter().collect();
            assert_eq!(gone, expected, "{n}");
        }
        assert_eq!(ledger.figures(), Figures { sessions: 10, bytes: 10 * (text + OVERHEAD), dropped: 10 });
        // A session larger than the limit evicts all, including itself.
        let gone = ledger.add(&pid(20), holders[0], 11 * text, now + SECOND, now);
        assert_eq!((gone.len(), gone.last().unwrap()), (11, &(pid(20), holders[0])));
        assert_eq!(ledger.figures(), Figures { dropped: 21, ..Figures::default() });
    }

    #[test]
    fn resumed_and_expired_sessions_no_longer_count() {
        let now = Instant::now();
        let mut ledger = Ledger::new(None);
        for n in 0..3 {
            assert_eq!(ledger.add(&pid(n), Holder::draw(), 100, now + SECOND, now), []);
        }
        ledger.add(&pid(1), Holder::draw(), 200, now + 2 * SECOND, now);
        assert_eq!(ledger.figures().bytes, 400 + 3 * OVERHEAD);
        ledger.remove("pid-0");
        ledger.remove("pid-7");
        assert_eq!(ledger.figures().bytes, 300 + 2 * OVERHEAD);
        ledger.expire(now + SECOND);
        assert_eq!(ledger.figures(), Figures { sessions: 1, bytes: 200 + OVERHEAD, dropped: 0 });
        ledger.expire(now + 2 * SECOND);
        assert_eq!(ledger.figures(), Figures::default());
    }
}
