//! One line on stderr that says how far a run is; on a terminal it is written over, elsewhere it comes once a phase.

use std::{
    fmt,
    io::{self, IsTerminal as _, Write as _},
    time::{Duration, Instant},
};

const PERIOD: Duration = Duration::from_millis(200);

/// See the module.
pub(crate) struct Progress {
    what: String,
    is_terminal: bool,
    phase: &'static str,
    shown: Option<Instant>,
}

impl Progress {
    /// Of a run that is called `what`.
    pub(crate) fn new(what: String) -> Self {
        Self { what, is_terminal: io::stderr().is_terminal(), phase: "", shown: None }
    }

    /// Reports the progress in `phase`. Cheap to call often.
    pub(crate) fn tell(&mut self, phase: &'static str, detail: fmt::Arguments<'_>) {
        let is_new = self.phase != phase;
        let is_due = self.is_terminal && self.shown.is_none_or(|shown| shown.elapsed() > PERIOD);
        if !is_new && !is_due {
            return;
        }
        self.phase = phase;
        self.shown = Some(Instant::now());
        let (begin, end) = if self.is_terminal { ("\r\x1b[K", "") } else { ("", "\n") };
        // Nobody may be listening there.
        let _ = write!(io::stderr(), "{begin}{}: {phase} {detail}{end}", self.what);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.is_terminal {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}
