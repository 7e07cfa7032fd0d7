//! One clock for all connections of a worker: their deadlines, and the current date.
//!
//! Nearly every wait of a connection ends before its deadline. Individual timers would be created, inserted, and removed for each request;
//! here a deadline is a number in a table that is checked at every tick. Deadlines are therefore late by at most one tick.

use std::{
    cell::{Cell, RefCell},
    fmt::Write as _,
    net::IpAddr,
    rc::{Rc, Weak},
    task::Waker,
    time::{Duration, SystemTime},
};

use actix_web::{http::header::HttpDate, rt};
use slab::Slab;
use tokio::time::{Instant, MissedTickBehavior, interval};

/// See the module. Exists as long as the worker.
pub(super) struct Clock {
    began: Instant,
    tick: Duration,
    /// Milliseconds since its start, at the last tick.
    now: Cell<u64>,
    alarms: RefCell<Slab<Entry>>,
    /// When the last request was received, once that is watched.
    last_request: Cell<Option<Instant>>,
    is_stopping: Cell<bool>,
    /// For the field `Date`, updated each second.
    date: RefCell<(u64, String)>,
}

struct Entry {
    /// `NEVER` while there is no deadline.
    due: u64,
    /// The waker of the connection's task.
    waker: Option<Waker>,
    /// Since when the connection has been waiting for a request; `NEVER` during a request.
    idle_since: u64,
    /// The client's address, if it is known.
    address: Option<IpAddr>,
    /// It is to be closed in favour of another one.
    is_evicted: bool,
}

/// A time that does not come.
pub(super) const NEVER: u64 = u64::MAX;
/// Milliseconds after which a connection without a request may be closed to make room.
const MIN_IDLE: u64 = 1_000;

impl Clock {
    /// Ticks from now on, within the current runtime, for as long as it exists.
    pub(super) fn start(tick: Duration) -> Rc<Self> {
        let clock = Rc::new(Self {
            began: Instant::now(),
            tick,
            now: Cell::new(0),
            alarms: RefCell::default(),
            last_request: Cell::new(None),
            is_stopping: Cell::new(false),
            date: RefCell::default(),
        });
        clock.update_date();
        let weak = Rc::downgrade(&clock);
        rt::spawn(run(weak, tick));
        clock
    }

    /// Milliseconds since its start, at the last tick.
    pub(super) fn now(&self) -> u64 {
        self.now.get()
    }

    /// Milliseconds since its start, exactly.
    pub(super) fn elapsed(&self) -> u64 {
        self.millis(Instant::now())
    }

    /// Milliseconds from its start to `instant`.
    pub(super) fn millis(&self, instant: Instant) -> u64 {
        u64::try_from(instant.saturating_duration_since(self.began).as_millis()).unwrap_or(u64::MAX)
    }

    /// The instant this many milliseconds after its start. `None` if that is too far away to matter.
    pub(super) fn instant(&self, millis: u64) -> Option<Instant> {
        self.began.checked_add(Duration::from_millis(millis))
    }

    /// The date in HTTP's format (RFC 9110 §5.6.7), at most a tick old.
    pub(super) fn write_date(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.date.borrow().1.as_bytes());
    }

    /// Wakes every connection: those that wait for a request are to close.
    pub(super) fn stop(&self) {
        self.is_stopping.set(true);
        let wakers: Vec<_> = self.alarms.borrow().iter().filter_map(|(_, entry)| entry.waker.clone()).collect();
        wakers.into_iter().for_each(Waker::wake);
    }

    /// When a connection last received a request since the first call; the time of that call, if none did.
    pub(super) fn last_request(&self) -> Instant {
        let last = self.last_request.get().unwrap_or_else(Instant::now);
        self.last_request.set(Some(last));
        last
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.is_stopping.get()
    }

    /// An entry for a connection of `address`.
    pub(super) fn alarm(self: &Rc<Self>, address: Option<IpAddr>) -> Alarm {
        let entry = Entry { due: NEVER, waker: None, idle_since: NEVER, address, is_evicted: false };
        let key = self.alarms.borrow_mut().insert(entry);
        Alarm { clock: self.clone(), key }
    }

    /// Closes up to `most` idle connections, of `address` or of any, the longest idle first; none that has been idle for less than
    /// [`MIN_IDLE`], since its request may be in flight. Returns their number.
    pub(super) fn evict(&self, address: Option<IpAddr>, most: usize) -> usize {
        let before = self.now.get().checked_sub(MIN_IDLE);
        let wakers: Vec<_> = {
            let mut alarms = self.alarms.borrow_mut();
            let is_idle = |entry: &Entry| {
                before.is_some_and(|before| entry.idle_since <= before)
                    && !entry.is_evicted
                    && (address.is_none() || entry.address == address)
            };
            let idle = alarms.iter().filter(|(_, entry)| is_idle(entry));
            let mut idle: Vec<_> = idle.map(|(key, entry)| (entry.idle_since, key)).collect();
            let count = most.min(idle.len());
            if count < idle.len() {
                idle.select_nth_unstable(count);
            }
            let evict = |(_, key): &(u64, usize)| {
                let entry = &mut alarms[*key];
                entry.is_evicted = true;
                entry.waker.clone()
            };
            idle[..count].iter().map(evict).collect()
        };
        let count = wakers.len();
        wakers.into_iter().flatten().for_each(Waker::wake);
        count
    }

    fn update(&self) {
        let now = self.elapsed();
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
            // Writing to a string never fails.
            let _ = write!(date.1, "{}", HttpDate::from(now));
        }
    }
}

async fn run(clock: Weak<Clock>, tick: Duration) {
    let mut ticks = interval(tick);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        // Dropped with the worker, when no connection is left.
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
    /// Fires after this time, unless it is set again.
    pub(super) fn set(&self, after: Duration) {
        let after = u64::try_from(after.saturating_add(self.clock.tick).as_millis()).unwrap_or(NEVER);
        self.with(|entry| entry.due = self.clock.now.get().saturating_add(after));
    }

    /// Does not fire.
    pub(super) fn clear(&self) {
        self.with(|entry| entry.due = NEVER);
    }

    /// Records whether the connection waits for a request.
    pub(super) fn set_idle(&self, is_idle: bool) {
        if !is_idle && self.clock.last_request.get().is_some() {
            // Exactly: a tick is longer than the silence that is waited for.
            self.clock.last_request.set(Some(Instant::now()));
        }
        self.with(|entry| entry.idle_since = if is_idle { self.clock.now.get() } else { NEVER });
    }

    /// Whether the connection is to be closed in favour of another one.
    pub(super) fn is_evicted(&self) -> bool {
        self.with(|entry| entry.is_evicted)
    }

    /// Whether it has fired; if not, the task of this waker is woken when it does.
    pub(super) fn is_over(&self, waker: &Waker) -> bool {
        let (is_over, _before) = self.with(|entry| {
            let is_known = entry.waker.as_ref().is_some_and(|known| known.will_wake(waker));
            // The previous waker is dropped outside of the table: it may be the last reference to its task.
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
        // Dropping a waker may drop a task, which may call this clock.
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
    async fn an_alarm_fires_at_its_time_and_not_before() {
        LocalSet::new()
            .run_until(async {
                let clock = Clock::start(TICK);
                let (alarm, other) = (clock.alarm(None), clock.alarm(None));
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
                drop((clock.alarm(None), clock.alarm(None)));
                assert!(clock.alarms.borrow().is_empty());
                let ticking = Rc::downgrade(&clock);
                drop(clock);
                tokio::time::sleep(2 * TICK).await;
                assert_eq!(ticking.strong_count(), 0);
            })
            .await;
    }

    /// Case 5.6: idle connections are closed to make room, the longest idle first, and none with a request.
    #[tokio::test(start_paused = true)]
    async fn the_longest_idle_are_evicted_first() {
        LocalSet::new()
            .run_until(async {
                let clock = Clock::start(TICK);
                let (one, other) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
                let alarms: Vec<_> = [one, other, one, one].map(|address| clock.alarm(Some(address))).into();
                for alarm in &alarms[..3] {
                    alarm.set_idle(true);
                    tokio::time::sleep(2 * TICK).await;
                }
                assert_eq!(clock.evict(None, 5), 0, "their requests may be on their way");
                tokio::time::sleep(Duration::from_millis(MIN_IDLE) + TICK).await;
                let evicted = || alarms.iter().map(Alarm::is_evicted).collect::<Vec<_>>();
                assert_eq!((clock.evict(Some(one), 1), evicted()), (1, vec![true, false, false, false]));
                assert_eq!((clock.evict(None, 1), evicted()), (1, vec![true, true, false, false]));
                assert_eq!((clock.evict(Some(one), 5), evicted()), (1, vec![true, true, true, false]));
                assert_eq!(clock.evict(None, 5), 0);
            })
            .await;
    }

    /// Not at the last tick: the silence that is waited for is shorter.
    #[tokio::test(start_paused = true)]
    async fn the_last_request_is_known_exactly() {
        LocalSet::new()
            .run_until(async {
                let clock = Clock::start(TICK);
                let alarm = clock.alarm(None);
                alarm.set_idle(false);
                tokio::time::sleep(TICK / 4).await;
                assert_eq!(clock.last_request(), Instant::now(), "nothing is known yet");
                tokio::time::sleep(TICK / 4).await;
                alarm.set_idle(true);
                assert!(clock.last_request() < Instant::now());
                alarm.set_idle(false);
                assert_eq!(clock.last_request(), Instant::now());
            })
            .await;
    }

    #[tokio::test(start_paused = true)]
    async fn the_date_header_advances() {
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
