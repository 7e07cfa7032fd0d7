//! The limits of subscriptions, besides those of settings.

/// Maximum number of streams of a subscription.
pub(super) const MAX_LINKS: usize = 1_000;
/// The memory of all subscriptions in bytes. A bus may store less.
pub(super) const MAX_BYTES: usize = 4 << 20;
/// The part of it that one client can have.
pub(super) const SHARE: usize = 4;
/// What a subscription takes besides what describes it, and a stream of one besides the names of both, in bytes: in memory, and where it is stored. A wake of
/// a subscription is a part of it.
pub(super) const OVERHEAD: usize = 1_536;
pub(super) const LINK_OVERHEAD: usize = 256;
/// What the key of the server takes where it is stored.
pub(super) const KEY_BYTES: usize = 512;
/// How many wakes are sent at a time, and how many of one client.
pub(super) const MAX_SENDING: usize = 64;
pub(super) const MAX_SENDING_PER_CLIENT: usize = 16;
