//! Sessions in Redis: a hash for each, `{trident:log}:session:<pid>` with the fields `holder` and `session`, which always has
//! an end of its own. Who holds a session is looked at and changed by scripts, so that two replicas never have it both.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, FromRedisValue, IntoConnectionInfo as _, RedisError,
    aio::MultiplexedConnection,
};
use socketio::adapter::BoxFuture;
use tokio::{sync::Notify, task::AbortHandle, time::sleep};

use super::store::{Away, Held, Save, SessionStore, Taken};
use crate::sessions::store::Holder;

/// Before the secret of a session, in the hash slot of everything else of ours.
const KEY: &str = "{trident:log}:session:";
/// How long a connection may take to come up, and an answer to come in.
const PATIENCE: Duration = Duration::from_secs(1);
/// The first pause after a connection broke; each after it is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// How often it is tried whether sessions can be stored.
const PROBE_EVERY: Duration = Duration::from_secs(2);
/// For how long the session of a try is stored.
const PROBE_FOR: Duration = Duration::from_secs(1);
/// Bytes of the sessions that one call saves. The size of a session is its client's choice, a slow line has to take the call within
/// [`PATIENCE`], and Redis serves nobody else meanwhile.
const MAX_SAVE_BYTES: usize = 256 * 1024;
/// Errors that Redis answers over a connection which is as good as before.
const REFUSED: [&str; 6] = ["NOPERM", "OOM", "MISCONF", "NOREPLICAS", "BUSY", "ERR"];
/// Silence after which the kernel asks whether the other end still lives.
const PROBE_AFTER: Duration = Duration::from_secs(10);

/// The URL is none of a Redis, or the authorities are no certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unfit;

/// See the module. Dropping it ends its connection.
pub(super) struct RedisStore {
    shared: Arc<Shared>,
    link: AbortHandle,
}

struct Shared {
    line: Mutex<Result<MultiplexedConnection, Away>>,
    /// The connection is of no use any more.
    broken: Notify,
    /// Why sessions cannot be stored, as of the last try.
    problem: Mutex<Option<String>>,
}

impl RedisStore {
    /// The Redis at `url`. Over TLS, its certificate may be signed by one of `authorities` (PEM) instead of the system's; otherwise they
    /// mean nothing. Comes back at once and connects meanwhile, on the runtime that this is called in.
    ///
    /// # Errors
    /// When the URL or the authorities are none.
    pub(super) fn open(url: &str, authorities: Option<&[u8]>) -> Result<Self, Unfit> {
        let info = url.into_connection_info().map_err(|_| Unfit)?;
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
        let client = client.map_err(|_| Unfit)?;
        let shared = Arc::new(Shared {
            line: Mutex::new(Err(Away("not connected to Redis yet".to_owned()))),
            broken: Notify::new(),
            problem: Mutex::new(Some("not connected to Redis yet".to_owned())),
        });
        let link = tokio::spawn(shared.clone().keep_up(client)).abort_handle();
        Ok(Self { shared, link })
    }
}

impl Shared {
    async fn ask<T: FromRedisValue>(&self, call: Cmd) -> Result<T, Away> {
        let mut line = self.line.lock().clone()?;
        let answer = call.query_async(&mut line).await;
        answer.map_err(|error: RedisError| {
            let away = Away(error.to_string());
            if !error.code().is_some_and(|code| REFUSED.contains(&code)) {
                *self.problem.lock() = Some(error.to_string());
                let before = std::mem::replace(&mut *self.line.lock(), Err(away.clone()));
                drop(before);
                self.broken.notify_one();
            }
            away
        })
    }

    /// Connects, and again whenever something did not go well: the answer to a call is then no longer known, and a new
    /// connection is the way to know that none comes late. Tries every few seconds whether sessions can be stored.
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
                    *self.line.lock() = Err(Away(error.to_string()));
                }
            }
            let jitter = 0.5 + rand::random::<f64>() / 2.0;
            sleep(pause.mul_f64(jitter)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Tries all the commands that sessions need, and notes what is refused.
    async fn probe(&self) -> Result<(), Away> {
        let pid = format!("probe-{}", Holder::draw());
        let mut call = script(include_str!("scripts/probe.lua"), std::iter::once(&*pid));
        call.arg(milliseconds(PROBE_FOR));
        let refused = match self.ask::<Vec<String>>(call).await {
            Ok(refused) => refused,
            Err(away) => {
                *self.problem.lock() = Some(away.0.clone());
                return Err(away);
            }
        };
        let problem = (!refused.is_empty()).then(|| format!("Redis refuses {}", refused.join("; ")));
        self.problem.lock().clone_from(&problem);
        problem.map_or(Ok(()), |problem| Err(Away(problem)))
    }

    async fn save(&self, saves: &[Save]) -> Result<Vec<Held>, Away> {
        let mut held = Vec::with_capacity(saves.len());
        for some in batches(saves, MAX_SAVE_BYTES) {
            held.extend(self.save_together(some).await?);
        }
        Ok(held)
    }

    async fn save_together(&self, saves: &[Save]) -> Result<Vec<Held>, Away> {
        let mut call = script(include_str!("scripts/save.lua"), saves.iter().map(|save| &*save.pid));
        for Save { holder, before, session, keep, .. } in saves {
            let before = before.map(|before| before.to_string()).unwrap_or_default();
            call.arg(holder.to_string()).arg(before).arg(milliseconds(*keep));
            call.arg(session.as_deref().unwrap_or_default());
        }
        let told: Vec<u8> = self.ask::<Vec<i64>>(call).await?.into_iter().map(|told| told as u8).collect();
        if told.len() != saves.len() {
            return Err(Away("the answer to a save makes no sense".to_owned()));
        }
        let held = |told| match told {
            0 => Held::Yes,
            1 => Held::Missing,
            _ => Held::Lost,
        };
        Ok(told.into_iter().map(held).collect())
    }

    async fn take(&self, pid: &str, holder: Holder) -> Result<Option<Taken>, Away> {
        let mut call = script(include_str!("scripts/take.lua"), std::iter::once(pid));
        call.arg(holder.to_string());
        let found: Option<(String, String, i64)> = self.ask(call).await?;
        let Some((before, session, left)) = found else { return Ok(None) };
        // What somebody else wrote under our key is no session.
        let Ok(before) = before.parse() else { return Ok(None) };
        let left = Duration::from_millis(u64::try_from(left).unwrap_or_default());
        Ok(Some(Taken { session: session.into(), before, left }))
    }
}

/// These in their order, at least one at a time and otherwise at most so many bytes of sessions.
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

/// The call of a script on these sessions.
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
    fn save<'a>(&'a self, saves: &'a [Save]) -> BoxFuture<'a, Result<Vec<Held>, Away>> {
        Box::pin(self.shared.save(saves))
    }

    fn take<'a>(&'a self, pid: &'a str, holder: Holder) -> BoxFuture<'a, Result<Option<Taken>, Away>> {
        Box::pin(self.shared.take(pid, holder))
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
