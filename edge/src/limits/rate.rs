//! A rate for each identity, in bounded memory.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    num::NonZeroU32,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
};

use governor::{DefaultKeyedRateLimiter, Quota, clock::Clock};

use crate::auth::Identity;

/// Identities that have a bucket of their own; beyond that many at once they share.
const MOST: usize = 65_536;
/// Buckets that the rest share.
const SHARED: u64 = 1024;
/// Checks between two looks at whether buckets can go.
const SWEEP_EVERY: u32 = 16_384;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Bucket {
    Own(Identity),
    Shared(u64),
}

/// Why something is not let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Over {
    /// Too many just now.
    Now {
        /// Seconds until so many are let through.
        retry_after: u64,
    },
    /// More at once than are let through in a second.
    Never,
}

/// So many a second for each identity, a second's worth at once.
#[derive(Debug)]
pub(super) struct Rate {
    limiter: DefaultKeyedRateLimiter<Bucket>,
    per_second: NonZeroU32,
    checks: AtomicU32,
}

impl Rate {
    /// None of 0 is no limit.
    pub(super) fn per_second(per_second: u32) -> Option<Self> {
        let per_second = NonZeroU32::new(per_second)?;
        let limiter = DefaultKeyedRateLimiter::keyed(Quota::per_second(per_second));
        Some(Self { limiter, per_second, checks: AtomicU32::new(0) })
    }

    /// Lets `number` through, or none of them.
    ///
    /// # Errors
    /// When they would be too many now, or ever.
    pub(super) fn check(&self, identity: &Identity, number: usize) -> Result<(), Over> {
        let Some(number) = u32::try_from(number).ok().map(NonZeroU32::new) else { return Err(Over::Never) };
        // Nothing is nothing to count.
        let Some(number) = number else { return Ok(()) };
        self.sweep();
        match self.limiter.check_key_n(&self.bucket(identity), number) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(not_until)) => {
                let wait = not_until.wait_time_from(self.limiter.clock().now());
                // `Retry-After` has whole seconds; one too few would be refused again.
                Err(Over::Now { retry_after: wait.as_secs() + 1 })
            }
            // However long the client waits, so many never fit.
            Err(_) => Err(Over::Never),
        }
    }

    /// How many a second.
    pub(super) fn limit(&self) -> u32 {
        self.per_second.get()
    }

    #[cfg(test)]
    pub(super) fn buckets(&self) -> usize {
        self.limiter.len()
    }

    /// Buckets that are full again say nothing and go, from time to time.
    fn sweep(&self) {
        if self.checks.fetch_add(1, Relaxed) % SWEEP_EVERY == SWEEP_EVERY - 1 {
            self.limiter.retain_recent();
            self.limiter.shrink_to_fit();
        }
    }

    /// When very many identities come at once, the rest share buckets by hash: memory stays bounded, and nobody passes
    /// without being counted.
    fn bucket(&self, identity: &Identity) -> Bucket {
        if self.limiter.len() < MOST {
            return Bucket::Own(identity.clone());
        }
        let mut hasher = DefaultHasher::new();
        identity.hash(&mut hasher);
        Bucket::Shared(hasher.finish() % SHARED)
    }
}
