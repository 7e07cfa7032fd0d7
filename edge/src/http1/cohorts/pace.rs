//! How the worker's time is shared between the cohorts and whatever else it does.

use std::time::Duration;

use tokio::time::Instant;

/// The longest that the cohorts are served in one turn because others took as long, so that a publisher never waits longer.
const MAX_SHARE: Duration = Duration::from_millis(5);

/// While the cohorts have more to do, they get as much time as everything else has taken since their last turn, and at least one slice: many
/// publishers must not make their messages late, and a message to many must not make publishers late.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// When the last turn ended, if there was more to do.
    ended: Option<Instant>,
}

impl Pace {
    /// A turn begins at `now`. Returns when it is to end.
    pub(super) fn begin(&mut self, now: Instant) -> Instant {
        let elsewhere = self.ended.take().map(|ended| now.saturating_duration_since(ended));
        now + elsewhere.unwrap_or_default().min(MAX_SHARE)
    }

    /// A turn ends at `now`, and there is more to do.
    pub(super) fn pause(&mut self, now: Instant) {
        self.ended = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cohorts_get_as_much_time_as_all_others() {
        let (start, ms) = (Instant::now(), Duration::from_millis);
        let mut pace = Pace::default();
        assert_eq!(pace.begin(start), start, "nothing is known yet");
        pace.pause(start + ms(1));
        assert_eq!(pace.begin(start + ms(3)), start + ms(3) + ms(2));
        // It waited meanwhile.
        assert_eq!(pace.begin(start + ms(900)), start + ms(900));
        pace.pause(start + ms(901));
        assert_eq!(pace.begin(start + ms(990)), start + ms(990) + MAX_SHARE);
    }
}
