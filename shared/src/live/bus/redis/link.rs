//! The two connections to Redis: made, joined to the stream, kept at work, and made anew when anything breaks.
//!
//! One sends commands, the other waits for entries. They live and die together, so that whatever happened to Redis
//! meanwhile is found out in one place, before anything is published or read: [`Link::join`].

use std::{convert::Infallible, io, sync::Arc, time::Duration};

use rand::RngExt as _;
use redis::{
    AsyncConnectionConfig, ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _, RedisError, Value,
    aio::MultiplexedConnection,
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout},
};
use tokio_rustls::TlsConnector;

use super::{
    Line, Phase, Shared, clock, entry,
    publisher::{self, Job},
    pulse,
    scripts::{self, BREAK, EDGE, STREAM, Scripts},
    stream::{self, Duplex, Impatient},
    tail::{BLOCK, Tail},
};
use crate::{
    live::{
        bus::BusError,
        log::{Limits, Log},
    },
    pure::Cursor,
    throttle::Throttle,
};

/// How long a connection may take to come up, and an answer to come in.
const PATIENCE: Duration = Duration::from_secs(2);
/// The first pause after a connection broke, about; each one after it is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// While Redis stays away, the same reason is logged once in this time.
const WARN_EVERY: Duration = Duration::from_secs(60);
/// A connection that was of use for so long has the next one begin with the first pause again.
const STABLE: Duration = Duration::from_secs(10);

/// Why the link had to be given up.
#[derive(Debug, thiserror::Error)]
pub(super) enum LinkError {
    /// Redis, or the way to it.
    #[error("{0}")]
    Redis(#[from] RedisError),
    /// Nobody answers at the address.
    #[error("no connection within {} s", PATIENCE.as_secs())]
    Connecting,
    /// The server shows a certificate that does not hold.
    #[error(
        "its certificate is not accepted ({0}); TRIDENT_REDIS_CA_FILE names the authorities that it may be signed by, and \
         the host in the URL has to be one that it is for"
    )]
    Certificate(String),
    /// The server only repeats what another one says.
    #[error("the address leads to a replica, which takes no messages; it has to lead to the primary")]
    Replica,
    /// An answer that no such command has.
    #[error("the answer to {0} makes no sense")]
    Answer(&'static str),
    /// Two connections to one address led to two servers.
    #[error("the address leads to two servers at once")]
    Split,
    /// The stream ends before what was read from it.
    #[error("the stream has lost its end")]
    Shortened,
}

/// See the module.
pub(super) struct Link {
    info: ConnectionInfo,
    tls: Option<TlsConnector>,
    limits: Limits,
    log: Arc<Log>,
    shared: Arc<Shared>,
    tail: Tail,
}

/// Where the stream was when we came to it.
#[derive(Debug)]
pub(super) struct Joined {
    /// The newest id.
    pub(super) last: Cursor,
    /// The id of the oldest entry that is still there.
    pub(super) first: Option<Cursor>,
}

impl Link {
    pub(super) fn new(
        url: &str,
        authorities: Option<&[u8]>,
        limits: Limits,
        log: Arc<Log>,
        shared: Arc<Shared>,
    ) -> Result<Self, BusError> {
        // Errors of the URL's may show it, and it may hold a password.
        let bad = |_| BusError::Away("the URL of the Redis is none".into());
        let info: ConnectionInfo = url.into_connection_info().map_err(bad)?;
        let is_encrypted = matches!(info.addr(), ConnectionAddr::TcpTls { .. });
        let tls = is_encrypted.then(|| stream::tls(authorities)).transpose();
        let tls = tls.map_err(|_| BusError::Away("the file of Redis' authorities holds no certificates".into()))?;
        let tail = Tail::new(limits, log.clone(), shared.clone());
        Ok(Self { info, tls, limits, log, shared, tail })
    }

    /// Keeps the link up for as long as it is polled.
    pub(super) async fn run(mut self, mut jobs: mpsc::UnboundedReceiver<Job>) -> Infallible {
        let mut pause = FIRST_PAUSE;
        let mut warnings = Throttle::new(WARN_EVERY);
        loop {
            let Err(error) = self.session(&mut jobs).await;
            let why = format!("Redis is away: {error}");
            let before = std::mem::replace(&mut *self.shared.phase.lock(), Phase::Away(why.clone()));
            if matches!(before, Phase::Ready(_, since) if since.elapsed() >= STABLE) {
                pause = FIRST_PAUSE;
                warnings = Throttle::new(WARN_EVERY);
            }
            if let Some(more) = warnings.admit(&why) {
                log::warn!("{why}{more}");
            }
            let jitter = rand::rng().random_range(0.5..1.0);
            sleep(pause.mul_f64(jitter)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
            // What was handed in just before it was known; nothing has been sent.
            while let Ok(job) = jobs.try_recv() {
                job.refuse(BusError::Away(why.clone()));
            }
        }
    }

    async fn session(&mut self, jobs: &mut mpsc::UnboundedReceiver<Job>) -> Result<Infallible, LinkError> {
        let mut connection = self.connect(Patience::Answer).await?;
        let mut waiting = self.connect(Patience::Silence).await?;
        if identity(&mut connection).await? != identity(&mut waiting).await? {
            return Err(LinkError::Split);
        }
        let asked = Instant::now();
        match clock::ask(&mut connection).await {
            Ok(ms) => self.shared.clock.lock().read(ms, asked),
            // The pulse reports it.
            Err(error) if error.code() == Some("NOPERM") => {}
            Err(error) => return Err(error.into()),
        }
        let scripts = Arc::new(Scripts::load(&mut connection).await?);
        let mut line = Line { connection, scripts };
        let joined = self.join(&mut line).await?;
        self.tail.join(&joined);
        *self.shared.phase.lock() = Phase::Filling(line.clone());
        tokio::select! {
            end = self.tail.run(waiting, &line, joined.last) => end,
            end = publisher::run(&line, jobs, &self.shared) => end,
            end = pulse::run(&line, self.limits.channel.age_ms, &self.log, &self.shared) => end,
        }
    }

    async fn connect(&self, patience: Patience) -> Result<MultiplexedConnection, LinkError> {
        let connecting = async {
            let stream = stream::connect(self.info.addr(), self.tls.as_ref()).await.map_err(refused)?;
            let config = AsyncConnectionConfig::new().set_write_backpressure_boundary(publisher::MOST_BYTES);
            let (stream, config): (Box<dyn Duplex>, _) = match patience {
                Patience::Answer => (stream, config.set_response_timeout(Some(PATIENCE))),
                Patience::Silence => {
                    (Box::new(Impatient::new(stream, BLOCK + PATIENCE)), config.set_response_timeout(None))
                }
            };
            let settings = self.info.redis_settings();
            let (connection, driver) = MultiplexedConnection::new_with_config(settings, stream, config).await?;
            // It ends with the last clone of the connection.
            tokio::spawn(driver);
            Ok(connection)
        };
        timeout(PATIENCE, connecting).await.map_err(|_| LinkError::Connecting)?
    }

    /// Finds out where the stream is, and sees to it that it goes on after everything that this process knows of.
    ///
    /// A Redis that comes back with less than it had (empty, from an older file, from a replica that was behind) gets an
    /// entry that says so, with an id greater than any that was given out as far as this process knows: on every process,
    /// every reader that was before it will be told of a gap, and no id is used twice.
    async fn join(&self, line: &mut Line) -> Result<Joined, LinkError> {
        let given = *self.shared.given.lock();
        let mut is_other = false;
        loop {
            let mut call = scripts::call(&line.scripts.join, &[STREAM, BREAK, EDGE]);
            call.arg(self.tail.position().to_string()).arg(given.to_string()).arg(u8::from(is_other));
            let (last, first, fields): (String, String, Vec<Value>) = scripts::run(&mut line.connection, &call).await?;
            // The same id for something else: Redis lost it, and its clock went back to give it out again.
            if !is_other && !fields.is_empty() && !self.tail.is_last(entry::digest(&fields)) {
                is_other = true;
                continue;
            }
            let last = last.parse().map_err(|_| LinkError::Answer("joining"))?;
            return Ok(Joined { last, first: first.parse().ok() });
        }
    }
}

/// The connection did not come about: what is wrong with the certificate, or else as the system words it.
fn refused(error: io::Error) -> LinkError {
    match error.to_string().split_once("invalid peer certificate: ") {
        Some((_, what)) => LinkError::Certificate(what.to_owned()),
        None => LinkError::Redis(error.into()),
    }
}

/// How long a connection waits for an answer.
#[derive(Clone, Copy, Debug)]
enum Patience {
    /// [`PATIENCE`] for each, from the question to its end.
    Answer,
    /// For as long as something comes in.
    Silence,
}

/// What tells one run of a server from every other; the server has to be one that takes messages.
async fn identity(connection: &mut MultiplexedConnection) -> Result<String, LinkError> {
    let info: String = redis::cmd("INFO").query_async(connection).await?;
    if info.lines().any(|line| line.trim_end() == "role:slave") {
        return Err(LinkError::Replica);
    }
    let run = info.lines().find_map(|line| line.strip_prefix("run_id:"));
    run.map(str::to_owned).ok_or(LinkError::Answer("INFO"))
}

/// Whether after `error` the connection is of no use, or leads to a server that is of none.
pub(super) fn is_fatal(error: &RedisError) -> bool {
    const OF_NO_USE: [&str; 9] =
        ["GONE", "READONLY", "LOADING", "MASTERDOWN", "CLUSTERDOWN", "MOVED", "NOAUTH", "NOPERM", "UNBLOCKED"];
    error.code().is_none_or(|code| OF_NO_USE.contains(&code))
}
