//! A directory of the file system.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use super::{Disk, DiskFile};

/// The file that is locked, with the id of the process that has the lock.
const LOCK: &str = "lock";
/// How long a process waits while others only read the directory, such as `standalone log info`.
const READERS_WITHIN: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(10);

const REPLACED: &str =
    "the directory was removed or replaced; move it back, or restart this process, which then uses what is there";
const UNLOCKED: &str =
    "the file `lock` was removed or replaced, so another process could use the directory, too; restart this process";

/// See the module.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    /// Only reads, and needs no permission to write.
    is_read_only: bool,
    lock: Mutex<Option<Locked>>,
}

/// What was locked.
#[derive(Debug)]
struct Locked {
    /// Closing it releases the lock. A directory that is only read may have none.
    file: Option<File>,
    directory: Identity,
}

impl Directory {
    /// The directory at `path`, which is created if it does not exist. Nobody else may read what is created: messages may be private, and the
    /// sessions in it are secrets.
    ///
    /// # Errors
    /// When it cannot be created or is not a directory.
    pub fn open(path: &Path) -> io::Result<Self> {
        let missing: Vec<&Path> = path.ancestors().take_while(|path| !is_current(path) && !path.is_dir()).collect();
        if !missing.is_empty() {
            create_directory(path)?;
            // So that a power cut takes none of the new directories.
            for created in missing.into_iter().rev() {
                let parent = created.parent().filter(|parent| !is_current(parent));
                sync_directory(parent.unwrap_or(Path::new(".")))?;
            }
        }
        Ok(Self { path: path.to_owned(), is_read_only: false, lock: Mutex::new(None) })
    }

    /// The existing directory at `path`, in which nothing is changed.
    ///
    /// # Errors
    /// When it is not a directory.
    pub fn open_read_only(path: &Path) -> io::Result<Self> {
        if !fs::metadata(path)?.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        Ok(Self { path: path.to_owned(), is_read_only: true, lock: Mutex::new(None) })
    }

    /// The process that has the lock; `None` if no process has it.
    ///
    /// # Errors
    /// When the lock cannot be read.
    pub fn holder(&self) -> io::Result<Option<String>> {
        match self.lock_shared() {
            Ok(()) => {
                self.unlock();
                Ok(None)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Some(error.to_string())),
            Err(error) => Err(error),
        }
    }

    /// Takes the lock for reading only: others may read at the same time.
    fn lock_shared(&self) -> io::Result<()> {
        let file = match File::open(self.path.join(LOCK)) {
            // No process has ever had it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            file => Some(file?),
        };
        if let Some(file) = &file {
            file.try_lock_shared().map_err(|error| refused(error, file))?;
        }
        *self.lock.lock() = Some(Locked { file, directory: Identity::of(&fs::metadata(&self.path)?) });
        Ok(())
    }
}

/// The path of the current directory.
fn is_current(path: &Path) -> bool {
    path.as_os_str().is_empty()
}

/// Takes the lock, unless a process has it that writes.
fn lock_exclusively(file: &File) -> io::Result<()> {
    let begun = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::Error(error)) => return Err(error),
            // Who has it shares it.
            Err(TryLockError::WouldBlock) if file.try_lock_shared().is_ok() => {
                file.unlock()?;
                if begun.elapsed() >= READERS_WITHIN {
                    let reader = "a command that reads the log, such as `standalone log verify`";
                    return Err(io::Error::new(io::ErrorKind::WouldBlock, reader));
                }
                thread::sleep(PAUSE);
            }
            Err(error) => return Err(refused(error, file)),
        }
    }
}

/// The error of a lock: who has it.
fn refused(error: TryLockError, mut file: &File) -> io::Error {
    match error {
        TryLockError::WouldBlock => {
            let mut owner = String::new();
            // The lock decides; the text only helps.
            let _ = file.read_to_string(&mut owner);
            let owner = match owner.trim() {
                "" => "another process".to_owned(),
                pid => format!("process {pid}"),
            };
            io::Error::new(io::ErrorKind::WouldBlock, owner)
        }
        TryLockError::Error(error) => error,
    }
}

impl Disk for Directory {
    fn lock(&self) -> io::Result<()> {
        if self.is_read_only {
            return self.lock_shared();
        }
        let path = self.path.join(LOCK);
        let file = private().read(true).write(true).create(true).truncate(false).open(path)?;
        lock_exclusively(&file)?;
        // The lock decides; the text only helps. On a full disk it overwrites the one that is there, before anything is cut.
        let text = format!("{}\n", std::process::id());
        let _ = part::write(&file, text.as_bytes(), 0).and_then(|written| file.set_len(written as u64));
        *self.lock.lock() = Some(Locked { file: Some(file), directory: Identity::of(&fs::metadata(&self.path)?) });
        Ok(())
    }

    fn unlock(&self) {
        *self.lock.lock() = None;
    }

    fn check(&self) -> io::Result<()> {
        let lock = self.lock.lock();
        let Some(Locked { file: Some(file), directory }) = &*lock else { return Ok(()) };
        let is_same = |path: &Path, before: &Identity| match fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok::<_, io::Error>(false),
            found => Ok(Identity::of(&found?) == *before),
        };
        if !is_same(&self.path, directory)? {
            return Err(io::Error::other(REPLACED));
        }
        if !is_same(&self.path.join(LOCK), &Identity::of(&file.metadata()?))? {
            return Err(io::Error::other(UNLOCKED));
        }
        Ok(())
    }
    fn list(&self) -> io::Result<Vec<String>> {
        let names = fs::read_dir(&self.path)?.map(|entry| Ok(entry?.file_name().into_string().unwrap_or_default()));
        names.collect()
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let path = self.path.join(name);
        let file = private().read(true).write(true).create(true).truncate(true).open(path)?;
        Ok(Arc::new(PlainFile(file)))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).write(!self.is_read_only).open(self.path.join(name))?;
        Ok(Arc::new(PlainFile(file)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    fn sync_names(&self) -> io::Result<()> {
        sync_directory(&self.path)
    }

    fn free(&self) -> io::Result<Option<u64>> {
        free(&self.path)
    }

    fn boot(&self) -> Option<u64> {
        let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        let digits: String = text.chars().filter(char::is_ascii_hexdigit).take(16).collect();
        u64::from_str_radix(&digits, 16).ok()
    }

    fn random(&self) -> u32 {
        rand::random()
    }

    fn directory(&self) -> String {
        self.path.display().to_string()
    }
}

/// What distinguishes a file or a directory from another one of the same name.
#[derive(Debug, PartialEq, Eq)]
struct Identity(u64, u64);

#[cfg(unix)]
impl Identity {
    fn of(file: &fs::Metadata) -> Self {
        use std::os::unix::fs::MetadataExt as _;
        Self(file.dev(), file.ino())
    }
}

/// Other systems do not let a directory be replaced while a file of it is open.
#[cfg(not(unix))]
impl Identity {
    fn of(_: &fs::Metadata) -> Self {
        Self(0, 0)
    }
}

/// Creates a directory, and those above it, for this user alone.
fn create_directory(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(path)
}

/// Files that are created belong to this user alone.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

#[cfg(unix)]
fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

#[cfg(unix)]
fn free(path: &Path) -> io::Result<Option<u64>> {
    let found = rustix::fs::statvfs(path)?;
    Ok(Some(found.f_bavail.saturating_mul(found.f_frsize)))
}

#[cfg(not(unix))]
fn free(_: &Path) -> io::Result<Option<u64>> {
    Ok(None)
}

/// Other systems have no such call; their file systems keep names in order.
#[cfg(not(unix))]
fn sync_directory(_: &Path) -> io::Result<()> {
    Ok(())
}

#[derive(Debug)]
struct PlainFile(File);

impl DiskFile for PlainFile {
    fn length(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut read = 0;
        while read < bytes.len() {
            match part::read(&self.0, &mut bytes[read..], offset + read as u64) {
                Ok(0) => break,
                Ok(more) => read += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(read)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut written = 0;
        while written < bytes.len() {
            match part::write(&self.0, &bytes[written..], offset + written as u64) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(more) => written += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}

#[cfg(unix)]
mod part {
    use std::{fs::File, io, os::unix::fs::FileExt as _};

    pub(super) fn read(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        file.read_at(bytes, offset)
    }

    pub(super) fn write(file: &File, bytes: &[u8], offset: u64) -> io::Result<usize> {
        file.write_at(bytes, offset)
    }
}

#[cfg(windows)]
mod part {
    use std::{fs::File, io, os::windows::fs::FileExt as _};

    pub(super) fn read(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        file.seek_read(bytes, offset)
    }

    pub(super) fn write(file: &File, bytes: &[u8], offset: u64) -> io::Result<usize> {
        file.seek_write(bytes, offset)
    }
}
