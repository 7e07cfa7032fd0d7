//! The bus of many processes: one stream in Redis gives the order, and every process tails it into its own log.
//!
//! Publishing: [`RedisBus::publish`] → a queue bounded in bytes → [`publisher`], which sends what has gathered in one
//! script → Redis → the ids. Reading: Redis → [`tail`] → the log → readers, on this process and on all others alike.
//! [`link`] connects, joins the stream, keeps the two at work and begins anew, with growing pauses, when anything
//! breaks; [`pulse`] looks once a second whether the stream is still there and has it trimmed.
//!
//! No reader ever waits for Redis. While it is away publishing is refused, the log stays as it is, and cursors that
//! only another process can know are left undecided. See `docs/decisions/0020-redis-bus.md`.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use tokio::{
    sync::{Notify, Semaphore, mpsc, oneshot, watch},
    task::AbortHandle,
    time::{Instant, timeout, timeout_at},
};

use super::{Answer, Bus, BusError, HANDED_ON_FOR, Lease, MAX_BYTES, MAX_MESSAGES, Publication, Published};
use crate::{
    live::{
        clock::{Moment, wall_clock},
        degraded::Degradation,
        log::{Limits, Log},
    },
    pure::{Cursor, Message},
    throttle::Throttle,
};

mod clock;
mod entry;
mod health;
mod ledger;
mod link;
mod publisher;
mod pulse;
mod scripts;
mod stream;
mod tail;

use clock::{BusClock, WallClock};
use health::Health;
use link::Link;
use publisher::Job;
use scripts::Scripts;

/// A publication is answered within this time: with its ids, or that Redis is away.
const PUBLISH_WITHIN: Duration = Duration::from_secs(2);
/// How long a client's cursor that is ahead of the log is waited for before its reader is opened all the same.
const REACH_WITHIN: Duration = Duration::from_secs(2);
/// Bytes of publications that wait for Redis at a time, in kilobytes. Beyond them publishers wait, and are then refused.
const ROOM_KIB: usize = 32 * 1024;
/// Bytes of Redis' memory that idempotency keys and their answers may take, unless said otherwise. Refusing a key beyond it is safe;
/// forgetting one early is not.
const KEY_BYTES: usize = 64 * 1024 * 1024;

/// A Redis, tailed. Dropping it ends its connections.
pub struct RedisBus {
    log: Arc<Log>,
    shared: Arc<Shared>,
    jobs: mpsc::UnboundedSender<Job>,
    room: Arc<Semaphore>,
    /// Who holds the leases of this process.
    owner: String,
    link: AbortHandle,
}

/// Of a lost connection nothing is kept but what is here.
#[derive(Debug)]
struct Shared {
    phase: Mutex<Phase>,
    /// The newest id that a publication of this process got.
    given: Mutex<Cursor>,
    /// Nothing before this is needed in the stream.
    needed: Mutex<Cursor>,
    /// The log's head; sent again without having moved when a probe has ended.
    progress: watch::Sender<Cursor>,
    /// Somebody wants to know how far the stream is.
    wanted: Notify,
    clock: Mutex<BusClock>,
    health: Mutex<Health>,
    warnings: Mutex<Throttle>,
    /// Bytes of Redis' memory that idempotency keys may take.
    key_bytes: AtomicUsize,
}

#[derive(Clone, Debug)]
enum Phase {
    /// No connection, and why.
    Away(String),
    /// Publishing works; what is in the stream is still coming in.
    Filling(Line),
    /// All is well, since when.
    Ready(Line, Instant),
}

/// A connection to send commands on. Clones share it.
#[derive(Clone, Debug)]
struct Line {
    connection: MultiplexedConnection,
    scripts: Arc<Scripts>,
}

impl Shared {
    /// Now: the time of day is that of Redis.
    fn now(&self) -> Moment {
        Moment { time_ms: self.clock.lock().now_ms(), ..Moment::now() }
    }

    /// Logs a warning, unless the same was logged within the last second.
    fn warn(&self, text: &str) {
        if let Some(suppressed) = self.warnings.lock().admit(text) {
            log::warn!("{text}{suppressed}");
        }
    }

    fn line(&self) -> Result<Line, BusError> {
        match &*self.phase.lock() {
            Phase::Away(why) => Err(BusError::Away(why.clone())),
            Phase::Filling(line) | Phase::Ready(line, _) => Ok(line.clone()),
        }
    }
}

impl RedisBus {
    /// The bus at `url` (`redis://` or `rediss://`), with a log of this process's within `limits`.
    ///
    /// `authorities` are those, as PEM, that the certificate of a `rediss://` server may be signed by; none: those of the
    /// system.
    ///
    /// Comes back at once and connects meanwhile; until the log is filled, [`ready`](Bus::ready) says so. To be called
    /// within a tokio runtime, on which the connections then live.
    ///
    /// # Errors
    /// When the URL is none, or `authorities` are none.
    pub fn open(url: &str, authorities: Option<&[u8]>, limits: Limits) -> Result<Self, BusError> {
        Self::with_clock(url, authorities, limits, wall_clock)
    }

    /// As [`open`](Self::open), on a host whose clock is `clock`.
    fn with_clock(url: &str, authorities: Option<&[u8]>, limits: Limits, clock: WallClock) -> Result<Self, BusError> {
        let log = Arc::new(Log::unfilled(limits));
        let shared = Arc::new(Shared {
            phase: Mutex::new(Phase::Away("not connected to Redis yet".into())),
            given: Mutex::default(),
            needed: Mutex::default(),
            progress: watch::Sender::new(Cursor::ZERO),
            wanted: Notify::new(),
            clock: Mutex::new(BusClock::new(clock)),
            health: Mutex::default(),
            warnings: Mutex::new(Throttle::new(Duration::from_secs(1))),
            key_bytes: AtomicUsize::new(KEY_BYTES),
        });
        let (jobs, queue) = mpsc::unbounded_channel();
        let link = Link::new(url, authorities, limits, log.clone(), shared.clone())?;
        let link = tokio::spawn(link.run(queue)).abort_handle();
        let owner = format!("{:032x}", rand::random::<u128>());
        Ok(Self { log, shared, jobs, room: Arc::new(Semaphore::new(ROOM_KIB)), owner, link })
    }

    /// The same, whose idempotency keys may take so many bytes of Redis' memory. All processes on one Redis should say the same.
    #[must_use]
    pub fn with_key_bytes(self, most: usize) -> Self {
        self.shared.key_bytes.store(most, Ordering::Relaxed);
        self
    }

    async fn publish_within(&self, publication: Publication) -> Result<Published, BusError> {
        if publication.drafts.is_empty() {
            return Ok(Published::default());
        }
        let bytes: usize = publication.drafts.iter().map(|draft| draft.payload.len()).sum();
        if publication.drafts.len() > MAX_MESSAGES || bytes > MAX_BYTES {
            return Err(BusError::TooLarge);
        }
        self.shared.line()?;
        let deadline = Instant::now() + PUBLISH_WITHIN;
        let away = |why: &str| BusError::Away(why.into());
        let wanted = u32::try_from(room(&publication).min(ROOM_KIB)).unwrap_or(u32::MAX);
        let permit = timeout_at(deadline, self.room.clone().acquire_many_owned(wanted)).await;
        let Ok(Ok(permit)) = permit else { return Err(away("more is published than Redis takes in")) };
        let (answer, mut answered) = oneshot::channel();
        let is_sent = Arc::new(AtomicBool::new(false));
        let job = Job { publication, answer, is_sent: is_sent.clone(), _permit: permit };
        self.jobs.send(job).map_err(|_| away("the connection to Redis has been given up"))?;
        let why = match timeout_at(deadline, &mut answered).await {
            Ok(Ok(answer)) => return answer,
            Ok(Err(_)) => "the connection to Redis broke while its answer was due",
            Err(_) => {
                // In this order: what is sent from now on is not sent any more.
                answered.close();
                if let Ok(answer) = answered.try_recv() {
                    return answer;
                }
                "Redis did not answer in time"
            }
        };
        Err(if is_sent.load(Ordering::SeqCst) { BusError::Unknown(why.into()) } else { away(why) })
    }
}

/// What a publication takes of the room for those that wait, in kilobytes.
fn room(publication: &Publication) -> usize {
    let bytes: usize = publication.drafts.iter().map(|draft| Message::OVERHEAD + draft.payload.len()).sum();
    bytes.div_ceil(1024)
}

impl Bus for RedisBus {
    fn log(&self) -> &Arc<Log> {
        &self.log
    }

    fn publish(&self, publication: Publication) -> Answer<'_, Result<Published, BusError>> {
        Box::pin(self.publish_within(publication))
    }

    fn reach(&self, cursor: Cursor) -> Answer<'_, ()> {
        Box::pin(async move {
            let state = self.log.state();
            if state.head >= cursor || !matches!(*self.shared.phase.lock(), Phase::Ready(..)) {
                return;
            }
            let mut progress = self.shared.progress.subscribe();
            self.shared.wanted.notify_one();
            let is_told = |head: &Cursor| *head >= cursor || self.log.state().is_answered(state.question());
            // Too late is no fault: the reader goes on waiting by itself.
            let _ = timeout(REACH_WITHIN, progress.wait_for(is_told)).await;
        })
    }

    fn filled(&self) -> Answer<'_, ()> {
        Box::pin(async move {
            // The sender is ours, so it does not go before the answer.
            let _ = self.shared.progress.subscribe().wait_for(|_| self.log.is_filled()).await;
        })
    }

    fn ready(&self) -> Result<(), BusError> {
        match &*self.shared.phase.lock() {
            Phase::Ready(..) => Ok(()),
            Phase::Filling(_) => Err(BusError::Away("the log is being filled from Redis".into())),
            Phase::Away(why) => Err(BusError::Away(why.clone())),
        }
    }

    fn sweep(&self) -> bool {
        self.log.sweep(self.shared.now())
    }

    fn degraded(&self) -> Vec<Degradation> {
        health::degraded(&self.shared)
    }

    fn lease(&self, name: &'static str, ttl: Duration) -> Answer<'_, Option<Lease>> {
        Box::pin(async move {
            let Line { mut connection, scripts } = self.shared.line().ok()?;
            let mut call = scripts::call(&scripts.lease, &[&scripts::lease_key(name), scripts::STREAM]);
            call.arg(&self.owner).arg(u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX));
            let told: Option<String> = scripts::run(&mut connection, &call).await.ok()?;
            Some(match &*told? {
                "kept" => Lease::Kept,
                told => match told.strip_prefix('@') {
                    Some(left) => Lease::Got { from: left.parse().ok()? },
                    // A stream that came back with less, or not yet, says less than the log knows.
                    None => Lease::Got { from: told.parse::<Cursor>().ok()?.max(self.log.head()) },
                },
            })
        })
    }

    fn release(&self, name: &'static str, at: Cursor) -> Answer<'_, ()> {
        Box::pin(async move {
            let Ok(Line { mut connection, scripts }) = self.shared.line() else { return };
            let mut call = scripts::call(&scripts.release, &[&scripts::lease_key(name)]);
            call.arg(&self.owner).arg(at.to_string());
            call.arg(u64::try_from(HANDED_ON_FOR.as_millis()).unwrap_or(u64::MAX));
            if let Err(error) = scripts::run::<i64>(&mut connection, &call).await {
                log::debug!("the lease {name} is left to its time: {error}");
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
