//! Metrics of parked connections.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

/// Why a connection is parked no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unparked {
    /// Its client has closed it, or it is lost.
    Closed,
    /// Its client takes less than it is sent.
    Slow,
    /// Its client has sent something.
    Received,
    /// It ends: its time is over, its client does not answer, or it was ended from outside.
    Ended,
    /// Its client gets a gap, or messages from disk.
    Behind,
    /// The server shuts down.
    Shutdown,
    /// Its request was answered.
    Answered,
}

impl Unparked {
    const ALL: [Self; 7] =
        [Self::Closed, Self::Slow, Self::Received, Self::Ended, Self::Behind, Self::Shutdown, Self::Answered];

    const fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Slow => "slow",
            Self::Received => "received",
            Self::Ended => "ended",
            Self::Behind => "behind",
            Self::Shutdown => "shutdown",
            Self::Answered => "answered",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByReason {
    reason: &'static str,
}

/// The parked connections of all workers. Clones share the counters.
#[derive(Clone, Debug)]
pub(crate) struct Parking {
    /// Those that are parked now.
    pub(crate) connections: Gauge,
    /// The groups of those that are sent the same bytes, on each worker.
    pub(crate) cohorts: Gauge,
    /// Workers that send to them through io_uring.
    pub(crate) rings: Gauge,
    unparked: [Counter; Unparked::ALL.len()],
}

impl Parking {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let (connections, cohorts, rings) = (Gauge::default(), Gauge::default(), Gauge::default());
        let unparked = Family::<ByReason, Counter>::default();
        registry.register(
            "parked_connections",
            "Connections that wait without a task of their own",
            connections.clone(),
        );
        registry.register("cohorts", "Groups of parked connections that are sent the same bytes", cohorts.clone());
        registry.register("io_urings", "Threads that send messages to many clients through io_uring", rings.clone());
        registry.register("unparked", "Connections that are parked no longer, by reason", unparked.clone());
        let unparked = Unparked::ALL.map(|reason| unparked.get_or_create_owned(&ByReason { reason: reason.name() }));
        Self { connections, cohorts, rings, unparked }
    }

    /// The connections that were parked until `reason` applied.
    pub(crate) fn unparked(&self, reason: Unparked) -> &Counter {
        &self.unparked[reason as usize]
    }
}
