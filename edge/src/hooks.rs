//! The state of webhooks, for `/v1/stats` and `/readyz`. The crate `webhooks` sets it.

use std::{fmt, sync::OnceLock};

/// Asks the sender for its state.
type Source = Box<dyn Fn() -> HookState + Send + Sync>;

/// The state of webhooks in this process, if they are configured.
#[derive(Default)]
pub struct Hooks(OnceLock<Source>);

/// See [`Hooks`].
#[derive(Clone, Debug)]
pub struct HookState {
    /// Whether this process sends; one of all processes on the bus does.
    pub is_sender: bool,
    /// Whether the last attempt failed, and nothing has been delivered since.
    pub is_failing: bool,
    /// Batches that were delivered.
    pub batches: u64,
    /// Events in these batches.
    pub events: u64,
    /// Attempts that failed.
    pub failures: u64,
    /// Gaps in what is delivered.
    pub losses: u64,
    /// Age of the first event of the batch that is being sent, in seconds.
    pub lag_seconds: u64,
    /// The last attempt that failed, however long ago.
    pub last_error: Option<HookError>,
}

/// An attempt that failed.
#[derive(Clone, Debug)]
pub struct HookError {
    /// When, in milliseconds since the Unix epoch.
    pub time: u64,
    /// Why.
    pub message: String,
}

impl Hooks {
    /// Asks `state` from now on. Call it once.
    pub fn watch(&self, state: impl Fn() -> HookState + Send + Sync + 'static) {
        let _ = self.0.set(Box::new(state));
    }

    /// The state, if webhooks are configured.
    #[must_use]
    pub fn state(&self) -> Option<HookState> {
        self.0.get().map(|state| state())
    }
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hooks")
    }
}
