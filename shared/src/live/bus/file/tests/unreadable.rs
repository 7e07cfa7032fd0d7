//! Sectors that the disk cannot read are damage: it is named, and the tools go on.

use super::{repair::plan, *};

const SECTOR: usize = 4_096;

/// A log of two full segments and one that is written: 20 kB each.
fn filled(disk: &SimulatedDisk) -> Vec<Cursor> {
    let mut simulated = Simulated::open(disk, Fsync::Always, 20_000).unwrap();
    let sent = (0..50).map(|_| simulated.publish(publication("c", &"x".repeat(1_000))).unwrap()[0]).collect();
    simulated.writer.finish().unwrap();
    sent
}

fn repaired(disk: &SimulatedDisk) -> repair::Examined {
    repair::repair_on(Arc::new(disk.clone()), START + 1_000_000).unwrap()
}

/// The ids that are there after `since`, and whether there was a gap.
fn there(disk: &SimulatedDisk, since: Since) -> (Vec<Cursor>, bool) {
    let simulated = Simulated::open(disk, Fsync::Always, 20_000).unwrap();
    read_all(&simulated, "c", since)
}

#[test]
fn an_unreadable_sector_is_damage() {
    // In each segment: in the first, whose index is missing, so that the start reads it, and in the last one.
    for number in [1, 3] {
        let disk = SimulatedDisk::new();
        let sent = filled(&disk);
        let (disk, name) = (disk.kill(), segment::file_name(number));
        if number == 1 {
            disk.remove(&segment::index_name(1)).unwrap();
        }
        disk.unreadable(&name, SECTOR..SECTOR + 1);
        let refused = Simulated::open(&disk, Fsync::Always, 20_000).err().unwrap();
        let OpenError::Damaged { file, offset, lost, .. } = &refused else { panic!("{refused}") };
        assert_eq!(*file, name);
        assert!((3_000..4_096).contains(offset), "the record that is not whole: {offset}");
        assert!(lost.ends_with("bytes of messages (the disk cannot read byte 4096)"), "{lost}");
        let disk = disk.kill();
        let examined = repair::read(&disk).unwrap();
        let cut = examined.cut.unwrap();
        assert_eq!((&cut.file, cut.offset, cut.unreadable), (&name, *offset, Some(4_096)));
        let kept = usize::try_from(examined.messages).unwrap();
        repaired(&disk);
        assert_eq!(there(&disk.kill(), Since::Earliest).0, sent[..kept]);
        assert!(there(&disk.kill(), Since::After(sent[49])).1, "it is lost");
        assert!(!repair::read(&disk.kill()).unwrap().is_damaged());
    }
}

/// A head, the table of dropped messages, and the plan of a backup.
#[test]
fn other_files_that_cannot_be_read_are_damage_too() {
    for name in [segment::file_name(3), "dropped".to_owned(), plan::NAME.to_owned()] {
        let disk = SimulatedDisk::new();
        let sent = filled(&disk);
        let disk = disk.kill();
        if name == "dropped" {
            removed::Removed::default().write(&disk).unwrap();
        } else if name == plan::NAME {
            plan::Plan { number: 3, offset: u64::MAX, up_to: sent[49], ..plan::Plan::default() }.store(&disk).unwrap();
        }
        disk.unreadable(&name, 0..9);
        let refused = Simulated::open(&disk, Fsync::Always, 20_000).err().unwrap();
        assert!(matches!(&refused, OpenError::Damaged { file, offset: 0, .. } if *file == name), "{refused}");
        let disk = disk.kill();
        repaired(&disk);
        let disk = disk.kill();
        let (ids, _) = there(&disk, Since::Earliest);
        assert!(if name.ends_with(".log") { ids.len() < 50 && sent.starts_with(&ids) } else { ids == sent }, "{name}");
        if name == plan::NAME {
            let later = Cursor::new(START + 999_000, 0);
            assert!(there(&disk.kill(), Since::After(later)).1, "ids after the backup are lost");
        }
    }
}

/// What follows an incomplete write may have been durable.
#[test]
fn a_torn_end_with_an_unreadable_rest_is_damage() {
    let disk = SimulatedDisk::new();
    filled(&disk);
    let (disk, name) = (disk.kill(), segment::file_name(3));
    let length = usize::try_from(disk.open(&name).unwrap().length().unwrap()).unwrap();
    disk.damage(&name, |bytes| bytes.extend(std::iter::repeat_n(7, 3 << 20)));
    assert!(repair::read(&disk).unwrap().cut.is_none(), "only torn");
    disk.unreadable(&name, length + (2 << 20)..length + (2 << 20) + 1);
    assert!(repair::read(&disk).unwrap().cut.is_some());
    assert!(matches!(Simulated::open(&disk.kill(), Fsync::Always, 20_000), Err(OpenError::Damaged { .. })));
}

#[test]
fn retention_does_not_need_an_index_that_cannot_be_read() {
    let disk = SimulatedDisk::new();
    let sent = filled(&disk);
    let options = FileOptions { total: Some(45_000), ..FileOptions::default() };
    let opened = FileBus::on(Arc::new(disk.kill()), options, 20_000, Limits::default(), || (START + 5_000_000).into());
    let (bus, writer) = opened.unwrap();
    let mut simulated = Simulated { bus, writer };
    disk.unreadable(&segment::index_name(1), 0..1 << 20);
    simulated.check();
    assert!(!disk.list().unwrap().contains(&segment::file_name(1)));
    assert!(there(&disk.kill(), Since::After(sent[0])).1);
}

#[test]
fn a_backup_names_what_cannot_be_read() {
    let (disk, copy) = (SimulatedDisk::new(), SimulatedDisk::new());
    filled(&disk);
    disk.unreadable(&segment::index_name(1), 0..9);
    backup::copy(&disk, &copy).unwrap_or_else(|_| panic!("an index can be made again"));
    disk.unreadable(&segment::file_name(2), SECTOR..SECTOR + 1);
    let Err(backup::CopyError::Read(error)) = backup::copy(&disk, &SimulatedDisk::new()) else { panic!("not read") };
    let text = error.to_string();
    assert!(text.starts_with(&format!("{} cannot be read at byte ", segment::file_name(2))), "{text}");
}
