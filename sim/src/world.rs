//! The simulated machine: a process with a bus, its publishers and readers, and what happens to them.

use std::{
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::Arc,
    task::{Context, Waker},
};

use parking_lot::Mutex;
use shared::{
    live::bus::{Bus, MemoryBus, file::stepped::SteppedBus},
    pure::Cursor,
};
use tokio::runtime::{Builder, Runtime};

mod publish;
mod read;
mod restart;
mod states;
mod steps;

use publish::{Keyed, Sent, Waiting};
use read::Client;

use crate::{
    config::Config,
    disk::{Crash, Damage, Failures, Faults, SimDisk},
    model::Model,
    random::Random,
    states::States,
    time,
    trace::Trace,
};

/// The channels.
pub(crate) const CHANNELS: [&str; 3] = ["a", "b", "c"];

/// What runs.
pub(crate) enum Process {
    /// With a log in memory.
    Memory(Arc<MemoryBus>),
    /// With a log on the disk.
    File(Box<SteppedBus>),
}

impl Process {
    pub(crate) fn bus(&self) -> Arc<dyn Bus> {
        match self {
            Self::Memory(bus) => bus.clone(),
            Self::File(stepped) => stepped.bus().clone(),
        }
    }
}

/// See the module.
pub struct World {
    pub(crate) config: Config,
    pub(crate) random: Random,
    pub(crate) trace: Trace,
    pub(crate) disk: SimDisk,
    /// There is one, except during a start.
    pub(crate) process: Option<Process>,
    pub(crate) model: Model,
    pub(crate) states: States,
    pub(crate) clients: Vec<Client>,
    /// Publications and purges without an answer.
    pub(crate) waiting: Vec<Waiting>,
    /// Messages, grouped by publication, of which it is unknown whether they were added.
    pub(crate) unknown: Vec<(Vec<Sent>, Option<u64>)>,
    /// The same for purges: the channel, and its newest message at that time.
    pub(crate) purging: Vec<(usize, Cursor)>,
    pub(crate) keyed: std::collections::BTreeMap<u64, Keyed>,
    /// What is damaged.
    pub(crate) damage: Option<Damage>,
    /// How often the disk had failed when this process began.
    pub(crate) failures: Failures,
    /// A sync of a segment has failed beside the writer, which has to notice it.
    has_sync_failed: bool,
    /// The process died in the midst of something: what it has not answered is unknown.
    pub(crate) is_dead: bool,
    /// How many publications were acknowledged.
    pub(crate) acknowledged: u64,
    /// Work beside the writer, such as a sync, takes its time.
    pub(crate) is_slow: bool,
    /// The number of the last message.
    pub(crate) number: u64,
    /// Simulated time since the begin of the run.
    pub(crate) elapsed_ms: u64,
    pub(crate) starts: u32,
    /// What a reader of everything got while the disk was at work.
    pub(crate) seen: Arc<Mutex<Vec<Cursor>>>,
    /// What follows cannot be compared with the list.
    pub(crate) is_over: bool,
    /// Futures of the bus may set timers, which never end.
    pub(crate) runtime: Runtime,
}

/// Something that never needs to be woken: the simulation looks by itself.
pub(crate) fn context() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

impl World {
    /// The world of a run, with its first process.
    ///
    /// # Errors
    /// What went wrong.
    pub fn new(config: Config, random: Random, trace: Trace) -> Result<Self, String> {
        let mut random = random;
        let disk = SimDisk::new(random.fork(), trace.clone());
        let runtime = Builder::new_current_thread().enable_time().build().map_err(|error| error.to_string())?;
        let (limits, is_slow) = (config.limits().channel, config.slow);
        let mut world = Self {
            config,
            random,
            trace,
            disk,
            process: None,
            model: Model { limits, ..Model::default() },
            states: States::default(),
            clients: Vec::new(),
            waiting: Vec::new(),
            unknown: Vec::new(),
            purging: Vec::new(),
            keyed: std::collections::BTreeMap::new(),
            number: 0,
            elapsed_ms: 0,
            starts: 0,
            seen: Arc::default(),
            damage: None,
            failures: Failures::default(),
            has_sync_failed: false,
            is_dead: false,
            acknowledged: 0,
            is_slow,
            is_over: false,
            runtime,
        };
        // A full disk lets retention forget which channels lost something, and the memory forgets channels.
        world.model.may_exaggerate = world.config.is_memory || world.config.fills && world.config.total.is_some();
        world.start()?;
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
            if self.random.percent(60) {
                self.verify()?;
            }
        }
        self.trace.line(format_args!("the end"));
        self.disk.set_faults(Faults::default());
        self.is_slow = false;
        self.settle()?;
        if self.damage.is_none() {
            self.require_acknowledgement()?;
        }
        self.end_readers()?;
        self.restart(true)?;
        if self.is_over {
            return Ok(());
        }
        self.require_acknowledgement()?;
        for _ in 0..8 {
            self.verify()?;
        }
        self.end_readers()
    }

    /// The process does all that it has to do.
    fn settle(&mut self) -> Result<(), String> {
        for _ in 0..3 {
            self.write()?;
            self.work_beside()?;
        }
        self.write()
    }

    /// Without faults, a publication is acknowledged, and nothing waits.
    fn require_acknowledgement(&mut self) -> Result<(), String> {
        let before = self.acknowledged;
        self.publish()?;
        self.settle()?;
        if self.acknowledged == before {
            return Err("the disk works, and a publication is not acknowledged".to_owned());
        }
        Ok(())
    }

    /// Does something during which the process may die: then there is no result.
    pub(crate) fn act<T>(&mut self, act: impl FnOnce(&mut Self) -> T) -> Option<T> {
        match catch_unwind(AssertUnwindSafe(|| act(self))) {
            Ok(result) => Some(result),
            Err(payload) if payload.is::<Crash>() => None,
            Err(payload) => resume_unwind(payload),
        }
    }

    pub(crate) fn stepped(&mut self) -> Option<&mut SteppedBus> {
        match &mut self.process {
            Some(Process::File(stepped)) => Some(stepped),
            _ => None,
        }
    }

    pub(crate) fn bus(&self) -> Result<Arc<dyn Bus>, String> {
        self.process.as_ref().map(Process::bus).ok_or_else(|| "there is no process".to_owned())
    }

    /// One round of the writer, and the answers.
    pub(crate) fn write(&mut self) -> Result<(), String> {
        let before = self.disk.failures();
        let has_more = self.act(|world| world.stepped().is_none_or(SteppedBus::write));
        self.is_dead = has_more.is_none();
        self.removals()?;
        self.answers()?;
        let failures = self.disk.failures();
        match has_more {
            Some(true) if failures.sync > before.sync || self.has_sync_failed => {
                Err("a sync failed, and the process continues".to_owned())
            }
            Some(true) if !self.waiting.is_empty() => {
                Err(format!("{} publications were taken and not answered", self.waiting.len()))
            }
            Some(true) => {
                self.note_damage();
                Ok(())
            }
            Some(false) if failures.sync == self.failures.sync => {
                Err("the process ended by itself, and no sync failed".to_owned())
            }
            Some(false) => {
                self.trace.line(format_args!("the process ends by itself"));
                self.restart(false)
            }
            None => self.died(),
        }
    }

    /// What the writer began beside its own work.
    pub(crate) fn work_beside(&mut self) -> Result<(), String> {
        let before = self.disk.failures().segment_sync;
        let worked = self.act(|world| world.stepped().is_some_and(SteppedBus::work_beside));
        self.has_sync_failed |= self.disk.failures().segment_sync > before;
        match worked {
            Some(_) => Ok(()),
            None => self.died(),
        }
    }

    /// Which messages may be missing by damage.
    pub(crate) fn note_damage(&mut self) {
        if self.damage.as_ref().is_some_and(|damage| !self.disk.has(&damage.file)) {
            // Retention has removed it.
            self.damage = None;
        }
        let damaged = self.damage.as_ref().and_then(|damage| Some((damage.segment?, damage.after)));
        self.model.damaged =
            damaged.map(|(segment, after)| (after, self.disk.before(segment + 1).unwrap_or(Cursor::MAX)));
    }

    /// A new process begins.
    pub(crate) fn begin(&mut self) {
        (self.failures, self.has_sync_failed, self.is_dead) = (self.disk.failures(), false, false);
        self.note_damage();
    }

    /// The process died in the midst of something: either it alone, or the machine.
    fn died(&mut self) -> Result<(), String> {
        self.is_dead = true;
        self.answers()?;
        let is_power_cut = self.random.percent(60);
        self.restart(is_power_cut)
    }

    /// Time passes. What the writer does by itself, it does in time.
    pub(crate) fn pass(&mut self, ms: u64) -> Result<(), String> {
        let (mut left, mut stuck) = (ms, 0);
        while left > 0 {
            if !self.is_slow {
                self.work_beside()?;
            }
            let patience = self.stepped().and_then(|stepped| stepped.patience());
            let due = patience.map_or(left, |patience| u64::try_from(patience.as_millis()).unwrap_or(left).min(left));
            let step = if due == 0 && stuck > 3 { 1 } else { due };
            time::advance(step);
            self.elapsed_ms += step;
            left -= step;
            if patience.is_some() && due < left + step {
                stuck = if step == 0 { stuck + 1 } else { 0 };
                self.write()?;
                if !self.is_slow {
                    self.work_beside()?;
                }
            }
        }
        Ok(())
    }
}
