//! Why a log on disk cannot be opened.

use std::io;

use super::disk::explain;

/// Why something could not be written.
#[derive(Debug)]
pub(super) enum WriteError {
    /// A sync failed. It is unknown what is durable, and the log cannot continue.
    Sync(io::Error),
    /// Nothing counts as written, and another attempt may succeed.
    Other(io::Error),
}

impl From<WriteError> for io::Error {
    fn from((WriteError::Sync(error) | WriteError::Other(error)): WriteError) -> Self {
        error
    }
}

/// Why a log cannot be opened. Each message says what an operator can do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has the directory.
    #[error("the directory {directory} is in use by {owner}; only one process can have it")]
    Locked {
        /// The directory.
        directory: String,
        /// The process that has it.
        owner: String,
    },
    /// Bytes that were durable are not what was written.
    #[error(
        "{directory}/{file} is damaged at byte {offset}: without it, {lost} would be lost; restore a backup of the directory, \
         or cut the log there with `standalone log repair {directory}`"
    )]
    Damaged {
        /// The directory.
        directory: String,
        /// The file.
        file: String,
        /// The first byte that is not valid.
        offset: u64,
        /// What cannot be read any more.
        lost: String,
    },
    /// The disk answered with an error.
    #[error("{directory}: {what}: {}", explain(.error))]
    Disk {
        /// The directory.
        directory: String,
        /// What was tried.
        what: String,
        /// The error of the system.
        error: io::Error,
    },
}
