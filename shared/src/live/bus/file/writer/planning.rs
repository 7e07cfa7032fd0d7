//! One round of publishing: what waits is planned, written, synced, made visible and answered.

use std::{collections::VecDeque, mem};

use super::{
    Failure, RESERVED_MS, Writer,
    batch::{Batch, Planned, change_of},
    fail,
};
use crate::{
    live::{
        bus::{
            BusError, Published,
            file::{
                Fsync,
                purge::{self, Purge},
                queue::Job,
                states::Pending,
            },
        },
        clock::Moment,
        log::{Admission, Change, Staged},
    },
    pure::{Cursor, Epoch, Message, stream::EndReason},
};

impl Writer {
    /// Publishes the first of `jobs`, and those after it up to one that depends on them. Returns why nothing could be written, if nothing was.
    pub(super) fn publish_next(&mut self, jobs: &mut VecDeque<Job>) -> Result<Option<BusError>, Failure> {
        let now = (self.clock)();
        if self.store.is_full() && now.mono_ms >= self.roll_after_ms {
            match self.roll() {
                Ok(None) => {}
                Ok(Some(answer)) => {
                    jobs.drain(..).for_each(|job| drop(job.reply.send(Err(answer.clone()))));
                    return Ok(None);
                }
                Err(Failure(reason)) => return Err(fail(jobs.drain(..).map(|job| job.reply), reason)),
            }
        }
        let reserved_before = self.store.reserved_ms;
        let next_ms = self.store.last.next(now.time_ms).ms;
        // If half of the reservation is left, a later sync extends it, too.
        let is_reserving = self.fsync != Fsync::Always && next_ms >= self.promised_ms;
        let is_extending = self.fsync != Fsync::Always && next_ms + RESERVED_MS / 2 >= reserved_before;
        if is_reserving || is_extending {
            self.store.reserved_ms = next_ms + RESERVED_MS;
        }
        let mut batch = Batch::new(self.store.begin(), Staged::at(self.store.last), self.log.has_streams());
        while let Some(job) = jobs.pop_front() {
            if let Some(waiting) = self.plan(job, &mut batch, now) {
                jobs.push_front(waiting);
                break;
            }
        }
        if batch.is_empty() {
            self.store.reserved_ms = reserved_before;
            batch.answer();
            return Ok(None);
        }
        if let Err(error) = self.store.write(&batch.encoder) {
            self.store.reserved_ms = reserved_before;
            return self.unwritten(batch, &error, now).map(Some);
        }
        let is_required = self.fsync == Fsync::Always
            || is_reserving
            || batch.pending.changes.iter().any(|change| change.table.is_synced);
        let length = batch.encoder.bytes().len() as u64;
        let synced = match if is_required { Ok(true) } else { self.is_sync_overdue() } {
            Ok(true) => self.sync(length).map(|()| true),
            not_due => not_due,
        };
        let is_synced = match synced {
            Ok(is_synced) => is_synced,
            Err(Failure(reason)) => return Err(fail(batch.planned.into_iter().map(|one| one.reply), reason)),
        };
        self.written(batch, is_synced, now)?;
        if self.fsync == Fsync::Never && is_extending && !is_reserving {
            self.begin_sync()?;
        }
        Ok(None)
    }

    /// Nothing of it is there.
    fn unwritten(&mut self, mut batch: Batch, error: &std::io::Error, now: Moment) -> Result<BusError, Failure> {
        let answer = self.problem(error);
        if let Err(Failure(reason)) = self.undo() {
            return Err(fail(batch.planned.into_iter().map(|one| one.reply), reason));
        }
        let refused = mem::take(&mut batch.refused);
        self.discard(batch, &answer);
        refused.into_iter().for_each(|(job, _)| self.decide_again(job, &answer, now));
        Ok(answer)
    }

    /// Frees what is reserved for a batch that is not written, and answers its jobs: with `error`, except for those that were done before.
    fn discard(&self, batch: Batch, error: &BusError) {
        let mut answers = self.answers.lock();
        (0..batch.reserved).for_each(|_| answers.take_back());
        drop(answers);
        for change in &batch.changes {
            if let Change::Stream(_, Some(inherited)) = change {
                self.log.release(inherited);
            }
        }
        for mut planned in batch.planned {
            if planned.result.is_ok() && !planned.was_there(self.store.last) {
                planned.result = Err(error.clone());
            }
            planned.answer();
        }
    }

    /// Decides a job again, against what is there, that was refused beside what is not written. What would have to be written now is answered with `error`.
    fn decide_again(&mut self, job: Job, error: &BusError, now: Moment) {
        let mut batch = Batch::new(self.store.begin_group(), Staged::at(self.store.last), self.log.has_streams());
        if let Some(waiting) = self.plan(job, &mut batch, now) {
            let _ = waiting.reply.send(Err(error.clone()));
        }
        if batch.is_empty() { batch.answer() } else { self.discard(batch, error) }
    }

    /// All of it is as durable as the setting promises: it becomes visible, and is answered.
    fn written(&mut self, mut batch: Batch, is_synced: bool, now: Moment) -> Result<(), Failure> {
        self.solved();
        self.store.commit(&batch.encoder, &batch.placed);
        self.published(batch.encoder.bytes().len());
        self.store.commit_streams(mem::take(&mut batch.copied), batch.staged.last);
        {
            let mut states = self.store.states.lock();
            batch.pending.changes.iter().for_each(|change| states.apply(change_of(change)));
        }
        let purges = batch.pending.changes.iter().filter(|change| change.table == purge::TABLE);
        let purges: Vec<Purge> = purges.filter_map(Purge::of).collect();
        // Before a stream is seen to have ended, nothing of it is read from the disk.
        purges.iter().for_each(|purge| purge.obey_on_disk(&self.store.catalog));
        let written_ms = self.mono_ms();
        self.written = Some(written_ms);
        if self.fsync == Fsync::EverySecond && !is_synced {
            self.dirty_since.get_or_insert(written_ms);
        }
        let changes = mem::take(&mut batch.changes);
        if let Err(id) = self.log.apply(changes, now) {
            let reason = format!("{}: the id {id} is not newer than those before", self.directory());
            return Err(fail(batch.planned.into_iter().map(|one| one.reply), reason));
        }
        purges.iter().for_each(|purge| self.log.purge_up_to(&purge.channel, purge.up_to));
        batch.answer();
        Ok(())
    }

    /// Plans one job; returns it if it depends on what is planned.
    fn plan(&mut self, job: Job, batch: &mut Batch, now: Moment) -> Option<Job> {
        if job.stream.is_some() {
            return self.plan_stream(job, batch, now);
        }
        if batch.has_streams || !batch.staged.is_empty() {
            // What was published before is answered, whatever has become of the stream.
            let found = job.claim.as_ref().map(|claim| self.answers.lock().find(claim, Epoch::ANY, now.mono_ms));
            let is_new = !matches!(found, Some(Err(_) | Ok(Some(_))));
            match self.log.admit_drafts(&job.drafts, &batch.staged, now) {
                Ok(Admission::Waits) if is_new => return Some(job),
                Ok(Admission::Expired(name)) if is_new => {
                    return match self.plan_end(&name, EndReason::Expired, batch, now) {
                        Ok(()) => Some(job),
                        Err(error) => {
                            batch.refuse(job, error);
                            None
                        }
                    };
                }
                Err(refused) if is_new => {
                    batch.refuse(job, refused.into());
                    return None;
                }
                _ => {}
            }
        }
        let begun = batch.pending.changes.len();
        let published = match self.admit(&job, &mut batch.pending, batch.staged.last, now) {
            Ok(Some(published)) => published,
            Err(error) => {
                batch.refuse(job, error);
                return None;
            }
            Ok(None) => {
                let count = job.drafts.len();
                let (mut ids, mut changes) = (Vec::with_capacity(count), Vec::with_capacity(count));
                let mut id = batch.staged.last;
                for draft in job.drafts {
                    id = id.next(now.time_ms);
                    ids.push(id);
                    changes.push(Change::Message(Message::new(id, draft)));
                }
                if batch.has_streams {
                    self.purge_streams(&mut changes, &batch.pending.changes[begun..]);
                    self.log.stage(&changes, &mut batch.staged, now);
                }
                batch.staged.last = id.max(batch.staged.last);
                batch.add(changes, begun, job.claim.as_ref(), now);
                Published { ids, is_repeat: false }
            }
        };
        batch.planned.push(Planned::new(job.reply, Ok(published)));
        None
    }

    /// The answer to a publication that has been made before; `None` if it is new. Its messages are after `last`.
    ///
    /// # Errors
    /// When there is no space for its states, or its key; then nothing of it is pending.
    fn admit(
        &self,
        Job { drafts, states, claim, .. }: &Job,
        pending: &mut Pending,
        last: Cursor,
        now: Moment,
    ) -> Result<Option<Published>, BusError> {
        let (claim, count) = (claim.as_ref(), drafts.len());
        let mut answers = self.answers.lock();
        if let Some(claim) = claim
            && let Some(published) = answers.find(claim, Epoch::ANY, now.mono_ms)?
        {
            return Ok(Some(published));
        }
        let begun = pending.changes.len();
        let stored = self.store.states.lock();
        let mut changes = states.iter().cloned();
        let planned = changes.try_for_each(|change| stored.plan(change, pending, self.store.segment_bytes));
        drop(stored);
        let admitted = planned.and_then(|()| claim.map_or(Ok(()), |claim| answers.reserve(claim, now.mono_ms)));
        if let Err(error) = admitted {
            pending.take_back(begun);
            return Err(error);
        }
        if let Some(claim) = claim {
            let first = if count == 0 { Cursor::ZERO } else { last.next(now.time_ms) };
            answers.set(claim, first, count);
        }
        Ok(None)
    }
}
