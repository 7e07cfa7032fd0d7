//! Whether the process lives, and whether it can serve.
//!
//! `/healthz` answers 200 while the process lives at all: a restart would not help against a bus that is away.
//! `/readyz` answers 200, or 503 with every reason why not, so that balancers send their traffic elsewhere.

use std::{collections::BTreeMap, sync::Mutex};

use actix_web::{HttpResponse, http::header, web};

use super::{ApiError, Edge};

/// Why the process is not ready, by the name of the part that says so. Ready when no part says anything.
#[derive(Debug, Default)]
pub struct Readiness {
    reasons: Mutex<BTreeMap<&'static str, String>>,
}

impl Readiness {
    /// Says that `code` (as `bus_away`, `draining`) keeps the process from serving.
    pub fn not_ready(&self, code: &'static str, reason: impl Into<String>) {
        let reason = reason.into();
        let before = self.reasons().insert(code, reason.clone());
        if before.is_none() {
            // An ordered stop is no cause for alarm.
            let level = if code == "draining" { log::Level::Info } else { log::Level::Warn };
            log::log!(level, "not ready: {reason}");
        }
    }

    /// Takes back what was said of `code`.
    pub fn ready(&self, code: &'static str) {
        if self.reasons().remove(code).is_some() {
            log::info!("no longer {code}");
        }
    }

    /// Whether nothing keeps the process from serving.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.reasons().is_empty()
    }

    /// Nothing, or what keeps the process from serving: the first code, and every reason.
    ///
    /// # Errors
    /// [`ApiError::Unavailable`] when it is not ready.
    pub fn check(&self) -> Result<(), ApiError> {
        let reasons = self.reasons();
        match reasons.keys().next() {
            None => Ok(()),
            Some(code) => Err(ApiError::unavailable(code, reasons.values().cloned().collect::<Vec<_>>().join("; "))),
        }
    }

    fn reasons(&self) -> std::sync::MutexGuard<'_, BTreeMap<&'static str, String>> {
        // A panic elsewhere does not make the reasons wrong.
        self.reasons.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn status(status: &str) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .content_type("application/json")
        .body(format!("{{\"status\":\"{status}\"}}"))
}

/// `GET /healthz`.
pub async fn healthz() -> HttpResponse {
    status("ok")
}

/// `GET /readyz`.
///
/// # Errors
/// 503 with the reasons while there are any.
pub async fn readyz(edge: web::Data<Edge>) -> Result<HttpResponse, ApiError> {
    edge.readiness.check().map(|()| status("ready"))
}
