//! What backends have decided about clients, as records of the bus: tokens that are revoked, and users whose connections are refused.
//!
//! A record applies to this process ([`Edge::restrict`]), is stored for processes that start later ([`Bus::store`](shared::live::bus::Bus::store)),
//! and is sent to those that run.

use std::{
    collections::HashSet,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use shared::live::bus::Record;

use super::{Kind, Refusal, Revocation, Revoked};
use crate::{
    Edge,
    connections::{Connection, End},
};

/// The prefixes of names. The text after them is whatever a token contains.
const REVOKED_USER: &str = "revoked:user:";
const REVOKED_TOKEN: &str = "revoked:jti:";
const REFUSED: &str = "refused:";
const REFUSED_AT_LEAST: &str = "refused_at_least:";
/// The value of a refusal is when it was decided, in milliseconds. Earlier versions wrote one of these: for a user, and for a connection.
const OF_USER: u64 = 1;
const OF_CONNECTION: u64 = 0;
/// The value of a revocation of tokens whenever they were issued.
const WHENEVER: u64 = u64::MAX;

/// The number of stored records that are compared before others use the thread.
const SLICE: usize = 1_024;

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

fn refusal(user: &str, kind: Kind, decided_ms: u64, expires_ms: u64) -> Record {
    let name = match kind {
        Kind::User => format!("{REFUSED}{user}"),
        Kind::Connection => format!("{REFUSED_AT_LEAST}{user}"),
    };
    Record { name, value: decided_ms, expires_ms, is_monotone: false }
}

/// The user whose connections a record of this name and value refuses, which kind of decision it is, and when it was made.
fn refused(name: &str, value: u64) -> Option<(&str, Kind, u64)> {
    if let Some(user) = name.strip_prefix(REFUSED_AT_LEAST) {
        return Some((user, Kind::Connection, value));
    }
    let user = name.strip_prefix(REFUSED)?;
    // It does not shorten the time either.
    Some(if value == OF_CONNECTION { (user, Kind::Connection, OF_USER + 1) } else { (user, Kind::User, value) })
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
    /// Records that end the connections of `user` and refuse new ones for `time`. They replace earlier decisions, also those about a connection, which
    /// the bus stores under a name of their own. `now` is as for [`restrict`](Self::restrict), which applies them.
    #[must_use]
    pub fn refuse_user(&self, user: &str, now: SystemTime, time: Duration) -> [Record; 2] {
        let (decided_ms, expires_ms) = (self.decided_ms(user, now), milliseconds(now + time));
        [Kind::User, Kind::Connection].map(|kind| refusal(user, kind, decided_ms, expires_ms))
    }

    /// A record that refuses new connections of `user` for at least `time`. It ends none.
    #[must_use]
    pub fn refuse_at_least(&self, user: &str, now: SystemTime, time: Duration) -> Record {
        let known = self.disconnected.get(user, Kind::Connection).map_or(0, |known| known.expires_ms);
        refusal(user, Kind::Connection, self.decided_ms(user, now), milliseconds(now + time).max(known))
    }

    /// The time of a decision: it is newer than what is known, also if a clock goes back.
    fn decided_ms(&self, user: &str, now: SystemTime) -> u64 {
        let known = [Kind::User, Kind::Connection].into_iter().filter_map(|kind| self.disconnected.get(user, kind));
        known.map(|known| known.decided_ms.saturating_add(1)).fold(milliseconds(now), u64::max)
    }

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

    /// The record of this name as this process knows it. `now` is as for [`restrict`](Self::restrict). One that has ended by then is returned only if
    /// it replaced one that would still apply.
    pub(crate) fn record(&self, name: &str, now: SystemTime) -> Option<Record> {
        if let Some((user, kind, _)) = refused(name, OF_USER) {
            // A newer decision about the user replaces those about a connection.
            let known = self.disconnected.get(user, kind).or_else(|| self.disconnected.get(user, Kind::User))?;
            return Some(refusal(user, kind, known.decided_ms, known.expires_ms));
        }
        let user = name.strip_prefix(REVOKED_USER).map(|user| Revoked::User(user.to_owned()));
        let tokens = user.or_else(|| name.strip_prefix(REVOKED_TOKEN).map(|id| Revoked::Jti(id.to_owned())))?;
        Some(self.revocations.get(tokens).filter(|revocation| revocation.expires > now)?.record())
    }

    /// What this process knows in place of `records`, where that is something else: another process has decided about the same user meanwhile.
    #[must_use]
    pub fn decided_meanwhile(&self, records: &[Record], now: SystemTime) -> Vec<Record> {
        records.iter().filter_map(|record| self.record(&record.name, now).filter(|known| known != record)).collect()
    }

    /// The names of what this process knows and `stored` has not, or has as it was decided earlier. A bus that has lost records gets them back.
    pub(crate) async fn unstored(&self, stored: &[Record], now: SystemTime) -> Vec<String> {
        let (mut names, mut known) = (HashSet::new(), 0);
        let mut missing = Vec::new();
        for slice in stored.chunks(SLICE) {
            for record in slice {
                names.insert(&*record.name);
                let Some(here) = self.record(&record.name, now) else { continue };
                known += usize::from(refused(&record.name, record.value).is_none());
                let is_later = record.expires_ms < here.expires_ms && (here.is_monotone || record.value == here.value);
                if record.value < here.value || is_later {
                    missing.push(record.name.clone());
                }
            }
            tokio::task::yield_now().await;
        }
        let refused = self.disconnected.all(Instant::now());
        let mut others: Vec<_> = refused.into_iter().map(|(user, kind)| refusal(&user, kind, 0, 0).name).collect();
        // Usually these are all.
        if known < self.revocations.count() {
            others.extend(self.revocations.all(now).into_iter().map(|revocation| revocation.record().name));
        }
        missing.extend(others.into_iter().filter(|name| !names.contains(&**name)));
        missing
    }

    /// Applies records at the start, when there are no connections. `now` is as for [`restrict`](Self::restrict).
    pub(crate) fn restore(&self, records: &[Record], now: SystemTime) {
        let has_ended = |record: &Record| UNIX_EPOCH + Duration::from_millis(record.expires_ms) <= now;
        let (ended, valid): (Vec<_>, Vec<_>) = records.iter().cloned().partition(has_ended);
        let rejected = self.apply(&valid, now).rejected;
        self.replace(&ended);
        if rejected > 0 {
            log::error!(
                "{rejected} stored revocations and disconnected users exceed the memory limit and are not applied"
            );
        }
    }

    fn apply<'a>(&self, records: &'a [Record], now: SystemTime) -> Applied<'a> {
        let (mut applied, instant) = (Applied::default(), Instant::now());
        for record in records {
            let left = (UNIX_EPOCH + Duration::from_millis(record.expires_ms)).duration_since(now).ok();
            let revoke = |tokens| match left {
                Some(_) => self.revocations.add(Revocation::of(tokens, record), now).is_ok(),
                None => true,
            };
            let is_added = if let Some(user) = record.name.strip_prefix(REVOKED_USER) {
                applied.has_revoked = true;
                revoke(Revoked::User(user.to_owned()))
            } else if let Some(id) = record.name.strip_prefix(REVOKED_TOKEN) {
                applied.has_revoked = true;
                revoke(Revoked::Jti(id.to_owned()))
            } else if let Some((user, kind, decided_ms)) = refused(&record.name, record.value) {
                let until = instant + left.unwrap_or_default();
                let refusal = Refusal { decided_ms, expires_ms: record.expires_ms, until };
                let is_added = self.disconnected.refuse(user, kind, refusal, instant);
                // Also if it has ended by the clock of this host, which may be ahead, or if there is no room.
                if kind == Kind::User && is_added != Ok(false) {
                    applied.users.insert(user);
                }
                is_added.is_ok()
            } else {
                // Of a later version.
                true
            };
            applied.rejected += usize::from(!is_added);
        }
        applied
    }

    /// Applies what has ended of what the bus has stored, after what has not: a decision that has ended may have replaced one that still would apply. No
    /// connection ends.
    pub(crate) fn replace(&self, ended: &[Record]) {
        let now = Instant::now();
        for Record { name, value, expires_ms, .. } in ended {
            if let Some((user, kind, decided_ms)) = refused(name, *value) {
                let refusal = Refusal { decided_ms, expires_ms: *expires_ms, until: now };
                // It needs no room: it is not remembered if nothing else is known of the user.
                let _ = self.disconnected.refuse(user, kind, refusal, now);
            }
        }
    }
}

#[cfg(test)]
mod tests;
