//! The log of a run: what was done and what came of it, in lines. Two runs of one seed have the same bytes.

use std::{fmt, sync::Arc};

use parking_lot::Mutex;

/// See the module. Clones are one log.
#[derive(Clone, Debug, Default)]
pub struct Trace(Arc<Mutex<String>>);

impl Trace {
    /// Adds a line.
    pub fn line(&self, line: fmt::Arguments<'_>) {
        let mut text = self.0.lock();
        // Writing to memory does not fail.
        let _ = fmt::Write::write_fmt(&mut *text, line);
        text.push('\n');
    }

    /// All lines.
    #[must_use]
    pub fn text(&self) -> String {
        self.0.lock().clone()
    }
}
