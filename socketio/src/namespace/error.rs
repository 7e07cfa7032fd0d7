//! Why an event was not sent or not answered.

/// An error of the communication between servers.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct AdapterError(pub String);

/// Why an event was not sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmitError {
    /// The name is reserved by Socket.IO.
    #[error("{0:?} is a reserved event name")]
    ReservedName(String),
    /// The arguments cannot be encoded.
    #[error("the arguments cannot be encoded: {0}")]
    Encode(#[from] serde_json::Error),
    /// The socket has disconnected.
    #[error("the socket has disconnected")]
    Disconnected,
    /// Too many bytes are queued for this client, or for all clients of the server, or the message is larger than the limit: see
    /// [`Config::max_pending_bytes`](crate::Config::max_pending_bytes). The connection stays open, and the event is not sent later.
    #[error("Full: too many bytes are queued")]
    Full,
    /// Other servers could not be reached.
    #[error("the adapter failed: {0}")]
    Adapter(#[from] AdapterError),
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AckError {
    /// It did not arrive in time.
    #[error("the client did not answer in time")]
    Timeout,
    /// The socket has disconnected.
    #[error("the socket has disconnected")]
    Disconnected,
    /// The socket owes too many answers already; see [`Config::max_pending_acks`](crate::Config::max_pending_acks).
    #[error("too many answers are pending")]
    TooManyPending,
    /// The event could not be sent.
    #[error(transparent)]
    Emit(#[from] EmitError),
    /// The answer's arguments do not have the expected type.
    #[error("the answer has the wrong type: {0}")]
    Arguments(serde_json::Error),
}
