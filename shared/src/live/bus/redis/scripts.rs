//! The scripts that run atomically in Redis, and their keys.
//!
//! All keys share the hash slot of the stream (`{trident:log}`, the stream's name, is part of each), so that scripts work on a Redis
//! Cluster, too.

use redis::{
    Cmd, FromRedisValue, RedisResult, ServerErrorKind,
    aio::{ConnectionLike, MultiplexedConnection},
    cmd,
};

/// The stream.
pub(super) const STREAM: &str = "trident:log";
/// The id of the latest break entry.
pub(super) const BREAK: &str = "{trident:log}:break";
/// The id of the first entry after the last trimming.
pub(super) const EDGE: &str = "{trident:log}:edge";
/// The newest id of the entries that a purge may have deleted.
pub(super) const PURGED: &str = "{trident:log}:purged";
/// The records.
pub(super) const RECORDS: &str = "{trident:log}:records";
/// The prefix of a lease.
pub(super) const LEASE: &str = "{trident:log}:lease:";
/// The prefix of what the holder of a lease has stored.
pub(super) const STATE: &str = "{trident:log}:state:";
/// The prefix of the entries of the holder of a lease.
pub(super) const ENTRIES: &str = "{trident:log}:entries:";
/// The keys with which permissions for commands are checked: a stream, a string, and a hash.
pub(super) const SCRATCH: [&str; 3] =
    ["{trident:log}:scratch", "{trident:log}:scratch:value", "{trident:log}:scratch:hash"];
/// The size of all idempotency keys in bytes.
pub(super) const KEYS: &str = "{trident:log}:keys";
/// The prefix of a scope's hash: the size of its idempotency keys in bytes.
pub(super) const SCOPE: &str = "{trident:log}:keys:";
/// The index of streams: what each has seen last.
pub(super) const STREAMS: &str = "{trident:log}:streams";
/// The records with which the journals of streams begin.
pub(super) const STREAM_RECORDS: &str = "{trident:log}:streams:records";
/// When streams were last read.
pub(super) const STREAM_USES: &str = "{trident:log}:streams:uses";
/// The prefix of the journal of a stream.
pub(super) const JOURNAL: &str = "{trident:log}:stream:";
/// The prefix of an idempotency key.
pub(super) const KEY: &str = "{trident:log}:key:";

/// The digests by which the scripts are called.
#[derive(Clone, Debug)]
pub(super) struct Scripts {
    pub(super) publish: String,
    pub(super) join: String,
    pub(super) pulse: String,
    pub(super) lease: String,
    pub(super) release: String,
    pub(super) purge: String,
    pub(super) erase: String,
    pub(super) forget: String,
    pub(super) keep: String,
    pub(super) record: String,
    pub(super) stream: String,
    pub(super) entries: String,
}

impl Scripts {
    /// Loads the scripts into the Redis of `connection`.
    pub(super) async fn load(connection: &mut MultiplexedConnection) -> RedisResult<Self> {
        let mut pipeline = redis::pipe();
        for source in [
            include_str!("scripts/publish.lua"),
            include_str!("scripts/join.lua"),
            include_str!("scripts/pulse.lua"),
            include_str!("scripts/lease.lua"),
            include_str!("scripts/release.lua"),
            include_str!("scripts/purge.lua"),
            include_str!("scripts/erase.lua"),
            include_str!("scripts/forget.lua"),
            include_str!("scripts/keep.lua"),
            include_str!("scripts/record.lua"),
            include_str!("scripts/stream.lua"),
            include_str!("scripts/entries.lua"),
        ] {
            pipeline.cmd("SCRIPT").arg("LOAD").arg(source);
        }
        let (publish, join, pulse, lease, release, purge, erase, forget, keep, record, stream, entries) =
            pipeline.query_async(connection).await?;
        Ok(Self { publish, join, pulse, lease, release, purge, erase, forget, keep, record, stream, entries })
    }
}

/// The key of the lease of this name.
pub(super) fn lease_key(name: &str) -> String {
    format!("{LEASE}{name}")
}

/// The key of what the holder of the lease of this name has stored.
pub(super) fn state_key(name: &str) -> String {
    format!("{STATE}{name}")
}

/// The key of the entries of the holder of the lease of this name.
pub(super) fn entries_key(name: &str) -> String {
    format!("{ENTRIES}{name}")
}

/// The key of the journal with this token of a stream.
pub(super) fn journal_key(channel: &str, token: &str) -> String {
    format!("{JOURNAL}{token}:{channel}")
}

/// The call of a script by its digest, on `keys`.
pub(super) fn call(digest: &str, keys: &[&str]) -> Cmd {
    let mut call = cmd("EVALSHA");
    call.arg(digest).arg(keys.len()).arg(keys);
    call
}

/// Runs the call of a script. If Redis has lost its scripts (`SCRIPT FLUSH`), they are loaded again.
pub(super) async fn run<T: FromRedisValue>(connection: &mut MultiplexedConnection, call: &Cmd) -> RedisResult<T> {
    let answer = connection.req_packed_command(call).await.and_then(redis::Value::extract_error);
    let answer = match answer {
        Err(error) if error.kind() == redis::ErrorKind::Server(ServerErrorKind::NoScript) => {
            // Nothing of the call has run. The digests depend only on the sources, so the call does not change.
            Scripts::load(connection).await?;
            connection.req_packed_command(call).await.and_then(redis::Value::extract_error)
        }
        answer => answer,
    };
    Ok(redis::from_redis_value(answer?)?)
}
