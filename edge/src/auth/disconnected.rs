//! Users that a backend has disconnected: their new connections are refused for a while.
//!
//! There are two kinds of decisions. Those about a user replace earlier ones. Those about one of its connections do not shorten the time. Of each kind the
//! newest applies, in whatever order they arrive: a bus that has gone back to an earlier copy has older ones.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::RwLock;

/// Maximum length of the name of a user in bytes: a token has at most 8 KiB, which are this much JSON.
pub const MAX_USER_BYTES: usize = 6 * 1024;
/// Maximum memory of the users that are refused at a time, in bytes.
const MAX_BYTES: usize = 16 * 1024 * 1024;
/// The memory of a user in addition to its name.
const OVERHEAD: usize = 192;
/// Maximum number of decisions about connections of a user that are told apart.
const MAX_CONNECTIONS: usize = 8;

/// The users that are refused at present.
#[derive(Debug, Default)]
pub struct DisconnectedUsers {
    table: RwLock<Table>,
    /// The number of entries: nearly always 0, and then nobody takes the lock.
    count: AtomicUsize,
}

#[derive(Debug, Default)]
struct Table {
    users: HashMap<Arc<str>, Entry>,
    bytes: usize,
}

/// A decision to refuse connections of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Refusal {
    /// When it was decided, by the clock of the bus, in milliseconds since the Unix epoch.
    pub(crate) decided_ms: u64,
    /// When it ends, by the same clock.
    pub(crate) expires_ms: u64,
    /// When it ends, by the clock of this process.
    pub(crate) until: Instant,
}

/// Which kind a decision is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// About a user: it replaces earlier decisions.
    User,
    /// About a connection: an earlier decision that ends later applies as well.
    Connection,
}

/// What was decided about a user.
#[derive(Debug)]
struct Entry {
    user: Option<Refusal>,
    /// Those that are newer than the one about the user, without those that are older and end earlier than another.
    connections: Vec<Refusal>,
    /// Until when a decision is remembered: also after it has ended, for as long as one that it replaced would have applied.
    known_until: Instant,
}

impl Entry {
    /// Adds a decision, unless it is older than the one about the user, which then applies. Returns whether it was added, or was known.
    fn add(&mut self, kind: Kind, new: Refusal) -> bool {
        self.known_until = self.known_until.max(new.until);
        let is_newer = |user: Refusal| match kind {
            Kind::User => user.decided_ms > new.decided_ms,
            Kind::Connection => user.decided_ms >= new.decided_ms,
        };
        if self.user.is_some_and(is_newer) {
            return false;
        }
        match kind {
            Kind::User => {
                self.user = self.user.max(Some(new));
                self.connections.retain(|known| known.decided_ms > new.decided_ms);
            }
            Kind::Connection => {
                let covers = |a: &Refusal, b: &Refusal| a.decided_ms >= b.decided_ms && a.until >= b.until;
                if !self.connections.iter().any(|known| covers(known, &new)) {
                    self.connections.retain(|known| !covers(&new, known));
                    self.connections.push(new);
                }
                if self.connections.len() > MAX_CONNECTIONS {
                    self.connections = self.connection().into_iter().collect();
                }
            }
        }
        true
    }

    /// Those about connections as one, which is as new as the newest and ends as late as the last.
    fn connection(&self) -> Option<Refusal> {
        self.connections.iter().copied().reduce(|a, b| Refusal {
            decided_ms: a.decided_ms.max(b.decided_ms),
            expires_ms: a.expires_ms.max(b.expires_ms),
            until: a.until.max(b.until),
        })
    }

    /// Until when connections are refused.
    fn until(&self) -> Option<Instant> {
        self.user.into_iter().chain(self.connection()).map(|refusal| refusal.until).max()
    }
}

impl Table {
    fn sweep(&mut self, now: Instant) {
        let bytes = &mut self.bytes;
        self.users.retain(|user, entry| {
            let is_kept = entry.known_until > now;
            *bytes -= if is_kept { 0 } else { user.len() + OVERHEAD };
            is_kept
        });
    }
}

/// Too many users are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "too many users are disconnected at present (limit: {MAX_BYTES} bytes); retry when some of their times have passed"
)]
pub struct TooManyUsers;

impl DisconnectedUsers {
    /// The memory of all such users in bytes.
    #[must_use]
    pub(crate) fn bytes(&self) -> usize {
        self.table.read().bytes
    }

    /// Refuses connections of `user`, unless a newer decision about the user is known. Returns whether the decision applies.
    ///
    /// # Errors
    /// When there are too many such users.
    pub(crate) fn refuse(&self, user: &str, kind: Kind, refusal: Refusal, now: Instant) -> Result<bool, TooManyUsers> {
        let mut table = self.table.write();
        if let Some(entry) = table.users.get_mut(user) {
            return Ok(entry.add(kind, refusal));
        }
        if refusal.until <= now {
            return Ok(true);
        }
        let cost = user.len() + OVERHEAD;
        if table.bytes + cost > MAX_BYTES {
            table.sweep(now);
        }
        let has_room = table.bytes + cost <= MAX_BYTES;
        if has_room {
            let mut entry = Entry { user: None, connections: Vec::new(), known_until: refusal.until };
            entry.add(kind, refusal);
            table.users.insert(user.into(), entry);
            table.bytes += cost;
        }
        self.count.store(table.users.len(), Ordering::Release);
        if has_room { Ok(true) } else { Err(TooManyUsers) }
    }

    /// The decision of this kind about `user` that applies, or has ended and replaced one that would still apply.
    pub(crate) fn get(&self, user: &str, kind: Kind) -> Option<Refusal> {
        if self.count.load(Ordering::Acquire) == 0 {
            return None;
        }
        let table = self.table.read();
        let entry = table.users.get(user)?;
        match kind {
            Kind::User => entry.user,
            Kind::Connection => entry.connection(),
        }
    }

    /// All decisions that have not ended.
    pub(crate) fn all(&self, now: Instant) -> Vec<(Arc<str>, Kind)> {
        let table = self.table.read();
        let of = |(user, entry): (&Arc<str>, &Entry)| {
            let kinds = [(Kind::User, entry.user), (Kind::Connection, entry.connection())];
            let valid = kinds.into_iter().filter(|(_, refusal)| refusal.is_some_and(|refusal| refusal.until > now));
            valid.map(|(kind, _)| (user.clone(), kind)).collect::<Vec<_>>()
        };
        table.users.iter().flat_map(of).collect()
    }

    /// How long connections of `user` are still refused, if they are.
    #[must_use]
    pub fn refused_for(&self, user: &str, now: Instant) -> Option<Duration> {
        if self.count.load(Ordering::Acquire) == 0 {
            return None;
        }
        let until = self.table.read().users.get(user)?.until()?;
        until.checked_duration_since(now).filter(|left| !left.is_zero())
    }

    /// Forgets users whose time has passed.
    pub fn sweep(&self, now: Instant) {
        if self.count.load(Ordering::Acquire) > 0 {
            let mut table = self.table.write();
            table.sweep(now);
            self.count.store(table.users.len(), Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A decision at this time, for this many seconds from `now` on.
    fn refusal(decided_ms: u64, seconds: u64, now: Instant) -> Refusal {
        Refusal { decided_ms, expires_ms: seconds * 1_000, until: now + Duration::from_secs(seconds) }
    }

    fn left(users: &DisconnectedUsers, user: &str, now: Instant) -> Option<u64> {
        users.refused_for(user, now).map(|left| left.as_secs())
    }

    /// Decisions about connections do not shorten the time, and one about the user replaces them.
    #[test]
    fn the_newest_decisions_apply_in_whatever_order_they_arrive() {
        let now = Instant::now();
        let decisions = [
            (Kind::User, refusal(1, 500, now)),
            (Kind::Connection, refusal(2, 900, now)),
            (Kind::User, refusal(3, 100, now)),
            (Kind::Connection, refusal(4, 60, now)),
            (Kind::Connection, refusal(3, 800, now)),
        ];
        let expected = [Some(500), Some(900), Some(100), Some(100), Some(100)];
        let given = DisconnectedUsers::default();
        for ((kind, refusal), expected) in decisions.into_iter().zip(expected) {
            given.refuse("ann", kind, refusal, now).unwrap();
            assert_eq!(left(&given, "ann", now), expected);
        }
        // Every order, as the digits of a number.
        let mut orders = 0;
        for number in 0..5_usize.pow(5) {
            let order: Vec<_> = (0..5).map(|digit| number / 5_usize.pow(digit) % 5).collect();
            if (0..5).all(|n| order.contains(&n)) {
                let users = DisconnectedUsers::default();
                for n in &order {
                    let (kind, refusal) = decisions[*n];
                    users.refuse("ann", kind, refusal, now).unwrap();
                }
                assert_eq!(left(&users, "ann", now), Some(100), "{order:?}");
                orders += 1;
            }
        }
        assert_eq!(orders, 120);
    }

    /// The earlier, longer one may be what an old copy of the bus has.
    #[test]
    fn a_decision_that_has_ended_still_replaces_an_earlier_one() {
        let (users, now) = (DisconnectedUsers::default(), Instant::now());
        let after = |seconds| now + Duration::from_secs(seconds);
        users.refuse("ann", Kind::User, refusal(1, 500, now), now).unwrap();
        users.refuse("ann", Kind::User, refusal(2, 10, now), now).unwrap();
        users.sweep(after(20));
        assert_eq!(users.refuse("ann", Kind::User, refusal(1, 500, now), after(20)), Ok(false));
        assert_eq!((left(&users, "ann", after(20)), users.all(after(20))), (None, Vec::new()));
        assert_eq!(users.get("ann", Kind::User).map(|refusal| refusal.decided_ms), Some(2));
        users.sweep(after(500));
        assert_eq!((users.table.read().users.len(), users.table.read().bytes), (0, 0));
    }

    #[test]
    fn a_user_is_refused_for_a_time() {
        let (users, now) = (DisconnectedUsers::default(), Instant::now());
        let after = |seconds| now + Duration::from_secs(seconds);
        assert_eq!(users.refused_for("ann", now), None);
        users.refuse("ann", Kind::User, refusal(1, 60, now), now).unwrap();
        assert_eq!(left(&users, "ann", after(20)), Some(40));
        assert_eq!((left(&users, "bob", now), left(&users, "ann", after(60))), (None, None));
        assert_eq!(users.all(now), [("ann".into(), Kind::User)]);
        assert_eq!(users.refuse("bob", Kind::User, refusal(1, 60, now), after(60)), Ok(true), "it has ended");
        users.sweep(after(60));
        assert_eq!((users.table.read().users.len(), users.table.read().bytes), (0, 0));
    }

    #[test]
    fn refused_users_are_bounded_in_bytes() {
        let (users, now) = (DisconnectedUsers::default(), Instant::now());
        let refuse = |user: &str, seconds, at| users.refuse(user, Kind::User, refusal(1, seconds, now), at);
        let name = |n: usize| format!("{n:0length$}", length = MAX_USER_BYTES);
        refuse(&name(0), 1, now).unwrap();
        let most = MAX_BYTES / (MAX_USER_BYTES + OVERHEAD);
        (1..most).for_each(|n| assert_eq!(refuse(&name(n), 9, now), Ok(true)));
        assert_eq!(refuse(&name(most), 9, now), Err(TooManyUsers));
        assert_eq!(refuse(&name(1), 9, now), Ok(true));
        assert_eq!(refuse(&name(most), 9, now + Duration::from_secs(1)), Ok(true), "a time has passed");
        assert!(users.table.read().bytes <= MAX_BYTES);
    }
}
