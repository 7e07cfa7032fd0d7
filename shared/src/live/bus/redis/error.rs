//! Why a connection to Redis is given up.

use std::time::Duration;

use redis::RedisError;

/// Timeout of connecting, and of an answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// Why the connections were closed.
#[derive(Debug, thiserror::Error)]
pub(super) enum LinkError {
    /// Redis, or the network.
    #[error("{0}")]
    Redis(#[from] RedisError),
    /// Nobody answers at the address.
    #[error("no connection within {} s", PATIENCE.as_secs())]
    Connecting,
    /// The server's certificate is invalid.
    #[error(
        "its certificate is invalid ({0}); TRIDENT_REDIS_CA_FILE sets the trusted authorities, and \
         the certificate has to be valid for the host in the URL"
    )]
    Certificate(String),
    /// The server is a replica of another one.
    #[error("the address is that of a replica, which accepts no writes; use the primary")]
    Replica,
    /// An answer that this command does not have.
    #[error("invalid answer to {0}")]
    Answer(&'static str),
    /// Two connections to one address led to two servers.
    #[error("the address leads to two different servers")]
    Split,
    /// The stream ends before what was read from it.
    #[error("the stream has lost its newest entries")]
    Shortened,
}

/// Whether the connection cannot be used after `error`, or leads to a server that cannot be used.
pub(super) fn is_fatal(error: &RedisError) -> bool {
    const OF_NO_USE: [&str; 9] =
        ["GONE", "READONLY", "LOADING", "MASTERDOWN", "CLUSTERDOWN", "MOVED", "NOAUTH", "NOPERM", "UNBLOCKED"];
    error.code().is_none_or(|code| OF_NO_USE.contains(&code))
}
