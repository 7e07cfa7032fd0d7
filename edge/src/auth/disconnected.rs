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

/// Maximum number of users that are refused at a time, each with at most 8 KiB of name, as long as a token may be.
const MAX_USERS: usize = 100_000;

/// The users that are refused at present.
#[derive(Debug, Default)]
pub struct DisconnectedUsers {
    until: RwLock<HashMap<Arc<str>, Instant>>,
    /// The number of entries: nearly always 0, and then nobody takes the lock.
    count: AtomicUsize,
}

/// Too many users are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "connections of {MAX_USERS} users are refused at present, which is the most; retry when some of these times have passed"
)]
pub struct TooManyUsers;

impl DisconnectedUsers {
    /// Refuses connections of `user` for `time` from `now` on.
    ///
    /// # Errors
    /// When there are too many such users.
    pub fn refuse(&self, user: &str, time: Duration, now: Instant) -> Result<(), TooManyUsers> {
        let mut until = self.until.write();
        if until.len() >= MAX_USERS && !until.contains_key(user) {
            until.retain(|_, until| *until > now);
            if until.len() >= MAX_USERS {
                return Err(TooManyUsers);
            }
        }
        until.insert(user.into(), now + time);
        self.count.store(until.len(), Ordering::Release);
        Ok(())
    }

    /// How long connections of `user` are still refused, if they are.
    #[must_use]
    pub fn refused_for(&self, user: &str, now: Instant) -> Option<Duration> {
        if self.count.load(Ordering::Acquire) == 0 {
            return None;
        }
        let until = *self.until.read().get(user)?;
        until.checked_duration_since(now).filter(|left| !left.is_zero())
    }

    /// Forgets users whose time has passed.
    pub fn sweep(&self, now: Instant) {
        if self.count.load(Ordering::Acquire) > 0 {
            let mut until = self.until.write();
            until.retain(|_, until| *until > now);
            self.count.store(until.len(), Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert!(users.until.read().is_empty());
    }

    #[test]
    fn the_number_of_users_is_bounded() {
        let (users, now) = (DisconnectedUsers::default(), Instant::now());
        let (short, long) = (Duration::from_secs(1), Duration::from_secs(9));
        users.refuse("short", short, now).unwrap();
        (1..MAX_USERS).for_each(|n| users.refuse(&n.to_string(), long, now).unwrap());
        assert_eq!(users.refuse("more", long, now), Err(TooManyUsers));
        assert_eq!(users.refuse("1", long, now), Ok(()));
        assert_eq!(users.refuse("more", long, now + short), Ok(()), "a time has passed");
    }
}
