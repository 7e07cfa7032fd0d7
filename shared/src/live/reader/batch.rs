//! What one read returns, and how much.

use std::sync::Arc;

use crate::pure::{Cursor, Gap, Message, stream::StreamEnd};

/// Maximum size of one read. At least one message is returned, however large it is.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    /// Messages.
    pub messages: usize,
    /// Bytes of data.
    pub bytes: usize,
}

impl Default for Limit {
    /// About one socket buffer: a reader's messages stay in memory until they are written.
    fn default() -> Self {
        Self { messages: 256, bytes: 64 * 1024 }
    }
}

/// The messages after the cursor.
#[derive(Debug)]
pub struct Batch {
    /// Messages before these are lost: to be reported first.
    pub gap: Option<Gap>,
    /// In id order, over all channels of the reader.
    pub messages: Vec<Arc<Message>>,
    /// A stream among the channels has ended: to be reported last.
    pub end: Option<StreamEnd>,
    /// The cursor after this batch, from which another reader can resume.
    pub cursor: Cursor,
}
