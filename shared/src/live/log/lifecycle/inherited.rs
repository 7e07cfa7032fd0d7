//! What a fork begins with.

use std::{fmt, sync::Arc};

use crate::{
    live::log::Log,
    pure::{Cursor, History, Payload, stream::StreamInfo},
};

/// What a fork begins with. Its memory is reserved until the fork is created, or it is [released](crate::live::log::Log::release).
pub(in crate::live) struct Inherited {
    /// The source when the messages were copied.
    pub(super) source: StreamInfo,
    /// The copies.
    pub(in crate::live) history: History,
    /// Whose memory is reserved.
    pub(super) owner: Option<Arc<str>>,
    /// Whether it is.
    pub(super) is_reserved: bool,
    /// The newest message that the source has dropped.
    pub(super) dropped: Option<Cursor>,
    /// Their memory in bytes.
    pub(in crate::live) bytes: usize,
    /// The first bytes of the append after them.
    pub(super) part: Option<Payload>,
}

impl fmt::Debug for Inherited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inherited").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

/// What a fork begins with, on its way to the writer of a bus. Its memory is reserved until the fork is created, or this is dropped.
#[derive(Debug)]
pub(in crate::live) struct Reserved {
    log: Arc<Log>,
    pub(in crate::live) inherited: Option<Inherited>,
}

impl Reserved {
    /// Nothing of `log`.
    pub(in crate::live) fn new(log: Arc<Log>) -> Self {
        Self { log, inherited: None }
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.inherited.iter().for_each(|inherited| self.log.release(inherited));
    }
}
