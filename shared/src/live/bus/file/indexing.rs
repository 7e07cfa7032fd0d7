//! Makes the index of a segment from its records.

use std::io;

use super::{
    index::{Copied, Index},
    record::{self, Hole},
    segment::{Found, Visit},
};
use crate::pure::{Cursor, stream::StreamRecord};

/// Makes the index of a segment, and notes what else it has.
#[derive(Debug, Default)]
pub(super) struct Indexing {
    pub(super) index: Index,
    pub(super) last: Cursor,
    pub(super) holes: Vec<Hole>,
    pub(super) has_checkpoint: bool,
}

impl Visit for Indexing {
    fn message(&mut self, found: Found<'_>) -> io::Result<()> {
        let channel = record::channel(found.fields).filter(|_| found.id > self.last);
        let channel = channel.ok_or(io::ErrorKind::InvalidData)?;
        self.index.add(&channel, found.id, found.offset, found.length);
        self.last = found.id;
        Ok(())
    }

    fn state(&mut self, _: &[u8], _: u64, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn hole(&mut self, hole: Hole) {
        self.last = self.last.max(hole.up_to);
        if !self.holes.contains(&hole) {
            self.holes.push(hole);
        }
    }

    fn stream(&mut self, record: &[u8]) -> io::Result<()> {
        let record = StreamRecord::decode(record).ok_or(io::ErrorKind::InvalidData)?;
        self.last = self.last.max(record.position().unwrap_or_default());
        Ok(())
    }

    fn copy(&mut self, found: Found<'_>, created: Cursor) -> io::Result<()> {
        let channel = record::channel(found.fields).ok_or(io::ErrorKind::InvalidData)?;
        self.index.add_copy(Copied { channel, created, id: found.id, length: found.length });
        Ok(())
    }

    fn checkpoint(&mut self) {
        self.has_checkpoint = true;
    }
}
