//! Loads the newest messages of the disk into memory.

use std::{collections::HashMap, io, sync::Arc};

use super::{
    catalog::Catalog,
    index::Sealed,
    progress::Progress,
    record::{self, Hole},
    segment::{self, Found, HEAD, Head, Visit, file_name},
};
use crate::{
    live::{
        clock::Moment,
        log::{Change, Log},
    },
    pure::{ChannelName, Cursor, Message, stream::StreamRecord},
};

mod streams;

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
    /// The last segment that has a checkpoint.
    pub(super) checkpoint: Option<u64>,
}

/// Chooses the newest segments whose messages take at most `total` bytes of memory, and at least the last one. Changes of state are valid if
/// they are not from before `states_ms`.
pub(super) fn plan(catalog: &Catalog, total: usize, states_ms: u64) -> io::Result<Plan> {
    let segments = catalog.segments.lock();
    let footprint = |bytes: u64, messages: u64| bytes.saturating_add(messages.saturating_mul(Message::OVERHEAD as u64));
    let mut numbers = vec![segments.active.number];
    let mut sum = footprint(segments.active.length, segments.active.index.messages);
    let has_states = segments.active.has_checkpoint;
    for (at, segment) in segments.sealed.iter().rev().enumerate() {
        sum = sum.saturating_add(footprint(segment.sealed.length, segment.sealed.messages));
        // Without a checkpoint, streams continue from the one before.
        if sum > total as u64 && (has_states || at > 0) {
            break;
        }
        numbers.push(segment.sealed.number);
    }
    numbers.reverse();
    // Without a checkpoint, the states are in the segment before.
    let before_active = segments.active.number.saturating_sub(1);
    let sealed_before = segments.sealed.last().map(|segment| segment.sealed.number);
    let checkpoint = if has_states { Some(segments.active.number) } else { sealed_before };
    let is_needed = |sealed: &Sealed| sealed.last.ms >= states_ms || !has_states && sealed.number == before_active;
    // From there on, none is left out: it may have removed what an earlier one had.
    let states = segments.sealed.iter().map(|segment| &segment.sealed).skip_while(|sealed| !is_needed(sealed));
    let states = states.map(|sealed| sealed.number).take_while(|number| *number < numbers[0]).collect();
    drop(segments);
    let first = catalog.disk.open(&file_name(numbers[0]))?;
    let before = Head::read(&*first)?.map_or(Cursor::ZERO, |head| head.before);
    Ok(Plan { numbers, states, before, checkpoint })
}

/// A segment that is not what its index or the start said.
#[derive(Debug)]
pub(super) struct Bad {
    pub(super) number: u64,
    pub(super) offset: u64,
    /// What cannot be read any more.
    pub(super) lost: String,
}

/// Appends the messages of the plan to `log`, restores its streams, and calls `changed` for each change of state in its segments.
///
/// # Errors
/// When a file cannot be read; the inner error is the place of damage.
pub(super) fn load(
    catalog: &Catalog,
    plan: &Plan,
    log: &Arc<Log>,
    now: Moment,
    changed: impl FnMut(record::Change<'_>),
) -> io::Result<Result<(), Bad>> {
    let all = plan.states.len() + plan.numbers.len();
    let mut progress = Progress::new(&catalog.disk.directory(), "its newest messages are loaded");
    let streams = match plan.checkpoint.map(|number| streams::find(catalog, number)).transpose()? {
        Some(Err(bad)) => return Ok(Err(bad)),
        found => found.and_then(Result::ok).unwrap_or_default(),
    };
    let mut loading = Loading {
        log,
        now,
        changes: Vec::new(),
        last: plan.before,
        is_state: true,
        is_restored: false,
        streams: streams.created(),
        changed,
    };
    let (mut streams, mut incomplete) = (Some(streams), Vec::new());
    for (done, &number) in plan.states.iter().chain(&plan.numbers).enumerate() {
        progress.report(done, all);
        loading.is_state = number < plan.numbers[0];
        if plan.checkpoint.is_some_and(|checkpoint| number >= checkpoint)
            && let Some(streams) = streams.take()
        {
            loading.flush()?;
            loading.streams.clear();
            loading.is_restored = true;
            incomplete = streams.restore(catalog, log, now)?;
        }
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
    for (channel, created) in incomplete {
        if log.stream_created(&channel) == Some(created) && log.has_stream_messages(&channel) {
            log::error!(
                "{}: older messages of the stream {channel} are missing, after a repair or damage: its readers get a gap",
                catalog.disk.directory()
            );
        }
    }
    Ok(Ok(()))
}

struct Loading<'a, F> {
    log: &'a Arc<Log>,
    now: Moment,
    changes: Vec<Change>,
    /// The last message.
    last: Cursor,
    /// The streams whose messages are not loaded as those of any other channel, and when each was created.
    streams: HashMap<ChannelName, Cursor>,
    /// Only the changes of state are wanted.
    is_state: bool,
    /// Whether the streams of the checkpoint are restored: the changes after it are applied.
    is_restored: bool,
    changed: F,
}

impl<F> Loading<'_, F> {
    fn flush(&mut self) -> io::Result<()> {
        let appended = self.log.apply(std::mem::take(&mut self.changes), self.now);
        appended.map_err(|id| io::Error::other(format!("the id {id} is not newer than those before")))
    }
}

impl<F: FnMut(record::Change<'_>)> Visit for Loading<'_, F> {
    fn message(&mut self, found: Found<'_>) -> io::Result<()> {
        if self.is_state {
            return Ok(());
        }
        let draft = record::draft(found.fields).filter(|_| found.id > self.last);
        let draft = draft.ok_or(io::ErrorKind::InvalidData)?;
        self.last = found.id;
        if self.streams.get(&draft.channel).is_some_and(|created| found.id > *created) {
            return Ok(());
        }
        self.changes.push(Change::Message(Message::new(found.id, draft)));
        if self.changes.len() >= BATCH { self.flush() } else { Ok(()) }
    }

    fn stream(&mut self, record: &[u8]) -> io::Result<()> {
        let record = StreamRecord::decode(record).ok_or(io::ErrorKind::InvalidData)?;
        self.last = self.last.max(record.position().unwrap_or_default());
        // Before the checkpoint, its streams are not restored yet: what was decided before is part of it.
        if self.is_restored && !matches!(record, StreamRecord::Saved(_)) {
            self.changes.push(Change::stream(record));
        }
        Ok(())
    }

    fn copy(&mut self, found: Found<'_>, created: Cursor) -> io::Result<()> {
        if !self.is_restored {
            return Ok(());
        }
        self.flush()?;
        let draft = record::draft(found.fields).ok_or(io::ErrorKind::InvalidData)?;
        self.log.restore_message(Message::new(found.id, draft), created, self.now);
        Ok(())
    }

    fn state(&mut self, fields: &[u8], _: u64, _: u64) -> io::Result<()> {
        (self.changed)(record::change(fields).ok_or(io::ErrorKind::InvalidData)?);
        Ok(())
    }

    fn hole(&mut self, _: Hole) {}
}
