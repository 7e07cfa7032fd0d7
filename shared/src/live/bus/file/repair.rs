//! Checks a whole log, and cuts it at the first damage.

use std::{io, path::Path, sync::Arc};

use super::{
    disk::{Directory, Disk},
    error::OpenError,
    open,
    record::{self, Hole},
    removed::Removed,
    segment::{self, Found, HEAD, Head, Visit, file_name},
};
use crate::pure::{Cursor, stream::StreamRecord};

mod decisions;
pub(super) mod plan;

use decisions::Collecting;
pub use decisions::{Decisions, Lack};
use plan::Plan;

/// The result of a check.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Examined {
    /// Segments that can be read.
    pub segments: usize,
    /// Their messages.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The oldest and the newest of these messages.
    pub ids: Option<(Cursor, Cursor)>,
    /// Segments that are missing at the beginning: their messages are lost.
    pub missing: u64,
    /// Whether it cannot be read any more which channels lost messages by retention. Then each client with a cursor from before the first
    /// segment gets a gap.
    pub is_table_damaged: bool,
    /// Whether an earlier repair was interrupted. The next start completes it, and so does another repair.
    pub is_interrupted: bool,
    /// The first damage. Everything from there on is lost.
    pub cut: Option<Cut>,
}

impl Examined {
    /// Whether something is lost: a server refuses to start if it has to read that.
    #[must_use]
    pub fn is_damaged(&self) -> bool {
        self.cut.is_some() || self.missing > 0 || self.is_table_damaged
    }
}

/// What is lost by damage.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cut {
    /// The damaged file.
    pub file: String,
    /// The end of the last whole publication before the damage.
    pub offset: u64,
    /// The first byte of the file that the disk cannot read.
    pub unreadable: Option<u64>,
    /// Bytes from there to the end of the log.
    pub bytes: u64,
    /// Readable messages in later segments, which are lost, too: the log must not contain a gap that is not recorded.
    pub messages: u64,
    /// Changes of streams there, such as a creation or a closing: streams are as they were before the damage.
    pub changes: u64,
    /// What backends decided after the damage: a repair keeps it.
    pub decisions: Decisions,
    /// The newest id there, and the newest that may have been handed out, as far as it can be read.
    newest: Cursor,
    /// The number of the segment.
    number: u64,
}

/// Reads the whole log at `path`, which no process may use meanwhile, and changes nothing. It needs no permission to write. An incomplete
/// write at the end is no damage.
///
/// # Errors
/// [`OpenError::Locked`], and [`OpenError::Disk`] when it cannot be read or does not exist.
pub fn examine(path: &Path) -> Result<Examined, OpenError> {
    let disk = Directory::open_read_only(path).map_err(unopened(path))?;
    open::lock(&disk)?;
    let examined = read(&disk).map_err(failed(&disk, "cannot read the log"));
    disk.unlock();
    examined
}

/// Cuts the log at `path` at its first damage, if there is any, gives up missing segments at its beginning, and returns what was there.
/// Clients with a cursor of the lost part get a gap. What backends decided is kept as far as it can be read ([`Decisions`]). `now_ms` is the time of day: later ids begin after it. If it is interrupted, the next
/// start or repair completes it.
///
/// # Errors
/// As [`examine`], and when it cannot be changed.
pub fn repair(path: &Path, now_ms: u64) -> Result<Examined, OpenError> {
    if !path.is_dir() {
        return Err(unopened(path)(io::ErrorKind::NotFound.into()));
    }
    let disk: Arc<dyn Disk> = Arc::new(Directory::open(path).map_err(unopened(path))?);
    open::lock(&*disk)?;
    let repaired = repair_on(disk.clone(), now_ms);
    disk.unlock();
    repaired
}

pub(super) fn unopened(path: &Path) -> impl FnOnce(io::Error) -> OpenError {
    let directory = path.display().to_string();
    move |error| OpenError::Disk { directory, what: "cannot open the directory".to_owned(), error }
}

pub(super) fn failed(disk: &dyn Disk, what: &'static str) -> impl FnOnce(io::Error) -> OpenError {
    let directory = disk.directory();
    move |error| OpenError::Disk { directory, what: what.to_owned(), error }
}

/// Repairs a log that is locked already.
pub(super) fn repair_on(disk: Arc<dyn Disk>, now_ms: u64) -> Result<Examined, OpenError> {
    let unwritten = "cannot write the repair";
    match Plan::read(&*disk) {
        // It is not known what it would have cut, and which ids it made a gap: all up to now.
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            let plan = Plan::without_cut(&*disk, now_ms).map_err(failed(&*disk, "cannot list the directory"))?;
            plan.store(&*disk).map_err(io::Error::from).map_err(failed(&*disk, unwritten))?;
            complete(&disk, now_ms)?;
        }
        Ok(Some(_)) => complete(&disk, now_ms)?,
        found => drop(found.map_err(failed(&*disk, "cannot read the log"))?),
    }
    let examined = read(&*disk).map_err(failed(&*disk, "cannot read the log"))?;
    if examined.missing > 0 || examined.is_table_damaged {
        give_up_missing(&*disk).map_err(failed(&*disk, "cannot write the table of dropped messages"))?;
    }
    if let Some(cut) = &examined.cut {
        let kept = examined.ids.map_or(Cursor::ZERO, |(_, last)| last);
        let up_to = Cursor::new(now_ms, u64::MAX).max(cut.newest).max(kept.next(now_ms));
        let plan = Plan { number: cut.number, offset: cut.offset, up_to, decisions: cut.decisions.clone() };
        plan.store(&*disk).map_err(io::Error::from).map_err(failed(&*disk, unwritten))?;
        // The start completes it.
        open::open_locked(disk, now_ms, u64::MAX)?;
    }
    Ok(examined)
}

/// Completes a repair that is planned. Other damage is repaired afterwards.
fn complete(disk: &Arc<dyn Disk>, now_ms: u64) -> Result<(), OpenError> {
    match open::open_locked(disk.clone(), now_ms, u64::MAX) {
        Ok(_) | Err(OpenError::Damaged { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Has the log begin with the first segment that is there.
fn give_up_missing(disk: &dyn Disk) -> io::Result<()> {
    let (mut removed, is_table_damaged) = removed(disk)?;
    if let Some(&first) = numbers(disk, &removed, is_table_damaged)?.first() {
        let head = Head::read(&*disk.open(&file_name(first))?)?;
        removed.lose(first, head.map_or(Cursor::ZERO, |head| head.before));
    }
    Ok(removed.write(disk)?)
}

/// Counts messages, and refuses what a start would refuse.
#[derive(Default)]
struct Count<'a> {
    messages: u64,
    ids: Option<(Cursor, Cursor)>,
    /// Changes of streams.
    changes: u64,
    /// The newest id before.
    last: Cursor,
    /// Before the damage.
    decisions: Option<&'a mut Collecting>,
}

impl Visit for Count<'_> {
    fn message(&mut self, found: Found<'_>) -> io::Result<()> {
        if found.id <= self.last || record::draft(found.fields).is_none() {
            return Err(io::ErrorKind::InvalidData.into());
        }
        self.last = found.id;
        self.messages += 1;
        self.ids = Some((self.ids.map_or(found.id, |(first, _)| first), found.id));
        Ok(())
    }

    fn state(&mut self, fields: &[u8], offset: u64, length: u64) -> io::Result<()> {
        match &mut self.decisions {
            Some(decisions) => decisions.state(fields, offset, length),
            None => record::change(fields).map(drop).ok_or_else(|| io::ErrorKind::InvalidData.into()),
        }
    }

    fn stream(&mut self, record: &[u8]) -> io::Result<()> {
        let record = StreamRecord::decode(record).ok_or(io::ErrorKind::InvalidData)?;
        self.last = self.last.max(record.position().unwrap_or_default());
        self.changes += u64::from(!matches!(record, StreamRecord::Saved(_)));
        Ok(())
    }

    fn copy(&mut self, found: Found<'_>, _: Cursor) -> io::Result<()> {
        record::draft(found.fields).map(drop).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    fn hole(&mut self, hole: Hole) {
        self.last = self.last.max(hole.up_to);
    }

    fn write(&mut self) {
        self.decisions.iter_mut().for_each(|decisions| decisions.write());
    }

    fn checkpoint(&mut self) {
        self.decisions.iter_mut().for_each(|decisions| decisions.checkpoint());
    }
}

/// What retention has removed, and whether the table of that is damaged.
fn removed(disk: &dyn Disk) -> io::Result<(Removed, bool)> {
    let table = Removed::read(disk)?;
    let is_damaged = table.is_none();
    Ok((table.unwrap_or_default(), is_damaged))
}

/// The segments that retention has not removed, oldest first. Without its table, those after the last missing one.
pub(super) fn numbers(disk: &dyn Disk, removed: &Removed, is_table_damaged: bool) -> io::Result<Vec<u64>> {
    let mut numbers: Vec<u64> = disk.list()?.iter().filter_map(|name| segment::number_of(name)).collect();
    numbers.retain(|number| *number >= removed.oldest);
    numbers.sort_unstable();
    let last_break = numbers.windows(2).rposition(|two| two[1] != two[0] + 1);
    if let (true, Some(at)) = (is_table_damaged, last_break) {
        numbers.drain(..=at);
    }
    Ok(numbers)
}

/// Whether the newest segment was created and never used: then the one before was written to after that.
fn has_unused(disk: &dyn Disk, numbers: &[u64]) -> io::Result<bool> {
    let [_, .., newest] = numbers else { return Ok(false) };
    let file = disk.open(&file_name(*newest))?;
    Ok(file.length()? <= HEAD && Head::read(&*file)?.is_none())
}

pub(super) fn read(disk: &dyn Disk) -> io::Result<Examined> {
    let (removed, is_table_damaged) = removed(disk)?;
    let mut numbers = numbers(disk, &removed, is_table_damaged)?;
    let is_unused = has_unused(disk, &numbers)?;
    if is_unused {
        numbers.pop();
    }
    let mut expected = numbers.first().copied().unwrap_or_default();
    let missing = if is_table_damaged { 0 } else { expected.saturating_sub(removed.oldest.max(1)) };
    let is_interrupted = !matches!(Plan::read(disk), Ok(None));
    let mut examined = Examined { missing, is_table_damaged, is_interrupted, ..Examined::default() };
    let (mut newest, mut decisions) = (Cursor::ZERO, Collecting::default());
    for (at, &number) in numbers.iter().enumerate() {
        let is_last = at + 1 == numbers.len();
        let file = disk.open(&file_name(number))?;
        let length = file.length()?;
        let before_damage = examined.cut.is_none().then_some(&mut decisions);
        let mut count = Count { last: newest, decisions: before_damage, ..Count::default() };
        let head = Head::read(&*file)?.filter(|head| head.number == number);
        let (end, is_damaged, unreadable) = match head {
            _ if number != expected => (0, true, None),
            None => (0, !is_last || is_unused || length > HEAD, None),
            Some(head) => {
                count.last = newest.max(head.before);
                let scanned = segment::scan(&*file, head.salt, HEAD, &mut count)?;
                let is_damaged = match scanned.bad {
                    None => false,
                    Some(bad) => !is_last || scanned.is_invalid || segment::was_durable(&*file, head.salt, bad)?,
                };
                (scanned.end, is_damaged, scanned.unreadable)
            }
        };
        let is_missing = number != expected;
        let Count { messages, ids, last, changes, .. } = count;
        (expected, newest) = (number + 1, last);
        match &mut examined.cut {
            Some(cut) => {
                cut.bytes += length;
                cut.messages += messages;
                cut.changes += changes;
                // The head of a segment says what was before it.
                cut.newest = cut.newest.max(newest);
                decisions.read(&*file, 0, is_last)?;
            }
            None => {
                examined.segments += 1;
                examined.messages += messages;
                examined.bytes += end;
                let first = examined.ids.map(|(first, _)| first);
                examined.ids = ids.map(|(own, last)| (first.unwrap_or(own), last)).or(examined.ids);
                if is_damaged {
                    let (file_name, bytes) = (file_name(number), length - end);
                    let cut = Cut { file: file_name, offset: end, unreadable, bytes, number, ..Cut::default() };
                    examined.cut = Some(cut);
                    decisions.cut(is_missing);
                    decisions.read(&*file, end, is_last)?;
                }
            }
        }
    }
    if let Some(cut) = &mut examined.cut {
        cut.newest = cut.newest.max(decisions.newest);
        cut.decisions = decisions.into_decisions();
    }
    Ok(examined)
}

#[cfg(test)]
mod tests;
