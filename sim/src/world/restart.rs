//! The end of a process, what a power cut leaves, and the start of the next one.

use std::{collections::BTreeSet, sync::Arc};

use shared::{
    live::bus::{
        Bus as _, MemoryBus,
        file::{
            Fsync, OpenError,
            stepped::{SteppedBus, repair_disk},
        },
    },
    pure::Cursor,
};

use super::{CHANNELS, Process, World, context};
use crate::{
    disk::Faults,
    model::{Entry, Model, State},
    time,
};

/// With a sync each second, a message is durable after so many milliseconds.
const SYNCED_MS: u64 = 1_005;
/// A start that is interrupted more often is left alone.
const INTERRUPTIONS: usize = 3;

/// What happened between two processes.
#[derive(Clone, Copy, Debug, Default)]
struct Ended {
    /// Changes of the disk after this one may be lost; none if there is none.
    durable: Option<u64>,
    is_repaired: bool,
}

impl World {
    /// The orderly end, and the next process.
    pub(crate) fn stop(&mut self) -> Result<(), String> {
        self.trace.line(format_args!("stop"));
        if let Some(stepped) = self.stepped() {
            let bus = stepped.bus().clone();
            let guard = self.runtime.enter();
            // The answer does not matter: the end of the writer does.
            let _ = bus.close().as_mut().poll(&mut context());
            drop(guard);
        }
        for _ in 0..100 {
            match self.act(|world| world.stepped().is_some_and(SteppedBus::write)) {
                Some(true) => {}
                Some(false) => break,
                None => return self.died(),
            }
        }
        self.answers()?;
        let is_power_cut = self.random.percent(30);
        self.restart(is_power_cut)
    }

    /// The process ends, or the power is cut; and the next process.
    pub(crate) fn restart(&mut self, is_power_cut: bool) -> Result<(), String> {
        self.clients.iter_mut().for_each(|client| client.reader = None);
        for waiting in std::mem::take(&mut self.waiting) {
            self.unknown.push((waiting.sent, waiting.key));
            self.purging.extend(waiting.purge);
        }
        self.process = None;
        if self.config.is_memory {
            return self.start_without_disk();
        }
        let mut ended = Ended::default();
        self.end(is_power_cut, &mut ended);
        self.open(&mut ended)?;
        self.resolve(ended)
    }

    /// The first process.
    pub(crate) fn start(&mut self) -> Result<(), String> {
        if self.config.is_memory {
            return self.start_without_disk();
        }
        self.open(&mut Ended::default())
    }

    /// The log is another one: every cursor is a gap.
    fn start_without_disk(&mut self) -> Result<(), String> {
        time::restart();
        self.starts += 1;
        self.trace.line(format_args!("start {}", self.starts));
        self.lose((Cursor::ZERO, Cursor::MAX));
        // The cursors of this log are valid.
        self.model = Model { may_exaggerate: self.model.may_exaggerate, ..Model::default() };
        self.unknown.clear();
        self.purging.clear();
        self.keyed.clear();
        self.process =
            Some(Process::Memory(Arc::new(MemoryBus::numbered(self.config.limits(), time::now, self.starts))));
        Ok(())
    }

    fn end(&mut self, is_power_cut: bool, ended: &mut Ended) {
        if is_power_cut {
            let durable = self.disk.durable();
            self.trace.line(format_args!("the power is cut"));
            ended.durable = Some(ended.durable.map_or(durable, |before| before.min(durable)));
            self.disk = self.disk.cut_power();
        } else {
            self.trace.line(format_args!("the process is killed"));
            self.disk = self.disk.kill();
        }
        // No process starts within the millisecond in which the last one ended.
        time::advance(1);
        self.elapsed_ms += 1;
        time::restart();
    }

    fn open(&mut self, ended: &mut Ended) -> Result<(), String> {
        self.starts += 1;
        self.trace.line(format_args!("start {}", self.starts));
        for attempt in 0..2 * INTERRUPTIONS {
            let is_interrupted = self.config.crashes && attempt < INTERRUPTIONS && self.random.percent(20);
            let crash = is_interrupted.then(|| self.random.below(10));
            self.disk.set_faults(Faults { crash, ..self.disk.faults() });
            let opened = self.act(|world| {
                let (disk, config) = (Arc::new(world.disk.clone()), &world.config);
                SteppedBus::open(disk, config.options(), config.segment_bytes, config.limits(), time::now)
            });
            match opened {
                Some(Ok(stepped)) => {
                    self.disk.set_faults(Faults { crash: None, ..self.disk.faults() });
                    self.process = Some(Process::File(Box::new(stepped)));
                    // It completes what an earlier process began.
                    let removed = self.disk.take_removals().into_iter().map(|removal| removal.up_to).max();
                    self.model.removed_up_to = self.model.removed_up_to.max(removed.unwrap_or_default());
                    return self.watch();
                }
                Some(Err(error @ OpenError::Damaged { .. })) => {
                    if !self.model.is_damaged {
                        return Err(format!("the start failed: {error}"));
                    }
                    self.trace.line(format_args!("refused: {error}"));
                    self.disk = self.disk.kill();
                    // A repair needs space, as its error says.
                    self.disk.set_faults(Faults { space: None, ..self.disk.faults() });
                    let disk: Arc<dyn shared::live::bus::file::disk::Disk> = Arc::new(self.disk.clone());
                    match self.act(|_| repair_disk(&disk, time::now().time_ms)) {
                        Some(Ok(examined)) => {
                            self.trace.line(format_args!("repaired: {:?}", examined.cut));
                            ended.is_repaired = true;
                        }
                        Some(Err(error)) => return Err(format!("the repair failed: {error}")),
                        None => {
                            ended.is_repaired = true;
                            let is_power_cut = self.random.percent(60);
                            self.end(is_power_cut, ended);
                        }
                    }
                }
                Some(Err(error)) if self.disk.faults().space.is_some() => {
                    self.trace.line(format_args!("refused: {error}"));
                    self.disk.set_faults(Faults::default());
                    self.disk = self.disk.kill();
                }
                Some(Err(error)) => return Err(format!("the start failed: {error}")),
                None => {
                    let is_power_cut = self.random.percent(60);
                    self.end(is_power_cut, ended);
                }
            }
        }
        Err("no start succeeded".to_owned())
    }

    /// These messages are gone as if they had never been.
    fn vanish(&mut self, is_gone: impl Fn(&Cursor) -> bool) {
        let gone = self.model.entries.iter_mut().filter(|(id, entry)| entry.state == State::There && is_gone(id));
        gone.for_each(|(_, entry)| entry.state = State::Vanished);
    }

    /// Cursors after the first, up to the second one, are none of this log any more.
    fn lose(&mut self, (after, up_to): (Cursor, Cursor)) {
        for client in &mut self.clients {
            let place = &mut client.place;
            if let Some(cursor) = place.cursor.filter(|cursor| *cursor > after && *cursor <= up_to) {
                place.lost = Some(format!("{cursor} is after {after}, and what followed is lost"));
            }
        }
        self.model.holes.push((after, up_to));
    }

    /// Compares what the next process has with the list.
    fn resolve(&mut self, ended: Ended) -> Result<(), String> {
        if ended.is_repaired && self.model.newest.ms >= time::now().time_ms {
            // Ids were ahead of the clock, and damage took what says so: a repair cannot know it.
            self.is_over = true;
            return Ok(());
        }
        let seen = std::mem::take(&mut *self.seen.lock());
        let all: Vec<usize> = (0..CHANNELS.len()).collect();
        let stored = self.stored(&all)?;
        let there: BTreeSet<Cursor> = stored.iter().map(|(id, _)| *id).collect();
        self.resolve_unknown(&stored)?;
        if self.config.total.is_some() || ended.is_repaired {
            // Keys go with the segments.
            self.keyed.clear();
        }
        if let Some(id) = seen.iter().find(|id| !there.contains(id) && !self.model.entries.contains_key(id))
            && self.config.fsync == Fsync::Always
            && !self.config.damage
        {
            return Err(format!("a reader got {id}, which is lost"));
        }
        for (id, number) in &stored {
            match self.model.entries.get(id) {
                Some(entry) if entry.number == *number && matches!(entry.state, State::There | State::Purged) => {}
                Some(entry) => {
                    return Err(format!(
                        "under {id} is {number}, and the list has {} as {:?}",
                        entry.number, entry.state
                    ));
                }
                None => return Err(format!("message {number} is there under {id}, and was refused or is lost")),
            }
        }
        let is_missing = |(id, entry): &(&Cursor, &Entry)| entry.state == State::There && !there.contains(id);
        let is_volatile = |entry: &Entry| {
            ended.is_repaired
                || self.config.fsync != Fsync::Always && ended.durable.is_some_and(|durable| entry.changes > durable)
        };
        let newest = there.last().copied().unwrap_or_default();
        let mut first_gone = None;
        for (id, entry) in self.model.entries.iter().filter(is_missing) {
            if *id <= newest || !is_volatile(entry) {
                // Retention, or an error that this finds.
                continue;
            }
            // A sync that fails is noticed up to a second later.
            let age_ms = self.elapsed_ms - entry.at_ms;
            if self.config.fsync == Fsync::EverySecond
                && age_ms > SYNCED_MS
                && !ended.is_repaired
                && !self.config.errors
            {
                return Err(format!(
                    "message {} under {id} was lost {age_ms} ms after it was acknowledged",
                    entry.number
                ));
            }
            first_gone.get_or_insert(*id);
        }
        if let Some(first) = first_gone {
            let after = self.model.entries.range(..first).next_back().map_or(Self::floor(), |(id, _)| *id);
            self.trace.line(format_args!("messages after {after} are lost"));
            self.vanish(|id| *id >= first);
            self.lose((after, self.model.newest));
            let gone = |ids: &Vec<Cursor>| ids.iter().any(|id| *id >= first);
            for keyed in self.keyed.values_mut().filter(|keyed| keyed.ids.as_ref().is_some_and(gone)) {
                keyed.ids = None;
            }
        }
        self.resolve_purges(&there);
        all.into_iter().try_for_each(|channel| self.refresh(channel))
    }

    /// A cursor of the log before its first message.
    fn floor() -> Cursor {
        Cursor::new(time::START_MS, 0)
    }

    /// A publication without an answer is there as a whole, or not at all.
    fn resolve_unknown(&mut self, stored: &[(Cursor, u64)]) -> Result<(), String> {
        for (sent, key) in std::mem::take(&mut self.unknown) {
            // What is known already was repeated.
            let is_new = |id: &Cursor| !self.model.entries.contains_key(id);
            let find =
                |number: u64| stored.iter().find(|(id, found)| *found == number && is_new(id)).map(|(id, _)| *id);
            let ids: Vec<Cursor> = sent.iter().filter_map(|sent| find(sent.number)).collect();
            if ids.is_empty() {
                continue;
            }
            if ids.len() != sent.len() {
                return Err(format!("of a publication of {} messages, {} are there", sent.len(), ids.len()));
            }
            for (sent, id) in sent.iter().zip(&ids) {
                self.trace.line(format_args!("message {} is there under {id}", sent.number));
                let entry = Entry {
                    channel: sent.channel,
                    number: sent.number,
                    length: sent.length,
                    state: State::There,
                    changes: self.disk.changes(),
                    at_ms: self.elapsed_ms,
                };
                self.model.add(*id, entry)?;
            }
            if let Some(keyed) = key.and_then(|key| self.keyed.get_mut(&key)) {
                keyed.ids = Some(ids);
            }
        }
        Ok(())
    }

    /// A purge without an answer has happened if its messages are gone.
    fn resolve_purges(&mut self, there: &BTreeSet<Cursor>) {
        for (channel, newest) in std::mem::take(&mut self.purging) {
            let mut of_channel =
                self.model.entries.iter().filter(|(id, entry)| entry.channel == channel && **id <= newest);
            if !of_channel.any(|(id, _)| there.contains(id)) {
                let up_to = self.model.newest;
                self.has_purged(channel, newest, up_to);
            }
        }
    }
}
