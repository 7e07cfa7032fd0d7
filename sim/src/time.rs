//! The clocks of the simulated machine. They advance only when the simulation says so, and each thread has its own.

use std::cell::Cell;

use shared::live::clock::Moment;

/// The time of day at the begin of each run.
pub(crate) const START_MS: u64 = 1_763_800_000_000;

thread_local! {
    static NOW: Cell<(u64, u64)> = const { Cell::new((START_MS, START_MS)) };
}

/// What the process reads.
#[must_use]
pub fn now() -> Moment {
    let (time_ms, mono_ms) = NOW.get();
    Moment { time_ms, mono_ms }
}

/// Begins again.
pub fn reset() {
    NOW.set((START_MS, START_MS));
}

/// Both clocks advance.
pub fn advance(ms: u64) {
    let (time_ms, mono_ms) = NOW.get();
    NOW.set((time_ms + ms, mono_ms + ms));
}

/// The time of day is set to `time_ms`.
pub fn set(time_ms: u64) {
    NOW.set((time_ms, NOW.get().1));
}

/// A new process: its monotonic clock begins at the time of day.
pub fn restart() {
    let (time_ms, _) = NOW.get();
    NOW.set((time_ms, time_ms));
}
