//! What backends have decided about clients, as records of the bus: tokens that are revoked, and users whose connections are refused.
//!
//! A record applies to this process ([`Edge::restrict`]), is stored for processes that start later ([`Bus::store`](shared::live::bus::Bus::store)),
//! and is sent to those that run.

use std::{
    collections::HashSet,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use shared::live::bus::Record;

use super::{Revocation, Revoked};
use crate::{
    Edge,
    connections::{Connection, End},
};

/// The prefixes of names. The text after them is whatever a token contains.
const REVOKED_USER: &str = "revoked:user:";
const REVOKED_TOKEN: &str = "revoked:jti:";
const REFUSED: &str = "refused:";
/// The value of a revocation of tokens whenever they were issued.
const WHENEVER: u64 = u64::MAX;

/// What followed from records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Restricted {
    /// The number of connections that were ended.
    pub ended: usize,
    /// The number of records for which there is no room.
    pub rejected: usize,
}

impl Revocation {
    /// As a record.
    #[must_use]
    pub fn record(&self) -> Record {
        let name = match &self.tokens {
            Revoked::User(user) => format!("{REVOKED_USER}{user}"),
            Revoked::Jti(id) => format!("{REVOKED_TOKEN}{id}"),
        };
        // Nanoseconds, which are more precise than a float of this size.
        let nanoseconds = |before| {
            let before = Duration::try_from_secs_f64(before).unwrap_or_default();
            u64::try_from(before.as_nanos()).unwrap_or(WHENEVER)
        };
        let value = self.issued_before.map_or(WHENEVER, nanoseconds);
        Record { name, value, expires_ms: milliseconds(self.expires), is_monotone: true }
    }

    fn of(tokens: Revoked, record: &Record) -> Self {
        let issued_before = (record.value != WHENEVER).then(|| Duration::from_nanos(record.value).as_secs_f64());
        Self { tokens, issued_before, expires: UNIX_EPOCH + Duration::from_millis(record.expires_ms) }
    }
}

/// A record that refuses new connections of `user` until `until`, and, if `ends` is true, ends those that there are.
#[must_use]
pub fn refusal(user: &str, until: SystemTime, ends: bool) -> Record {
    let name = format!("{REFUSED}{user}");
    Record { name, value: ends.into(), expires_ms: milliseconds(until), is_monotone: false }
}

fn milliseconds(time: SystemTime) -> u64 {
    u64::try_from(time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}

/// To whom records apply.
#[derive(Default)]
struct Applied<'a> {
    rejected: usize,
    has_revoked: bool,
    /// Users whose connections end.
    users: HashSet<&'a str>,
}

impl Edge {
    /// Applies records, and ends connections to which they apply. Connections are visited in slices, between which others use the thread.
    pub async fn restrict(&self, records: &[Record]) -> Restricted {
        let now = SystemTime::now();
        let Applied { rejected, has_revoked, users } = self.apply(records, now);
        // Afterwards: a connection is either registered already, or finds the records when it is.
        let registry = self.limits.registry();
        let mut ended = 0;
        if has_revoked {
            ended += registry.end_all(End::Revoked, |connection| connection.is_revoked(&self.revocations, now)).await;
        }
        if !users.is_empty() {
            let is_meant = |connection: &Connection| connection.user().is_some_and(|user| users.contains(&**user));
            ended += registry.end_all(End::Disconnected, is_meant).await;
        }
        Restricted { ended, rejected }
    }

    /// Applies records at the start, when there are no connections.
    pub(crate) fn restore(&self, records: &[Record]) {
        let rejected = self.apply(records, SystemTime::now()).rejected;
        if rejected > 0 {
            log::error!("there is no memory for {rejected} stored revocations and disconnected users");
        }
    }

    fn apply<'a>(&self, records: &'a [Record], now: SystemTime) -> Applied<'a> {
        let (mut applied, instant) = (Applied::default(), Instant::now());
        for record in records {
            let refused = record.name.strip_prefix(REFUSED);
            // Also if it has ended by the clock of this host, which may be ahead.
            applied.users.extend(refused.filter(|_| record.value > 0));
            let Ok(left) = (UNIX_EPOCH + Duration::from_millis(record.expires_ms)).duration_since(now) else {
                continue;
            };
            let revoke = |tokens| self.revocations.add(Revocation::of(tokens, record), now).is_ok();
            let is_added = if let Some(user) = record.name.strip_prefix(REVOKED_USER) {
                applied.has_revoked = true;
                revoke(Revoked::User(user.to_owned()))
            } else if let Some(id) = record.name.strip_prefix(REVOKED_TOKEN) {
                applied.has_revoked = true;
                revoke(Revoked::Jti(id.to_owned()))
            } else if let Some(user) = refused {
                self.disconnected.refuse(user, left, instant).is_ok()
            } else {
                // Of a later version.
                true
            };
            applied.rejected += usize::from(!is_added);
        }
        applied
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revocation_is_the_same_after_it_was_stored() {
        let expires = UNIX_EPOCH + Duration::from_millis(1_900_000_000_123);
        for issued_before in [None, Some(1_763_800_000.0), Some(1_763_800_000.123), Some(1_700_000_000.5)] {
            for tokens in [Revoked::User("a:b".into()), Revoked::Jti("t1".into())] {
                let revocation = Revocation { tokens: tokens.clone(), issued_before, expires };
                assert_eq!(Revocation::of(tokens, &revocation.record()), revocation);
            }
        }
    }
}
