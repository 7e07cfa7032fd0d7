//! The two connections to Redis: made, joined to the stream, kept at work, and made anew when anything breaks.
//!
//! One sends commands, the other waits for entries. They live and die together, so that whatever happened to Redis
//! meanwhile is found out in one place, before anything is published or read: [`Link::join`].

use std::{convert::Infallible, sync::Arc, time::Duration};

use rand::RngExt as _;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _, RedisError,
    TlsCertificates, Value, aio::MultiplexedConnection, io::tcp::TcpSettings,
};
use tokio::{sync::mpsc, time::sleep};

use super::{
    Line, Phase, Shared, entry,
    publisher::{self, Job},
    pulse,
    scripts::{self, BREAK, EDGE, STREAM, Scripts},
    tail::{BLOCK, Tail},
};
use crate::{
    live::{
        bus::BusError,
        log::{Limits, Log},
    },
    pure::Cursor,
};

/// How long a connection may take to come up, and an answer to come in.
const PATIENCE: Duration = Duration::from_secs(2);
/// The first pause after a connection broke, about; each one after it is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// Silence after which the kernel asks whether the other end still lives.
const PROBE_AFTER: Duration = Duration::from_secs(10);

/// Why the link had to be given up.
#[derive(Debug, thiserror::Error)]
pub(super) enum LinkError {
    /// Redis, or the way to it.
    #[error("{0}")]
    Redis(#[from] RedisError),
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
    client: Client,
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
        let bad = |_| BusError::Away("the URL of the Redis, or the file of its authorities, is none".into());
        let info: ConnectionInfo = url.into_connection_info().map_err(bad)?;
        let is_encrypted = matches!(info.addr(), ConnectionAddr::TcpTls { .. });
        if is_encrypted {
            // An error says that the process has chosen already.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        let keepalive = socket2::TcpKeepalive::new().with_time(PROBE_AFTER).with_interval(PATIENCE);
        let tcp = TcpSettings::default().set_nodelay(true).set_keepalive(keepalive);
        let info = info.set_tcp_settings(tcp);
        let client = match authorities.filter(|_| is_encrypted) {
            None => Client::open(info),
            Some(pem) => {
                Client::build_with_tls(info, TlsCertificates { client_tls: None, root_cert: Some(pem.to_vec()) })
            }
        };
        let client = client.map_err(bad)?;
        let tail = Tail::new(limits, log.clone(), shared.clone());
        Ok(Self { client, limits, log, shared, tail })
    }

    /// Keeps the link up for as long as it is polled.
    pub(super) async fn run(mut self, mut jobs: mpsc::UnboundedReceiver<Job>) -> Infallible {
        let mut pause = FIRST_PAUSE;
        let mut is_told = false;
        loop {
            let Err(error) = self.session(&mut jobs).await;
            let why = format!("Redis is away: {error}");
            let before = std::mem::replace(&mut *self.shared.phase.lock(), Phase::Away(why.clone()));
            if matches!(before, Phase::Ready(_)) {
                pause = FIRST_PAUSE;
                is_told = false;
            }
            if !std::mem::replace(&mut is_told, true) {
                log::warn!("{why}");
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
        let mut connection = self.connect(PATIENCE).await?;
        let mut waiting = self.connect(PATIENCE + BLOCK).await?;
        if identity(&mut connection).await? != identity(&mut waiting).await? {
            return Err(LinkError::Split);
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

    async fn connect(&self, patience: Duration) -> Result<MultiplexedConnection, LinkError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(patience))
            .set_write_backpressure_boundary(publisher::MOST_BYTES);
        self.client.get_multiplexed_async_connection_with_config(&config).await.map_err(|error| {
            // As rustls words it; the error itself lies behind two others that keep it to themselves.
            match error.to_string().split_once("invalid peer certificate: ") {
                Some((_, what)) => LinkError::Certificate(what.trim_end_matches(')').to_owned()),
                None => error.into(),
            }
        })
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
