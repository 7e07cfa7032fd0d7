//! Requests of backends for `/v1`: a rate for each token, and how many of them are being answered.
//!
//! They do not count as connections: a backend has to be able to end connections when there is no room for more.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;

use super::{Limits, RateLimited};
use crate::{
    ApiError,
    aged::{Owner, Owners},
    auth::Identity,
};

/// Requests that are being answered at a time, until their answers are read. One token has at most as many as it leaves free.
const MAX_ANSWERS: usize = 256;

/// The answers of a process.
#[derive(Debug, Default)]
pub(super) struct ApiAnswers {
    owners: Owners,
    counts: Arc<Mutex<Counts>>,
}

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    of: HashMap<Owner, usize>,
}

/// A request that is being answered, until it is dropped.
#[derive(Debug)]
pub struct ApiSlot {
    counts: Arc<Mutex<Counts>>,
    owner: Owner,
}

impl ApiAnswers {
    /// `None` if too many are being answered.
    fn begin(&self, identity: &Identity) -> Option<ApiSlot> {
        let owner = self.owners.of(identity);
        let mut counts = self.counts.lock();
        let own = counts.of.get(&owner).copied().unwrap_or_default() + 1;
        if own > MAX_ANSWERS.saturating_sub(counts.all + 1) {
            return None;
        }
        counts.all += 1;
        counts.of.insert(owner, own);
        Some(ApiSlot { counts: self.counts.clone(), owner })
    }

    pub(super) fn count(&self) -> usize {
        self.counts.lock().all
    }
}

impl Drop for ApiSlot {
    fn drop(&mut self) {
        let mut counts = self.counts.lock();
        counts.all -= 1;
        if let Some(own) = counts.of.get_mut(&self.owner) {
            *own -= 1;
            if *own == 0 {
                counts.of.remove(&self.owner);
            }
        }
    }
}

impl Limits {
    /// Admits a request of a backend for `/v1`. Keep the slot until the answer is read.
    ///
    /// # Errors
    /// [`ApiError::TooMany`] with the seconds to wait; counted.
    pub fn api(&self, identity: &Identity) -> Result<ApiSlot, ApiError> {
        let refusals = &self.0.metrics.refusals;
        if let Some(rate) = &self.0.api {
            rate.check(identity, 1).map_err(|over| {
                refusals.api_rate.inc();
                let retry_after = if let RateLimited::Now { retry_after } = over { retry_after } else { 1 };
                let message = format!(
                    "too many requests for /v1: one token may send {} a second (TRIDENT_API_RATE); retry in \
                     {retry_after} s",
                    rate.limit()
                );
                ApiError::TooMany { message, retry_after }
            })?;
        }
        self.0.answers.begin(identity).ok_or_else(|| {
            refusals.api_answers.inc();
            let message = format!(
                "too many requests for /v1 are being answered (limit {MAX_ANSWERS}, of which one token leaves as many free as it has); \
                 read the answers, and retry in 1 s"
            );
            ApiError::TooMany { message, retry_after: 1 }
        })
    }

    /// The number of requests for `/v1` that are being answered.
    #[must_use]
    pub(crate) fn api_answers(&self) -> usize {
        self.0.answers.count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers that nobody read were limited by nothing.
    #[test]
    fn a_token_leaves_as_many_answers_as_it_has() {
        let answers = ApiAnswers::default();
        let of = |user: &str| -> Vec<_> {
            let identity = Identity::Subject(user.into());
            std::iter::from_fn(|| answers.begin(&identity)).collect()
        };
        let (first, second) = (of("a"), of("b"));
        assert_eq!((first.len(), second.len()), (MAX_ANSWERS / 2, MAX_ANSWERS / 4));
        drop(first);
        assert_eq!(of("c").len(), (MAX_ANSWERS - MAX_ANSWERS / 4) / 2);
        drop(second);
        assert_eq!((answers.count(), answers.counts.lock().of.len()), (0, 0));
    }
}
