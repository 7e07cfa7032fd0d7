//! The index in memory and the one in a file say the same.

use std::sync::Arc;

use super::{
    sealed::{self, SealedEntries},
    *,
};
use crate::live::bus::file::disk::{Disk as _, DiskFile, read_exact, simulated::SimulatedDisk};

fn name(n: u64) -> ChannelName {
    format!("c{n}").parse().unwrap()
}

/// A thousand messages, most of them on one channel, each of ten bytes and its number.
fn index() -> (Index, Vec<(u64, Cursor, Entry)>) {
    let (mut index, mut all, mut offset) = (Index::default(), Vec::new(), 64);
    for n in 0..1_000 {
        let (channel, id, length) = (if n % 7 == 0 { n % 5 } else { 0 }, Cursor::new(10 + n / 3, n), 10 + n);
        index.add(&name(channel), id, offset, length);
        all.push((channel, id, Entry { offset, length }));
        offset += length + 3;
    }
    (index, all)
}

fn file(bytes: &[u8]) -> Arc<dyn DiskFile> {
    let file = SimulatedDisk::new().create("x").unwrap();
    file.write_at(bytes, 0).unwrap();
    file
}

fn check(listing: &impl Listing, all: &[(Cursor, Entry)]) {
    assert_eq!(listing.summary().count, all.len() as u64);
    for at in [0, 1, 127, 128, 129, all.len() - 1] {
        if let Some((id, wanted)) = all.get(at) {
            assert_eq!(entry(listing, at as u64).unwrap(), *wanted);
            let (found, is_more) = entries(listing, *id, u64::MAX).unwrap();
            let later = all[at + 1..].iter().map(|(_, entry)| *entry).collect::<Vec<_>>();
            assert!(!is_more && found.ends_with(&later) && found.len() <= later.len() + 128, "after {at}");
        }
    }
    let (some, is_more) = entries(listing, Cursor::ZERO, 1).unwrap();
    assert_eq!((some.len(), is_more), (all.len().min(256), all.len() > 256));
    for most in [0, 50, 5_000, 100_000, 400_000, u64::MAX] {
        let over = usize::try_from(count_over_bytes(listing, most).unwrap()).unwrap();
        let left = |from: usize| all[from..].iter().map(|(_, entry)| entry.length).sum::<u64>();
        assert!(left(over) <= most && (over == 0 || left(over - 1) > most), "{over} for {most}");
    }
}

#[test]
fn a_file_has_what_the_memory_had() {
    let (index, all) = index();
    let file = file(&index.encode(3, 9, 77_777));
    let sealed = sealed::check(&*file).unwrap();
    assert_eq!((sealed.number, sealed.salt, sealed.length, sealed.channels), (3, 9, 77_777, 5));
    assert_eq!((sealed.messages, sealed.first, sealed.last), (1_000, all[0].1, all[999].1));
    let mut sum = 0;
    for n in 0..5 {
        let of: Vec<_> = all.iter().filter(|(channel, ..)| *channel == n).map(|(_, id, entry)| (*id, *entry)).collect();
        let memory = index.channel(&name(n)).unwrap();
        check(memory, &of);
        let entry = sealed::find(&*file, sealed.channels, &name(n)).unwrap().unwrap();
        assert_eq!(entry.summary, *memory.summary());
        check(&SealedEntries { file: file.clone(), entry }, &of);
        sum += entry.summary.count;
    }
    assert_eq!(sum, 1_000);
    assert_eq!(sealed::find(&*file, sealed.channels, &name(9)).unwrap(), None);
    let listed: Vec<_> = sealed::all(&*file, sealed.channels).map(|one| one.unwrap().0).collect();
    assert_eq!(listed, (0..5).map(name).collect::<Vec<_>>());
}

#[test]
fn a_damaged_index_is_noticed() {
    let (index, _) = index();
    let bytes = index.encode(3, 9, 77_777);
    for at in (0..bytes.len()).step_by(37) {
        let mut bytes = bytes.clone();
        bytes[at] ^= 4;
        assert!(sealed::check(&*file(&bytes)).is_err(), "{at}");
    }
    assert!(sealed::check(&*file(&bytes[..bytes.len() - 1])).is_err());
    let empty = file(&Index::default().encode(1, 2, 64));
    assert_eq!(sealed::check(&*empty).unwrap().messages, 0);
    assert_eq!(sealed::find(&*empty, 0, &name(0)).unwrap(), None);
}

/// Whatever a damaged file claims, no more memory is taken than it has.
#[test]
fn a_damaged_length_takes_no_memory() {
    let (index, _) = index();
    let bytes = index.encode(3, 9, 77_777);
    let mut refused = 0;
    for at in sealed::HEAD..bytes.len() - 8 {
        let mut bytes = bytes.clone();
        bytes[at..at + 8].copy_from_slice(&(1_u64 << 56).to_le_bytes());
        let file = file(&bytes);
        let Ok(Some(entry)) = sealed::find(&*file, 5, &name(0)) else { continue };
        let found = entries(&SealedEntries { file: file.clone(), entry }, Cursor::ZERO, 1);
        let read = found.and_then(|(found, _)| found.iter().try_for_each(|one| read_all(&*file, *one)));
        refused += u64::from(read.is_err());
    }
    assert!(refused > 100, "{refused}");
}

fn read_all(file: &dyn DiskFile, entry: Entry) -> io::Result<()> {
    read_exact(file, entry.offset, usize::try_from(entry.length).unwrap()).map(drop)
}
