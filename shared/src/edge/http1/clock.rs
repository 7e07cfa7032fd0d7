//! One clock for all connections of a worker: how long each may go on waiting, and what day it is.
//!
//! Nearly every wait of a connection ends by what it waits for. A timer of its own would be made, entered, and taken out again for
//! each request; here a deadline is a number in a table, looked through at every tick. So deadlines are late by a tick at most.

use std::{
    cell::{Cell, RefCell},
    fmt::Write as _,
    rc::{Rc, Weak},
    task::Waker,
    time::{Duration, SystemTime},
};

use actix_web::{http::header::HttpDate, rt};
use slab::Slab;
use tokio::time::{Instant, MissedTickBehavior, interval};

/// See the module. Lives as long as the worker.
pub(super) struct Clock {
    began: Instant,
    tick: Duration,
    /// Milliseconds since it began, as of the last tick.
    now: Cell<u64>,
    alarms: RefCell<Slab<Entry>>,
    is_stopping: Cell<bool>,
    /// For the field `Date`, made anew each second.
    date: RefCell<(u64, String)>,
}

struct Entry {
    /// `NEVER` while nothing is waited for.
    due: u64,
    /// Of the connection's task.
    waker: Option<Waker>,
}

const NEVER: u64 = u64::MAX;

impl Clock {
    /// Ticks from now on, within the runtime that this is called in, for as long as it lives.
    pub(super) fn start(tick: Duration) -> Rc<Self> {
        let clock = Rc::new(Self {
            began: Instant::now(),
            tick,
            now: Cell::new(0),
            alarms: RefCell::default(),
            is_stopping: Cell::new(false),
            date: RefCell::default(),
        });
        clock.update_date();
        let weak = Rc::downgrade(&clock);
        rt::spawn(run(weak, tick));
        clock
    }

    /// The time of day as HTTP has it (RFC 9110 §5.6.7), no more than a tick old.
    pub(super) fn write_date(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.date.borrow().1.as_bytes());
    }

    /// Wakes every connection: those that wait for a request are to close.
    pub(super) fn stop(&self) {
        self.is_stopping.set(true);
        let wakers: Vec<_> = self.alarms.borrow().iter().filter_map(|(_, entry)| entry.waker.clone()).collect();
        wakers.into_iter().for_each(Waker::wake);
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.is_stopping.get()
    }

    /// A place for a connection.
    pub(super) fn alarm(self: &Rc<Self>) -> Alarm {
        let key = self.alarms.borrow_mut().insert(Entry { due: NEVER, waker: None });
        Alarm { clock: self.clone(), key }
    }

    fn update(&self) {
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.now.set(now);
        self.update_date();
        let over: Vec<_> = {
            let alarms = self.alarms.borrow();
            alarms.iter().filter(|(_, entry)| entry.due <= now).filter_map(|(_, entry)| entry.waker.clone()).collect()
        };
        over.into_iter().for_each(Waker::wake);
    }

    fn update_date(&self) {
        let now = SystemTime::now();
        let second = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let mut date = self.date.borrow_mut();
        if date.0 != second || date.1.is_empty() {
            date.0 = second;
            date.1.clear();
            // A string takes all that is written to it.
            let _ = write!(date.1, "{}", HttpDate::from(now));
        }
    }
}

async fn run(clock: Weak<Clock>, tick: Duration) {
    let mut ticks = interval(tick);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        // Gone when the worker is, and no connection is left.
        let Some(clock) = clock.upgrade() else { return };
        clock.update();
    }
}

/// A connection's deadline. One at a time.
pub(super) struct Alarm {
    clock: Rc<Clock>,
    key: usize,
}

impl Alarm {
    /// Goes off after this time, unless it is set otherwise.
    pub(super) fn set(&self, after: Duration) {
        let after = u64::try_from(after.saturating_add(self.clock.tick).as_millis()).unwrap_or(NEVER);
        self.with(|entry| entry.due = self.clock.now.get().saturating_add(after));
    }

    /// Does not go off.
    pub(super) fn clear(&self) {
        self.with(|entry| entry.due = NEVER);
    }

    /// Whether it has gone off; the task of this waker is woken when it does.
    pub(super) fn is_over(&self, waker: &Waker) -> bool {
        let (is_over, _before) = self.with(|entry| {
            let is_known = entry.waker.as_ref().is_some_and(|known| known.will_wake(waker));
            // The one before is dropped outside of the table: it may be the last of its task.
            let before = if is_known { None } else { entry.waker.replace(waker.clone()) };
            (entry.due <= self.clock.now.get(), before)
        });
        is_over
    }

    fn with<T>(&self, act: impl FnOnce(&mut Entry) -> T) -> T {
        act(&mut self.clock.alarms.borrow_mut()[self.key])
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        let entry = self.clock.alarms.borrow_mut().try_remove(self.key);
        // Dropping a waker may drop a task, and that may come back here.
        drop(entry);
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::{task::LocalSet, time::timeout};

    use super::*;

    const TICK: Duration = Duration::from_millis(100);

    async fn over(alarm: &Alarm) {
        poll_fn(|cx| if alarm.is_over(cx.waker()) { std::task::Poll::Ready(()) } else { std::task::Poll::Pending })
            .await;
    }

    #[tokio::test(start_paused = true)]
    async fn an_alarm_goes_off_once_its_time_is_over_and_not_before() {
        LocalSet::new()
            .run_until(async {
                let clock = Clock::start(TICK);
                let (alarm, other) = (clock.alarm(), clock.alarm());
                let begun = Instant::now();
                alarm.set(Duration::from_secs(5));
                over(&alarm).await;
                let took = begun.elapsed();
                assert!(took >= Duration::from_secs(5) && took <= Duration::from_secs(5) + 2 * TICK, "{took:?}");
                alarm.clear();
                assert!(timeout(Duration::from_secs(60), over(&alarm)).await.is_err());
                assert!(timeout(Duration::from_secs(60), over(&other)).await.is_err());
            })
            .await;
    }

    #[tokio::test(start_paused = true)]
    async fn places_are_given_back() {
        LocalSet::new()
            .run_until(async {
                let clock = Clock::start(TICK);
                drop((clock.alarm(), clock.alarm()));
                assert!(clock.alarms.borrow().is_empty());
                let ticking = Rc::downgrade(&clock);
                drop(clock);
                tokio::time::sleep(2 * TICK).await;
                assert_eq!(ticking.strong_count(), 0);
            })
            .await;
    }

    #[tokio::test(start_paused = true)]
    async fn the_date_goes_on() {
        LocalSet::new()
            .run_until(async {
                let clock = Clock::start(TICK);
                let mut date = Vec::new();
                clock.write_date(&mut date);
                let text = String::from_utf8(date).unwrap();
                assert_eq!((text.len(), text.ends_with(" GMT")), (29, true), "{text}");
            })
            .await;
    }
}
