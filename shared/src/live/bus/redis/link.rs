//! The two connections to Redis: opened, joined to the stream, run, and opened again when anything breaks.
//!
//! One sends commands, the other waits for entries. They are opened and closed together, so that [`Link::join`] detects any change of Redis
//! before anything is published or read. [`peers`] has a third.

use std::{convert::Infallible, sync::Arc, time::Duration};

use redis::{Value, aio::MultiplexedConnection};
use tokio::{sync::mpsc, time::Instant};

use super::{
    Connection, Phase, Shared, clock,
    connector::{Connector, Patience},
    entry,
    error::LinkError,
    pauses::{Pauses, STABLE},
    peers,
    publisher::{self, Job},
    pulse, records,
    scripts::{self, BREAK, EDGE, PURGED, STREAM, Scripts},
    streams,
    tail::{Joined, Tail},
};
use crate::{
    live::{
        bus::BusError,
        log::{Limits, Log},
    },
    throttle::Throttle,
};

/// While Redis is unavailable, the same reason is logged once in this time.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// See the module.
pub(super) struct Link {
    connector: Connector,
    limits: Limits,
    log: Arc<Log>,
    shared: Arc<Shared>,
    tail: Tail,
}

impl Link {
    pub(super) fn new(
        url: &str,
        authorities: Option<&[u8]>,
        limits: Limits,
        log: Arc<Log>,
        shared: Arc<Shared>,
    ) -> Result<Self, BusError> {
        let connector = Connector::new(url, authorities)?;
        let tail = Tail::new(limits, log.clone(), shared.clone());
        shared.peers.set_database(connector.database());
        Ok(Self { connector, limits, log, shared, tail })
    }

    /// Keeps the connections open as long as it is polled.
    pub(super) async fn run(mut self, mut jobs: mpsc::UnboundedReceiver<Job>) -> Infallible {
        let mut pauses = Pauses::default();
        let mut warnings = Throttle::new(WARN_EVERY);
        loop {
            let Err(error) = self.session(&mut jobs).await;
            let why = format!("Redis is unavailable: {error}");
            let before = std::mem::replace(&mut *self.shared.phase.lock(), Phase::Disconnected(why.clone()));
            let worked = if let Phase::Ready(_, since) = before { since.elapsed() } else { Duration::ZERO };
            if worked >= STABLE {
                warnings = Throttle::new(WARN_EVERY);
            }
            if let Some(more) = warnings.admit(&why) {
                log::warn!("{why}{more}");
            }
            pauses.after(worked).await;
            // Jobs queued just before the loss was noticed; none of them has been sent.
            while let Ok(job) = jobs.try_recv() {
                job.refuse(BusError::Unavailable(why.clone()));
            }
        }
    }

    async fn session(&mut self, jobs: &mut mpsc::UnboundedReceiver<Job>) -> Result<Infallible, LinkError> {
        let mut connection = self.connector.connect(Patience::Answer).await?;
        let mut waiting = self.connector.connect(Patience::Silence).await?;
        if identity(&mut connection).await? != identity(&mut waiting).await? {
            return Err(LinkError::Split);
        }
        let asked = Instant::now();
        match clock::ask(&mut connection).await {
            Ok(ms) => self.shared.clock.lock().read(ms, asked),
            // The pulse reports errors of this command.
            Err(error) if error.code() == Some("NOPERM") => {}
            Err(error) => return Err(error.into()),
        }
        let scripts = Arc::new(Scripts::load(&mut connection).await?);
        let mut connection = Connection { connection, scripts };
        let joined = self.join(&mut connection).await?;
        self.tail.join(&joined);
        records::load(&mut connection, &self.shared).await?;
        *self.shared.phase.lock() = Phase::Filling(connection.clone());
        tokio::select! {
            end = self.tail.run(waiting, &connection, joined.last) => end,
            end = publisher::run(&connection, jobs, &self.shared) => end,
            end = pulse::run(&connection, self.limits.channel.age_ms, &self.log, &self.shared) => end,
            never = streams::run(&self.log, &self.shared) => match never {},
            end = records::refresh(&connection, &self.shared) => end,
            never = peers::run(&self.shared, &self.connector, &connection) => match never {},
        }
    }

    /// Finds the newest id of the stream, and ensures that new ids are greater than every id known to this process.
    ///
    /// A Redis that restarts with fewer entries (empty, from an older file, from a replica that was behind) gets an entry that marks the
    /// loss, with an id greater than any that was issued, as far as this process knows. On every process, every reader with an older cursor
    /// then gets a gap, and no id is used twice.
    async fn join(&self, connection: &mut Connection) -> Result<Joined, LinkError> {
        let given = *self.shared.given.lock();
        let mut is_other = false;
        loop {
            let mut call = scripts::call(&connection.scripts.join, &[STREAM, BREAK, EDGE, PURGED]);
            call.arg(self.tail.position().to_string()).arg(given.to_string()).arg(u8::from(is_other));
            let (last, first, fields): (String, String, Vec<Value>) =
                scripts::run(&mut connection.connection, &call).await?;
            // The same id with other content: Redis lost the entry, and its clock went back and issued the id again.
            if !is_other && !fields.is_empty() && !self.tail.is_last(entry::digest(&fields)) {
                is_other = true;
                continue;
            }
            let last = last.parse().map_err(|_| LinkError::Answer("joining"))?;
            return Ok(Joined { last, first: first.parse().ok() });
        }
    }
}

/// Identifies one run of a server; the server has to accept writes.
async fn identity(connection: &mut MultiplexedConnection) -> Result<String, LinkError> {
    let info: String = redis::cmd("INFO").query_async(connection).await?;
    if info.lines().any(|line| line.trim_end() == "role:slave") {
        return Err(LinkError::Replica);
    }
    let run = info.lines().find_map(|line| line.strip_prefix("run_id:"));
    run.map(str::to_owned).ok_or(LinkError::Answer("INFO"))
}
