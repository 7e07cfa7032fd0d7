//! Checks a whole log, and cuts it at the first damage.

use std::{io, path::Path, sync::Arc};

use super::{
    disk::{Directory, Disk},
    error::OpenError,
    floors::Floors,
    open,
    record::Hole,
    segment::{self, Found, HEAD, Head, Visit, file_name, index_name},
};
use crate::pure::Cursor;

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
    /// The first damage. Everything from there on is lost.
    pub cut: Option<Cut>,
}

/// What is lost by damage.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cut {
    /// The damaged file.
    pub file: String,
    /// The end of the last whole publication before the damage.
    pub offset: u64,
    /// Bytes from there to the end of the log.
    pub bytes: u64,
    /// Readable messages in later segments, which are lost, too: a log has no gap that it does not know.
    pub messages: u64,
    /// The newest of these messages.
    newest: Cursor,
    /// The number of the segment.
    number: u64,
}

/// Reads the whole log at `path`, which no process may use meanwhile, and changes nothing. An incomplete write at the end is no damage.
///
/// # Errors
/// [`OpenError::Locked`], and [`OpenError::Disk`] when it cannot be read.
pub fn examine(path: &Path) -> Result<Examined, OpenError> {
    let disk = opened(path)?;
    let examined = read(&*disk).map_err(failed(&*disk, "cannot read the log"));
    disk.unlock();
    examined
}

/// Cuts the log at `path` at its first damage, if there is any, gives up missing segments at its beginning, and returns what was there. Readers with a cursor of the lost part get a gap.
/// `now_ms` is the time of day: later ids begin after it.
///
/// # Errors
/// As [`examine`], and when it cannot be changed.
pub fn repair(path: &Path, now_ms: u64) -> Result<Examined, OpenError> {
    let disk = opened(path)?;
    let repaired = repair_on(disk.clone(), now_ms);
    disk.unlock();
    repaired
}

fn opened(path: &Path) -> Result<Arc<dyn Disk>, OpenError> {
    let directory = path.display().to_string();
    let error =
        |error| OpenError::Disk { directory: directory.clone(), what: "cannot open the directory".into(), error };
    if !path.is_dir() {
        return Err(error(io::ErrorKind::NotFound.into()));
    }
    let disk = Directory::open(path).map_err(error)?;
    open::lock(&disk)?;
    Ok(Arc::new(disk))
}

fn failed(disk: &dyn Disk, what: &'static str) -> impl FnOnce(io::Error) -> OpenError {
    let directory = disk.place();
    move |error| OpenError::Disk { directory, what: what.to_owned(), error }
}

/// Repairs a log that is locked already.
pub(super) fn repair_on(disk: Arc<dyn Disk>, now_ms: u64) -> Result<Examined, OpenError> {
    let examined = read(&*disk).map_err(failed(&*disk, "cannot read the log"))?;
    if examined.missing > 0 {
        give_up_missing(&*disk).map_err(failed(&*disk, "cannot write the table of dropped messages"))?;
    }
    let Some(cut) = &examined.cut else { return Ok(examined) };
    cut_off(&*disk, cut).map_err(failed(&*disk, "cannot cut the log"))?;
    let mut store = open::open_locked(disk.clone(), now_ms, u64::MAX)?;
    let up_to = Cursor::new(now_ms, u64::MAX).max(cut.newest).max(store.last.next(now_ms));
    let hole = Hole { after: store.last, up_to };
    store.add_hole(hole).map_err(failed(&*disk, "cannot write"))?;
    Ok(examined)
}

/// Has the log begin with the first segment that is there.
fn give_up_missing(disk: &dyn Disk) -> io::Result<()> {
    let mut floors = Floors::read(disk)?.unwrap_or_default();
    let Some(&first) = numbers(disk, &floors)?.first() else { return Ok(()) };
    let head = Head::read(&*disk.open(&file_name(first))?)?;
    floors.lose(first, head.map_or(Cursor::ZERO, |head| head.before));
    floors.write(disk)
}

fn cut_off(disk: &dyn Disk, cut: &Cut) -> io::Result<()> {
    let later =
        disk.list()?.into_iter().filter_map(|name| segment::number_of(&name)).filter(|number| *number > cut.number);
    let mut removed: Vec<u64> = later.collect();
    // The newest first: an interrupted repair leaves a log that begins as before.
    removed.sort_unstable_by(|a, b| b.cmp(a));
    let is_all = cut.offset < HEAD;
    for number in removed.into_iter().chain(is_all.then_some(cut.number)) {
        disk.remove(&file_name(number)).or_else(unless_missing)?;
        disk.remove(&index_name(number)).or_else(unless_missing)?;
    }
    disk.remove(&index_name(cut.number)).or_else(unless_missing)?;
    if !is_all {
        let file = disk.open(&file_name(cut.number))?;
        file.set_len(cut.offset)?;
        file.sync()?;
    }
    disk.sync_names()
}

fn unless_missing(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

/// Counts messages.
#[derive(Default)]
struct Count {
    messages: u64,
    ids: Option<(Cursor, Cursor)>,
}

impl Visit for Count {
    fn message(&mut self, found: Found<'_>) -> io::Result<()> {
        self.messages += 1;
        self.ids = Some((self.ids.map_or(found.id, |(first, _)| first), found.id));
        Ok(())
    }

    fn state(&mut self, _: &[u8], _: u64, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn hole(&mut self, _: Hole) {}
}

/// The segments that retention has not removed, oldest first.
fn numbers(disk: &dyn Disk, floors: &Floors) -> io::Result<Vec<u64>> {
    let mut numbers: Vec<u64> = disk.list()?.iter().filter_map(|name| segment::number_of(name)).collect();
    numbers.retain(|number| *number >= floors.oldest);
    numbers.sort_unstable();
    Ok(numbers)
}

fn read(disk: &dyn Disk) -> io::Result<Examined> {
    let floors = Floors::read(disk)?.unwrap_or_default();
    let numbers = numbers(disk, &floors)?;
    let mut expected = numbers.first().copied().unwrap_or_default();
    let mut examined = Examined { missing: expected.saturating_sub(floors.oldest.max(1)), ..Examined::default() };
    for (at, &number) in numbers.iter().enumerate() {
        let is_last = at + 1 == numbers.len();
        let file = disk.open(&file_name(number))?;
        let length = file.length()?;
        let mut count = Count::default();
        let (end, is_damaged) = match Head::read(&*file)? {
            _ if number != expected => (0, true),
            None => (0, !is_last || length > HEAD),
            Some(head) => {
                let scanned = segment::scan(&*file, head.salt, HEAD, &mut count)?;
                let is_damaged = match scanned.bad {
                    None => false,
                    Some(bad) => !is_last || segment::was_durable(&*file, head.salt, bad)?,
                };
                (scanned.end, is_damaged)
            }
        };
        expected = number + 1;
        match &mut examined.cut {
            Some(cut) => {
                cut.bytes += length;
                cut.messages += count.messages;
                cut.newest = cut.newest.max(count.ids.map_or(Cursor::ZERO, |(_, last)| last));
            }
            None => {
                examined.segments += 1;
                examined.messages += count.messages;
                examined.bytes += end;
                let first = examined.ids.map(|(first, _)| first);
                examined.ids = count.ids.map(|(own, last)| (first.unwrap_or(own), last)).or(examined.ids);
                let (file, bytes) = (file_name(number), length - end);
                examined.cut = is_damaged.then(|| Cut { file, offset: end, bytes, number, ..Cut::default() });
            }
        }
    }
    Ok(examined)
}

#[cfg(test)]
mod tests;
