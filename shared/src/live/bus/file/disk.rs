//! What the log needs of a disk: a directory of files, and the errors that it knows.
//!
//! All access to files goes through [`Disk`] and [`DiskFile`], so that tests can put a disk in its place that loses and tears what was not
//! synced.

use std::{fmt, io, sync::Arc};

mod directory;
#[cfg(test)]
pub(super) mod simulated;

pub use directory::Directory;

/// The directory of a log. No name has a separator.
pub trait Disk: fmt::Debug + Send + Sync + 'static {
    /// Takes the directory for this process, until [`unlock`](Self::unlock) or the end of the process.
    ///
    /// # Errors
    /// `WouldBlock` if another process has it; the error names that process.
    fn lock(&self) -> io::Result<()>;
    /// Gives the directory back: nothing is written after this.
    fn unlock(&self);
    /// Whether the directory is still the one that was [locked](Self::lock).
    ///
    /// # Errors
    /// When it was removed or replaced, or its lock was.
    fn check(&self) -> io::Result<()>;
    /// The names of all files.
    ///
    /// # Errors
    /// When the directory cannot be read.
    fn list(&self) -> io::Result<Vec<String>>;
    /// A new empty file, which replaces one of the same name. Its name is durable after [`sync_names`](Self::sync_names).
    ///
    /// # Errors
    /// When it cannot be created.
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// An existing file, for reading and writing.
    ///
    /// # Errors
    /// `NotFound`, and others.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// Gives a file another name, atomically. Durable after [`sync_names`](Self::sync_names).
    ///
    /// # Errors
    /// When it cannot be renamed.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file. Who has it open can still read it.
    ///
    /// # Errors
    /// When it cannot be removed.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes created, renamed and removed names durable.
    ///
    /// # Errors
    /// When that fails: then it is unknown which names a power cut leaves.
    fn sync_names(&self) -> io::Result<()>;
    /// Free space in bytes; `None` if the system does not say.
    ///
    /// # Errors
    /// When the directory cannot be read.
    fn free(&self) -> io::Result<Option<u64>>;
    /// Identifies the run of the operating system: what was written but not synced is there for as long as this does not change. `None` if
    /// the system does not say.
    fn boot(&self) -> Option<u64>;
    /// A number that nobody can predict, for a new segment.
    fn random(&self) -> u32;
    /// The path of the directory, for messages.
    fn directory(&self) -> String;
}

/// An open file. Calls may come from several threads.
pub trait DiskFile: fmt::Debug + Send + Sync + 'static {
    /// Its length in bytes.
    ///
    /// # Errors
    /// When the system does not say.
    fn length(&self) -> io::Result<u64>;
    /// Reads bytes from `offset` on; returns how many, fewer than `bytes` has space for only at the end of the file.
    ///
    /// # Errors
    /// When the bytes cannot be read.
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all bytes at `offset`.
    ///
    /// # Errors
    /// When some could not be written: any part of them may have been.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Cuts the file.
    ///
    /// # Errors
    /// When it cannot be cut.
    fn set_len(&self, length: u64) -> io::Result<()>;
    /// Makes the content durable (fdatasync).
    ///
    /// # Errors
    /// When that fails: then it is unknown what is durable, and another attempt would not tell.
    fn sync(&self) -> io::Result<()>;
}

/// Up to this length, memory is taken for bytes that a file may not have.
const UNCHECKED: usize = 64 * 1024;

/// Reads exactly `length` bytes from `offset` on.
///
/// # Errors
/// `UnexpectedEof` if the file is shorter, and those of [`DiskFile::read_at`].
pub(super) fn read_exact(file: &dyn DiskFile, offset: u64, length: usize) -> io::Result<Vec<u8>> {
    // A damaged length takes no memory.
    if length > UNCHECKED && offset.saturating_add(length as u64) > file.length()? {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let mut bytes = vec![0; length];
    if file.read_at(&mut bytes, offset)? < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(bytes)
}

/// What an error of the disk means to an operator.
pub(super) fn explain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::StorageFull => "no space is left on the disk".to_owned(),
        io::ErrorKind::QuotaExceeded => "the disk quota is used up".to_owned(),
        io::ErrorKind::ReadOnlyFilesystem => "the file system is read-only".to_owned(),
        io::ErrorKind::PermissionDenied => format!("this process has no permission ({error})"),
        io::ErrorKind::NotFound => "the directory, or a file in it, does not exist".to_owned(),
        _ => error.to_string(),
    }
}

/// Whether the disk, or the file system, says that bytes of a file are damaged. Another attempt, or another process, would not help.
pub(super) fn is_unreadable(error: &io::Error) -> bool {
    // Input or output error, on Linux also: no data (a medium error), bad message, remote input or output error, structure needs cleaning.
    #[cfg(target_os = "linux")]
    const CODES: &[i32] = &[5, 61, 74, 121, 117];
    #[cfg(all(unix, not(target_os = "linux")))]
    const CODES: &[i32] = &[5];
    // Wrong checksum, read fault, device error, and damaged file.
    #[cfg(not(unix))]
    const CODES: &[i32] = &[23, 30, 1_117, 1_392];
    error.raw_os_error().is_some_and(|code| CODES.contains(&code))
}

/// Whether freeing space ends the error.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
