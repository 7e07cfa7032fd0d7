//! What was refused, by reason.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByReason {
    reason: &'static str,
}

macro_rules! refusals {
    ($($(#[doc = $about:literal])* $name:ident)*) => {
        /// A counter for each reason, in `trident_refusals_total{reason="…"}`.
        #[derive(Clone, Debug, Default)]
        pub struct Refusals {
            $($(#[doc = $about])* pub $name: Counter,)*
        }

        impl Refusals {
            pub(super) fn register(registry: &mut Registry) -> Self {
                let family = Family::<ByReason, Counter>::default();
                registry.register("refusals", "Requests, connections and packets refused, by reason", family.clone());
                Self {
                    $($name: family.get_or_create_owned(&ByReason { reason: stringify!($name) }),)*
                }
            }
        }
    };
}

refusals! {
    /// `TRIDENT_MAX_CONNECTIONS` was reached.
    connections
    /// `TRIDENT_MAX_CONNECTIONS_PER_ADDRESS` was reached.
    connections_per_address
    /// An accepted socket: its address has as many as it may, and none of them is idle.
    sockets_per_address
    /// `TRIDENT_CONNECT_RATE` was reached.
    connect_rate
    /// `TRIDENT_MAX_CHANNELS` was reached.
    channels
    /// `TRIDENT_MAX_CHANNELS_PER_CLIENT` was reached.
    channels_per_client
    /// `TRIDENT_PUBLISH_RATE` was reached.
    publish_rate
    /// `TRIDENT_SOCKET_RATE` was reached.
    socket_rate
    /// A body larger than `TRIDENT_MAX_BODY`.
    body_size
    /// A body slower than `TRIDENT_BODY_TIMEOUT`.
    slow_body
    /// A request whose head did not come in time on a connection that had served before.
    slow_head
    /// A token that does not hold.
    bad_token
    /// A channel that the asker may not use.
    not_allowed
    /// A page of an origin that is not allowed, or a cookie from one (Socket.IO, WebSocket, publishing).
    bad_origin
    /// The bus was away.
    bus_away
    /// No room for another `Idempotency-Key`.
    idempotency_keys
}
