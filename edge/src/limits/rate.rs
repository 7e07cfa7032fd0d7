//! Rate limits for each identity, in bounded memory.

use std::{
    hash::{BuildHasher as _, RandomState},
    num::NonZeroU32,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
};

use governor::{DefaultKeyedRateLimiter, Quota, clock::Clock};

use crate::auth::Identity;

/// Maximum number of identities with a bucket of their own; beyond, identities share buckets.
pub(crate) const MAX_IDENTITIES: usize = 65_536;
/// The number of shared buckets.
const SHARED: u64 = 1024;
/// The number of checks between two clean-ups.
const SWEEP_EVERY: u32 = 16_384;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Bucket {
    /// By the hash of the identity, which may be long. Nobody can find one with the same hash.
    Own(u64),
    Shared(u64),
}

/// Why a request is not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RateLimited {
    /// The rate is exceeded at present.
    Now {
        /// Seconds until the request is admitted.
        retry_after: u64,
    },
    /// More in one request than the rate allows per second.
    Never,
}

/// A rate per second for each identity, with bursts of one second's worth.
#[derive(Debug)]
pub(super) struct Rate {
    limiter: DefaultKeyedRateLimiter<Bucket>,
    per_second: NonZeroU32,
    hasher: RandomState,
    checks: AtomicU32,
}

impl Rate {
    /// `None` for 0, which is no limit.
    pub(super) fn per_second(per_second: u32) -> Option<Self> {
        let per_second = NonZeroU32::new(per_second)?;
        let limiter = DefaultKeyedRateLimiter::keyed(Quota::per_second(per_second));
        Some(Self { limiter, per_second, hasher: RandomState::new(), checks: AtomicU32::new(0) })
    }

    /// Admits `number` items, or none of them.
    ///
    /// # Errors
    /// When they exceed the rate now, or always.
    pub(super) fn check(&self, identity: &Identity, number: usize) -> Result<(), RateLimited> {
        let Some(number) = u32::try_from(number).ok().map(NonZeroU32::new) else { return Err(RateLimited::Never) };
        // Zero items need no check.
        let Some(number) = number else { return Ok(()) };
        self.sweep();
        match self.limiter.check_key_n(&self.bucket(identity), number) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(not_until)) => {
                let wait = not_until.wait_time_from(self.limiter.clock().now());
                // `Retry-After` has whole seconds; rounded down, the retry would be rejected again.
                Err(RateLimited::Now { retry_after: wait.as_secs() + 1 })
            }
            // However long the client waits, this many never fit.
            Err(_) => Err(RateLimited::Never),
        }
    }

    /// The rate per second.
    pub(super) fn limit(&self) -> u32 {
        self.per_second.get()
    }

    /// The number of identities with a bucket.
    pub(super) fn buckets(&self) -> usize {
        self.limiter.len()
    }

    /// Full buckets contain no information and are removed from time to time.
    fn sweep(&self) {
        if self.checks.fetch_add(1, Relaxed) % SWEEP_EVERY == SWEEP_EVERY - 1 {
            self.limiter.retain_recent();
            self.limiter.shrink_to_fit();
        }
    }

    /// If there are very many identities, the rest share buckets by hash: memory stays bounded, and everybody is counted.
    fn bucket(&self, identity: &Identity) -> Bucket {
        let hash = self.hasher.hash_one(identity);
        if self.limiter.len() < MAX_IDENTITIES { Bucket::Own(hash) } else { Bucket::Shared(hash % SHARED) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The key of a bucket was the `sub` of a token, of up to 6 KiB.
    #[test]
    fn a_bucket_has_no_text_of_its_client() {
        // What can be copied owns no text.
        fn is_copied<T: Copy>() {}
        is_copied::<Bucket>();
    }
}
