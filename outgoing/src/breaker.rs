//! A circuit breaker: after several failures in a row an application is not asked for a while, so that clients learn immediately what they
//! would otherwise learn after the deadline, and the application can recover.
//!
//! ```text
//!          5 failures in a row              after the pause
//! closed ──────────────────────▶ open ─────────────────────────▶ half-open: one request as a probe
//!    ▲                             ▲                                 │
//!    └──────── success ────────────┼─────────────────────────────────┤
//!                                  └──────── failure: twice the pause, at most 30 s
//! ```

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Failures in a row after which an application is not asked any more.
pub const FAILURES_TO_OPEN: u32 = 5;
/// How long it is not asked at first.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// How long it is not asked at most.
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// See the module. One for each application, shared by all that ask it.
#[derive(Debug, Default)]
pub struct Breaker(Mutex<State>);

#[derive(Debug)]
enum State {
    Closed {
        /// In a row.
        failures: u32,
    },
    Open {
        until: Instant,
        pause: Duration,
    },
    /// A probe is on its way.
    Probing {
        pause: Duration,
    },
}

impl Default for State {
    fn default() -> Self {
        Self::Closed { failures: 0 }
    }
}

/// Permission for one request. Its outcome has to be reported; one that is dropped has none, and does not count.
#[derive(Debug)]
#[must_use = "report the outcome"]
pub struct Pass<'a> {
    breaker: &'a Breaker,
    is_probe: bool,
}

impl Breaker {
    /// Permission for a request at `now`. `None` while the application is not to be asked.
    pub fn pass(&self, now: Instant) -> Option<Pass<'_>> {
        let mut state = self.0.lock();
        let is_probe = match *state {
            State::Closed { .. } => false,
            State::Open { until, pause } if until <= now => {
                *state = State::Probing { pause };
                true
            }
            State::Open { .. } | State::Probing { .. } => return None,
        };
        Some(Pass { breaker: self, is_probe })
    }

    /// Whether the application is not asked at present, except for probes.
    pub fn is_open(&self) -> bool {
        !matches!(*self.0.lock(), State::Closed { .. })
    }

    /// Whether [`Breaker::pass`] would permit no request at `now`.
    pub(crate) fn refuses(&self, now: Instant) -> bool {
        match *self.0.lock() {
            State::Closed { .. } => false,
            State::Open { until, .. } => now < until,
            State::Probing { .. } => true,
        }
    }
}

impl Pass<'_> {
    /// The application answered.
    pub fn succeeded(mut self) {
        self.is_probe = false;
        *self.breaker.0.lock() = State::default();
    }

    /// It did not answer. Failures of requests that were sent before the breaker opened do not prolong the pause.
    pub fn failed(mut self, now: Instant) {
        let mut state = self.breaker.0.lock();
        let pause = match *state {
            State::Closed { failures } if failures + 1 < FAILURES_TO_OPEN => {
                *state = State::Closed { failures: failures + 1 };
                return;
            }
            State::Closed { .. } => FIRST_PAUSE,
            State::Probing { pause } if self.is_probe => (2 * pause).min(MAX_PAUSE),
            State::Open { .. } | State::Probing { .. } => return,
        };
        self.is_probe = false;
        *state = State::Open { until: now + pause, pause };
    }
}

impl Drop for Pass<'_> {
    /// A probe without an outcome makes room for another one.
    fn drop(&mut self) {
        if !self.is_probe {
            return;
        }
        let mut state = self.breaker.0.lock();
        if let State::Probing { pause } = *state {
            *state = State::Open { until: Instant::now(), pause };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fail(breaker: &Breaker, now: Instant) {
        breaker.pass(now).unwrap().failed(now);
    }

    #[test]
    fn failures_in_a_row_open_it_and_a_success_between_them_does_not() {
        let (breaker, now) = (Breaker::default(), Instant::now());
        for _ in 0..2 {
            (1..FAILURES_TO_OPEN).for_each(|_| fail(&breaker, now));
            breaker.pass(now).unwrap().succeeded();
        }
        (1..=FAILURES_TO_OPEN).for_each(|_| fail(&breaker, now));
        assert!(breaker.is_open() && breaker.pass(now).is_none());
    }

    #[test]
    fn one_probe_at_a_time_and_its_outcome_decides() {
        let (breaker, start) = (Breaker::default(), Instant::now());
        (1..=FAILURES_TO_OPEN).for_each(|_| fail(&breaker, start));
        let mut now = start;
        for pause in [1, 2, 4, 8, 16, 30, 30] {
            let pause = Duration::from_secs(pause);
            assert!(breaker.pass(now + pause - Duration::from_millis(1)).is_none(), "{pause:?}");
            now += pause;
            let probe = breaker.pass(now).unwrap();
            assert!(breaker.pass(now).is_none(), "one probe at a time");
            probe.failed(now);
        }
        now += MAX_PAUSE;
        breaker.pass(now).unwrap().succeeded();
        assert!(!breaker.is_open());
        (1..FAILURES_TO_OPEN).for_each(|_| fail(&breaker, now));
        assert!(!breaker.is_open(), "it counts from the beginning");
    }

    #[test]
    fn a_probe_without_an_outcome_makes_room_for_another() {
        let (breaker, start) = (Breaker::default(), Instant::now());
        (1..=FAILURES_TO_OPEN).for_each(|_| fail(&breaker, start));
        let later = start + FIRST_PAUSE;
        drop(breaker.pass(later).unwrap());
        assert!(breaker.pass(later).is_some());
    }

    #[test]
    fn late_failures_of_earlier_requests_change_nothing() {
        let (breaker, start) = (Breaker::default(), Instant::now());
        let early: Vec<Pass<'_>> = (0..20).map(|_| breaker.pass(start).unwrap()).collect();
        for pass in early {
            pass.failed(start);
        }
        assert!(breaker.pass(start + FIRST_PAUSE).is_some());
    }
}
