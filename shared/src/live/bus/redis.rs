//! The bus of several processes: one stream in Redis defines the order, and every process copies it into its own log.
//!
//! Publishing: [`RedisBus::publish`] → a queue bounded in bytes → [`publisher`], which sends everything in the queue with one script →
//! Redis → the ids. Reading: Redis → [`tail`] → the log → readers, on all processes alike. [`link`] connects, checks the stream, runs both,
//! and reconnects with growing pauses when anything breaks. [`streams`] has the operations on streams. [`purge`] removes the messages of a channel. [`pulse`] checks once a second whether the stream still exists, and trims it.
//!
//! No reader ever waits for Redis. While it is unavailable, publications are rejected, the log stays as it is, and cursors that only
//! another process can know are not decided. See `docs/decisions/0020-redis-bus.md`.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use tokio::{
    sync::{Notify, Semaphore, mpsc, watch},
    task::AbortHandle,
    time::{Instant, timeout},
};

use super::{
    Answer, Bus, BusError, Entry, EntryChange, IdempotencyKey, LEASE_HANDOFF_TTL, Lease, Publication, Published,
    Question, Record, Replies, Stored,
};
use crate::{
    live::{
        clock::{Moment, wall_clock},
        degraded::Degradation,
        log::{Limits, Log},
    },
    pure::{
        ChannelName, Cursor, Draft,
        stream::{StreamInfo, StreamOp, StreamReply},
    },
    throttle::Throttle,
};

mod clock;
mod connector;
mod entry;
mod erase;
mod error;
mod health;
mod ledger;
mod linger;
mod link;
mod page;
mod pauses;
mod peers;
mod publisher;
mod publishing;
mod pulse;
mod purge;
mod records;
mod scripts;
mod state;
mod stream;
mod streams;
mod tail;

use clock::{BusClock, WallClock};
use health::Health;
use link::Link;
use peers::Peers;
use publisher::Job;
use publishing::ROOM_KIB;
use scripts::Scripts;
use streams::Streams;

/// A publication is answered within this time: with its ids, or with an error.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(2);
/// How long to wait for a client's cursor that is ahead of the log, before its reader is opened anyway.
const WAIT_FOR_TIMEOUT: Duration = Duration::from_secs(2);
/// Bytes of Redis' memory for idempotency keys and their answers, by default. Rejecting a key is safe; forgetting one early is not.
const KEY_BYTES: usize = 64 * 1024 * 1024;

/// The bus on a Redis. Dropping it closes its connections.
pub struct RedisBus {
    log: Arc<Log>,
    shared: Arc<Shared>,
    jobs: mpsc::UnboundedSender<Job>,
    room: Arc<Semaphore>,
    /// Identifies this process as a holder of leases.
    owner: String,
    /// What is stored, until somebody takes it.
    stored: Mutex<Option<mpsc::UnboundedReceiver<Stored>>>,
    link: AbortHandle,
}

/// The state that outlives a connection.
#[derive(Debug)]
struct Shared {
    phase: Mutex<Phase>,
    /// The newest id of this process's publications.
    given: Mutex<Cursor>,
    /// Entries of the stream before this are not needed any more.
    needed: Mutex<Cursor>,
    /// The log's head; sent again without a change when a probe has ended.
    progress: watch::Sender<Cursor>,
    /// Requests a probe.
    wanted: Notify,
    /// Ends the pause before the next read of the stream.
    hurried: Notify,
    clock: Mutex<BusClock>,
    health: Mutex<Health>,
    warnings: Mutex<Throttle>,
    /// Bytes of Redis' memory that idempotency keys may take.
    key_bytes: AtomicUsize,
    peers: Arc<Peers>,
    streams: Streams,
    stored: mpsc::UnboundedSender<Stored>,
    is_stored_taken: AtomicBool,
}

#[derive(Clone, Debug)]
enum Phase {
    /// No connection, and why.
    Disconnected(String),
    /// Publishing works; the stream is still being read.
    Filling(Connection),
    /// Everything works, since then.
    Ready(Connection, Instant),
}

/// A connection for commands. Clones share it.
#[derive(Clone, Debug)]
struct Connection {
    connection: MultiplexedConnection,
    scripts: Arc<Scripts>,
}

impl Shared {
    /// Now: the time of day is that of Redis.
    fn now(&self) -> Moment {
        Moment { time_ms: self.clock.lock().now_ms(), ..Moment::now() }
    }

    /// Logs `reason: what` as a warning, unless one of this reason was logged within the last second.
    fn warn(&self, reason: &'static str, what: impl fmt::Display) {
        if let Some(suppressed) = self.warnings.lock().admit(reason) {
            log::warn!("{reason}: {what}{suppressed}");
        }
    }

    fn connection(&self) -> Result<Connection, BusError> {
        match &*self.phase.lock() {
            Phase::Disconnected(why) => Err(BusError::Unavailable(why.clone())),
            Phase::Filling(connection) | Phase::Ready(connection, _) => Ok(connection.clone()),
        }
    }
}

impl RedisBus {
    /// The bus at `url` (`redis://` or `rediss://`), with a log of this process within `limits`.
    ///
    /// `authorities` (PEM) are the certificate authorities of a `rediss://` server; `None` means those of the system.
    ///
    /// Returns immediately and connects in the background; until the log is filled, [`ready`](Bus::ready) returns an error. Has to be
    /// called within a tokio runtime, on which the connections then run.
    ///
    /// # Errors
    ///
    /// When the URL or the `authorities` are invalid.
    pub fn open(url: &str, authorities: Option<&[u8]>, limits: Limits) -> Result<Self, BusError> {
        Self::with_clock(url, authorities, limits, wall_clock)
    }

    /// As [`open`](Self::open), on a host whose clock is `clock`.
    fn with_clock(url: &str, authorities: Option<&[u8]>, limits: Limits, clock: WallClock) -> Result<Self, BusError> {
        let log = Arc::new(Log::unfilled(limits).with_stored_streams());
        let (stored, stored_receiver) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            phase: Mutex::new(Phase::Disconnected("not connected to Redis yet".into())),
            given: Mutex::default(),
            needed: Mutex::default(),
            progress: watch::Sender::new(Cursor::ZERO),
            wanted: Notify::new(),
            hurried: Notify::new(),
            clock: Mutex::new(BusClock::new(clock)),
            health: Mutex::default(),
            warnings: Mutex::new(Throttle::new(Duration::from_secs(1))),
            key_bytes: AtomicUsize::new(KEY_BYTES),
            peers: Arc::default(),
            streams: Streams::default(),
            stored,
            is_stored_taken: AtomicBool::new(false),
        });
        let (jobs, queue) = mpsc::unbounded_channel();
        let link = Link::new(url, authorities, limits, log.clone(), shared.clone())?;
        let link = tokio::spawn(link.run(queue)).abort_handle();
        let owner = format!("{:032x}", rand::random::<u128>());
        let stored = Mutex::new(Some(stored_receiver));
        Ok(Self { log, shared, jobs, room: Arc::new(Semaphore::new(ROOM_KIB)), owner, stored, link })
    }

    /// The same, on a process of this service.
    #[must_use]
    pub fn with_service(self, name: &str) -> Self {
        self.shared.peers.set_service(name);
        self
    }

    /// The same, with a limit in bytes of Redis' memory for idempotency keys. All processes on one Redis should use the same.
    #[must_use]
    pub fn with_key_bytes(self, most: usize) -> Self {
        self.shared.key_bytes.store(most, Ordering::Relaxed);
        self
    }
}

impl Bus for RedisBus {
    fn log(&self) -> &Arc<Log> {
        &self.log
    }

    fn publish(&self, publication: Publication) -> Answer<'_, Result<Published, BusError>> {
        Box::pin(self.publish_within(publication))
    }

    fn wait_for(&self, cursor: Cursor) -> Answer<'_, ()> {
        Box::pin(async move {
            let state = self.log.state();
            if state.head >= cursor || !matches!(*self.shared.phase.lock(), Phase::Ready(..)) {
                return;
            }
            let mut progress = self.shared.progress.subscribe();
            self.shared.wanted.notify_one();
            let is_decided = |head: &Cursor| *head >= cursor || self.log.state().has_ended(state.next_probe());
            // A timeout is not an error: the reader continues to wait.
            let _ = timeout(WAIT_FOR_TIMEOUT, progress.wait_for(is_decided)).await;
        })
    }

    fn filled(&self) -> Answer<'_, ()> {
        Box::pin(async move {
            // This process owns the sender, so it is not dropped before the answer.
            let _ = self.shared.progress.subscribe().wait_for(|_| self.log.is_filled()).await;
        })
    }

    fn ready(&self) -> Result<(), BusError> {
        match &*self.shared.phase.lock() {
            Phase::Ready(..) => Ok(()),
            Phase::Filling(_) => Err(BusError::Unavailable("the log is being loaded from Redis".into())),
            Phase::Disconnected(why) => Err(BusError::Unavailable(why.clone())),
        }
    }

    fn sweep(&self) -> bool {
        self.log.sweep(self.shared.now())
    }

    fn purge(&self, channel: ChannelName) -> Answer<'_, Result<Cursor, BusError>> {
        Box::pin(async move {
            self.ready()?;
            purge::purge(&self.log, &self.shared, channel).await
        })
    }

    fn stream(&self, op: StreamOp) -> Answer<'_, Result<StreamReply, BusError>> {
        Box::pin(self.change_stream(op))
    }

    fn stream_info(&self, channel: &ChannelName, renews: bool) -> Result<StreamInfo, BusError> {
        self.log.stream_info(channel, renews, self.shared.now()).map_err(BusError::Stream)
    }

    fn publishing_bytes(&self) -> usize {
        (ROOM_KIB - self.room.available_permits().min(ROOM_KIB)) * 1024
    }

    fn catch_up<'a>(&'a self, channel: &'a ChannelName) -> Answer<'a, Result<(), BusError>> {
        Box::pin(self.catch_up_stream(channel))
    }

    fn degraded(&self) -> Vec<Degradation> {
        health::degraded(&self.shared)
    }

    fn process(&self) -> Option<&str> {
        Some(self.shared.peers.name())
    }

    fn ask_until(&self, question: Bytes, is_enough: fn(&[u8]) -> bool) -> Answer<'_, Replies> {
        Box::pin(async move { self.shared.peers.ask(&question, is_enough).await })
    }

    fn questions(&self) -> Option<mpsc::Receiver<Question>> {
        self.shared.peers.questions()
    }

    fn gone(&self) -> Option<mpsc::UnboundedReceiver<String>> {
        self.shared.peers.gone()
    }

    fn time(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.shared.now().time_ms)
    }

    fn store(&self, records: Vec<Record>) -> Answer<'_, Result<(), BusError>> {
        Box::pin(async move { records::store(&records, &self.shared).await })
    }

    fn stored(&self) -> Option<mpsc::UnboundedReceiver<Stored>> {
        self.shared.is_stored_taken.store(true, Ordering::Release);
        self.stored.lock().take()
    }

    fn close(&self) -> Answer<'_, ()> {
        Box::pin(self.shared.peers.leave())
    }

    fn find<'a>(
        &'a self,
        key: &'a IdempotencyKey,
        drafts: &'a [Draft],
    ) -> Answer<'a, Result<Option<Published>, BusError>> {
        Box::pin(async move {
            let Connection { mut connection, .. } = self.shared.connection()?;
            publisher::find(&mut connection, key, drafts).await
        })
    }

    fn lease(&self, name: &'static str, ttl: Duration) -> Answer<'_, Option<Lease>> {
        Box::pin(async move {
            let Connection { mut connection, scripts } = self.shared.connection().ok()?;
            let mut call = scripts::call(&scripts.lease, &[&scripts::lease_key(name), scripts::STREAM]);
            call.arg(&self.owner).arg(u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX));
            let told: Option<String> = scripts::run(&mut connection, &call).await.ok()?;
            Some(match &*told? {
                "kept" => Lease::Kept,
                told => match told.strip_prefix('@') {
                    Some(left) => Lease::Got { from: left.parse().ok()? },
                    // A stream that lost entries, or is not complete yet, is behind the log.
                    None => Lease::Got { from: told.parse::<Cursor>().ok()?.max(self.log.head()) },
                },
            })
        })
    }

    fn read_state(&self, name: &'static str) -> Answer<'_, Result<Option<Bytes>, BusError>> {
        Box::pin(state::read(&self.shared, name))
    }

    fn write_state(&self, name: &'static str, state: Bytes) -> Answer<'_, Result<(), BusError>> {
        Box::pin(async move { state::write(&self.shared, &self.owner, name, &state).await })
    }

    fn read_entries(&self, name: &'static str) -> Answer<'_, Result<Vec<Entry>, BusError>> {
        Box::pin(state::read_entries(&self.shared, name))
    }

    fn write_entries(&self, name: &'static str, changes: Vec<EntryChange>) -> Answer<'_, Result<(), BusError>> {
        Box::pin(async move { state::write_entries(&self.shared, &self.owner, name, changes).await })
    }

    fn release(&self, name: &'static str, at: Cursor) -> Answer<'_, ()> {
        Box::pin(async move {
            let Ok(Connection { mut connection, scripts }) = self.shared.connection() else { return };
            let mut call = scripts::call(&scripts.release, &[&scripts::lease_key(name)]);
            call.arg(&self.owner).arg(at.to_string());
            call.arg(u64::try_from(LEASE_HANDOFF_TTL.as_millis()).unwrap_or(u64::MAX));
            if let Err(error) = scripts::run::<i64>(&mut connection, &call).await {
                log::debug!("the lease {name} was not released and will expire: {error}");
            }
        })
    }
}

impl Drop for RedisBus {
    fn drop(&mut self) {
        self.link.abort();
    }
}

impl fmt::Debug for RedisBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisBus").field("log", &self.log).field("ready", &self.ready()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
