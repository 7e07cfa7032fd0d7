//! Users that a backend has disconnected: their new connections are refused for a while.

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
const OVERHEAD: usize = 96;

/// The users that are refused at present.
#[derive(Debug, Default)]
pub struct DisconnectedUsers {
    table: RwLock<Table>,
    /// The number of entries: nearly always 0, and then nobody takes the lock.
    count: AtomicUsize,
}

#[derive(Debug, Default)]
struct Table {
    until: HashMap<Arc<str>, Instant>,
    bytes: usize,
}

impl Table {
    fn sweep(&mut self, now: Instant) {
        let bytes = &mut self.bytes;
        self.until.retain(|user, until| {
            let is_kept = *until > now;
            *bytes -= if is_kept { 0 } else { user.len() + OVERHEAD };
            is_kept
        });
    }
}

/// Too many users are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the users whose connections are refused at present take {MAX_BYTES} bytes, which is the most; retry when some of these times have passed"
)]
pub struct TooManyUsers;

impl DisconnectedUsers {
    /// Refuses connections of `user` for `time` from `now` on.
    ///
    /// # Errors
    /// When there are too many such users.
    pub fn refuse(&self, user: &str, time: Duration, now: Instant) -> Result<(), TooManyUsers> {
        self.set(user, now + time, now, |_, until| until)
    }

    /// As [`refuse`](Self::refuse), unless they are refused for longer already.
    ///
    /// # Errors
    /// When there are too many such users.
    pub fn refuse_at_least(&self, user: &str, time: Duration, now: Instant) -> Result<(), TooManyUsers> {
        self.set(user, now + time, now, Instant::max)
    }

    /// The users that are refused, and some for whom that has just ended.
    pub(crate) fn users(&self) -> Vec<Arc<str>> {
        self.table.read().until.keys().cloned().collect()
    }

    /// Their number.
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    fn set(
        &self,
        user: &str,
        time: Instant,
        now: Instant,
        choose: impl FnOnce(Instant, Instant) -> Instant,
    ) -> Result<(), TooManyUsers> {
        let mut table = self.table.write();
        if let Some(until) = table.until.get_mut(user) {
            *until = choose(*until, time);
            return Ok(());
        }
        let cost = user.len() + OVERHEAD;
        if table.bytes + cost > MAX_BYTES {
            table.sweep(now);
        }
        let has_room = table.bytes + cost <= MAX_BYTES;
        if has_room {
            table.until.insert(user.into(), time);
            table.bytes += cost;
        }
        self.count.store(table.until.len(), Ordering::Release);
        if has_room { Ok(()) } else { Err(TooManyUsers) }
    }

    /// How long connections of `user` are still refused, if they are.
    #[must_use]
    pub fn refused_for(&self, user: &str, now: Instant) -> Option<Duration> {
        if self.count.load(Ordering::Acquire) == 0 {
            return None;
        }
        let until = *self.table.read().until.get(user)?;
        until.checked_duration_since(now).filter(|left| !left.is_zero())
    }

    /// Forgets users whose time has passed.
    pub fn sweep(&self, now: Instant) {
        if self.count.load(Ordering::Acquire) > 0 {
            let mut table = self.table.write();
            table.sweep(now);
            self.count.store(table.until.len(), Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_that_ends_does_not_shorten_the_time() {
        let (users, now, minute) = (DisconnectedUsers::default(), Instant::now(), Duration::from_secs(60));
        users.refuse("ann", 30 * minute, now).unwrap();
        users.refuse_at_least("ann", minute, now).unwrap();
        assert_eq!(users.refused_for("ann", now), Some(30 * minute));
        users.refuse_at_least("bob", minute, now).unwrap();
        users.refuse("ann", minute, now).unwrap();
        let mut all = users.users();
        all.sort_unstable();
        assert_eq!(all, ["ann", "bob"].map(Arc::<str>::from));
        assert_eq!(["ann", "bob"].map(|user| users.refused_for(user, now)), [Some(minute); 2]);
        assert!(users.refused_for("ann", now + minute).is_none());
    }

    #[test]
    fn a_user_is_refused_for_a_time() {
        let (users, now) = (DisconnectedUsers::default(), Instant::now());
        let after = |seconds| now + Duration::from_secs(seconds);
        assert_eq!(users.refused_for("ann", now), None);
        users.refuse("ann", Duration::from_secs(60), now).unwrap();
        assert_eq!(users.refused_for("ann", after(20)), Some(Duration::from_secs(40)));
        assert_eq!((users.refused_for("bob", now), users.refused_for("ann", after(60))), (None, None));
        users.refuse("ann", Duration::from_secs(5), after(1)).unwrap();
        assert_eq!(users.refused_for("ann", after(7)), None, "the last time applies");
        users.sweep(after(7));
        assert_eq!((users.table.read().until.len(), users.table.read().bytes), (0, 0));
    }

    #[test]
    fn refused_users_are_bounded_in_bytes() {
        let (users, now) = (DisconnectedUsers::default(), Instant::now());
        let (short, long) = (Duration::from_secs(1), Duration::from_secs(9));
        let name = |n: usize| format!("{n:0length$}", length = MAX_USER_BYTES);
        users.refuse(&name(0), short, now).unwrap();
        let most = MAX_BYTES / (MAX_USER_BYTES + OVERHEAD);
        (1..most).for_each(|n| users.refuse(&name(n), long, now).unwrap());
        assert_eq!(users.refuse(&name(most), long, now), Err(TooManyUsers));
        assert_eq!(users.refuse(&name(1), long, now), Ok(()));
        assert_eq!(users.refuse(&name(most), long, now + short), Ok(()), "a time has passed");
        assert!(users.table.read().bytes <= MAX_BYTES);
    }
}
