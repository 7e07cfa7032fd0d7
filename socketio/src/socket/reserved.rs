//! Names of events that no packet may carry.

/// Event names that mean something else to clients or servers, so that no packet may carry them.
pub const RESERVED_EVENTS: [&str; 6] =
    ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"];

/// Whether `event` is one of [`RESERVED_EVENTS`].
pub fn is_reserved(event: &str) -> bool {
    RESERVED_EVENTS.contains(&event)
}
