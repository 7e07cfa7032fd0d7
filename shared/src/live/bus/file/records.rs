//! The file `records` next to the segments: what backends have decided about clients, such as revocations, which has to outlive messages.
//!
//! It is written at its end, one line for each record: a checksum and JSON. Of several lines of one name the last one applies. When it has grown to
//! twice its size it is written anew. Each change is synced before it is confirmed, whatever `TRIDENT_FSYNC` says: there are few.

use std::{collections::HashMap, io, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{
    disk::{Disk, DiskFile, read_exact},
    error::OpenError,
};
use crate::live::bus::Record;

/// The name of the file, and that of its successor until it is complete.
pub(super) const FILE: &str = "records";
const NEXT: &str = "records.next";
/// The file is not written anew before it has grown by this many bytes.
const MIN_GROWTH: u64 = 1 << 20;

/// An open file of records.
#[derive(Debug)]
pub(super) struct RecordFile {
    disk: Arc<dyn Disk>,
    file: Arc<dyn DiskFile>,
    length: u64,
    /// The length at which it is written anew.
    limit: u64,
    /// Why nothing can be written any more: after an error of a sync, it is unknown what is durable.
    failure: Option<String>,
}

/// What the file has in a line.
#[derive(Serialize, Deserialize)]
struct Line {
    name: String,
    value: u64,
    expires_ms: u64,
}

/// Where a file is damaged.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Damage {
    /// The first byte of the line.
    pub(super) offset: u64,
    /// The bytes from there on.
    pub(super) left: u64,
}

impl Damage {
    /// Why the directory cannot be opened.
    pub(super) fn refused(self, directory: String) -> OpenError {
        let Self { offset, left } = self;
        let lost = format!(
            "{left} bytes of revocations and disconnected users (it is not a part of the log: if it is removed, only they are lost)"
        );
        OpenError::Damaged { directory, file: FILE.to_owned(), offset, lost }
    }
}

impl RecordFile {
    /// Opens the file of a directory that this process has, and returns what it has stored and has not expired at `now_ms`.
    ///
    /// # Errors
    /// Those of the disk. The inner one: a line in its middle is not what was written.
    pub(super) fn open(disk: Arc<dyn Disk>, now_ms: u64) -> io::Result<Result<(Self, Vec<Record>), Damage>> {
        let file = match disk.open(FILE) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let file = disk.create(FILE)?;
                disk.sync_names()?;
                file
            }
            file => file?,
        };
        let records = match read(&*file)? {
            Ok(records) => records,
            Err(damage) => return Ok(Err(damage)),
        };
        let mut this = Self { disk, length: file.length()?, file, limit: 0, failure: None };
        let records = live(records, now_ms);
        this.rewrite(&records)?;
        Ok(Ok((this, records)))
    }

    /// Adds records; they are durable when this returns.
    ///
    /// # Errors
    /// Those of the disk. After an error of a sync, nothing can be added any more.
    pub(super) fn add(&mut self, records: &[Record], now_ms: u64) -> io::Result<()> {
        if let Some(failure) = &self.failure {
            return Err(io::Error::other(failure.clone()));
        }
        let bytes = written(records);
        self.file.write_at(&bytes, self.length).inspect_err(|_| {
            // What a part of it left is not a line, or is overwritten.
            let _ = self.file.set_len(self.length);
        })?;
        self.sync()?;
        self.length += bytes.len() as u64;
        if self.length >= self.limit
            && let Ok(records) = read(&*self.file)?
        {
            self.rewrite(&live(records, now_ms))?;
        }
        Ok(())
    }

    /// Replaces the file by one that has these records only.
    fn rewrite(&mut self, records: &[Record]) -> io::Result<()> {
        let bytes = written(records);
        if bytes.len() as u64 != self.length {
            let next = self.disk.create(NEXT)?;
            next.write_at(&bytes, 0)?;
            next.sync()?;
            self.disk.rename(NEXT, FILE)?;
            self.disk.sync_names()?;
            (self.file, self.length) = (next, bytes.len() as u64);
        }
        self.limit = 2 * self.length + MIN_GROWTH;
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync().inspect_err(|error| self.failure = Some(format!("an earlier sync failed: {error}")))
    }
}

/// The lines of records.
fn written(records: &[Record]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for Record { name, value, expires_ms, .. } in records {
        let line = Line { name: name.clone(), value: *value, expires_ms: *expires_ms };
        // Text and numbers always serialize.
        let json = serde_json::to_vec(&line).unwrap_or_default();
        bytes.extend_from_slice(format!("{:08x} ", crc32c::crc32c(&json)).as_bytes());
        bytes.extend_from_slice(&json);
        bytes.push(b'\n');
    }
    bytes
}

/// All records of a file, in its order. A last line that is not complete was never confirmed, and is cut.
fn read(file: &dyn DiskFile) -> io::Result<Result<Vec<Record>, Damage>> {
    let length = file.length()?;
    let bytes = read_exact(file, 0, usize::try_from(length).map_err(io::Error::other)?)?;
    let (mut records, mut offset) = (Vec::new(), 0);
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let Some(record) = parse(line) else {
            let left = (bytes.len() - offset) as u64;
            if line.len() as u64 == left {
                file.set_len(offset as u64)?;
                file.sync()?;
                break;
            }
            return Ok(Err(Damage { offset: offset as u64, left }));
        };
        offset += line.len();
        records.push(record);
    }
    Ok(Ok(records))
}

fn parse(line: &[u8]) -> Option<Record> {
    let (checksum, json) = line.strip_suffix(b"\n")?.split_at_checked(9)?;
    let checksum = std::str::from_utf8(checksum).ok()?.strip_suffix(' ')?;
    if u32::from_str_radix(checksum, 16).ok()? != crc32c::crc32c(json) {
        return None;
    }
    let Line { name, value, expires_ms } = serde_json::from_slice(json).ok()?;
    Some(Record { name, value, expires_ms, is_monotone: false })
}

/// The last record of each name that has not expired.
fn live(records: Vec<Record>, now_ms: u64) -> Vec<Record> {
    let last: HashMap<String, Record> = records.into_iter().map(|record| (record.name.clone(), record)).collect();
    last.into_values().filter(|record| record.expires_ms > now_ms).collect()
}

#[cfg(test)]
mod tests {
    use super::{
        super::disk::simulated::{Faults, SimulatedDisk},
        *,
    };

    fn record(name: &str, value: u64, expires_ms: u64) -> Record {
        Record { name: name.into(), value, expires_ms, is_monotone: false }
    }

    fn open(disk: &SimulatedDisk, now_ms: u64) -> (RecordFile, Vec<Record>) {
        let (file, mut records) = RecordFile::open(Arc::new(disk.clone()), now_ms).unwrap().unwrap();
        records.sort_by(|one, other| one.name.cmp(&other.name));
        (file, records)
    }

    #[test]
    fn the_last_record_of_each_name_survives_a_power_cut() {
        let disk = SimulatedDisk::new();
        let (mut file, none) = open(&disk, 0);
        assert_eq!(none, []);
        file.add(&[record("a", 1, 50), record("b\n\"", u64::MAX, 90)], 0).unwrap();
        file.add(&[record("a", 2, 60)], 0).unwrap();
        for seed in 0..50 {
            let disk = disk.cut_power(seed);
            assert_eq!(open(&disk, 10).1, [record("a", 2, 60), record("b\n\"", u64::MAX, 90)], "{seed}");
            assert_eq!(open(&disk, 60).1, [record("b\n\"", u64::MAX, 90)], "{seed}");
        }
    }

    #[test]
    fn the_file_does_not_grow_without_bound() {
        let disk = SimulatedDisk::new();
        let (mut file, _) = open(&disk, 0);
        let name = "x".repeat(6_000);
        for n in 0..2_000 {
            file.add(&[record(&name, n, 9)], 0).unwrap();
            assert!(file.length < 2 * MIN_GROWTH);
        }
        assert_eq!(open(&disk, 0).1, [record(&name, 1_999, 9)]);
    }

    #[test]
    fn a_torn_end_is_cut_and_damage_before_it_is_reported() {
        let disk = SimulatedDisk::new();
        let (mut file, _) = open(&disk, 0);
        file.add(&[record("a", 1, 9)], 0).unwrap();
        let first = file.length;
        file.add(&[record("b", 1, 9)], 0).unwrap();
        disk.damage(FILE, |bytes| bytes.truncate(bytes.len() - 3));
        let (mut file, records) = open(&disk, 0);
        assert_eq!((records, file.length), (vec![record("a", 1, 9)], first));
        file.add(&[record("c", 1, 9)], 0).unwrap();
        disk.damage(FILE, |bytes| bytes[12] ^= 1);
        let damage = RecordFile::open(Arc::new(disk.clone()), 0).unwrap().unwrap_err();
        assert_eq!((damage.offset, damage.left), (0, file.length));
    }

    #[test]
    fn what_could_not_be_written_is_not_there() {
        let disk = SimulatedDisk::new();
        let (mut file, _) = open(&disk, 0);
        file.add(&[record("a", 1, 9)], 0).unwrap();
        disk.faults(Faults { write: Some(io::ErrorKind::StorageFull), ..Faults::default() });
        assert_eq!(file.add(&[record("b", 1, 9)], 0).unwrap_err().kind(), io::ErrorKind::StorageFull);
        disk.faults(Faults { sync: Some(io::ErrorKind::Other), ..Faults::default() });
        assert!(file.add(&[record("c", 1, 9)], 0).is_err());
        disk.faults(Faults::default());
        assert!(file.add(&[record("d", 1, 9)], 0).unwrap_err().to_string().contains("earlier sync"), "never retried");
    }
}
