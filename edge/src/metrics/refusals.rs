//! Rejections, by reason.

use std::collections::HashMap;

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
            /// The number of rejections for each reason.
            #[must_use]
            pub fn counts(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name.get()),)*]
            }

            pub(super) fn register(registry: &mut Registry) -> Self {
                let family = Family::<ByReason, Counter>::default();
                registry.register("refusals", "Requests, connections and packets rejected, by reason", family.clone());
                Self {
                    $($name: family.get_or_create_owned(&ByReason { reason: stringify!($name) }),)*
                }
            }
        }
    };
}

/// Logs rejections, at most one line a second for each reason, with their number.
#[derive(Debug, Default)]
pub struct RefusalLog {
    logged: HashMap<&'static str, u64>,
}

impl RefusalLog {
    /// Logs the rejections since the last call. Call it once a second.
    pub fn write(&mut self, refusals: &Refusals) {
        for (reason, count) in self.since_last(refusals) {
            log::info!("rejected {count} requests: {reason}");
        }
    }

    /// The reasons of rejections since the last call, and their numbers.
    fn since_last(&mut self, refusals: &Refusals) -> Vec<(&'static str, u64)> {
        let since = |(reason, count)| {
            let logged = self.logged.insert(reason, count).unwrap_or_default();
            (count > logged).then_some((reason, count - logged))
        };
        refusals.counts().into_iter().filter_map(since).collect()
    }
}

refusals! {
    /// `TRIDENT_MAX_CONNECTIONS` was reached.
    connections
    /// `TRIDENT_MAX_CONNECTIONS_PER_ADDRESS` was reached.
    connections_per_address
    /// An accepted TCP connection: its address has reached its limit, and none of its connections is idle.
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
    /// A larger request, when those in progress have reached `TRIDENT_RECEIVE_TOTAL`.
    receive_total
    /// A body slower than `TRIDENT_BODY_TIMEOUT`.
    slow_body
    /// A request whose head did not arrive in time on a connection that had been used before.
    slow_head
    /// An invalid token.
    bad_token
    /// A connection of a user that a backend has disconnected.
    disconnected
    /// `TRIDENT_API_RATE` was reached.
    api_rate
    /// A request for `/v1`, while too many are being answered.
    api_answers
    /// A client that does not read messages which the log has dropped, while these take too much memory.
    behind
    /// A channel for which the client has no permission.
    not_allowed
    /// A page of an origin that is not allowed, or a cookie from one (Socket.IO, WebSocket, publishing).
    bad_origin
    /// The bus was unavailable.
    bus_unavailable
    /// The disk of the log was full.
    disk_full
    /// `TRIDENT_STREAM_BYTES` was reached.
    stream_bytes
    /// A publication with an unknown outcome, since the connection to the bus broke.
    outcome_unknown
    /// No space for another `Idempotency-Key`.
    idempotency_keys
    /// A call to the application failed, and what it was needed for with it.
    backend_unavailable
    /// The application refused a connection, a subscription or a publication.
    backend_refused
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_is_logged_once_with_its_count() {
        let refusals = Refusals::register(&mut Registry::default());
        let mut log = RefusalLog::default();
        assert_eq!(log.since_last(&refusals), []);
        refusals.bad_token.inc_by(1_000);
        refusals.publish_rate.inc();
        assert_eq!(log.since_last(&refusals), [("publish_rate", 1), ("bad_token", 1_000)]);
        assert_eq!(log.since_last(&refusals), [], "nothing was refused since");
        refusals.bad_token.inc();
        assert_eq!(log.since_last(&refusals), [("bad_token", 1)]);
    }
}
