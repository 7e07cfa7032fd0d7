//! A Trident whose log is on disk, in a directory that outlives it.

use std::{
    io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use super::{Cores, Directory, Options, Server, free_address, trident};
use crate::peer::{Peer, Programs};

/// The directory of a log, which is removed with this.
#[derive(Debug)]
pub(crate) struct LogDirectory(Directory);

impl LogDirectory {
    /// A new one in `parent`, or where temporary files are.
    ///
    /// # Errors
    /// When it cannot be created.
    pub(crate) fn new(parent: Option<&Path>) -> io::Result<Self> {
        // A number that no other run on this machine has.
        let number = free_address()?.port();
        let parent = parent.map_or_else(std::env::temp_dir, Path::to_path_buf);
        let path = parent.join(format!("trident-bench-log-{}-{number}", std::process::id()));
        std::fs::create_dir(&path)?;
        Ok(Self(Directory(path)))
    }

    pub(crate) fn path(&self) -> &PathBuf {
        &self.0.0
    }
}

impl Server {
    /// Starts a Trident on this log, with `TRIDENT_FSYNC` as `fsync` says and no limits. Returns how long it took until it was ready, too.
    ///
    /// # Errors
    /// When it cannot be started, or is not ready in time.
    pub(crate) fn start_on_disk(
        programs: &Programs,
        log: &LogDirectory,
        fsync: &str,
        options: Options,
        cores: Option<Cores>,
    ) -> io::Result<(Self, Duration)> {
        let (token, address, mut command) = trident(programs, options)?;
        command.env("TRIDENT_BUS", format!("file:{}", log.path().display())).env("TRIDENT_FSYNC", fsync);
        for limit in ["DISK_TOTAL", "HISTORY_COUNT", "HISTORY_BYTES", "HISTORY_AGE"] {
            command.env(format!("TRIDENT_{limit}"), "0");
        }
        let begun = Instant::now();
        let mut server = Self::spawn(Peer::File, command, address, cores)?;
        server.token = Some(token);
        server.wait(|address| super::get(address, "/readyz"))?;
        Ok((server, begun.elapsed()))
    }
}
