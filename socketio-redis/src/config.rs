//! What can be set.

use std::{fmt, time::Duration};

/// Settings of a [`RedisAdapter`](crate::RedisAdapter). All servers of a cluster need the same [`key`](Self::key) and the same Redis.
///
/// ```
/// let config = socketio_redis::Config { key: "chat".into(), ..socketio_redis::Config::new("redis://127.0.0.1/") };
/// ```
#[derive(Clone)]
pub struct Config {
    /// Where Redis is: `redis://[user:password@]host[:port][/db]`, or `rediss://` for TLS. The number of the database means nothing to
    /// channels.
    pub url: String,
    /// With `rediss://`, the authorities that may have signed the certificate of Redis, as PEM. `None`, the default: those of the public web.
    pub authorities: Option<Vec<u8>>,
    /// What the names of all channels begin with: `key` of Node's adapter and emitter. `socket.io` by default, as there.
    pub key: String,
    /// A name, as of one more server, whose events this server ignores and under which it can send:
    /// [`broadcast_aside`](crate::RedisAdapter::broadcast_aside). Servers of one kind that share it reach the others of the cluster with what they
    /// themselves know by another way. None by default.
    pub aside: Option<String>,
    /// How long answers of other servers are waited for: `requestsTimeout` in Node. 5 s by default, as there.
    pub request_timeout: Duration,
    /// Whether answers go to the one who asked rather than to all: `publishOnSpecificResponseChannel` in Node. Spares the others work;
    /// adapters that are too old to know the option may not hear such answers. Off by default, as in Node.
    pub specific_responses: bool,
    /// How often the way to Redis and back is tried while nothing else shows that it is open. 5 s by default.
    pub heartbeat: Duration,
    /// Bytes of messages that may wait for Redis to take them; what comes beyond is refused. 32 MiB by default.
    pub max_waiting_bytes: usize,
    /// Bytes of messages from other servers that may wait until this one acts upon them. When more come, it gives up the connection and
    /// makes another, as if Redis had gone away: [`Stats::overrun`](crate::Stats::overrun). 64 MiB by default.
    pub max_incoming_bytes: usize,
    /// Bytes of a message from another server; larger ones are ignored. 16 MiB by default.
    pub max_message_bytes: usize,
    /// Values that a message from another server may consist of, since each takes 72 bytes of memory where it may be a single one on the wire.
    /// Names of members count as values, and arrays and objects that hold something count five; larger messages are ignored.
    /// 1,048,576 by default, so that a message takes no more than some 200 MiB beyond its bytes for the moment in which it is read. Bytes in
    /// what servers' applications say to each other are a number each, as Node writes them.
    pub max_message_values: usize,
}

impl Config {
    /// The defaults, with the Redis at this URL.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            authorities: None,
            key: "socket.io".to_owned(),
            aside: None,
            request_timeout: Duration::from_secs(5),
            specific_responses: false,
            heartbeat: Duration::from_secs(5),
            max_waiting_bytes: 32 << 20,
            max_incoming_bytes: 64 << 20,
            max_message_bytes: 16 << 20,
            max_message_values: 1 << 20,
        }
    }
}

impl Default for Config {
    /// The defaults, with a Redis on this host.
    fn default() -> Self {
        Self::new("redis://127.0.0.1:6379/")
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URL may hold a password.
        f.debug_struct("Config")
            .field("key", &self.key)
            .field("aside", &self.aside)
            .field("request_timeout", &self.request_timeout)
            .field("specific_responses", &self.specific_responses)
            .field("heartbeat", &self.heartbeat)
            .field("max_waiting_bytes", &self.max_waiting_bytes)
            .field("max_incoming_bytes", &self.max_incoming_bytes)
            .field("max_message_bytes", &self.max_message_bytes)
            .field("max_message_values", &self.max_message_values)
            .finish_non_exhaustive()
    }
}
