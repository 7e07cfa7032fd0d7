//! Liveness and readiness.
//!
//! `/healthz` answers 200 as long as the process runs: a restart would not help when the bus is unavailable. `/readyz` answers 200, or 503
//! with all reasons, so that load balancers use other replicas. A process that serves with a problem is degraded: 200, with the reasons in
//! the body, a metric for alerts, and a line in the log.

use std::{
    collections::BTreeMap,
    fmt,
    sync::Mutex,
    time::{Duration, Instant},
};

use actix_web::{HttpResponse, http::header};
use serde::Serialize;

use super::ApiError;
pub use shared::live::degraded::{Degradation, reason};

/// The reasons for which a process can be degraded: the values of the label `reason` of `trident_degraded`.
pub const DEGRADED_REASONS: [&str; 9] = [
    reason::REDIS_RIGHTS,
    reason::CLOCK_SKEW,
    reason::READING_BEHIND,
    reason::SESSION_STORE,
    reason::SOCKET_CLUSTER,
    reason::DISK_FULL,
    reason::PURGE_OVERDUE,
    reason::WEBHOOKS,
    reason::SUBSCRIPTIONS,
];

/// During this time after the start, a missing component is not logged as a warning.
const STARTUP: Duration = Duration::from_secs(5);

/// Asks one component of the process for its problems.
type Source = Box<dyn Fn() -> Vec<Degradation> + Send + Sync>;

/// Why the process is not ready, by component. Ready if there are no reasons.
pub struct Readiness {
    begun: Instant,
    reasons: Mutex<BTreeMap<&'static str, Reason>>,
    sources: Mutex<Vec<Source>>,
    /// The problems that were logged last.
    logged: Mutex<BTreeMap<&'static str, String>>,
}

/// Why the process is not ready.
#[derive(Debug)]
struct Reason {
    text: String,
    is_logged: bool,
}

impl Default for Readiness {
    fn default() -> Self {
        Self { begun: Instant::now(), reasons: Mutex::default(), sources: Mutex::default(), logged: Mutex::default() }
    }
}

impl fmt::Debug for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readiness").field("reasons", &self.reasons).finish_non_exhaustive()
    }
}

impl Readiness {
    /// Reports that `code` (such as `bus_unavailable`, `draining`) keeps the process from serving. Repeat the report as long as it does:
    /// during the start, a missing component is logged only if it stays missing.
    pub fn not_ready(&self, code: &'static str, text: impl Into<String>) {
        let mut reasons = self.reasons();
        let reason = reasons.entry(code).or_insert_with(|| Reason { text: String::new(), is_logged: false });
        reason.text = text.into();
        // A requested shutdown is not a warning.
        let is_stop = code == "draining";
        if reason.is_logged || !(is_stop || self.begun.elapsed() >= STARTUP) {
            return;
        }
        reason.is_logged = true;
        log::log!(if is_stop { log::Level::Info } else { log::Level::Warn }, "not ready: {}", reason.text);
    }

    /// Removes the reason `code`.
    pub fn ready(&self, code: &'static str) {
        if self.reasons().remove(code).is_some_and(|reason| reason.is_logged) {
            log::info!("`{code}` has ended");
        }
    }

    /// Whether there are no reasons.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.reasons().is_empty()
    }

    /// Succeeds if the process is ready; otherwise returns the first code, and all reasons.
    ///
    /// # Errors
    /// [`ApiError::Unavailable`] when it is not ready.
    pub fn check(&self) -> Result<(), ApiError> {
        let reasons = self.reasons();
        match reasons.keys().next() {
            None => Ok(()),
            Some(code) => Err(ApiError::unavailable(
                code,
                reasons.values().map(|reason| &*reason.text).collect::<Vec<_>>().join("; "),
            )),
        }
    }

    /// Adds a component that can be degraded. It is asked at each `/readyz`, `/metrics` and once a second.
    pub fn watch(&self, source: impl Fn() -> Vec<Degradation> + Send + Sync + 'static) {
        self.sources().push(Box::new(source));
    }

    /// The current problems, ordered by reason. Several messages with one reason are joined.
    #[must_use]
    pub fn degraded(&self) -> Vec<Degradation> {
        let mut by_reason = BTreeMap::<&'static str, String>::new();
        for Degradation { reason, message } in self.sources().iter().flat_map(|source| source()) {
            let text = by_reason.entry(reason).or_default();
            if !text.is_empty() {
                text.push_str("; ");
            }
            text.push_str(&message);
        }
        by_reason.into_iter().map(|(reason, message)| Degradation { reason, message }).collect()
    }

    /// Logs problems that have begun or ended since the last call. Call it once a second.
    pub fn log_degraded(&self) {
        if self.begun.elapsed() < STARTUP {
            return;
        }
        let now: BTreeMap<_, _> = self.degraded().into_iter().map(|one| (one.reason, one.message)).collect();
        let mut logged = self.logged.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for (reason, message) in now.iter().filter(|(reason, _)| !logged.contains_key(*reason)) {
            log::warn!("degraded ({reason}): {message}");
        }
        for reason in logged.keys().filter(|reason| !now.contains_key(*reason)) {
            log::info!("no longer degraded ({reason})");
        }
        *logged = now;
    }

    fn sources(&self) -> std::sync::MutexGuard<'_, Vec<Source>> {
        self.sources.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn reasons(&self) -> std::sync::MutexGuard<'_, BTreeMap<&'static str, Reason>> {
        // A panic elsewhere does not invalidate the reasons.
        self.reasons.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn answer(body: &impl Serialize) -> HttpResponse {
    HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "no-store")).json(body)
}

/// `GET /healthz`.
pub(super) fn healthz() -> HttpResponse {
    #[derive(Serialize)]
    struct Alive {
        status: &'static str,
    }
    answer(&Alive { status: "ok" })
}

/// The body of `GET /readyz` with 200.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = Ready))]
#[derive(Serialize)]
pub(crate) struct Ready {
    /// Always `ready`.
    status: &'static str,
    /// The current problems of this process; empty if there are none.
    degraded: Vec<Degradation>,
}

/// `GET /readyz`.
///
/// # Errors
/// 503 with the reasons, if there are any.
pub(super) fn readyz(readiness: &Readiness) -> Result<HttpResponse, ApiError> {
    readiness.check().map(|()| answer(&Ready { status: "ready", degraded: readiness.degraded() }))
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    };

    use super::*;

    #[test]
    fn degraded_parts_are_reported_by_reason_for_as_long_as_they_are() {
        let readiness = Readiness::default();
        let is_skewed = Arc::new(AtomicBool::new(true));
        let shared = is_skewed.clone();
        let skew = || Degradation::new(reason::CLOCK_SKEW, "3 s".to_owned());
        readiness.watch(move || shared.load(Relaxed).then(skew).into_iter().collect());
        readiness.watch(|| {
            ["XTRIM", "TIME"].map(|command| Degradation::new(reason::REDIS_RIGHTS, command.to_owned())).to_vec()
        });
        let told = |readiness: &Readiness| {
            readiness.degraded().into_iter().map(|one| (one.reason, one.message)).collect::<Vec<_>>()
        };
        let rights = (reason::REDIS_RIGHTS, "XTRIM; TIME".to_owned());
        assert_eq!(told(&readiness), [(reason::CLOCK_SKEW, "3 s".to_owned()), rights.clone()]);
        assert!(readiness.check().is_ok(), "a degraded process serves");
        is_skewed.store(false, Relaxed);
        assert_eq!(told(&readiness), [rights]);
    }
}
