//! A file: what is read, what is durable, and the changes between the two.

use std::{io, ops::Range};

use shared::live::bus::file::disk::DiskFile;

use super::{EIO, Fate, SimDisk};
use crate::random::Random;

/// The size of what a disk writes at once.
pub(super) const SECTOR: usize = 512;

#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    now: Vec<u8>,
    durable: Vec<u8>,
    /// The changes since the last sync, each with its number.
    pending: Vec<(u64, Change)>,
    /// The length at the last sync that made it longer, and at the one before.
    synced: [usize; 2],
    /// The writes at its end: the number of the change, and where it begins.
    appends: Vec<(u64, usize)>,
    /// The first change that a failed sync may have lost.
    torn: Option<u64>,
    /// These bytes cannot be read.
    unreadable: Option<Range<usize>>,
}

#[derive(Clone, Debug)]
enum Change {
    Write(usize, Vec<u8>),
    Length(usize),
}

impl Change {
    /// Applies all of it.
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write(at, written) => put(bytes, *at, written),
            Self::Length(length) => bytes.resize(*length, 0),
        }
    }

    /// Applies what a power cut left of it: each sector with this probability.
    fn tear(&self, bytes: &mut Vec<u8>, percent: u64, random: &mut Random) {
        match self {
            Self::Write(at, written) => {
                let end = at + written.len();
                let mut from = *at;
                while from < end {
                    let to = ((from / SECTOR + 1) * SECTOR).min(end);
                    if random.percent(percent) {
                        put(bytes, from, &written[from - at..to - at]);
                    }
                    from = to;
                }
                // The length may be durable before the content.
                if bytes.len() < end && random.percent(percent) {
                    bytes.resize(end, 0);
                }
            }
            Self::Length(_) if random.percent(percent) => self.apply(bytes),
            Self::Length(_) => {}
        }
    }
}

fn put(bytes: &mut Vec<u8>, at: usize, written: &[u8]) {
    let end = at + written.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[at..end].copy_from_slice(written);
}

impl Content {
    pub(super) fn length(&self) -> usize {
        self.now.len()
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.now
    }

    pub(super) fn first_pending(&self) -> Option<u64> {
        self.torn.into_iter().chain(self.pending.first().map(|(number, _)| *number)).min()
    }

    /// Up to here, later records say that the file was durable.
    pub(super) fn proven(&self) -> usize {
        self.synced[1].min(self.now.len())
    }

    pub(super) fn flip(&mut self, at: usize, bits: u8) {
        self.now[at] ^= bits;
        if let Some(byte) = self.durable.get_mut(at) {
            *byte ^= bits;
        }
    }

    /// The write that wrote the byte at this place: where it begins, and the number of its change.
    pub(super) fn written(&self, at: usize) -> (u64, u64) {
        let (number, begin) = self.appends.iter().rfind(|(_, begin)| *begin <= at).copied().unwrap_or_default();
        (begin as u64, number)
    }

    /// The sector at this place cannot be read any more.
    pub(super) fn lose(&mut self, at: usize) {
        let begin = at / SECTOR * SECTOR;
        self.unreadable = Some(begin..begin + SECTOR);
    }

    /// Returns how many bytes are free by that.
    pub(super) fn set_length(&mut self, length: usize, number: u64) -> usize {
        let freed = self.now.len().saturating_sub(length);
        // Other sectors take the place of those that are given back.
        self.unreadable = self.unreadable.take().filter(|bad| bad.start < length);
        self.synced = self.synced.map(|synced| synced.min(length));
        self.appends.retain(|(_, begin)| *begin < length);
        self.now.resize(length, 0);
        self.pending.push((number, Change::Length(length)));
        freed
    }

    fn write(&mut self, at: usize, bytes: &[u8], number: u64) {
        if at == self.now.len() {
            self.appends.push((number, at));
        }
        put(&mut self.now, at, bytes);
        self.pending.push((number, Change::Write(at, bytes.to_vec())));
    }

    fn sync(&mut self) {
        for (_, change) in std::mem::take(&mut self.pending) {
            change.apply(&mut self.durable);
        }
        self.torn = None;
        if self.now.len() > self.synced[0] {
            self.synced = [self.now.len(), self.synced[0]];
        }
    }

    /// Any part of the changes becomes durable, and the system takes the others for durable, too: a sync that failed.
    fn tear(&mut self, random: &mut Random) {
        let percent = [0, 50, 90, 100][random.index(4)];
        for (_, change) in std::mem::take(&mut self.pending) {
            change.tear(&mut self.durable, percent, random);
        }
    }

    /// What a power cut leaves.
    pub(super) fn cut_power(&mut self, random: &mut Random) {
        self.tear(random);
        self.torn = None;
        self.now.clone_from(&self.durable);
        self.appends.retain(|(_, begin)| *begin < self.now.len());
    }
}

#[derive(Debug)]
pub(super) struct SimFile {
    pub(super) disk: SimDisk,
    pub(super) name: String,
    pub(super) content: usize,
}

fn place(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

impl DiskFile for SimFile {
    fn length(&self) -> io::Result<u64> {
        Ok(self.disk.state.lock().contents[self.content].now.len() as u64)
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.disk.state.lock();
        let content = &state.contents[self.content];
        let (begin, end) = (place(offset), place(offset).saturating_add(bytes.len()));
        if content.unreadable.as_ref().is_some_and(|bad| bad.start < end.min(content.now.len()) && begin < bad.end) {
            return Err(io::Error::from_raw_os_error(EIO));
        }
        let rest = content.now.get(begin..).unwrap_or_default();
        let read = rest.len().min(bytes.len());
        bytes[..read].copy_from_slice(&rest[..read]);
        Ok(read)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let sum = crc32c::crc32c(bytes);
        let what = format_args!("write {} bytes at {offset} of {}, checksum {sum:08x}", bytes.len(), self.name);
        self.disk.change(what, |state, fate| {
            let number = state.changes;
            let begin = place(offset);
            let content = &mut state.contents[self.content];
            if content.unreadable.as_ref().is_some_and(|bad| bad.start < begin + bytes.len() && begin < bad.end) {
                state.failures.write += 1;
                return Err(io::Error::from_raw_os_error(EIO));
            }
            let most = match fate {
                Fate::Dies => state.random.index(bytes.len() + 1),
                Fate::Done if state.faults.write => bytes.len() / 2,
                Fate::Done => bytes.len(),
            };
            // Only bytes behind the end take space.
            let needed = (begin + most).saturating_sub(content.now.len());
            let (most, is_full) = match &mut state.faults.space {
                Some(space) if place(*space) < needed => {
                    let missing = needed - place(std::mem::take(space));
                    (most.saturating_sub(missing), true)
                }
                Some(space) => {
                    *space -= needed as u64;
                    (most, false)
                }
                None => (most, false),
            };
            content.write(begin, &bytes[..most], number);
            if is_full {
                state.failures.full += 1;
                return Err(io::ErrorKind::StorageFull.into());
            }
            if state.faults.write {
                state.failures.write += 1;
                return Err(io::Error::from_raw_os_error(EIO));
            }
            Ok(())
        })
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.disk.change(format_args!("cut {} to {length} bytes", self.name), |state, _| {
            let freed = state.contents[self.content].set_length(place(length), state.changes);
            state.free(freed);
            Ok(())
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.change(format_args!("sync {}", self.name), |state, _| {
            let content = &mut state.contents[self.content];
            if state.faults.sync {
                state.failures.sync += 1;
                state.failures.segment_sync += u64::from(self.name.ends_with(".log"));
                content.torn = content.first_pending();
                content.tear(&mut state.random);
                return Err(io::Error::from_raw_os_error(EIO));
            }
            content.sync();
            Ok(())
        })
    }
}
