//! What a server thread does besides answering requests: it fires the deadlines of its sessions and runs jobs that other threads
//! hand to it.
//!
//! ```text
//! deadline moved ─▶ Worker::schedule ─▶ heap ─▶ Driver ─▶ Timed::on_timer
//! a foreign thread ─▶ Worker::execute ─▶ jobs ─▶ Driver ─▶ the job
//! ```
//!
//! An idle connection costs one heap entry: no timer, task or channel of its own. Entries are never removed early. A heartbeat that is
//! postponed leaves its entry, which checks the session when it is due and is inserted again at the new time.

use std::{
    cell::RefCell,
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Instant,
};

use actix_web::rt::time::{Sleep, sleep_until};

use tokio::runtime::Handle;

use crate::panics::guard;

#[cfg(test)]
mod tests;

/// What has deadlines: a connection.
pub(crate) trait Timed: Send + Sync {
    /// An entry that was scheduled for `entry` is due; the time is `now`.
    fn on_timer(self: Arc<Self>, entry: Instant, now: Instant);
}

pub(crate) type Job = Box<dyn FnOnce() + Send>;

/// The workers of one engine. Cloning shares them.
#[derive(Clone)]
pub(crate) struct Workers(Arc<Shared>);

struct Shared {
    id: u64,
    live: Mutex<Live>,
}

#[derive(Default)]
struct Live {
    workers: Vec<Arc<Worker>>,
    /// What a worker left behind when there was no other to take it over.
    orphan: Inbox,
}

/// One thread's share.
pub(crate) struct Worker {
    inbox: Mutex<Inbox>,
    /// The runtime of its thread.
    runtime: Option<Handle>,
}

#[derive(Default)]
struct Inbox {
    closed: bool,
    jobs: VecDeque<Job>,
    timers: BinaryHeap<Reverse<Entry>>,
    waker: Option<Waker>,
}

struct Entry {
    at: Instant,
    timed: Weak<dyn Timed>,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}
impl Eq for Entry {}
impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.at.cmp(&other.at)
    }
}

thread_local! {
    /// The workers of this thread, one for each engine that it serves.
    static HERE: RefCell<Vec<(u64, Arc<Worker>)>> = const { RefCell::new(Vec::new()) };
}

impl Workers {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(Arc::new(Shared { id: NEXT.fetch_add(1, Ordering::Relaxed), live: Mutex::default() }))
    }

    /// This thread's worker, started on first use. To be called from a request only: it needs the thread's runtime.
    pub(crate) fn here(&self) -> Arc<Worker> {
        if let Some(worker) = self.current() {
            return worker;
        }
        let worker = Arc::new(Worker { inbox: Mutex::default(), runtime: Handle::try_current().ok() });
        {
            let mut live = lock(&self.0.live);
            let orphan = std::mem::take(&mut live.orphan);
            lock(&worker.inbox).adopt(orphan);
            live.workers.push(worker.clone());
        }
        HERE.with_borrow_mut(|here| {
            here.retain(|(id, _)| *id != self.0.id);
            here.push((self.0.id, worker.clone()));
        });
        actix_web::rt::spawn(Driver { workers: self.clone(), worker: worker.clone(), sleep: None });
        worker
    }

    /// This thread's worker if it has one that runs.
    fn current(&self) -> Option<Arc<Worker>> {
        HERE.with_borrow(|here| {
            here.iter()
                .find(|(id, worker)| *id == self.0.id && !lock(&worker.inbox).closed)
                .map(|(_, worker)| worker.clone())
        })
    }

    /// Runs `job` on a thread that can run handlers: on this one immediately if it is a worker, otherwise soon on `home`.
    pub(crate) fn execute(&self, home: &Arc<Worker>, job: Job) {
        if self.current().is_some() {
            job();
        } else {
            self.queue(home, job);
        }
    }

    /// Runs `job` on `home` after what it does now.
    pub(crate) fn queue(&self, home: &Arc<Worker>, job: Job) {
        self.deliver(home, |inbox| {
            inbox.jobs.push_back(job);
            true
        });
    }

    /// Sees to it that `timed` is called at `at`.
    pub(crate) fn schedule(&self, home: &Arc<Worker>, at: Instant, timed: Weak<dyn Timed>) {
        self.deliver(home, |inbox| {
            let first = inbox.timers.peek().is_none_or(|next| at < next.0.at);
            inbox.timers.push(Reverse(Entry { at, timed }));
            first
        });
    }

    /// The runtime of one of the threads.
    pub(crate) fn runtime(&self) -> Option<Handle> {
        lock(&self.0.live).workers.first().and_then(|worker| worker.runtime.clone())
    }

    /// Runs a future on this thread if it is a worker, on another if not.
    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        let job: Job = Box::new(move || drop(actix_web::rt::spawn(future)));
        if self.current().is_some() {
            return job();
        }
        let mut live = lock(&self.0.live);
        let Some(worker) = live.workers.first().cloned() else {
            // Under the same lock under which the first worker takes over what was left.
            return live.orphan.jobs.push_back(job);
        };
        drop(live);
        self.queue(&worker, job);
    }

    /// Puts something into the inbox of `home`, or of another worker if that one has ended. `put` returns whether the driver has to be
    /// woken.
    fn deliver(&self, home: &Arc<Worker>, put: impl FnOnce(&mut Inbox) -> bool) {
        let mut inbox = lock(&home.inbox);
        if inbox.closed {
            drop(inbox);
            let mut live = lock(&self.0.live);
            match live.workers.first() {
                Some(worker) => {
                    let mut inbox = lock(&worker.inbox);
                    put(&mut inbox);
                    inbox.wake();
                }
                None => {
                    put(&mut live.orphan);
                }
            }
        } else if put(&mut inbox) {
            inbox.wake();
        }
    }
}

impl Inbox {
    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn adopt(&mut self, mut other: Inbox) {
        self.jobs.append(&mut other.jobs);
        self.timers.append(&mut other.timers);
        self.wake();
    }
}

/// The task of a worker. When its runtime goes, another worker takes over what is left.
struct Driver {
    workers: Workers,
    worker: Arc<Worker>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Future for Driver {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        loop {
            let now = Instant::now();
            let mut due = Vec::new();
            let (jobs, next) = {
                let mut inbox = lock(&this.worker.inbox);
                while let Some(entry) = inbox.timers.peek() {
                    if entry.0.at > now {
                        break;
                    }
                    due.extend(inbox.timers.pop());
                }
                let jobs = std::mem::take(&mut inbox.jobs);
                if due.is_empty() && jobs.is_empty() {
                    inbox.waker = Some(cx.waker().clone());
                }
                (jobs, inbox.timers.peek().map(|entry| entry.0.at))
            };
            if due.is_empty() && jobs.is_empty() {
                let Some(next) = next else {
                    this.sleep = None;
                    return Poll::Pending;
                };
                let sleep = this.sleep.get_or_insert_with(|| Box::pin(sleep_until(next.into())));
                if sleep.deadline() != next.into() {
                    sleep.as_mut().reset(next.into());
                }
                if sleep.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                continue;
            }
            // Both run code of the application, whose panic must not stop the clock of all other sessions of this thread.
            for Reverse(entry) in due {
                if let Some(timed) = entry.timed.upgrade() {
                    guard("a peer's timer", || timed.on_timer(entry.at, now));
                }
            }
            for job in jobs {
                guard("a job of a connection", job);
            }
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let mut live = lock(&self.workers.0.live);
        live.workers.retain(|worker| !Arc::ptr_eq(worker, &self.worker));
        let left = std::mem::replace(&mut *lock(&self.worker.inbox), Inbox { closed: true, ..Inbox::default() });
        match live.workers.first() {
            Some(heir) => lock(&heir.inbox).adopt(left),
            None => live.orphan.adopt(left),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // Nothing that can panic runs under these locks, so a poisoned one is still whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs a handler: its first step now, so that the events of one socket start in order, and the rest as a task of this thread.
/// A panic ends the handler and nothing else.
pub(crate) fn run(mut handler: Pin<Box<dyn Future<Output = ()>>>) {
    let first = guard("a handler", || {
        // Whatever it waits for is asked again by the task, with a waker that wakes.
        handler.as_mut().poll(&mut Context::from_waker(Waker::noop()))
    });
    if let Some(Poll::Pending) = first {
        drop(actix_web::rt::spawn(handler));
    }
}
