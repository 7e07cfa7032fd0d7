//! Loads the newest messages of the disk into memory.

use std::{io, sync::Arc};

use super::{
    catalog::Catalog,
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
    let is_wanted = |number: &u64| *number < numbers[0];
    let sealed = segments.sealed.iter().map(|segment| &segment.sealed).filter(|sealed| sealed.last.ms >= states_ms);
    let states = sealed.map(|sealed| sealed.number).filter(is_wanted).collect();
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
    pub(super) length: u64,
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
    let mut loading = Loading { log, now, messages: Vec::new(), is_state: true, changed };
    for &number in plan.states.iter().chain(&plan.numbers) {
        loading.is_state = number < plan.numbers[0];
        let file = catalog.disk.open(&file_name(number))?;
        let Some(head) = Head::read(&*file)? else { return Ok(Err(Bad { number, offset: 0, length: file.length()? })) };
        let scanned = segment::scan(&*file, head.salt, HEAD, &mut loading)?;
        if let Some(offset) = scanned.bad {
            return Ok(Err(Bad { number, offset, length: file.length()? }));
        }
    }
    loading.flush();
    Ok(Ok(()))
}

struct Loading<'a, F> {
    log: &'a Arc<Log>,
    now: Moment,
    messages: Vec<Message>,
    /// Only the changes of state are wanted.
    is_state: bool,
    changed: F,
}

impl<F> Loading<'_, F> {
    fn flush(&mut self) {
        if let Err(id) = self.log.append_placed(std::mem::take(&mut self.messages), self.now) {
            // Two records with one id would mean an error of the writer.
            log::error!("the log on disk has the id {id} twice");
        }
    }
}

impl<F: FnMut(Change<'_>)> Visit for Loading<'_, F> {
    fn message(&mut self, found: Found<'_>) -> io::Result<()> {
        if self.is_state {
            return Ok(());
        }
        let draft = record::draft(found.fields).ok_or(io::ErrorKind::InvalidData)?;
        self.messages.push(Message::new(found.id, draft));
        if self.messages.len() >= BATCH {
            self.flush();
        }
        Ok(())
    }

    fn state(&mut self, fields: &[u8], _: u64, _: u64) -> io::Result<()> {
        (self.changed)(record::change(fields).ok_or(io::ErrorKind::InvalidData)?);
        Ok(())
    }

    fn hole(&mut self, _: Hole) {}
}
