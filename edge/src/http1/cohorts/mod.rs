//! Parked connections: streams that have sent everything, and requests that wait for their answer. Both wait for messages.
//!
//! ```text
//! Connection ─▶ park ─▶ a member of a cohort ─▶ … the log wakes the cohort ─▶ slice by slice: one read, one encoding, one write each …
//!      ▲                        │
//!      └────────────────────────┴─ takes less than all; its client sent something; its time is over; the log is closed
//! ```
//!
//! Most streams have read everything, and those that have, on the same channels and in the same form, have the same cursor. So a worker
//! keeps it once, for a [`cohort`]. What its members have in common otherwise is its [`kind`]. A [`member`] of it has no task, waker, timer,
//! or buffer: it is a descriptor in the [event set](events) of the worker, and a few words in its [`table`]. A client that takes less than
//! it is sent leaves the cohort: it gets a connection of its own again, with a reader at its place, and is parked again when it has caught
//! up. A request that is answered leaves it, too, for the next one of its connection. What others send to the client of one member ([`own`])
//! is written where it is parked.
//!
//! One task of each worker serves all of its cohorts: the host. After each slice of members it lets the worker do what else is ready, so a
//! publication never waits for the previous one to be delivered; the members that are served later then get both in one write. Its slices are
//! short after a publication, and it gets as much time as everything else ([`pace`]).
//!
//! The host is the future of the first connection that is parked, and lasts as long as any other: the worker counts it, and waits for it when
//! it shuts down.

mod beats;
mod cohort;
mod events;
mod exit;
mod kind;
mod member;
mod own;
mod pace;
mod table;
mod woken;
mod write;

#[cfg(test)]
mod tests;

use std::{
    cell::{Cell, OnceCell, RefCell},
    future::poll_fn,
    io,
    pin::Pin,
    rc::{Rc, Weak},
    sync::Arc,
    task::{Context, Poll},
};

use actix_web::rt::{self, net::TcpStream, task::yield_now};
use futures_util::{FutureExt as _, future::LocalBoxFuture};
use tokio::time::{Instant, Sleep, sleep_until};

use self::{
    events::Events,
    member::{Departed, Then},
    pace::Pace,
    table::Table,
    woken::Woken,
};
use super::{
    Requests, Worker,
    answer::{Answered, Waiting},
    clock::NEVER,
    connection::Connection,
    sockets::Socket,
};
use crate::metrics::Unparked;

/// The cohorts of one worker.
pub(super) struct Cohorts {
    worker: Rc<Worker>,
    events: OnceCell<Events>,
    table: RefCell<Table>,
    woken: Arc<Woken>,
    /// The number of connections that left and are not parked again.
    alone: Cell<usize>,
    is_hosted: Cell<bool>,
    /// What serves the next request of a connection.
    requests: OnceCell<Weak<dyn Requests>>,
}

/// Whether a worker can send to its cohorts through io_uring.
///
/// # Errors
/// Those of the kernel, if it cannot.
pub(super) fn try_ring() -> io::Result<()> {
    uring::Ring::open(pace::MAX_SLICE).map(drop)
}

/// What the host does next.
enum Next {
    /// It continues, after whatever else is ready.
    Slice,
    /// It ends: there is no connection left.
    End,
}

impl Cohorts {
    /// No cohorts yet.
    pub(super) fn new(worker: Rc<Worker>) -> Rc<Self> {
        let woken = Arc::<Woken>::default();
        Rc::new(Self {
            table: RefCell::new(Self::table(&worker, &woken)),
            worker,
            events: OnceCell::new(),
            woken,
            alone: Cell::new(0),
            is_hosted: Cell::new(false),
            requests: OnceCell::new(),
        })
    }

    fn table(worker: &Worker, woken: &Arc<Woken>) -> Table {
        Table::new(worker.clock.clone(), woken.clone(), worker.edge.metrics.parking.clone(), worker.uses_ring)
    }

    /// Parks a connection. Returns the host, if there is none yet: it has to be polled to its end.
    pub(super) fn park(
        self: &Rc<Self>,
        connection: Connection,
        accepted: Socket,
        waiting: Waiting,
        requests: &Rc<dyn Requests>,
    ) -> Option<LocalBoxFuture<'static, ()>> {
        self.requests.get_or_init(|| Rc::downgrade(requests));
        self.admit(connection, accepted, waiting);
        (!self.is_hosted.replace(true)).then(|| host(Hosting(self.clone())).boxed_local())
    }

    fn admit(self: &Rc<Self>, connection: Connection, accepted: Socket, waiting: Waiting) {
        let (socket, remains) = connection.into_remains();
        // A socket that cannot be taken from the runtime is closed.
        let Ok(socket) = socket.into_std() else { return };
        let mut table = self.table.borrow_mut();
        let due = table.due();
        let key = table.park(&self.worker.edge, socket, accepted, remains, waiting);
        if self.watch(table.socket(key), key).is_err() {
            table.expel(key, Unparked::Behind);
            let left = table.take_left();
            drop(table);
            left.into_iter().for_each(|departed| self.continue_alone(departed, false));
        } else if table.ready() > 0 || !table.sent_to.is_empty() || table.due() < due {
            self.woken.host.wake();
        }
    }

    fn watch(&self, socket: &std::net::TcpStream, key: u32) -> io::Result<()> {
        if self.events.get().is_none() {
            let _ = self.events.set(Events::open()?);
        }
        self.events.get().map_or(Ok(()), |events| events.add(socket, key))
    }

    /// Continues a connection that left, in a task of its own. `parks`: it is parked again.
    fn continue_alone(self: &Rc<Self>, departed: Departed, parks: bool) {
        let Departed { socket, accepted, remains, then } = departed;
        if let Some(events) = self.events.get() {
            events.remove(&socket);
        }
        // A socket that the runtime does not accept is closed.
        let Ok(socket) = TcpStream::from_std(socket) else { return };
        let alone = Alone::new(self);
        rt::spawn(async move {
            let mut connection = Connection::resumed(&alone.0.worker, socket, &accepted, remains);
            connection.parks &= parks;
            let host = alone.0.run_alone(connection, accepted, then).await;
            drop(alone);
            // There was none any more.
            if let Some(host) = host {
                host.await;
            }
        });
    }

    /// Returns the host, if the connection is parked again and there is none any more.
    async fn run_alone(
        self: &Rc<Self>,
        mut connection: Connection,
        accepted: Socket,
        then: Then,
    ) -> Option<LocalBoxFuture<'static, ()>> {
        let answered = match then {
            Then::Send(mut sending) => connection.send(&mut sending).await,
            Then::Answer(request) => connection.answer_routed(request).await,
            Then::Next { keeps, guards, since } => {
                connection.has_waited(since);
                let flushed = connection.flush().await;
                connection.alarm.clear();
                drop(guards);
                match flushed {
                    Ok(()) if keeps => Answered::Next,
                    Ok(()) => Answered::Last,
                    Err(_) => return None,
                }
            }
        };
        let requests = self.requests.get().and_then(Weak::upgrade)?;
        match answered {
            Answered::Waits(waiting) => self.park(connection, accepted, waiting, &requests),
            Answered::Next => requests.serve_next(connection, accepted).await,
            Answered::Last => {
                connection.close().await;
                None
            }
        }
    }

    /// Closes all parked connections.
    fn drop_all(&self) {
        if let Ok(mut table) = self.table.try_borrow_mut() {
            *table = Self::table(&self.worker, &self.woken);
        }
    }

    /// One turn of the host.
    fn poll_turn(self: &Rc<Self>, cx: &mut Context<'_>, timer: Pin<&mut Sleep>, pace: &mut Pace) -> Poll<Next> {
        let mut now = Instant::now();
        let end = pace.begin(now);
        self.woken.host.register(cx.waker());
        let mut table = self.table.borrow_mut();
        let woken = self.woken.take();
        if !woken.is_empty() {
            let again = woken.into_iter().filter(|cohort| !table.wake(*cohort)).count();
            pace.published(now, again, table.ready());
        }
        table.sent_to.extend(self.woken.take_members());
        if self.woken.take_ended() {
            table.visit_all();
        }
        let mut received = Vec::new();
        let mut has_more = self.events.get().is_some_and(|events| events.poll_take(cx, &mut received).is_ready());
        received.into_iter().for_each(|member| table.receive(member));
        has_more |= loop {
            let slice = pace.slice(now);
            if !table.turn(slice) {
                pace.done();
                break false;
            }
            now = Instant::now();
            if slice == 0 || now >= end {
                break true;
            }
        };
        let (left, due, is_empty) = (table.take_left(), table.due(), table.is_empty());
        drop(table);
        left.into_iter().for_each(|departed| self.continue_alone(departed, true));
        if has_more {
            pace.pause(Instant::now());
            return Poll::Ready(Next::Slice);
        }
        if is_empty && self.alone.get() == 0 {
            return Poll::Ready(Next::End);
        }
        self.poll_timer(cx, timer, due).map(|()| Next::Slice)
    }

    fn poll_timer(&self, cx: &mut Context<'_>, mut timer: Pin<&mut Sleep>, due: u64) -> Poll<()> {
        let Some(due) = Some(due).filter(|due| *due != NEVER).and_then(|due| self.worker.clock.instant(due)) else {
            return Poll::Pending;
        };
        if timer.deadline() != due {
            timer.as_mut().reset(due);
        }
        timer.poll(cx)
    }
}

/// Serves the cohorts until no connection is left.
async fn host(hosting: Hosting) {
    let (mut timer, mut pace) = (Box::pin(sleep_until(Instant::now())), Pace::default());
    while let Next::Slice = poll_fn(|cx| hosting.0.poll_turn(cx, timer.as_mut(), &mut pace)).await {
        yield_now().await;
    }
}

/// There is a host. The next connection becomes it once this is dropped.
struct Hosting(Rc<Cohorts>);

impl Drop for Hosting {
    fn drop(&mut self) {
        self.0.is_hosted.set(false);
        if std::thread::panicking() {
            // Without a host its connections would stay open, and silent.
            log::error!("the worker's task for parked connections has failed: their clients have to reconnect");
            self.0.drop_all();
        }
    }
}

/// A connection that left.
struct Alone(Rc<Cohorts>);

impl Alone {
    fn new(cohorts: &Rc<Cohorts>) -> Self {
        cohorts.alone.set(cohorts.alone.get() + 1);
        Self(cohorts.clone())
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        self.0.alone.set(self.0.alone.get() - 1);
        self.0.woken.host.wake();
    }
}
