//! The pauses between tries to connect.

use std::time::Duration;

use tokio::time::sleep;

const FIRST: Duration = Duration::from_millis(50);
const MAX: Duration = Duration::from_secs(2);
/// A connection that worked for this long was not refused: what follows it begins with the first pause again.
pub(super) const STABLE: Duration = Duration::from_secs(10);

/// See the module. They double, and are jittered: processes that lost their connections together do not all come back at once.
#[derive(Debug)]
pub(super) struct Pauses(Duration);

impl Default for Pauses {
    fn default() -> Self {
        Self(FIRST)
    }
}

impl Pauses {
    /// Waits before the next try, after a connection that worked for so long.
    pub(super) async fn after(&mut self, worked: Duration) {
        if worked >= STABLE {
            *self = Self::default();
        }
        sleep(self.next(rand::random())).await;
    }

    /// The next one; `jitter` is 0 to 1.
    fn next(&mut self, jitter: f64) -> Duration {
        let pause = self.0.mul_f64(0.5 + jitter / 2.0);
        self.0 = (self.0 * 2).min(MAX);
        pause
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    /// Case 8.7: there were 23 to 26 tries a second.
    #[test]
    fn tries_become_rare() {
        // The shortest pauses.
        let mut pauses = Pauses::default();
        let times: Vec<_> =
            std::iter::successors(Some(Duration::ZERO), |at| Some(*at + pauses.next(0.0))).take(20).collect();
        let in_second = |n: u64| times.iter().filter(|at| at.as_secs() == n).count();
        assert!(
            in_second(0) <= 6 && (1..10).all(|n| in_second(n) <= 2) && (3..10).all(|n| in_second(n) <= 1),
            "{times:?}"
        );
        let mut pauses = Pauses::default();
        assert_eq!([1.0, 1.0].map(|jitter| pauses.next(jitter)), [FIRST, 2 * FIRST]);
        assert_eq!((0..20).map(|_| pauses.next(1.0)).last(), Some(MAX));
    }

    #[tokio::test(start_paused = true)]
    async fn a_try_follows_soon_after_a_connection_that_worked_and_rarely_after_many_that_failed() {
        let mut pauses = Pauses::default();
        let mut after = async |worked| {
            let begun = Instant::now();
            pauses.after(worked).await;
            begun.elapsed()
        };
        assert!(after(Duration::ZERO).await <= FIRST && after(Duration::ZERO).await <= 2 * FIRST);
        let mut later = Vec::new();
        for _ in 0..20 {
            later.push(after(Duration::from_secs(1)).await);
        }
        assert!(later[6..].iter().all(|pause| (MAX / 2..=MAX).contains(pause)), "{later:?}");
        assert!(later[6..].windows(2).any(|pair| pair[0] != pair[1]), "without jitter: {later:?}");
        assert!(after(STABLE).await <= FIRST);
    }
}
