//! Streams on the simulated disk: they are created, appended to by producers, closed, forked, purged and deleted, while processes die, the power is cut,
//! the disk fills and retention removes what other channels have. The list says what each operation is answered, and what the next process has.
//!
//! ```text
//! seed ─▶ Streams: one step after another ─▶ the bus on a SimDisk ─▶ answers, and all streams ─▶ compared with the List
//! ```

use std::{
    collections::BTreeMap,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::Pin,
    sync::Arc,
};

use shared::{
    live::{
        bus::{
            Bus as _, Publication,
            file::{FileBus, stepped::SteppedBus},
        },
        log::Limits,
    },
    pure::{Cursor, Draft, Payload},
};
use tokio::runtime::{Builder, Runtime};

mod ask;
mod list;
mod restart;

use ask::Asked;
use list::{List, Op};

use crate::{
    config::Config,
    disk::{Crash, Faults, SimDisk},
    random::Random,
    time,
    trace::Trace,
};

/// Bytes of memory for streams.
const MEMORY: usize = 60_000;

/// See the module.
pub struct Streams {
    config: Config,
    random: Random,
    trace: Trace,
    disk: SimDisk,
    /// There is one, except during a start.
    process: Option<SteppedBus>,
    /// The list after each operation since the start, and how many changes the disk had then. The last one is what is there.
    lists: Vec<(u64, List)>,
    /// The numbers of all messages that a stream had, by its creation.
    ever: BTreeMap<Cursor, Vec<u64>>,
    /// Operations without an answer, in their order.
    asked: Vec<Asked>,
    /// Those of which it is unknown whether they were done.
    unknown: Vec<Op>,
    /// Publications to other channels, whose answers do not matter.
    filling: Vec<Pin<Box<dyn Future<Output = ()>>>>,
    /// The number of the last message.
    number: u64,
    /// Something durable was damaged.
    is_damaged: bool,
    /// What follows is not covered by the list.
    is_over: bool,
    /// Futures of the bus may set timers, which never end.
    runtime: Runtime,
}

impl Streams {
    /// The world of a run, with its first process.
    ///
    /// # Errors
    /// What went wrong.
    pub fn new(config: Config, random: Random, trace: Trace) -> Result<Self, String> {
        let mut random = random;
        let disk = SimDisk::new(random.fork(), trace.clone());
        let runtime = Builder::new_current_thread().enable_time().build().map_err(|error| error.to_string())?;
        // Streams take a quarter of the disk at most, and a segment is a small part of it. Retention has to remove some.
        let total = config.total.map(|total| 28_000 + total / 4);
        let segment_bytes = config.segment_bytes.min(4_096);
        let config = Config { is_memory: false, total, segment_bytes, ..config };
        let mut world = Self {
            config,
            random,
            trace,
            disk,
            process: None,
            lists: vec![(0, List::default())],
            ever: BTreeMap::new(),
            asked: Vec::new(),
            unknown: Vec::new(),
            filling: Vec::new(),
            number: 0,
            is_damaged: false,
            is_over: false,
            runtime,
        };
        world.open(&mut None)?;
        Ok(world)
    }

    /// The whole run.
    ///
    /// # Errors
    /// What went wrong.
    pub fn run(mut self) -> Result<(), String> {
        for n in 0..self.config.steps {
            self.trace.line(format_args!("step {n}"));
            self.step()?;
            if self.is_over {
                self.trace.line(format_args!("the rest cannot be compared"));
                return Ok(());
            }
            if self.random.percent(30) {
                self.verify()?;
            }
        }
        self.trace.line(format_args!("the end"));
        self.disk.set_faults(Faults::default());
        for _ in 0..20 {
            self.write()?;
        }
        if !self.asked.is_empty() && !self.is_over {
            return Err(format!("{} operations are not answered", self.asked.len()));
        }
        self.restart(true)?;
        if self.is_over { Ok(()) } else { self.verify() }
    }

    fn limits(&self) -> Limits {
        Limits { streams: Some(MEMORY), ..self.config.limits() }
    }

    fn bus(&self) -> Option<Arc<FileBus>> {
        self.process.as_ref().map(|stepped| stepped.bus().clone())
    }

    /// Does something during which the process may die: then there is no result.
    fn act<T>(&mut self, act: impl FnOnce(&mut Self) -> T) -> Option<T> {
        match catch_unwind(AssertUnwindSafe(|| act(self))) {
            Ok(result) => Some(result),
            Err(payload) if payload.is::<Crash>() => None,
            Err(payload) => resume_unwind(payload),
        }
    }

    fn step(&mut self) -> Result<(), String> {
        let crashes = self.config.crashes;
        match self.random.below(100) {
            0..36 => self.ask(),
            36..62 => self.write(),
            62..72 => {
                (0..=self.random.below(6)).for_each(|_| self.fill());
                Ok(())
            }
            72..76 => {
                let ms = if self.random.percent(90) { self.random.below(3_000) } else { 50_000_000 };
                self.pass(ms)
            }
            76..82 => {
                self.trace.line(format_args!("sweep"));
                if let Some(bus) = self.bus() {
                    while bus.sweep() {}
                }
                self.write()
            }
            82..86 if crashes => {
                let crash = Some(self.random.below(12));
                self.trace.line(format_args!("the process will die after {crash:?} changes"));
                self.disk.set_faults(Faults { crash, ..self.disk.faults() });
                Ok(())
            }
            86..88 if crashes => self.restart(false),
            88..90 if crashes => self.restart(true),
            90..92 if self.config.fills => {
                let space = Some(self.random.below(7_000));
                self.trace.line(format_args!("{space:?} bytes are free"));
                self.disk.set_faults(Faults { space, ..self.disk.faults() });
                Ok(())
            }
            92..94 if self.config.errors => {
                let sync = self.random.percent(40);
                self.trace.line(format_args!("{} fail", if sync { "syncs" } else { "writes" }));
                self.disk.set_faults(Faults { sync, write: !sync, ..self.disk.faults() });
                Ok(())
            }
            94..98 => {
                self.trace.line(format_args!("the disk works and has space"));
                self.disk.set_faults(Faults { crash: self.disk.faults().crash, ..Faults::default() });
                Ok(())
            }
            98.. if self.config.damage && !self.is_damaged => {
                self.is_damaged = self.disk.damage().is_some();
                Ok(())
            }
            _ => self.write(),
        }
    }

    /// Publishes to another channel, so that there are more segments, and retention removes some.
    fn fill(&mut self) {
        let length = self.random.index(2_000);
        self.trace.line(format_args!("fill {length}"));
        let Some(bus) = self.bus() else { return };
        let Ok(channel) = "other".parse() else { return };
        let draft = Draft::new(channel, Payload::from_text(&"x".repeat(length)));
        let mut filling: Pin<Box<dyn Future<Output = ()>>> = Box::pin(async move {
            let _ = bus.publish(Publication::new(vec![draft])).await;
        });
        let _guard = self.runtime.enter();
        if filling.as_mut().poll(&mut crate::world::context()).is_pending() {
            self.filling.push(filling);
        }
    }

    /// One round of the writer, and the answers.
    fn write(&mut self) -> Result<(), String> {
        let has_more = self.act(|world| world.process.as_mut().is_none_or(SteppedBus::write));
        if has_more == Some(true) {
            while self.process.as_ref().is_some_and(SteppedBus::read_older) {}
        }
        self.answers()?;
        match has_more {
            Some(true) => self.work_beside(),
            Some(false) => {
                self.trace.line(format_args!("the process ends by itself"));
                let has_reason = self.disk.faults().sync || self.disk.faults().write || self.is_damaged;
                if has_reason { self.restart(false) } else { Err("the process ended without a reason".to_owned()) }
            }
            None => self.died(),
        }
    }

    fn work_beside(&mut self) -> Result<(), String> {
        match self.act(|world| world.process.as_mut().is_some_and(SteppedBus::work_beside)) {
            Some(_) => Ok(()),
            None => self.died(),
        }
    }

    /// The process died in the midst of something: either it alone, or the machine.
    fn died(&mut self) -> Result<(), String> {
        self.answers()?;
        let is_power_cut = self.random.percent(60);
        self.restart(is_power_cut)
    }

    /// Time passes, and the writer does what is due.
    fn pass(&mut self, ms: u64) -> Result<(), String> {
        self.trace.line(format_args!("{ms} ms pass"));
        for _ in 0..4 {
            time::advance(ms / 4);
            self.write()?;
            if self.is_over {
                break;
            }
        }
        Ok(())
    }

    /// Compares all streams with the list. What waits is not there yet.
    fn verify(&mut self) -> Result<(), String> {
        let Some((_, mut list)) = self.lists.last().cloned() else { return Ok(()) };
        match self.compare(&mut list)? {
            None => Ok(()),
            Some(difference) => Err(difference),
        }
    }
}
