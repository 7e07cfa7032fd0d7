//! Counters of calls, by kind and outcome.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

/// What became of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// A 2xx answer.
    Answered,
    /// An answer with another status.
    Rejected,
    /// An answer that is not what was asked for: too large, or not the JSON of this kind of call.
    Invalid,
    /// No answer by the deadline.
    Deadline,
    /// No connection.
    Unreachable,
    /// The connection broke before the answer was complete.
    Broken,
    /// Not sent: the circuit breaker was open.
    BreakerOpen,
    /// Not sent: too much memory in calls that wait.
    Overloaded,
    /// Nobody waited for it any more.
    Cancelled,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Answered,
        Self::Rejected,
        Self::Invalid,
        Self::Deadline,
        Self::Unreachable,
        Self::Broken,
        Self::BreakerOpen,
        Self::Overloaded,
        Self::Cancelled,
    ];

    /// The label.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Rejected => "rejected",
            Self::Invalid => "invalid",
            Self::Deadline => "deadline",
            Self::Unreachable => "unreachable",
            Self::Broken => "broken",
            Self::BreakerOpen => "breaker_open",
            Self::Overloaded => "overloaded",
            Self::Cancelled => "cancelled",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByOutcome {
    kind: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByKind {
    kind: &'static str,
}

/// The metrics of all calls of a process. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct CallMetrics {
    outcomes: Family<ByOutcome, Counter>,
    retries: Family<ByKind, Counter>,
    seconds: Family<ByKind, Counter<f64, std::sync::atomic::AtomicU64>>,
    in_progress: Gauge,
}

impl CallMetrics {
    /// The metrics of calls of these kinds, which are 0 from the beginning.
    #[must_use]
    pub fn of(kinds: &[&'static str]) -> Self {
        let metrics = Self::default();
        for kind in kinds {
            for outcome in Outcome::ALL {
                drop(metrics.outcomes.get_or_create(&ByOutcome { kind, outcome: outcome.name() }));
            }
            drop(metrics.retries.get_or_create(&ByKind { kind }));
            drop(metrics.seconds.get_or_create(&ByKind { kind }));
        }
        metrics
    }

    /// Adds them to a registry: `calls_total{kind,outcome}`, `call_retries_total{kind}`, `call_seconds_total{kind}`, `calls_in_progress`.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("calls", "Calls to the backend, by kind and outcome", self.outcomes.clone());
        registry.register("call_retries", "Calls repeated because the backend asked for it", self.retries.clone());
        registry.register("call_seconds", "Time in which calls were answered or failed", self.seconds.clone());
        registry.register("calls_in_progress", "Calls that wait or are being answered", self.in_progress.clone());
    }

    /// The number of calls with this outcome.
    #[must_use]
    pub fn count(&self, kind: &'static str, outcome: Outcome) -> u64 {
        self.outcomes.get_or_create(&ByOutcome { kind, outcome: outcome.name() }).get()
    }

    pub(crate) fn retried(&self, kind: &'static str) {
        self.retries.get_or_create(&ByKind { kind }).inc();
    }

    /// Counts a call from now until the guard is dropped.
    pub(crate) fn begin(&self, kind: &'static str) -> Measured<'_> {
        self.in_progress.inc();
        Measured { metrics: self, kind, begun: std::time::Instant::now(), outcome: Outcome::Cancelled }
    }
}

/// A call that is being measured.
pub(crate) struct Measured<'a> {
    metrics: &'a CallMetrics,
    kind: &'static str,
    begun: std::time::Instant,
    /// Its outcome; `Cancelled` until it has one.
    pub(crate) outcome: Outcome,
}

impl Drop for Measured<'_> {
    fn drop(&mut self) {
        let Self { metrics, kind, begun, outcome } = self;
        metrics.in_progress.dec();
        metrics.outcomes.get_or_create(&ByOutcome { kind, outcome: outcome.name() }).inc();
        metrics.seconds.get_or_create(&ByKind { kind }).inc_by(begun.elapsed().as_secs_f64());
    }
}
