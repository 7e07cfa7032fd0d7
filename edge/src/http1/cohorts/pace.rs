//! How the worker's time is shared between the cohorts and whatever else it does, a publisher above all.
//!
//! A publisher that waits for each answer sends its next message a moment after it. Every member that was sent a message by then costs a
//! write that could have had both. So the slices after a message are short and become longer, and a message that finds the previous one
//! not yet sent to all makes the cohorts [wait](Pace::slice) for the next: the publisher is answered at once, and all get more in one write.

use std::time::Duration;

use tokio::time::Instant;

/// The longest that the cohorts are served in one turn because others took as long, so that a publisher never waits longer.
const MAX_SHARE: Duration = Duration::from_millis(5);
/// The number of writes of the longest slice, after which the worker does what else there is to do.
pub(super) const MAX_SLICE: usize = 64;
/// The number of writes of the first slice after a message. Each further slice is twice as long as the one before it.
const FIRST_SLICE: usize = 16;
/// The same while the message before it has not been sent to all: more messages are probable.
const BUSY_SLICE: usize = 4;
/// How long the cohorts wait for the next message. A publisher on the same machine needs half of it to read its answer and send the next.
const LINGER: Duration = Duration::from_micros(200);
/// How often they wait at most until all have everything: 2 ms in all.
const MAX_LINGERS: u8 = 10;

/// While the cohorts have more to do, they get as much time as everything else has taken since their last turn, and at least one slice: many
/// publishers must not make their messages late, and a message to many must not make publishers late.
#[derive(Debug)]
pub(super) struct Pace {
    /// When the last turn ended, if there was more to do.
    ended: Option<Instant>,
    /// The number of writes of the next slice.
    slice: usize,
    /// Until when nothing is sent, because the next message is expected.
    lingers_until: Option<Instant>,
    /// How often that may still happen until everything has been sent.
    lingers_left: u8,
}

impl Default for Pace {
    fn default() -> Self {
        Self { ended: None, slice: MAX_SLICE, lingers_until: None, lingers_left: MAX_LINGERS }
    }
}

impl Pace {
    /// A turn begins at `now`. Returns when it is to end.
    pub(super) fn begin(&mut self, now: Instant) -> Instant {
        let elsewhere = self.ended.take().map(|ended| now.saturating_duration_since(ended));
        now + elsewhere.unwrap_or_default().min(MAX_SHARE)
    }

    /// There are new messages. Now `ready` cohorts have something to send, and `again` of them had something before.
    pub(super) fn published(&mut self, now: Instant, again: usize, ready: usize) {
        self.slice = if again > 0 { BUSY_SLICE } else { FIRST_SLICE };
        // A cohort that gets nothing more in one write does not wait for the others.
        let lingers = again > 0 && again == ready && self.lingers_left > 0;
        self.lingers_left -= u8::from(lingers);
        self.lingers_until = lingers.then(|| now + LINGER);
    }

    /// The number of writes of the slice that begins at `now`; none while the next message is expected.
    pub(super) fn slice(&mut self, now: Instant) -> usize {
        if self.lingers_until.is_some_and(|until| now < until) {
            return 0;
        }
        self.lingers_until = None;
        let slice = self.slice;
        self.slice = (2 * slice).min(MAX_SLICE);
        slice
    }

    /// A turn ends at `now`, and there is more to do.
    pub(super) fn pause(&mut self, now: Instant) {
        self.ended = Some(now);
    }

    /// Everything has been sent.
    pub(super) fn done(&mut self) {
        *self = Self { ended: self.ended, ..Self::default() };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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

    #[test]
    fn slices_become_longer_while_nothing_is_published() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        let slices = |pace: &mut Pace| [(); 6].map(|()| pace.slice(now));
        assert_eq!(slices(&mut pace), [64; 6], "nothing was published");
        pace.published(now, 0, 1);
        assert_eq!(slices(&mut pace), [16, 32, 64, 64, 64, 64]);
        // Another cohort is still being served: nobody waits for that one.
        pace.published(now, 1, 2);
        assert_eq!(slices(&mut pace), [4, 8, 16, 32, 64, 64]);
        pace.published(now, 0, 3);
        assert_eq!(slices(&mut pace), [16, 32, 64, 64, 64, 64]);
    }

    #[test]
    fn cohorts_wait_for_the_message_after_two() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        pace.published(now, 1, 1);
        assert_eq!([pace.slice(now), pace.slice(now + LINGER / 2), pace.slice(now + LINGER)], [0, 0, 4]);
        pace.published(now, 1, 1);
        pace.done();
        assert_eq!(pace.slice(now), MAX_SLICE);
    }

    proptest! {
        /// Whatever is published when, all members are served after a bounded number of slices, and of time without any.
        #[test]
        fn no_publisher_keeps_the_cohorts_waiting(
            turns in proptest::collection::vec((0..3_usize, 0..3_usize, 1..400_u32), 3_000),
            members in 1..2_000_usize,
        ) {
            let (mut pace, mut now) = (Pace::default(), Instant::now());
            let (mut sent, mut slices, mut lingered) = (0, 0, Duration::ZERO);
            for (again, others, micros) in turns {
                if again + others > 0 {
                    pace.published(now, again, again + others);
                }
                let slice = pace.slice(now);
                let turn = Duration::from_micros(micros.into());
                now += turn;
                if slice == 0 {
                    // A turn may begin just before the end of the wait.
                    lingered += turn.min(LINGER);
                } else {
                    prop_assert!((BUSY_SLICE..=MAX_SLICE).contains(&slice));
                    (sent, slices) = (sent + slice, slices + 1);
                }
                if sent >= members {
                    break;
                }
            }
            prop_assert!(sent >= members, "{sent} of {members} were served");
            prop_assert!(slices <= members.div_ceil(BUSY_SLICE));
            prop_assert!(lingered <= 2 * LINGER * u32::from(MAX_LINGERS));
        }
    }
}
