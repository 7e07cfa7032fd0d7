//! Small files next to the segments, replaced as a whole: what the holder of a lease has stored.

use std::io;

use bytes::Bytes;

use super::disk::{Disk, read_exact};

/// The name of the file of the state `name`, which is ASCII, and what it is called while it is being written.
fn file_names(name: &str) -> (String, String) {
    (format!("{name}.state"), format!("{name}.state.new"))
}

/// Reads the state `name`; `None` if there is none.
pub(super) fn read(disk: &dyn Disk, name: &str) -> io::Result<Option<Bytes>> {
    let file = match disk.open(&file_names(name).0) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let length = usize::try_from(file.length()?).unwrap_or(usize::MAX);
    Ok(Some(read_exact(&*file, 0, length)?.into()))
}

/// Replaces the state `name`, so that after a crash the old one or this one is there, whole.
pub(super) fn write(disk: &dyn Disk, name: &str, state: &[u8]) -> io::Result<()> {
    let (name, new) = file_names(name);
    let file = disk.create(&new)?;
    file.write_at(state, 0)?;
    file.sync()?;
    disk.rename(&new, &name)?;
    disk.sync_names()
}

#[cfg(test)]
mod tests {
    use super::{super::disk::simulated::SimulatedDisk, *};

    #[test]
    fn a_state_is_replaced_as_a_whole() {
        let disk = SimulatedDisk::new();
        assert_eq!(read(&disk, "hooks").unwrap(), None);
        write(&disk, "hooks", b"a long state").unwrap();
        write(&disk, "hooks", b"short").unwrap();
        write(&disk, "other", b"x").unwrap();
        assert_eq!(read(&disk, "hooks").unwrap().as_deref(), Some(&b"short"[..]));
    }
}
