//! The cursor of caches: a number that changes with time, so that an answer without news is not served from a cache for ever (PROTOCOL.md of
//! Durable Streams, §10.1).

use rand::RngExt as _;

/// 9 October 2024, in seconds since the Unix epoch.
const EPOCH_SECS: u64 = 1_728_432_000;
/// Seconds of an interval.
const INTERVAL_SECS: u64 = 20;
/// The longest jitter in seconds.
const MAX_JITTER_SECS: u64 = 3_600;

/// The cursor of an answer at `now_ms` to a client that sent `sent`: the number of the interval, and always more than the client's.
pub(crate) fn next(sent: Option<u64>, now_ms: u64) -> u64 {
    let now = current(now_ms);
    match sent {
        Some(sent) if sent >= now => {
            let jitter = rand::rng().random_range(1..=MAX_JITTER_SECS);
            sent.saturating_add((jitter / INTERVAL_SECS).max(1))
        }
        _ => now,
    }
}

/// The number of the interval at `now_ms`.
pub(crate) fn current(now_ms: u64) -> u64 {
    (now_ms / 1_000).saturating_sub(EPOCH_SECS) / INTERVAL_SECS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_the_interval_and_greater_than_the_clients() {
        let now_ms = (EPOCH_SECS + 100 * INTERVAL_SECS + 7) * 1_000;
        assert_eq!((next(None, now_ms), next(Some(99), now_ms)), (100, 100));
        for sent in [100, 101, 5_000] {
            assert!((sent + 1..=sent + 180).contains(&next(Some(sent), now_ms)));
        }
        assert_eq!(next(None, 0), 0);
    }
}
