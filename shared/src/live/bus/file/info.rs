//! Describes a log on disk, even while a process uses it.

use std::{collections::HashSet, fs, io, path::Path, time::SystemTime};

use super::{
    disk::{Directory, Disk},
    error::OpenError,
    index::sealed,
    record::{self, Hole},
    removed::Removed,
    repair::{failed, unopened},
    segment::{self, Found, HEAD, Head, Visit, file_name, index_name},
};
use crate::pure::{ChannelName, Cursor};

/// How often a look begins again because segments were removed meanwhile.
const ATTEMPTS: usize = 5;

/// The content of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Info {
    /// Segments.
    pub segments: usize,
    /// Channels that have messages.
    pub channels: usize,
    /// Messages that are on disk. Some of them may have expired, or exceed the limits of their channels.
    pub messages: u64,
    /// Bytes of all segments and their indexes.
    pub bytes: u64,
    /// The oldest and the newest of these messages.
    pub ids: Option<(Cursor, Cursor)>,
    /// When the log was created, in milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// The process that uses the log.
    pub holder: Option<String>,
    /// When the newest segment was written to.
    pub written: Option<SystemTime>,
    /// Bytes at the end of the newest segment that no record says are durable.
    pub unproven: u64,
}

/// Counts the messages of the newest segment.
struct Newest<'a> {
    info: &'a mut Info,
    channels: &'a mut HashSet<ChannelName>,
}

impl Visit for Newest<'_> {
    fn message(&mut self, found: Found<'_>) -> io::Result<()> {
        self.channels.extend(record::channel(found.fields));
        self.info.messages += 1;
        self.info.ids = Some((self.info.ids.map_or(found.id, |(first, _)| first), found.id));
        Ok(())
    }

    fn state(&mut self, _: &[u8], _: u64, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn hole(&mut self, _: Hole) {}
}

/// What the log at `path` has. Changes nothing; another process may use it meanwhile.
///
/// # Errors
/// [`OpenError::Disk`] when it cannot be read or does not exist.
pub fn info(path: &Path) -> Result<Info, OpenError> {
    let disk = Directory::open_read_only(path).map_err(unopened(path))?;
    let holder = disk.holder().map_err(failed(&disk, "cannot read the lock"))?;
    for _ in 1..ATTEMPTS {
        match look(&disk, path) {
            // A segment was removed meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            found => return found.map(|info| Info { holder, ..info }).map_err(failed(&disk, "cannot read the log")),
        }
    }
    look(&disk, path).map(|info| Info { holder, ..info }).map_err(failed(&disk, "cannot read the log"))
}

fn look(disk: &dyn Disk, path: &Path) -> io::Result<Info> {
    let removed = Removed::read(disk)?.unwrap_or_default();
    let mut numbers: Vec<u64> = disk.list()?.iter().filter_map(|name| segment::number_of(name)).collect();
    numbers.retain(|number| *number >= removed.oldest);
    numbers.sort_unstable();
    let Some((&newest, sealed)) = numbers.split_last() else { return Err(io::Error::other("it has no segments")) };
    let (mut info, mut channels) = (Info { segments: numbers.len(), ..Info::default() }, HashSet::new());
    for &number in sealed {
        let length = disk.open(&file_name(number))?.length()?;
        info.bytes += length;
        // One that is being written, or is damaged, is as good as none.
        let index = disk.open(&index_name(number)).and_then(sealed::open);
        match index {
            Ok((head, index)) if head.length == length => {
                info.bytes += index.length();
                info.messages += head.messages;
                if head.messages > 0 {
                    info.ids = Some((info.ids.map_or(head.first, |(first, _)| first), head.last));
                }
                for one in index.all() {
                    channels.insert(one?.0);
                }
            }
            // It is made again at the next start.
            _ => {
                scan(disk, number, &mut Newest { info: &mut info, channels: &mut channels })?;
            }
        }
    }
    let file = disk.open(&file_name(newest))?;
    info.written = fs::metadata(path.join(file_name(newest)))?.modified().ok();
    let length = file.length()?;
    info.bytes += length;
    let (created_ms, scanned) = scan(disk, newest, &mut Newest { info: &mut info, channels: &mut channels })?;
    info.created_ms = created_ms;
    info.unproven = if scanned.is_confirmed() { 0 } else { length.saturating_sub(scanned.group.synced.max(HEAD)) };
    info.channels = channels.len();
    Ok(info)
}

/// Visits a whole segment; returns when its log was created, too.
fn scan(disk: &dyn Disk, number: u64, visit: &mut Newest<'_>) -> io::Result<(u64, segment::Scanned)> {
    let file = disk.open(&file_name(number))?;
    let Some(head) = Head::read(&*file)? else { return Ok((0, segment::Scanned::default())) };
    Ok((head.created_ms, segment::scan(&*file, head.salt, HEAD, visit)?))
}
