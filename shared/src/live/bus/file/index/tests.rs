//! The index in memory and the one in a file say the same.

use std::sync::Arc;

use super::{
    sealed::{self, SealedEntries},
    *,
};
use crate::live::bus::file::disk::{Disk as _, DiskFile, simulated::SimulatedDisk};

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
    let (sealed, index_file) = sealed::open(file).unwrap();
    assert_eq!((sealed.number, sealed.salt, sealed.length, sealed.channels), (3, 9, 77_777, 5));
    assert_eq!((sealed.messages, sealed.first, sealed.last), (1_000, all[0].1, all[999].1));
    let mut sum = 0;
    for n in 0..5 {
        let of: Vec<_> = all.iter().filter(|(channel, ..)| *channel == n).map(|(_, id, entry)| (*id, *entry)).collect();
        let memory = index.channel(&name(n)).unwrap();
        check(memory, &of);
        let entry = index_file.find(&name(n)).unwrap().unwrap();
        assert_eq!(entry.summary, *memory.summary());
        check(&SealedEntries { index: index_file.clone(), entry }, &of);
        sum += entry.summary.count;
    }
    assert_eq!(sum, 1_000);
    assert_eq!(index_file.find(&name(9)).unwrap(), None);
    let listed: Vec<_> = index_file.all().map(|one| one.unwrap().0).collect();
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
    let (sealed, empty) = sealed::open(file(&Index::default().encode(1, 2, 64))).unwrap();
    assert_eq!((sealed.messages, empty.find(&name(0)).unwrap()), (0, None));
}

/// What was read after the check is what was checked, or an error.
#[test]
fn an_index_that_is_damaged_after_the_check_is_not_believed() {
    let (index, _) = index();
    let bytes = index.encode(3, 9, 77_777);
    let damaged = file(&bytes);
    let (_, checked) = sealed::open(damaged.clone()).unwrap();
    let read = || -> io::Result<_> {
        let mut all = Vec::new();
        for channel in (0..6).map(name) {
            let Some(entry) = checked.find(&channel)? else { continue };
            all.push(entries(&SealedEntries { index: checked.clone(), entry }, Cursor::ZERO, u64::MAX)?.0);
        }
        Ok((all, checked.all().collect::<io::Result<Vec<_>>>()?))
    };
    let before = read().unwrap();
    let mut refused = 0;
    for at in sealed::HEAD..bytes.len() {
        damaged.write_at(&[bytes[at] ^ 1], at as u64).unwrap();
        match read() {
            Ok(read) => assert_eq!(read, before, "{at}"),
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::InvalidData);
                refused += 1;
            }
        }
        damaged.write_at(&bytes[at..=at], at as u64).unwrap();
    }
    assert_eq!(refused, bytes.len() - sealed::HEAD, "all of it is read");
    damaged.set_len(bytes.len() as u64 - 1).unwrap();
    assert!(read().is_err());
}
