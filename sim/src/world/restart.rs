//! The end of a process, what a power cut leaves, and the start of the next one.

use std::{collections::BTreeSet, sync::Arc};

use shared::{
    live::bus::{
        Bus as _, MemoryBus,
        file::{
            Examined, Fsync, OpenError,
            disk::Disk,
            stepped::{SteppedBus, repair_disk},
        },
    },
    pure::Cursor,
};

use super::{CHANNELS, Process, World, context, publish::Sent};
use crate::{
    disk::{Damage, Faults},
    model::{Entry, Model, State},
    time,
};

/// With [`Fsync::EverySecond`], a power cut takes what was acknowledged within so many milliseconds.
const MAX_UNSYNCED_MS: u64 = 1_000;
/// A start that is interrupted more often is left alone.
const INTERRUPTIONS: usize = 3;

/// What happened between two processes.
#[derive(Clone, Debug, Default)]
struct Ended {
    /// Changes of the disk after this one may be lost; none if there is none.
    durable: Option<u64>,
    /// What was damaged, and repaired.
    repaired: Option<Damage>,
    /// The last process ended in order, so all of it is durable.
    is_orderly: bool,
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
        let is_orderly = self.disk.failures().sync == self.failures.sync;
        if is_orderly && !self.waiting.is_empty() {
            return Err("the process ended and has not answered".to_owned());
        }
        let is_power_cut = self.random.percent(30);
        self.replace(is_power_cut, Ended { is_orderly, ..Ended::default() })
    }

    /// The process ends, or the power is cut; and the next process.
    pub(crate) fn restart(&mut self, is_power_cut: bool) -> Result<(), String> {
        self.replace(is_power_cut, Ended::default())
    }

    fn replace(&mut self, is_power_cut: bool, mut ended: Ended) -> Result<(), String> {
        self.clients.iter_mut().for_each(|client| client.reader = None);
        for waiting in std::mem::take(&mut self.waiting) {
            self.forget(waiting);
        }
        self.process = None;
        if self.config.is_memory {
            return self.start_without_disk();
        }
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
        self.model = Model { may_exaggerate: self.model.may_exaggerate, limits: self.model.limits, ..Model::default() };
        self.unknown.clear();
        self.purging.clear();
        self.keyed.clear();
        self.process =
            Some(Process::Memory(Arc::new(MemoryBus::numbered(self.config.limits(), time::now, self.starts))));
        self.begin();
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
        for attempt in 0..3 * INTERRUPTIONS {
            let is_interrupted = self.config.crashes && attempt < INTERRUPTIONS && self.random.percent(20);
            let crash = is_interrupted.then(|| self.random.below(10));
            let is_failing = self.config.errors && attempt < INTERRUPTIONS && self.random.percent(10);
            let sync = is_failing && self.random.percent(50);
            self.disk.set_faults(Faults { crash, sync, write: is_failing && !sync, space: self.disk.faults().space });
            let before = self.disk.failures();
            let opened = self.act(|world| {
                let (disk, config) = (Arc::new(world.disk.clone()), &world.config);
                SteppedBus::open(disk, config.options(), config.segment_bytes, config.limits(), time::now)
            });
            let space = self.disk.faults().space;
            match opened {
                Some(Ok(stepped)) => {
                    self.disk.set_faults(Faults { space, ..Faults::default() });
                    self.process = Some(Process::File(Box::new(stepped)));
                    // It completes what an earlier process began.
                    let removed = self.disk.take_removals().into_iter().map(|removal| removal.up_to).max();
                    self.model.removed_up_to = self.model.removed_up_to.max(removed.unwrap_or_default());
                    // It has checked everything but the records: an index that is damaged was made again.
                    self.damage.take_if(|damage| damage.written.is_none());
                    self.begin();
                    return self.watch();
                }
                Some(Err(error @ OpenError::Damaged { .. })) => self.repair(&error, ended)?,
                Some(Err(error)) => {
                    let after = self.disk.failures();
                    if after == before {
                        return Err(format!("the start failed without a cause: {error}"));
                    }
                    self.trace.line(format_args!("refused: {error}"));
                    // Somebody makes space.
                    let space = space.filter(|_| after.full == before.full);
                    self.disk = self.disk.kill();
                    self.disk.set_faults(Faults { space, ..Faults::default() });
                }
                None => {
                    let is_power_cut = self.random.percent(60);
                    self.end(is_power_cut, ended);
                }
            }
        }
        Err("no start succeeded".to_owned())
    }

    /// The log is damaged, as a start says, and is cut where it is.
    fn repair(&mut self, why: &OpenError, ended: &mut Ended) -> Result<(), String> {
        // If a repair is interrupted, there is another one.
        ended.repaired = self.damage.take().or(ended.repaired.take());
        let damaged = ended.repaired.as_ref();
        let Damage { file, written, .. } =
            damaged.ok_or_else(|| format!("a start found damage in an undamaged log: {why}"))?.clone();
        if !matches!(why, OpenError::Damaged { file: found, .. } if *found == file) {
            return Err(format!("{file} is damaged, and a start found: {why}"));
        }
        self.trace.line(format_args!("refused: {why}"));
        let crash = self.disk.faults().crash;
        self.disk = self.disk.kill();
        // It needs space, as its error says.
        self.disk.set_faults(Faults { crash, ..Faults::default() });
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        match self.act(|_| repair_disk(&disk, time::now().time_ms)) {
            Some(Ok(Examined { cut, .. })) => {
                self.trace.line(format_args!("repaired: {cut:?}"));
                let begin = written.map(|(begin, _)| begin);
                // Without one, an earlier repair was interrupted and has cut it.
                if let Some(cut) = cut
                    && (cut.file != file || begin.is_none_or(|begin| cut.offset < begin))
                {
                    return Err(format!("{file} was damaged in a write at {begin:?}, and was cut at {}", cut.offset));
                }
                Ok(())
            }
            Some(Err(error)) => Err(format!("the repair failed: {error}")),
            None => {
                let is_power_cut = self.random.percent(60);
                self.end(is_power_cut, ended);
                Ok(())
            }
        }
    }

    /// These messages are gone as if they had never been.
    fn vanish(&mut self, is_gone: impl Fn(&Cursor) -> bool) {
        let may_vanish = |entry: &Entry| matches!(entry.state, State::There | State::Removed);
        let gone = self.model.entries.iter_mut().filter(|(id, entry)| may_vanish(entry) && is_gone(id));
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
        let repaired = ended.repaired;
        let log = self.bus()?.log().clone();
        let newest = self.model.newest;
        let is_ahead = newest.ms >= time::now().time_ms && newest > log.head();
        if repaired.is_some() && is_ahead && log.can_have_issued(newest) {
            // Ids were ahead of the clock, and what said so cannot be read any more.
            self.is_over = true;
            return Ok(());
        }
        let seen = std::mem::take(&mut *self.seen.lock());
        let all: Vec<usize> = (0..CHANNELS.len()).collect();
        let stored = self.stored(&all)?;
        let there: BTreeSet<Cursor> = stored.iter().map(|(id, _)| *id).collect();
        if repaired.is_some() && stored.is_empty() {
            self.model.begins_at = log.head();
        }
        self.resolve_unknown(&stored)?;
        for keyed in self.keyed.values_mut() {
            // Keys go with the segments.
            keyed.is_vague |= keyed.ids.iter().flatten().any(|id| *id <= self.model.removed_up_to);
            // A repair may have cut the key of messages that were removed before.
            let is_there = |id| self.model.entries.get(id).is_none_or(|entry| entry.state == State::There);
            keyed.is_vague |= repaired.is_some() && !keyed.ids.iter().flatten().all(is_there);
        }
        if let Some(id) = seen.iter().find(|id| !there.contains(id) && !self.model.entries.contains_key(id))
            && self.config.fsync == Fsync::Always
            && repaired.is_none()
        {
            return Err(format!("a reader got {id}, which is lost"));
        }
        let is_limited = self.config.count.is_some() || self.config.age_ms.is_some();
        // Without the newest ones, older messages are within the limits of their channels again.
        let may_return = self.config.count.is_some() && (self.config.fsync != Fsync::Always || repaired.is_some());
        for (id, number) in &stored {
            match self.model.entries.get_mut(id) {
                Some(entry) if entry.number == *number && entry.state == State::Removed && may_return => {
                    entry.state = State::There;
                }
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
        // The change of the disk from which on a repair may have cut it.
        let cut = repaired.and_then(|damage| damage.written).map(|(_, number)| number);
        let is_volatile = |entry: &Entry| {
            cut.is_some_and(|number| entry.changes >= number)
                || self.config.fsync != Fsync::Always
                    && !ended.is_orderly
                    && ended.durable.is_some_and(|durable| entry.changes > durable)
        };
        let newest = there.last().copied().unwrap_or_default();
        let mut first_gone = None;
        for (id, entry) in self.model.entries.iter().filter(is_missing) {
            if *id <= newest || !is_volatile(entry) {
                // Retention, or an error that this finds.
                continue;
            }
            let (_, first_ms) = *first_gone.get_or_insert((*id, entry.at_ms));
            let within_ms = entry.at_ms - first_ms;
            if self.config.fsync == Fsync::EverySecond && within_ms > MAX_UNSYNCED_MS && cut.is_none() {
                return Err(format!("messages were lost that were acknowledged within {within_ms} ms"));
            }
        }
        let is_lossy = self.config.fsync != Fsync::Always && !ended.is_orderly && ended.durable.is_some();
        let is_lossy = is_limited && (is_lossy || cut.is_some());
        // What the limits of channels had removed may be lost, too.
        let mut removed = self.model.entries.iter().filter(|(_, entry)| entry.state == State::Removed);
        let has_lost_removed = is_lossy && removed.any(|(id, _)| *id > log.head());
        if first_gone.is_some() || has_lost_removed {
            let first = first_gone.map_or(Cursor::MAX, |(first, _)| first);
            let after = self.model.entries.range(..first).next_back().map_or(Self::floor(), |(id, _)| *id);
            let after = after.min(if is_lossy { log.head() } else { Cursor::MAX });
            self.trace.line(format_args!("messages after {after} are lost"));
            self.vanish(|id| *id > after);
            self.lose((after.max(self.model.begins_at), self.model.newest));
            let gone = |ids: &Vec<Cursor>| ids.iter().any(|id| *id > after);
            for keyed in self.keyed.values_mut().filter(|keyed| keyed.ids.as_ref().is_some_and(gone)) {
                keyed.ids = None;
            }
        }
        self.resolve_purges(&there);
        self.resolve_states(
            ended.durable.filter(|_| self.config.fsync != Fsync::Always && !ended.is_orderly),
            cut.is_some(),
        )?;
        all.into_iter().try_for_each(|channel| self.refresh(channel))
    }

    /// A cursor of the log before its first message.
    fn floor() -> Cursor {
        Cursor::new(time::START_MS, 0)
    }

    /// A publication without an answer is there as a whole, or not at all.
    fn resolve_unknown(&mut self, stored: &[(Cursor, u64)]) -> Result<(), String> {
        // The limits of a channel may not keep all of it.
        let is_limited = self.config.count.is_some() || self.config.age_ms.is_some();
        let head = self.bus()?.log().head();
        for (sent, key) in std::mem::take(&mut self.unknown) {
            // What is known already was repeated.
            let is_new = |id: &Cursor| !self.model.entries.contains_key(id);
            let find =
                |number: u64| stored.iter().find(|(id, found)| *found == number && is_new(id)).map(|(id, _)| *id);
            let found: Vec<(Cursor, &Sent)> = sent.iter().filter_map(|sent| Some((find(sent.number)?, sent))).collect();
            if found.len() != sent.len() && is_limited {
                self.model.unlisted_up_to = head;
            }
            if found.is_empty() {
                continue;
            }
            if found.len() != sent.len() && !is_limited {
                return Err(format!("of a publication of {} messages, {} are there", sent.len(), found.len()));
            }
            for (id, sent) in &found {
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
                keyed.ids = Some(found.iter().map(|(id, _)| *id).collect());
                keyed.is_vague |= found.len() != sent.len();
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
