//! Loads the newest messages of the disk into memory.

use std::{io, sync::Arc};

use super::{
    catalog::Catalog,
    index::Sealed,
    progress::Progress,
    record::{self, Change, Hole},
    segment::{self, Found, HEAD, Head, Visit, file_name},
};
use crate::{
    live::{clock::Moment, log::Log},
    pure::{Cursor, Message},
};

/// The number of messages that are appended at once.
const BATCH: usize = 256;

/// The segments that are loaded, and the newest id before them.
#[derive(Debug)]
pub(super) struct Plan {
    numbers: Vec<u64>,
    /// Segments before those whose changes of state may still be valid.
    states: Vec<u64>,
    /// Messages up to here are on disk only.
    pub(super) before: Cursor,
}

/// Chooses the newest segments whose messages take at most `total` bytes of memory, and at least the last one. Changes of state are valid if
/// they are not from before `states_ms`.
pub(super) fn plan(catalog: &Catalog, total: usize, states_ms: u64) -> io::Result<Plan> {
    let segments = catalog.segments.lock();
    let footprint = |bytes: u64, messages: u64| bytes.saturating_add(messages.saturating_mul(Message::OVERHEAD as u64));
    let mut numbers = vec![segments.active.number];
    let mut sum = footprint(segments.active.length, segments.active.index.messages);
    for segment in segments.sealed.iter().rev() {
        sum = sum.saturating_add(footprint(segment.sealed.length, segment.sealed.messages));
        if sum > total as u64 {
            break;
        }
        numbers.push(segment.sealed.number);
    }
    numbers.reverse();
    // Without a checkpoint, the states are in the segment before.
    let has_states = segments.active.has_checkpoint;
    let before_active = segments.active.number.saturating_sub(1);
    let is_needed = |sealed: &Sealed| sealed.last.ms >= states_ms || !has_states && sealed.number == before_active;
    // From there on, none is left out: it may have removed what an earlier one had.
    let states = segments.sealed.iter().map(|segment| &segment.sealed).skip_while(|sealed| !is_needed(sealed));
    let states = states.map(|sealed| sealed.number).take_while(|number| *number < numbers[0]).collect();
    drop(segments);
    let first = catalog.disk.open(&file_name(numbers[0]))?;
    let before = Head::read(&*first)?.map_or(Cursor::ZERO, |head| head.before);
    Ok(Plan { numbers, states, before })
}

/// A segment that is not what its index or the start said.
#[derive(Debug)]
pub(super) struct Bad {
    pub(super) number: u64,
    pub(super) offset: u64,
    /// What cannot be read any more.
    pub(super) lost: String,
}

/// Appends the messages of the plan to `log`, and calls `changed` for each change of state in its segments.
///
/// # Errors
/// When a file cannot be read; the inner error is the place of damage.
pub(super) fn load(
    catalog: &Catalog,
    plan: &Plan,
    log: &Arc<Log>,
    now: Moment,
    changed: impl FnMut(Change<'_>),
) -> io::Result<Result<(), Bad>> {
    let all = plan.states.len() + plan.numbers.len();
    let mut progress = Progress::new(&catalog.disk.directory(), "its newest messages are loaded");
    let mut loading = Loading { log, now, messages: Vec::new(), last: plan.before, is_state: true, changed };
    for (done, &number) in plan.states.iter().chain(&plan.numbers).enumerate() {
        progress.report(done, all);
        loading.is_state = number < plan.numbers[0];
        let file = catalog.disk.open(&file_name(number))?;
        let Some(head) = Head::read(&*file)? else {
            return Ok(Err(Bad { number, offset: 0, lost: "all of its messages".to_owned() }));
        };
        let scanned = segment::scan(&*file, head.salt, HEAD, &mut loading)?;
        if let Some(offset) = scanned.bad {
            return Ok(Err(Bad { number, offset, lost: scanned.lost(offset, file.length()?) }));
        }
    }
    loading.flush()?;
    Ok(Ok(()))
}

struct Loading<'a, F> {
    log: &'a Arc<Log>,
    now: Moment,
    messages: Vec<Message>,
    /// The last message.
    last: Cursor,
    /// Only the changes of state are wanted.
    is_state: bool,
    changed: F,
}

impl<F> Loading<'_, F> {
    fn flush(&mut self) -> io::Result<()> {
        let appended = self.log.append_placed(std::mem::take(&mut self.messages), self.now);
        appended.map_err(|id| io::Error::other(format!("the id {id} is not newer than those before")))
    }
}

impl<F: FnMut(Change<'_>)> Visit for Loading<'_, F> {
    fn message(&mut self, found: Found<'_>) -> io::Result<()> {
        if self.is_state {
            return Ok(());
        }
        let draft = record::draft(found.fields).filter(|_| found.id > self.last);
        let draft = draft.ok_or(io::ErrorKind::InvalidData)?;
        self.last = found.id;
        self.messages.push(Message::new(found.id, draft));
        if self.messages.len() >= BATCH { self.flush() } else { Ok(()) }
    }

    fn state(&mut self, fields: &[u8], _: u64, _: u64) -> io::Result<()> {
        (self.changed)(record::change(fields).ok_or(io::ErrorKind::InvalidData)?);
        Ok(())
    }

    fn hole(&mut self, _: Hole) {}
}
