//! What a test has logged on its thread.

use std::{cell::RefCell, sync::Once};

thread_local! {
    static LINES: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

struct Collector;

impl log::Log for Collector {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::Level::Warn
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            // Not while the thread ends.
            let _ = LINES.try_with(|lines| lines.borrow_mut().push(record.args().to_string()));
        }
    }

    fn flush(&self) {}
}

/// Collects warnings and errors of this thread from now on.
pub fn collect() {
    static BEGUN: Once = Once::new();
    BEGUN.call_once(|| {
        let _ = log::set_logger(&Collector);
        log::set_max_level(log::LevelFilter::Warn);
    });
    LINES.with_borrow_mut(Vec::clear);
}

/// The lines so far, which are forgotten.
pub fn take() -> Vec<String> {
    LINES.take()
}
