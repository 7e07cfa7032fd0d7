//! The checksums of the pages of an index.
//!
//! A start checks the whole file, and keeps the checksum of each page in memory: 4 bytes for 4 KiB. Each later read is compared with them, so that what
//! has changed on the disk since is never believed. It would hide messages, and nobody would get a gap.

use std::{io, sync::Arc};

use crate::live::bus::file::disk::{DiskFile, read_exact};

/// The bytes of a page.
pub(super) const PAGE: usize = 4_096;

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Pages {
    sums: Arc<[u32]>,
    /// Of the file, in bytes.
    length: u64,
}

impl Pages {
    /// Those of a file with this content.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self { sums: sums(bytes).collect(), length: bytes.len() as u64 }
    }

    /// The bytes of the file.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Those of a file of `length` bytes whose pages have these [`sums`].
    pub(super) fn new(sums: Vec<u32>, length: u64) -> Self {
        Self { sums: sums.into(), length }
    }

    /// Reads up to `most` bytes from `at` on: fewer only at the end of the file.
    ///
    /// # Errors
    /// `InvalidData` or `UnexpectedEof` if the file is not what it was, and those of [`DiskFile::read_at`].
    pub(super) fn read(&self, file: &dyn DiskFile, at: u64, most: usize) -> io::Result<Vec<u8>> {
        let page = PAGE as u64;
        let end = at.saturating_add(most as u64).min(self.length);
        if at >= end {
            return Ok(Vec::new());
        }
        let (first, until) = (at / page, end.next_multiple_of(page).min(self.length));
        let begin = first * page;
        let place = |offset: u64| usize::try_from(offset).map_err(|_| invalid());
        let mut bytes = read_exact(file, begin, place(until - begin)?)?;
        let known = self.sums.get(place(first)?..).unwrap_or_default();
        if !sums(&bytes).zip(known).all(|(sum, known)| sum == *known) {
            return Err(invalid());
        }
        bytes.truncate(place(end - begin)?);
        bytes.drain(..place(at - begin)?);
        Ok(bytes)
    }
}

fn invalid() -> io::Error {
    io::ErrorKind::InvalidData.into()
}

/// The checksums of pages that begin with these bytes.
pub(super) fn sums(bytes: &[u8]) -> impl Iterator<Item = u32> {
    bytes.chunks(PAGE).map(crc32c::crc32c)
}
