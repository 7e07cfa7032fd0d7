//! Problems of a working bus, which `/readyz` reports as degraded.

use std::time::Duration;

use tokio::time::Instant;

use super::Shared;
use crate::{
    live::degraded::{Degradation, reason},
    pure::Cursor,
};

/// How long the log has to be behind before it is reported.
const BEHIND_FOR: Duration = Duration::from_secs(5);

/// The results of the pulse.
#[derive(Debug, Default)]
pub(super) struct Health {
    /// Commands that Redis rejects, each with the reason.
    pub(super) refused: Vec<String>,
    /// Whether the commands have been checked.
    pub(super) is_tried: bool,
    behind: Option<Behind>,
}

#[derive(Clone, Copy, Debug)]
struct Behind {
    since: Instant,
    /// Milliseconds between the newest message here and the newest in the stream.
    by_ms: u64,
}

impl Health {
    /// Records whether the log, now at `head`, reached `last` within a second after the stream did.
    pub(super) fn has_caught_up(&mut self, has_caught_up: bool, last: Cursor, head: Cursor) {
        if has_caught_up {
            self.behind = None;
            return;
        }
        let since = self.behind.map_or_else(Instant::now, |behind| behind.since);
        self.behind = Some(Behind { since, by_ms: last.ms.saturating_sub(head.ms) });
    }

    fn behind(&self) -> Option<Behind> {
        self.behind.filter(|behind| behind.since.elapsed() >= BEHIND_FOR)
    }
}

/// All current problems.
pub(super) fn degraded(shared: &Shared) -> Vec<Degradation> {
    let mut all = Vec::new();
    let health = shared.health.lock();
    if !health.is_tried {
        let message = "it is not known yet which commands Redis rejects".to_owned();
        all.push(Degradation::new(reason::REDIS_RIGHTS, message));
    }
    let refused: Vec<_> = health.refused.iter().cloned().chain(shared.peers.refused()).collect();
    if !refused.is_empty() {
        let commands = refused.join("; ");
        let message = format!("Redis rejects {commands}; docs/OPERATIONS.md lists the permissions that its user needs");
        all.push(Degradation::new(reason::REDIS_RIGHTS, message));
    }
    if let Some(Behind { by_ms, .. }) = health.behind() {
        let message = format!(
            "messages are read from Redis more slowly than they are published; the newest read is {by_ms} ms older than \
             the newest published"
        );
        all.push(Degradation::new(reason::READING_BEHIND, message));
    }
    drop(health);
    if let Some((skew, is_ahead)) = shared.clock.lock().skew() {
        let (skew, side) = (skew.as_millis(), if is_ahead { "ahead of" } else { "behind" });
        let message = format!("the clock of this host is {skew} ms {side} that of Redis; synchronize both (NTP)");
        all.push(Degradation::new(reason::CLOCK_SKEW, message));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_log_that_stays_behind_is_reported_after_a_while() {
        let mut health = Health::default();
        let (head, last) = (Cursor::new(1_000, 0), Cursor::new(9_000, 0));
        health.has_caught_up(false, last, head);
        assert!(health.behind().is_none(), "a moment is none");
        tokio::time::advance(BEHIND_FOR).await;
        health.has_caught_up(false, last, head);
        assert_eq!(health.behind().map(|behind| behind.by_ms), Some(8_000));
        health.has_caught_up(true, last, last);
        assert!(health.behind().is_none());
    }
}
