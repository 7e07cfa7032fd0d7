//! The settings.

use std::{fmt, time::Duration};

/// Settings of a [`RedisAdapter`](crate::RedisAdapter). All servers of a cluster need the same [`key`](Self::key) and the same Redis.
///
/// ```
/// let config = socketio_redis::Config { key: "chat".into(), ..socketio_redis::Config::new("redis://127.0.0.1/") };
/// ```
#[derive(Clone)]
pub struct Config {
    /// The URL of Redis: `redis://[user:password@]host[:port][/db]`, or `rediss://` for TLS. Channels do not depend on the number of the
    /// database.
    pub url: String,
    /// The certificate authorities (PEM) for `rediss://`. `None`, the default, means those of the public web.
    pub authorities: Option<Vec<u8>>,
    /// The prefix of the names of all channels: `key` of Node's adapter and emitter. Default `socket.io`, as in Node.
    pub key: String,
    /// The name of an additional, virtual server under which this server can send, and whose events it ignores:
    /// [`broadcast_aside`](crate::RedisAdapter::broadcast_aside). Servers that share it reach only the rest of the cluster, with messages
    /// that they themselves receive by other means. Default: none.
    pub aside: Option<String>,
    /// The timeout for answers of other servers: `requestsTimeout` in Node. Default 5 s, as in Node.
    pub request_timeout: Duration,
    /// Whether answers are sent only to the server that asked instead of all: `publishOnSpecificResponseChannel` in Node. Saves the others
    /// work, but adapters that are too old for the option may not receive the answers. Default false, as in Node.
    pub specific_responses: bool,
    /// Interval of the heartbeat through Redis, while no other traffic shows that the connection works. Default 5 s.
    pub heartbeat: Duration,
    /// Maximum number of bytes of messages queued for Redis; further ones are rejected. Default 32 MiB.
    pub max_waiting_bytes: usize,
    /// Maximum number of bytes of messages from other servers that wait to be handled. Beyond, the connection is closed and opened again,
    /// as if Redis had been lost: [`Stats::overrun`](crate::Stats::overrun). Default 64 MiB.
    pub max_incoming_bytes: usize,
    /// Maximum size in bytes of a message from another server; larger ones are ignored. Default 16 MiB.
    pub max_message_bytes: usize,
    /// Maximum number of values in a message from another server, since each takes 72 bytes of memory and may be a single byte on the wire.
    /// Names of members count as values, and arrays and objects that are not empty count five. Larger messages are ignored. Default
    /// 1,048,576, which limits a message to about 200 MiB in addition to its bytes while it is read. In messages between the servers'
    /// applications each byte of binary data is a number, as Node writes them.
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
        // The URL may contain a password.
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
