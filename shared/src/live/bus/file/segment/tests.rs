//! Scans of segments that are whole, torn or damaged.

use std::sync::Arc;

use super::{
    super::record::{Encoder, Group},
    *,
};
use crate::{
    live::bus::file::disk::{Disk as _, simulated::SimulatedDisk},
    pure::{Draft, Payload},
};

const SALT: u32 = 5;

#[derive(Default)]
struct Seen {
    ids: Vec<u64>,
    states: usize,
}

impl Visit for Seen {
    fn message(&mut self, found: Found<'_>) -> io::Result<()> {
        assert!(record::draft(found.fields).is_some());
        self.ids.push(found.id.ms);
        Ok(())
    }

    fn state(&mut self, _: &[u8], _: u64, _: u64) -> io::Result<()> {
        self.states += 1;
        Ok(())
    }

    fn hole(&mut self, _: Hole) {}
}

/// Groups of one publication with these ids each; each says that what is before it was durable.
fn segment(groups: &[&[u64]]) -> (Vec<u8>, Vec<u64>) {
    let mut bytes = vec![0; HEAD as usize];
    let mut ends = Vec::new();
    for ids in groups {
        let mut encoder = Encoder::new(SALT, bytes.len() as u64);
        encoder.group(Group { synced: bytes.len() as u64, reserved_ms: 0, boot: 1 });
        for (at, ms) in ids.iter().enumerate() {
            let draft = Draft::new("c".parse().unwrap(), Payload::from_text(&"x".repeat(1_000)));
            encoder.message(Cursor::new(*ms, 0), &draft, at + 1 == ids.len());
        }
        bytes.extend_from_slice(encoder.bytes());
        ends.push(bytes.len() as u64);
    }
    (bytes, ends)
}

fn file(bytes: &[u8]) -> Arc<dyn DiskFile> {
    let file = SimulatedDisk::new().create("x").unwrap();
    file.write_at(bytes, 0).unwrap();
    file
}

fn scanned(bytes: &[u8]) -> (Vec<u64>, u64, Option<bool>) {
    let (file, mut seen) = (file(bytes), Seen::default());
    let scanned = scan(&*file, SALT, HEAD, &mut seen).unwrap();
    let damage = scanned.bad.map(|bad| was_durable(&*file, SALT, bad).unwrap());
    (seen.ids, scanned.end, damage)
}

#[test]
fn a_publication_counts_as_a_whole() {
    let (bytes, ends) = segment(&[&[1], &[2, 3, 4], &[5]]);
    assert_eq!(scanned(&bytes), (vec![1, 2, 3, 4, 5], ends[2], None));
    // Cut anywhere in the second publication.
    for cut in (ends[0] + 1..ends[1]).step_by(97) {
        let (ids, end, damage) = scanned(&bytes[..cut as usize]);
        assert!(ids == [1] && damage == Some(false), "{ids:?} at {cut}");
        assert!(end == ends[0] || end == ends[0] + GROUP as u64, "{end}");
    }
    // Between two of its records, nothing is invalid, and yet it is not whole.
    let record = (ends[1] - ends[0] - GROUP as u64) / 3;
    let (ids, end, damage) = scanned(&bytes[..(ends[0] + GROUP as u64 + record) as usize]);
    assert_eq!((ids, end, damage), (vec![1], ends[0] + GROUP as u64, Some(false)));
}

#[test]
fn damage_is_distinguished_from_a_torn_end() {
    let (bytes, ends) = segment(&[&[1], &[2, 3], &[4]]);
    for (at, expected) in [(HEAD + 70, true), (ends[0] + 100, true), (ends[1] + 100, false), (ends[2] - 1, false)] {
        let mut bytes = bytes.clone();
        bytes[at as usize] ^= 1;
        assert_eq!(scanned(&bytes).2, Some(expected), "{at}");
    }
    // Zeros at the end, as some file systems leave them.
    let mut zeros = bytes.clone();
    zeros.resize(bytes.len() + 5_000, 0);
    assert_eq!(scanned(&zeros), (vec![1, 2, 3, 4], ends[2], Some(false)));
}

#[test]
fn a_group_is_found_wherever_it_is() {
    for filling in 0..200 {
        let mut bytes = vec![1; HEAD as usize + CHUNK - 100 + filling];
        let mut encoder = Encoder::new(SALT, bytes.len() as u64);
        encoder.group(Group { synced: HEAD + 1, reserved_ms: 0, boot: 0 });
        bytes.extend_from_slice(encoder.bytes());
        assert!(was_durable(&*file(&bytes), SALT, HEAD).unwrap(), "{filling}");
        assert!(!was_durable(&*file(&bytes), SALT, HEAD + 1).unwrap(), "it says nothing of what is there");
    }
}

#[test]
fn a_head_is_read_or_refused() {
    let head = Head { salt: 1, number: 2, created_ms: 3, before: Cursor::new(4, 5) };
    let bytes = head.encode();
    assert_eq!(Head::read(&*file(&bytes)).unwrap(), Some(head));
    for at in 0..52 {
        let mut bytes = bytes.clone();
        bytes[at] ^= 1;
        assert_eq!(Head::read(&*file(&bytes)).unwrap(), None, "{at}");
    }
    assert_eq!(Head::read(&*file(&bytes[..63])).unwrap(), None);
    assert_eq!((number_of(&file_name(7)), number_of("7.log"), number_of(&index_name(7))), (Some(7), None, None));
}
