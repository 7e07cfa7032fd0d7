//! A seeded simulation of the log: one process after another on one disk, with publishers and readers, in one thread and under virtual time.
//!
//! ```text
//! seed ─▶ Config ─▶ World: one step after another ─▶ the bus on a SimDisk, without threads ─▶ readers ─▶ compared with the Model, a list
//! ```
//!
//! Everything that a real run leaves to chance is drawn from the seed: the order of the steps, what fails, at which change of the disk the process dies,
//! and what a power cut leaves. So a seed is a run, with the same log of it byte for byte. See `docs/decisions/0140-simulation.md`.

use std::panic::{AssertUnwindSafe, catch_unwind};

pub mod config;
pub mod disk;
pub mod model;
pub mod random;
pub mod states;
pub mod streams;
pub mod time;
pub mod trace;
pub mod world;

use config::Config;
use random::Random;
use streams::Streams;
use trace::Trace;
use world::World;

/// A run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Its seed.
    pub seed: u64,
    /// What was done, in lines.
    pub log: String,
    /// What was wrong, if something was.
    pub failure: Option<String>,
}

/// The run of a seed, on this thread.
#[must_use]
pub fn run(seed: u64) -> Run {
    run_in(seed, "seed", |config, random, trace| World::new(config, random, trace).and_then(World::run))
}

/// The same with [streams].
#[must_use]
pub fn run_streams(seed: u64) -> Run {
    run_in(seed, "streams, seed", |config, random, trace| Streams::new(config, random, trace).and_then(Streams::run))
}

fn run_in(seed: u64, what: &str, run: impl FnOnce(Config, Random, Trace) -> Result<(), String>) -> Run {
    time::reset();
    let trace = Trace::default();
    let mut random = Random::new(seed);
    let config = Config::draw(&mut random);
    trace.line(format_args!("{what} {seed}: {config}"));
    let ended = catch_unwind(AssertUnwindSafe(|| run(config, random, trace.clone())));
    let failure = match ended {
        Ok(ended) => ended.err(),
        Err(payload) => Some(format!("a panic: {}", text_of(&*payload))),
    };
    if let Some(failure) = &failure {
        trace.line(format_args!("FAILED: {failure}"));
    }
    Run { seed, log: trace.text(), failure }
}

/// The message of a panic.
pub(crate) fn text_of(payload: &(dyn std::any::Any + Send)) -> &str {
    match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (_, Some(text)) => text,
        _ => "without a message",
    }
}
