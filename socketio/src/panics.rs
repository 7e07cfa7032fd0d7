//! Calls of code of the application, which may panic: the panic is logged, and the server continues.

use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
};

use futures_util::FutureExt as _;

use crate::rate::OncePerSecond;

static PANIC_ERRORS: OncePerSecond = OncePerSecond::new();

/// The answer to a client when the application's code panicked.
pub(crate) const PANICKED: &str = "Internal error";

/// The output of a future that runs code of the application, or `None` if it panicked. `what` names it in the log.
pub(crate) async fn guarded<T>(what: &str, future: impl Future<Output = T>) -> Option<T> {
    or_log(what, AssertUnwindSafe(future).catch_unwind().await)
}

/// The same for a function.
pub(crate) fn guard<T>(what: &str, run: impl FnOnce() -> T) -> Option<T> {
    or_log(what, catch_unwind(AssertUnwindSafe(run)))
}

fn or_log<T>(what: &str, result: std::thread::Result<T>) -> Option<T> {
    if result.is_err() {
        PANIC_ERRORS.log(|more| log::error!("{what} panicked{more}"));
    }
    result.ok()
}
