//! Revoked tokens: those of a user, or the one with an id (`jti`), that were issued before a time.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use parking_lot::RwLock;
use serde::{Deserialize, Serialize};

use super::token_owner::TokenOwner;

/// Numbers from here on are milliseconds: as seconds they would be in the year 5138.
const MILLISECONDS: f64 = 1e11;
/// Maximum number of revocations.
const MAX_REVOCATIONS: usize = 1_000_000;
/// Maximum memory of their texts in bytes.
const MAX_BYTES: usize = 64 * 1024 * 1024;
/// The memory of a revocation in addition to its text.
const OVERHEAD: usize = 96;

/// Which tokens are revoked.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Revoked {
    /// Those whose `sub` is this user.
    User(String),
    /// Those with this id.
    Jti(String),
}

/// A revocation.
#[derive(Clone, Debug, PartialEq)]
pub struct Revocation {
    /// Which tokens.
    pub tokens: Revoked,
    /// Those whose `iat` is before this time, in seconds since the Unix epoch. A token without `iat` counts as older, and so does one whose
    /// `iat` is in the future, while it is. `None`: whenever they were issued.
    pub issued_before: Option<f64>,
    /// When the revocation is forgotten: the tokens have expired by then.
    pub expires: SystemTime,
}

/// There is no room for another revocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the revocations have reached their memory limit; retry when some of them have expired")]
pub struct TooManyRevocations;

/// The revocations that are in effect.
#[derive(Debug, Default)]
pub struct Revocations {
    table: RwLock<Table>,
    /// The number of revocations: often 0, and then nobody takes the lock.
    count: AtomicUsize,
}

#[derive(Debug, Default)]
struct Table {
    users: HashMap<String, Limit>,
    tokens: HashMap<String, Limit>,
    bytes: usize,
}

#[derive(Clone, Copy, Debug)]
struct Limit {
    issued_before: f64,
    expires: SystemTime,
}

impl Table {
    fn len(&self) -> usize {
        self.users.len() + self.tokens.len()
    }

    fn sweep(&mut self, now: SystemTime) {
        let bytes = &mut self.bytes;
        for table in [&mut self.users, &mut self.tokens] {
            table.retain(|text, limit| {
                let is_kept = limit.expires > now;
                *bytes -= if is_kept { 0 } else { text.len() + OVERHEAD };
                is_kept
            });
        }
    }
}

impl Revocations {
    /// `revocation` merged with the existing one for the same tokens; the later times apply.
    #[must_use]
    pub fn merged(&self, revocation: Revocation) -> Revocation {
        let table = self.table.read();
        let known = match &revocation.tokens {
            Revoked::User(user) => table.users.get(user),
            Revoked::Jti(id) => table.tokens.get(id),
        };
        let Some(known) = known else { return revocation };
        let issued_before = revocation.issued_before.unwrap_or(f64::INFINITY).max(known.issued_before);
        Revocation {
            issued_before: Some(issued_before).filter(|before| before.is_finite()),
            expires: revocation.expires.max(known.expires),
            ..revocation
        }
    }

    /// The memory of all revocations in bytes.
    #[must_use]
    pub(crate) fn bytes(&self) -> usize {
        self.table.read().bytes
    }

    /// Adds a revocation. Of two for the same tokens, the later times apply.
    ///
    /// # Errors
    /// When there is no room for it.
    pub fn add(&self, revocation: Revocation, now: SystemTime) -> Result<(), TooManyRevocations> {
        let Revocation { tokens, issued_before, expires } = revocation;
        let issued_before = issued_before.unwrap_or(f64::INFINITY);
        let mut table = self.table.write();
        let (is_user, text) = match tokens {
            Revoked::User(user) => (true, user),
            Revoked::Jti(id) => (false, id),
        };
        let cost = text.len() + OVERHEAD;
        let is_full = |table: &Table| table.len() >= MAX_REVOCATIONS || table.bytes + cost > MAX_BYTES;
        if is_full(&table) {
            table.sweep(now);
        }
        let has_room = !is_full(&table);
        let Table { users, tokens, bytes } = &mut *table;
        let limits = if is_user { users } else { tokens };
        if let Some(known) = limits.get_mut(&text) {
            known.issued_before = known.issued_before.max(issued_before);
            known.expires = known.expires.max(expires);
            return Ok(());
        }
        if !has_room {
            return Err(TooManyRevocations);
        }
        limits.insert(text, Limit { issued_before, expires });
        *bytes += cost;
        self.count.store(table.len(), Ordering::Release);
        Ok(())
    }

    /// Whether a token is revoked at `now`.
    pub(crate) fn cover(&self, token: &TokenOwner, now: SystemTime) -> bool {
        if self.count.load(Ordering::Acquire) == 0 {
            return false;
        }
        let (issued, latest) = (token.claims.iat.map(to_seconds), seconds(now));
        let is_covered = |limit: Option<&Limit>| {
            limit.is_some_and(|limit| {
                // A time in the future is not when the token was issued, which is then unknown.
                let is_older = issued.is_none_or(|issued| issued < limit.issued_before || issued > latest);
                limit.expires > now && is_older
            })
        };
        let table = self.table.read();
        is_covered(token.subject.as_deref().and_then(|user| table.users.get(user)))
            || is_covered(token.claims.jti.as_ref().and_then(|id| table.tokens.get(id)))
    }

    /// The revocation of `tokens`, which may have expired.
    pub(crate) fn get(&self, tokens: Revoked) -> Option<Revocation> {
        let table = self.table.read();
        let limit = *match &tokens {
            Revoked::User(user) => table.users.get(user),
            Revoked::Jti(id) => table.tokens.get(id),
        }?;
        let issued_before = Some(limit.issued_before).filter(|before| before.is_finite());
        Some(Revocation { tokens, issued_before, expires: limit.expires })
    }

    /// Those that have not expired.
    pub(crate) fn all(&self, now: SystemTime) -> Vec<Revocation> {
        let revocation = |tokens: Revoked, limit: &Limit| Revocation {
            tokens,
            issued_before: Some(limit.issued_before).filter(|before| before.is_finite()),
            expires: limit.expires,
        };
        let table = self.table.read();
        let users = table.users.iter().map(|(user, limit)| revocation(Revoked::User(user.clone()), limit));
        let tokens = table.tokens.iter().map(|(id, limit)| revocation(Revoked::Jti(id.clone()), limit));
        users.chain(tokens).filter(|revocation| revocation.expires > now).collect()
    }

    /// Forgets revocations that have expired.
    pub fn sweep(&self, now: SystemTime) {
        if self.count.load(Ordering::Acquire) > 0 {
            let mut table = self.table.write();
            table.sweep(now);
            self.count.store(table.len(), Ordering::Release);
        }
    }

    /// The number of revocations.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }
}

/// `time` in seconds since the Unix epoch, as claims of tokens have it.
#[must_use]
pub fn seconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs_f64()
}

/// `time` in seconds, which is in seconds or, from 1e11 on, in milliseconds: some issuers write `iat` so.
#[must_use]
pub fn to_seconds(time: f64) -> f64 {
    if time < MILLISECONDS { time } else { time / 1_000.0 }
}

#[cfg(test)]
mod tests {
    use shared::pure::access::Claims;

    use super::*;

    fn token(json: &str) -> TokenOwner {
        let claims: Claims = serde_json::from_str(&format!("{{\"exp\":9000000000,{json}}}")).unwrap();
        TokenOwner::new("x", claims)
    }

    #[test]
    fn tokens_are_revoked_by_user_or_id_if_they_were_issued_before() {
        let now = UNIX_EPOCH + Duration::from_secs(1_000);
        let revocations = Revocations::default();
        let add = |tokens, issued_before| {
            let (issued_before, expires) = (Some(issued_before), now + Duration::from_secs(60));
            revocations.add(Revocation { tokens, issued_before, expires }, now).unwrap();
        };
        assert!(!revocations.cover(&token(r#""sub":"ann""#), now));
        add(Revoked::User("ann".into()), 500.0);
        add(Revoked::User("ann".into()), 400.0);
        add(Revoked::Jti("t1".into()), 500.0);
        for (json, is_revoked) in [
            (r#""sub":"ann""#, true),
            (r#""sub":"ann","iat":499"#, true),
            (r#""sub":"ann","iat":"soon""#, true),
            (r#""sub":"ann","iat":500"#, false),
            (r#""sub":"bob","iat":1"#, false),
            (r#""sub":"t1","iat":1"#, false),
            (r#""jti":"t1","iat":1,"sub":"bob""#, true),
            (r#""jti":"ann","iat":1"#, false),
            (r#""jti":"t1","iat":500"#, false),
            (r#""jti":7,"iat":1"#, false),
        ] {
            assert_eq!(revocations.cover(&token(json), now), is_revoked, "{json}");
            assert!(!revocations.cover(&token(json), now + Duration::from_secs(60)), "{json}");
        }
        revocations.sweep(now + Duration::from_secs(60));
        assert_eq!((revocations.count(), revocations.table.read().bytes), (0, 0));
    }

    /// Clocks of issuers are ahead, and some count in milliseconds.
    #[test]
    fn a_token_that_seems_to_be_issued_later_is_revoked() {
        let now = UNIX_EPOCH + Duration::from_millis(2_000_000_000_500);
        let revocations = Revocations::default();
        let add = |tokens, issued_before| {
            let expires = now + Duration::from_secs(1_000);
            revocations.add(Revocation { tokens, issued_before, expires }, now).unwrap();
        };
        add(Revoked::User("ann".into()), Some(seconds(now)));
        add(Revoked::Jti("t1".into()), None);
        for (json, is_revoked, later) in [
            (r#""sub":"ann","iat":2000000000"#, true, true),
            (r#""sub":"ann","iat":2000000000499"#, true, true),
            (r#""sub":"ann","iat":2000000000500"#, false, false),
            (r#""sub":"ann","iat":2000000001"#, true, false),
            (r#""sub":"ann","iat":2000000001500"#, true, false),
            (r#""sub":"ann","iat":2000000090"#, true, true),
            (r#""sub":"ann","iat":1e300"#, true, true),
            (r#""sub":"bob","iat":2000000090"#, false, false),
            (r#""jti":"t1","iat":2000000001"#, true, true),
            (r#""jti":"t1""#, true, true),
        ] {
            assert_eq!(revocations.cover(&token(json), now), is_revoked, "{json}");
            assert_eq!(revocations.cover(&token(json), now + Duration::from_secs(60)), later, "{json}");
        }
    }

    #[test]
    fn revocations_are_bounded_in_bytes() {
        let now = UNIX_EPOCH + Duration::from_secs(1_000);
        let revocations = Revocations::default();
        let add = |n: usize, expires| {
            let tokens = Revoked::User(format!("{n}{}", "x".repeat(1024 * 1024)));
            revocations.add(Revocation { tokens, issued_before: Some(1.0), expires }, now)
        };
        let soon = now + Duration::from_secs(1);
        assert_eq!((0..63).map(|n| add(n, soon)).collect::<Result<Vec<()>, _>>().map(|all| all.len()), Ok(63));
        assert_eq!((add(63, soon), add(0, soon)), (Err(TooManyRevocations), Ok(())));
        revocations.sweep(soon);
        assert_eq!(add(63, soon + Duration::from_secs(1)), Ok(()));
    }
}
