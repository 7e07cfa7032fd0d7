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

/// The number of stored records that are compared before others use the thread.
const SLICE: usize = 1_024;
/// The clocks of hosts differ: a record with an end that is earlier by this many milliseconds is the same.
const TOLERANCE_MS: u64 = 1_000;

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

/// A record that refuses new connections of `user` until `until`. If `ends` is true it ends those that there are, and replaces an earlier
/// record; otherwise the later end of both applies.
#[must_use]
pub fn refusal(user: &str, until: SystemTime, ends: bool) -> Record {
    let name = format!("{REFUSED}{user}");
    Record { name, value: ends.into(), expires_ms: milliseconds(until), is_monotone: !ends }
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
    /// `now` is the time by the clock of the bus, as the ends of records are.
    pub async fn restrict(&self, records: &[Record], now: SystemTime) -> Restricted {
        let Applied { rejected, has_revoked, users } = self.apply(records, now);
        // Afterwards: a connection is either registered already, or finds the records when it is.
        let registry = self.limits.registry();
        let mut ended = 0;
        // Tokens are compared by the clock of this host, by which new ones are accepted.
        let host = SystemTime::now();
        if has_revoked {
            ended += registry.end_all(End::Revoked, |connection| connection.is_revoked(&self.revocations, host)).await;
        }
        if !users.is_empty() {
            let is_meant = |connection: &Connection| connection.user().is_some_and(|user| users.contains(&**user));
            ended += registry.end_all(End::Disconnected, is_meant).await;
        }
        Restricted { ended, rejected }
    }

    /// The record of this name as this process knows it, if it has not ended at `now`, which is as for [`restrict`](Self::restrict).
    pub(crate) fn record(&self, name: &str, now: SystemTime) -> Option<Record> {
        if let Some(user) = name.strip_prefix(REFUSED) {
            let left = self.disconnected.refused_for(user, Instant::now())?;
            // Without an end to connections: those that had to end have.
            return Some(refusal(user, now + left, false));
        }
        let user = name.strip_prefix(REVOKED_USER).map(|user| Revoked::User(user.to_owned()));
        let tokens = user.or_else(|| name.strip_prefix(REVOKED_TOKEN).map(|id| Revoked::Jti(id.to_owned())))?;
        Some(self.revocations.get(tokens).filter(|revocation| revocation.expires > now)?.record())
    }

    /// The names of what this process knows and `stored` has not, or has as it was earlier. A bus that has lost records gets them back.
    pub(crate) async fn unstored(&self, stored: &[Record], now: SystemTime) -> Vec<String> {
        let (mut names, mut known) = (HashSet::new(), 0);
        let mut missing = Vec::new();
        for slice in stored.chunks(SLICE) {
            for record in slice {
                names.insert(&*record.name);
                let Some(here) = self.record(&record.name, now) else { continue };
                known += 1;
                let end = record.expires_ms.saturating_add(TOLERANCE_MS);
                if record.value < here.value || end < here.expires_ms {
                    missing.push(record.name.clone());
                }
            }
            tokio::task::yield_now().await;
        }
        // Usually these are all.
        if known < self.revocations.count() + self.disconnected.count() {
            let revoked = self.revocations.all(now).into_iter().map(|revocation| revocation.record().name);
            let refused = self.disconnected.users().into_iter().map(|user| format!("{REFUSED}{user}"));
            missing.extend(revoked.chain(refused).filter(|name| !names.contains(&**name)));
        }
        missing
    }

    /// Applies records at the start, when there are no connections. `now` is as for [`restrict`](Self::restrict).
    pub(crate) fn restore(&self, records: &[Record], now: SystemTime) {
        let rejected = self.apply(records, now).rejected;
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
                if record.value > 0 {
                    self.disconnected.refuse(user, left, instant).is_ok()
                } else {
                    self.disconnected.refuse_at_least(user, left, instant).is_ok()
                }
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
    use crate::{Settings, settings::ServiceDefaults};

    fn edge() -> Edge {
        let service = ServiceDefaults { name: "test", about: "", version: "0", listen: "127.0.0.1:0" };
        Edge::new(Settings::from_sources(&service, [""; 0], []).unwrap(), &service)
    }

    /// The host's clock may be ahead: what another host refuses for a minute would have ended already.
    #[actix_web::test]
    async fn records_end_by_the_clock_of_the_bus() {
        let (edge, minute) = (edge(), Duration::from_secs(60));
        let bus = SystemTime::now() - 2 * minute;
        edge.restrict(&[refusal("ann", bus + minute, true)], bus).await;
        assert!(edge.disconnected.refused_for("ann", Instant::now()).is_some());
    }

    /// A bus that has lost everything gets back what has not ended, and nothing that it has.
    #[actix_web::test]
    async fn what_is_not_stored_is_known() {
        let (edge, now, hour) = (edge(), SystemTime::now(), Duration::from_secs(3_600));
        let revocation =
            |user: &str, expires| Revocation { tokens: Revoked::User(user.into()), issued_before: Some(7.0), expires };
        let records = [
            revocation("ann", now + hour).record(),
            revocation("bob", now + hour).record(),
            refusal("cat", now + hour, true),
        ];
        edge.restrict(&records, now).await;
        let mut missing = edge.unstored(&records[1..2], now).await;
        missing.sort_unstable();
        assert_eq!(missing, ["refused:cat", "revoked:user:ann"]);
        assert_eq!(edge.record("refused:cat", now).map(|record| record.value), Some(0));
        assert_eq!(edge.record("revoked:user:ann", now).as_ref(), Some(&records[0]));
        assert!(edge.unstored(&records, now).await.is_empty());
        assert!(edge.unstored(&[], now + 2 * hour).await.iter().all(|name| name == "refused:cat"));
    }

    /// A bus that has gone back to an earlier copy has the names, but not what was decided last.
    #[actix_web::test]
    async fn what_is_stored_as_it_was_earlier_is_known() {
        let (edge, now, hour) = (edge(), SystemTime::now(), Duration::from_secs(3_600));
        let revocation = |user: &str, before, hours| Revocation {
            tokens: Revoked::User(user.into()),
            issued_before: before,
            expires: now + hours * hour,
        };
        let known = [
            revocation("ann", Some(9.0), 2).record(),
            revocation("bob", None, 2).record(),
            revocation("cat", Some(9.0), 2).record(),
            refusal("dan", now + 2 * hour, true),
            refusal("eve", now + 2 * hour, true),
        ];
        edge.restrict(&known, now).await;
        let stored = [
            revocation("ann", Some(9.0), 1).record(),
            revocation("bob", Some(9.0), 2).record(),
            revocation("cat", Some(9.0), 3).record(),
            refusal("dan", now + hour, true),
            refusal("eve", now + 2 * hour, true),
        ];
        assert_eq!(edge.unstored(&stored, now).await, ["revoked:user:ann", "revoked:user:bob", "refused:dan"]);
    }

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
