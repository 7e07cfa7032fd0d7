//! What was refused, by reason.

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
            /// The count of each reason.
            fn counts(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name.get()),)*]
            }

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

/// Writes to the log what was refused, at most one line a second for each reason, with the count.
#[derive(Debug, Default)]
pub struct RefusalLog {
    logged: HashMap<&'static str, u64>,
}

impl RefusalLog {
    /// Logs what was refused since the last call. To be called once a second.
    pub fn write(&mut self, refusals: &Refusals) {
        for (reason, count) in self.since_last(refusals) {
            log::info!("refused {count} ({reason})");
        }
    }

    /// The reasons for which something was refused since the last call, and how often.
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
    /// A longer request: those in progress take `TRIDENT_RECEIVE_TOTAL`.
    receive_total
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
    /// A publication of which it is not known whether it was added, since the connection to the bus broke.
    outcome_unknown
    /// No room for another `Idempotency-Key`.
    idempotency_keys
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
