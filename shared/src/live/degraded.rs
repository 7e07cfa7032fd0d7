//! What a process cannot do for now although it serves.

use serde::Serialize;

/// One thing that does not work as it should.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = Degradation))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Degradation {
    /// A constant of [`reason`], for programs.
    pub reason: &'static str,
    /// The problem and its remedy, for operators. Contains no credentials.
    pub message: String,
}

impl Degradation {
    /// A degradation for `reason`, a constant of [`reason`].
    #[must_use]
    pub fn new(reason: &'static str, message: String) -> Self {
        Self { reason, message }
    }
}

/// The reasons there are.
pub mod reason {
    /// Redis refuses commands that the process needs.
    pub const REDIS_RIGHTS: &str = "redis_rights";
    /// The clocks of this host and of Redis differ by a second or more.
    pub const CLOCK_SKEW: &str = "clock_skew";
    /// The process reads messages from Redis more slowly than they are published.
    pub const READING_BEHIND: &str = "reading_behind";
    /// Sessions of Socket.IO clients are not stored, so clients cannot resume them on another replica.
    pub const SESSION_STORE: &str = "session_store";
    /// The disk of the log is full: nothing can be published.
    pub const DISK_FULL: &str = "disk_full";
    /// Purged messages are still on disk after the time within which they should have left it.
    pub const PURGE_OVERDUE: &str = "purge_overdue";
    /// The application does not accept webhooks.
    pub const WEBHOOKS: &str = "webhooks";
    /// Subscriptions to streams are full, or cannot be read or stored.
    pub const SUBSCRIPTIONS: &str = "subscriptions";
    /// Socket.IO events do not reach other replicas.
    pub const SOCKET_CLUSTER: &str = "socket_cluster";
}
