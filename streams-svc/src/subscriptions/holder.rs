//! The process that has the subscriptions: of all on a bus, one at a time. The others answer nothing, and pass their requests on.
//!
//! It renews its lease while it works. If it cannot, it forgets everything: another process continues from what is stored, and stores nothing
//! any more under a lease that has passed on.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant, UNIX_EPOCH},
};

use bytes::Bytes;
use edge::service::Service;
use futures_util::FutureExt as _;
use outgoing::Outgoing;
use shared::{
    live::{
        bus::{Bus, BusError, Lease},
        log::{Changes, Listing, Log},
    },
    pure::{ChannelName, Cursor},
    throttle,
};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    book::{Book, Job, Outcome},
    command::{Command, Reply},
    delivery::Sender,
    guard,
    signing::ServerKey,
    status::Status,
    stored,
    subscription::Streams,
};

/// The name of the lease, and of the entries that are stored under it.
const LEASE: &str = "subscriptions";
/// How long the lease lasts after it was renewed, and how often it is: a process that was killed is replaced within their sum.
const LEASE_TTL: Duration = Duration::from_secs(2);
const RENEWAL: Duration = Duration::from_millis(500);
/// The pause between two looks at a log that is behind.
const BEHIND: Duration = Duration::from_millis(50);
/// The longest time without a look at the clock, which other processes share.
const MAX_SLEEP: Duration = Duration::from_secs(10);
/// Maximum number of requests that wait.
const MAX_WAITING: usize = 256;
/// The number of channels that are listed at a time.
const PAGE: usize = 2_000;

/// See the module.
#[derive(Debug)]
pub(super) struct Holder {
    service: Service,
    requests: mpsc::Receiver<Request>,
    outgoing: Outgoing,
    status: Status,
}

/// A [`Command`] as JSON.
#[derive(Debug)]
struct Request {
    text: Bytes,
    /// For a [`Reply`] as JSON; `None` if this process does not have the subscriptions.
    reply: oneshot::Sender<Option<Bytes>>,
}

impl Request {
    fn answer(self, reply: &Reply) {
        // The client may have left.
        let _ = self.reply.send(serde_json::to_vec(reply).ok().map(Bytes::from));
    }
}

/// The ends of streams in the log of this process.
struct Ends<'a>(&'a dyn Bus);

impl Streams for Ends<'_> {
    fn ends(&self, channel: &ChannelName) -> Option<(Cursor, Cursor)> {
        self.0.stream_info(channel, false).ok().map(|info| (info.start, info.tail))
    }
}

impl Holder {
    pub(super) fn new(service: &Service) -> Self {
        let (send, requests) = mpsc::channel(MAX_WAITING);
        service.edge.subscriptions.serve(move |text| {
            let send = send.clone();
            Box::pin(async move {
                let (reply, answer) = oneshot::channel();
                send.try_send(Request { text, reply }).ok()?;
                answer.await.ok()?
            })
        });
        let status = Status::default();
        let figures = status.clone();
        service.edge.metrics.watch_figures(move || figures.figures());
        let problems = status.clone();
        service.edge.readiness.watch(move || problems.degraded());
        let outgoing = Outgoing::guarded(guard(&service.edge.settings.streams));
        Self { service: service.clone(), requests, outgoing, status }
    }

    /// Works whenever it has the lease, until the process drains.
    pub(super) async fn run(mut self) {
        let (bus, drain) = (self.service.bus.clone(), self.service.edge.clone());
        tokio::select! {
            () = self.work(&*bus) => {}
            () = drain.drain.begun() => {}
        }
        // Another process takes over at once.
        bus.release(LEASE, bus.log().head()).await;
    }

    async fn work(&mut self, bus: &dyn Bus) {
        bus.filled().await;
        loop {
            let asked = Instant::now();
            if let Some(lease) = bus.lease(LEASE, LEASE_TTL).await {
                tokio::select! {
                    () = renew(bus, asked) => log::info!("subscriptions: another process has them from now on"),
                    () = self.hold(bus, lease) => {}
                }
                self.status.set(None);
            } else {
                // What another process has is not known here.
                self.status.set_problem(None);
            }
            let pause = sleep(RENEWAL);
            tokio::pin!(pause);
            loop {
                tokio::select! {
                    () = &mut pause => break,
                    Some(request) = self.requests.recv() => drop(request.reply.send(None)),
                }
            }
        }
    }

    /// Has the subscriptions until they cannot be stored.
    async fn hold(&mut self, bus: &dyn Bus, lease: Lease) {
        // What the process before has seen is to be seen here, too: a stream that is not there yet is not a stream that was deleted.
        let from = if let Lease::Got { from } = lease { from } else { Cursor::ZERO };
        while bus.log().head() < from {
            sleep(BEHIND).await;
        }
        let Some((mut book, key, mut unreadable)) = self.load(bus).await else { return };
        let (log, streams) = (bus.log().clone(), Ends(bus));
        let sender = Sender { bus: self.service.bus.clone(), outgoing: self.outgoing.clone(), key };
        let mut sending: JoinSet<(Job, Outcome)> = JoinSet::new();
        let mut changes = watch(&log, &book, &[], None);
        scan(&log, &mut book, &streams).await;
        let mut answers: Vec<(Request, Reply)> = Vec::new();
        loop {
            if !book.is_full {
                book.advance(&streams, now(bus));
            }
            match store(bus, &mut book).await {
                Ok(()) => {}
                // Otherwise the same change would fail again and again, and nobody could remove anything.
                Err(error @ BusError::StatesFull(_)) => {
                    throttle::log(
                        log::Level::Error,
                        "subscriptions are full, and wake nobody until some are deleted",
                        &error,
                    );
                    let reply = Reply::error(429, "TOO_MANY_SUBSCRIPTIONS", "there is no space to store subscriptions");
                    answers.drain(..).for_each(|(request, _)| request.answer(&reply));
                    let Some((stored, _, ids)) = self.load(bus).await else { return };
                    (book, unreadable) = (stored, ids);
                    book.is_full = true;
                    sending = JoinSet::new();
                    changes = watch(&log, &book, &[], None);
                }
                Err(error) => {
                    self.fail("subscriptions cannot be stored", &error);
                    let reply = Reply::error(503, "bus_unavailable", &error.to_string());
                    answers.into_iter().for_each(|(request, _)| request.answer(&reply));
                    return;
                }
            }
            answers.drain(..).for_each(|(request, reply)| request.answer(&reply));
            let now_ms = now(bus);
            // What follows from an answer could not be stored either, and the wake would be sent again at once.
            let jobs = if book.is_full { Vec::new() } else { book.due(&streams, now_ms) };
            for job in jobs {
                let sender = sender.clone();
                sending.spawn(async move {
                    let outcome = sender.send(&job).await;
                    (job, outcome)
                });
            }
            self.status.set(Some(&mut book));
            self.status.set_problem(problem(&book, &mut unreadable));
            // Nothing is due while nothing can be stored.
            let deadline = book.deadline(now_ms).filter(|_| !book.is_full);
            let pause = deadline.map_or(MAX_SLEEP, |at_ms| Duration::from_millis(at_ms.saturating_sub(now_ms)));
            tokio::select! {
                Some(request) = self.requests.recv() => {
                    let Ok(command) = serde_json::from_slice(&request.text) else {
                        let _ = request.reply.send(None);
                        continue;
                    };
                    let reply = execute(&log, &mut book, &mut changes, command, &streams, now(bus)).await;
                    answers.push((request, reply));
                }
                channels = changes.next() => match channels {
                    Some(channels) => book.appended(&channels, &streams),
                    None => scan(&log, &mut book, &streams).await,
                },
                Some(sent) = sending.join_next() => {
                    if let Ok((job, outcome)) = sent {
                        self.status.sent(outcome);
                        book.sent(job, outcome, now(bus));
                    }
                }
                () = sleep(pause.min(MAX_SLEEP)) => {}
            }
        }
    }

    /// What is stored, with a key that is stored, and the ids of what does not parse; `None` if it cannot be read.
    async fn load(&self, bus: &dyn Bus) -> Option<(Book, Arc<ServerKey>, BTreeSet<String>)> {
        let failed = |error| self.fail("subscriptions cannot be read", &error);
        let loaded = stored::read(bus.read_entries(LEASE).await.map_err(failed).ok()?);
        let key = match loaded.key {
            Some(key) => key,
            None => {
                let key = ServerKey::generate();
                bus.write_entries(LEASE, vec![stored::key(&key)]).await.map_err(failed).ok()?;
                key
            }
        };
        let key = Arc::new(key);
        let settings = self.service.edge.settings.streams.clone();
        let book = Book::new(key.clone(), settings, loaded.subscriptions, bus.entry_space());
        Some((book, key, loaded.unreadable))
    }

    /// Nothing works for now.
    fn fail(&self, reason: &'static str, error: &BusError) {
        throttle::log(log::Level::Warn, reason, error);
        self.status.set_problem(Some(format!("{reason}: {error}")));
    }
}

/// What does not work, of what the process has. A subscription with the id of an unreadable one replaces it.
fn problem(book: &Book, unreadable: &mut BTreeSet<String>) -> Option<String> {
    unreadable.retain(|id| !book.has(id));
    match unreadable.len() {
        _ if book.is_full => Some("subscriptions are full, and wake nobody until some are deleted".to_owned()),
        0 => None,
        count => Some(format!("{count} stored subscriptions cannot be read, and wake nobody: the log names them")),
    }
}

/// Stores what has changed.
///
/// # Errors
/// When it could not be stored.
async fn store(bus: &dyn Bus, book: &mut Book) -> Result<(), BusError> {
    let entries = book.changes();
    if entries.is_empty() {
        return Ok(());
    }
    let has_removed = entries.iter().any(|(_, value)| value.is_none());
    bus.write_entries(LEASE, entries).await?;
    if has_removed && book.is_full {
        // There may be space again for what came meanwhile.
        book.is_full = false;
        book.check_all();
    }
    Ok(())
}

/// Renews the lease until that fails.
async fn renew(bus: &dyn Bus, mut renewed: Instant) {
    loop {
        sleep(RENEWAL).await;
        let asked = Instant::now();
        let left = (renewed + LEASE_TTL).saturating_duration_since(asked);
        match timeout(left, bus.lease(LEASE, LEASE_TTL)).await {
            // A new lease: it had ended, and another process may have changed something.
            Ok(Some(Lease::Kept)) => renewed = asked,
            // While the bus is unavailable the lease lasts.
            Ok(None) if bus.ready().is_err() && !left.is_zero() => {}
            _ => return,
        }
    }
}

/// Executes a command. What it concerns is watched before its streams are looked at, so that no append is missed in between.
async fn execute(
    log: &Arc<Log>,
    book: &mut Book,
    changes: &mut Changes,
    command: Command,
    streams: &Ends<'_>,
    now_ms: u64,
) -> Reply {
    let mut existing = Vec::new();
    let is_watched = match &command {
        Command::Put { id, config, .. } if !book.has(id) => {
            let prefix = config.prefix();
            let names: Vec<_> = config.streams.iter().cloned().collect();
            replace(log, changes, watch(log, book, &names, prefix), book, streams).await;
            if let Some(prefix) = prefix {
                existing = list(log, prefix).await;
            }
            false
        }
        Command::Link { streams: names, .. } => {
            let names: Vec<_> = names.iter().cloned().collect();
            replace(log, changes, watch(log, book, &names, None), book, streams).await;
            false
        }
        Command::Delete { .. } | Command::Unlink { .. } => false,
        _ => true,
    };
    let reply = book.execute(command, &existing, streams, now_ms);
    if !is_watched {
        replace(log, changes, watch(log, book, &[], None), book, streams).await;
    }
    reply
}

/// Continues with `next`, after what `changes` has noted; after a scan, if that was too much to be noted.
async fn replace(log: &Arc<Log>, changes: &mut Changes, next: Changes, book: &mut Book, streams: &impl Streams) {
    match std::mem::replace(changes, next).next().now_or_never() {
        Some(Some(channels)) => book.appended(&channels, streams),
        Some(None) => scan(log, book, streams).await,
        None => {}
    }
}

/// The channels that concern the subscriptions, `names`, and those whose names begin with `prefix`.
fn watch(log: &Arc<Log>, book: &Book, names: &[ChannelName], prefix: Option<&str>) -> Changes {
    let (mut wanted, mut prefixes) = book.wanted();
    wanted.extend(names.iter().cloned());
    prefixes.extend(prefix.map(ToOwned::to_owned));
    let prefixes = shortest(prefixes);
    log.changes(move |channel| wanted.contains(channel) || prefixes.iter().any(|prefix| channel.starts_with(prefix)))
}

/// Without those that begin with another one.
fn shortest(prefixes: BTreeSet<String>) -> Vec<String> {
    let mut shortest: Vec<String> = Vec::new();
    // In their order, what begins with another one follows it.
    for prefix in prefixes {
        if shortest.last().is_none_or(|last| !prefix.starts_with(last)) {
            shortest.push(prefix);
        }
    }
    shortest
}

/// Looks at all streams that patterns may select, and at all subscriptions.
async fn scan(log: &Arc<Log>, book: &mut Book, streams: &impl Streams) {
    book.check_all();
    for prefix in shortest(book.wanted().1) {
        let names = list(log, &prefix).await;
        book.appended(&names, streams);
    }
}

/// The channels whose names begin with `prefix`. In slices: in between, publishers get the lock of the log, and others this thread.
async fn list(log: &Arc<Log>, prefix: &str) -> Vec<ChannelName> {
    let mut names: Vec<ChannelName> = Vec::new();
    loop {
        let mut listing = Listing::new(prefix, names.last().cloned(), PAGE);
        while log.list(&mut listing) {
            tokio::task::yield_now().await;
        }
        let (page, is_last) = listing.into_page();
        names.extend(page.into_iter().map(|stats| stats.name));
        if is_last {
            return names;
        }
    }
}

/// The time of day by the clock that all processes share, in milliseconds.
fn now(bus: &dyn Bus) -> u64 {
    bus.time().duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests;
