//! Sessions in Redis: a hash for each, `{trident:log}:session:<pid>` with the fields `holder` and `session`, which always has an expiry.
//! Scripts check and change the holder, so that two replicas never own a session at the same time.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, FromRedisValue, IntoConnectionInfo as _, RedisError,
    aio::MultiplexedConnection,
};
use socketio::adapter::BoxFuture;
use tokio::{sync::Notify, task::AbortHandle, time::sleep};

use super::store::{LeasedSession, Save, SaveOutcome, SessionStore, StoreUnavailable};
use crate::sessions::store::Holder;

/// Key prefix, followed by the secret of a session; in the same hash slot as all other keys of Trident.
const KEY: &str = "{trident:log}:session:";
/// Timeout of connecting, and of an answer.
const PATIENCE: Duration = Duration::from_secs(1);
/// The first pause after a connection broke; each following one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest pause.
const MAX_PAUSE: Duration = Duration::from_secs(1);
/// How often it is checked whether sessions can be stored.
const PROBE_EVERY: Duration = Duration::from_secs(2);
/// The lifetime of the session of a check.
const PROBE_FOR: Duration = Duration::from_secs(1);
/// Maximum size in bytes of the sessions in one call. The client chooses the size of its session, a slow connection has to transfer the
/// call within [`PATIENCE`], and Redis serves nobody else in the meantime.
const MAX_SAVE_BYTES: usize = 256 * 1024;
/// Errors after which the connection can still be used.
const REFUSED: [&str; 6] = ["NOPERM", "OOM", "MISCONF", "NOREPLICAS", "BUSY", "ERR"];
/// Idle time after which the kernel checks whether the peer still exists.
const PROBE_AFTER: Duration = Duration::from_secs(10);

/// The URL is not a valid Redis URL, or the authorities contain no certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InvalidRedisConfig;

/// See the module. Dropping it ends its connection.
pub(super) struct RedisStore {
    shared: Arc<Shared>,
    link: AbortHandle,
}

struct Shared {
    line: Mutex<Result<MultiplexedConnection, StoreUnavailable>>,
    /// The connection cannot be used any more.
    broken: Notify,
    /// Why sessions cannot be stored, as of the last check.
    problem: Mutex<Option<String>>,
}

impl RedisStore {
    /// The Redis at `url`. With TLS, its certificate may be signed by one of `authorities` (PEM) instead of the system's; otherwise they
    /// have no effect. Returns immediately and connects in the background, on the current runtime.
    ///
    /// # Errors
    /// When the URL or the authorities are invalid.
    pub(super) fn open(url: &str, authorities: Option<&[u8]>) -> Result<Self, InvalidRedisConfig> {
        let info = url.into_connection_info().map_err(|_| InvalidRedisConfig)?;
        let is_encrypted = matches!(info.addr(), ConnectionAddr::TcpTls { .. });
        let keepalive = socket2::TcpKeepalive::new().with_time(PROBE_AFTER).with_interval(PATIENCE);
        let tcp = redis::io::tcp::TcpSettings::default().set_nodelay(true).set_keepalive(keepalive);
        let info = info.set_tcp_settings(tcp);
        let client = match authorities.filter(|_| is_encrypted) {
            None => Client::open(info),
            Some(pem) => {
                let root_cert = Some(pem.to_vec());
                Client::build_with_tls(info, redis::TlsCertificates { client_tls: None, root_cert })
            }
        };
        let client = client.map_err(|_| InvalidRedisConfig)?;
        let shared = Arc::new(Shared {
            line: Mutex::new(Err(StoreUnavailable("not connected to Redis yet".to_owned()))),
            broken: Notify::new(),
            problem: Mutex::new(Some("not connected to Redis yet".to_owned())),
        });
        let link = tokio::spawn(shared.clone().keep_up(client)).abort_handle();
        Ok(Self { shared, link })
    }
}

impl Shared {
    async fn ask<T: FromRedisValue>(&self, call: Cmd) -> Result<T, StoreUnavailable> {
        let mut line = self.line.lock().clone()?;
        let answer = call.query_async(&mut line).await;
        answer.map_err(|error: RedisError| {
            let unavailable = StoreUnavailable(error.to_string());
            if !error.code().is_some_and(|code| REFUSED.contains(&code)) {
                *self.problem.lock() = Some(error.to_string());
                let before = std::mem::replace(&mut *self.line.lock(), Err(unavailable.clone()));
                drop(before);
                self.broken.notify_one();
            }
            unavailable
        })
    }

    /// Connects, and again after every error: the outcome of the call is then unknown, and a new connection ensures that no late answer
    /// arrives. Checks every few seconds whether sessions can be stored.
    async fn keep_up(self: Arc<Self>, client: Client) {
        let config =
            AsyncConnectionConfig::new().set_connection_timeout(Some(PATIENCE)).set_response_timeout(Some(PATIENCE));
        let mut pause = FIRST_PAUSE;
        loop {
            match client.get_multiplexed_async_connection_with_config(&config).await {
                Ok(line) => {
                    *self.line.lock() = Ok(line);
                    loop {
                        if self.probe().await.is_ok() {
                            pause = FIRST_PAUSE;
                        }
                        tokio::select! {
                            () = self.broken.notified() => break,
                            () = sleep(PROBE_EVERY) => {}
                        }
                    }
                }
                Err(error) => {
                    *self.problem.lock() = Some(error.to_string());
                    *self.line.lock() = Err(StoreUnavailable(error.to_string()));
                }
            }
            let jitter = 0.5 + rand::random::<f64>() / 2.0;
            sleep(pause.mul_f64(jitter)).await;
            pause = (pause * 2).min(MAX_PAUSE);
        }
    }

    /// Tries all commands that sessions need, and records which are rejected.
    async fn probe(&self) -> Result<(), StoreUnavailable> {
        let pid = format!("probe-{}", Holder::draw());
        let mut call = script(include_str!("scripts/probe.lua"), std::iter::once(&*pid));
        call.arg(milliseconds(PROBE_FOR));
        let refused = match self.ask::<Vec<String>>(call).await {
            Ok(refused) => refused,
            Err(unavailable) => {
                *self.problem.lock() = Some(unavailable.0.clone());
                return Err(unavailable);
            }
        };
        let problem = (!refused.is_empty()).then(|| format!("Redis rejects {}", refused.join("; ")));
        self.problem.lock().clone_from(&problem);
        problem.map_or(Ok(()), |problem| Err(StoreUnavailable(problem)))
    }

    async fn save(&self, saves: &[Save]) -> Result<Vec<SaveOutcome>, StoreUnavailable> {
        let mut outcomes = Vec::with_capacity(saves.len());
        for some in batches(saves, MAX_SAVE_BYTES) {
            outcomes.extend(self.save_together(some).await?);
        }
        Ok(outcomes)
    }

    async fn save_together(&self, saves: &[Save]) -> Result<Vec<SaveOutcome>, StoreUnavailable> {
        let mut call = script(include_str!("scripts/save.lua"), saves.iter().map(|save| &*save.pid));
        for Save { holder, before, session, keep, .. } in saves {
            let before = before.map(|before| before.to_string()).unwrap_or_default();
            call.arg(holder.to_string()).arg(before).arg(milliseconds(*keep));
            call.arg(session.as_deref().unwrap_or_default());
        }
        let codes: Vec<u8> = self.ask::<Vec<i64>>(call).await?.into_iter().map(|code| code as u8).collect();
        if codes.len() != saves.len() {
            return Err(StoreUnavailable("invalid answer to a save".to_owned()));
        }
        let outcome = |code| match code {
            0 => SaveOutcome::Saved,
            1 => SaveOutcome::Missing,
            _ => SaveOutcome::TakenOver,
        };
        Ok(codes.into_iter().map(outcome).collect())
    }

    async fn acquire(&self, pid: &str, holder: Holder) -> Result<Option<LeasedSession>, StoreUnavailable> {
        let mut call = script(include_str!("scripts/acquire.lua"), std::iter::once(pid));
        call.arg(holder.to_string());
        let found: Option<(String, String, i64)> = self.ask(call).await?;
        let Some((before, session, left)) = found else { return Ok(None) };
        // A value that another program wrote under the key is not a session.
        let Ok(before) = before.parse() else { return Ok(None) };
        let left = Duration::from_millis(u64::try_from(left).unwrap_or_default());
        Ok(Some(LeasedSession { session: session.into(), before, left }))
    }
}

/// Splits them in order into groups of at most this many bytes of sessions, or of a single session.
fn batches(mut saves: &[Save], bytes: usize) -> impl Iterator<Item = &[Save]> {
    std::iter::from_fn(move || {
        let mut left = bytes;
        let fits = |save: &&Save| {
            let rest = left.checked_sub(save.session.as_deref().map_or(0, str::len));
            left = rest.unwrap_or_default();
            rest.is_some()
        };
        let count = saves.iter().take_while(fits).count().max(1);
        let (some, rest) = saves.split_at_checked(count)?;
        saves = rest;
        Some(some)
    })
}

/// The call of a script for these sessions.
fn script<'a>(source: &str, pids: impl ExactSizeIterator<Item = &'a str>) -> Cmd {
    let mut call = redis::cmd("EVAL");
    call.arg(source).arg(pids.len());
    for pid in pids {
        call.arg(format!("{KEY}{pid}"));
    }
    call
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl SessionStore for RedisStore {
    fn save<'a>(&'a self, saves: &'a [Save]) -> BoxFuture<'a, Result<Vec<SaveOutcome>, StoreUnavailable>> {
        Box::pin(self.shared.save(saves))
    }

    fn acquire<'a>(
        &'a self,
        pid: &'a str,
        holder: Holder,
    ) -> BoxFuture<'a, Result<Option<LeasedSession>, StoreUnavailable>> {
        Box::pin(self.shared.acquire(pid, holder))
    }

    fn outlives_us(&self) -> bool {
        true
    }

    fn problem(&self) -> Option<String> {
        self.shared.problem.lock().clone()
    }
}

impl Drop for RedisStore {
    fn drop(&mut self) {
        self.link.abort();
    }
}
