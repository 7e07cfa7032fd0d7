//! The limits of subscriptions, besides those of settings.

/// Maximum number of streams of a subscription.
pub(super) const MAX_LINKS: usize = 1_000;
/// The memory of all subscriptions in bytes.
pub(super) const MAX_BYTES: usize = 4 << 20;
/// The part of it that one client can have.
pub(super) const SHARE: usize = 4;
/// The memory of a subscription without its texts, and of a stream of one, in bytes.
pub(super) const OVERHEAD: usize = 1_024;
pub(super) const LINK_OVERHEAD: usize = 256;
/// How many wakes are sent at a time, and how many of one client.
pub(super) const MAX_SENDING: usize = 64;
pub(super) const MAX_SENDING_PER_CLIENT: usize = 16;
