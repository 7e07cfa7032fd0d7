//! Older messages than the memory has: a bus that stores messages elsewhere reads them for readers.
//!
//! ```text
//! Reader, whose cursor is older than what its channels have in memory ─▶ Archive::request ─▶ (another thread) ─▶ Piece, and the reader is woken
//! ```

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use parking_lot::Mutex;

use super::{Log, Waiter};
use crate::pure::{ChannelName, Cursor, Message};

/// Where a log's older messages are. It has everything that the memory dropped, except for what retention removed.
pub(in crate::live) trait Archive: fmt::Debug + Send + Sync {
    /// Reads a piece, on another thread.
    fn request(&self, request: Request);

    /// Up to where `channel` may have lost messages, as far as that is known without reading anything. Some up to there may be stored.
    fn removed(&self, channel: &ChannelName) -> Cursor;

    /// The newest message of `channel` that is known to be purged: none up to it may be read, even if it is there.
    fn purged(&self, channel: &ChannelName) -> Cursor;

    /// Whether it has messages up to `cursor`, on any channel.
    fn has_before(&self, cursor: Cursor) -> bool;

    /// How many purges there were: while it does not change, nothing that was read has been purged since.
    fn purges(&self) -> u64;
}

/// What a reader needs.
#[derive(Debug)]
pub(in crate::live) struct Request {
    /// The channels, each with the cursor after which its messages are wanted.
    pub(in crate::live) channels: Vec<(ChannelName, Cursor)>,
    /// Messages up to here.
    pub(in crate::live) up_to: Cursor,
    reply: Arc<Reply>,
}

/// The next messages.
#[derive(Debug, Default)]
pub(in crate::live) struct Piece {
    /// In the order of ids.
    pub(in crate::live) messages: Vec<Arc<Message>>,
    /// Up to here, this is everything.
    pub(in crate::live) end: Cursor,
    /// For each channel, up to where it may have lost some.
    pub(in crate::live) removed: Vec<Cursor>,
    /// Whether messages are lost that retention has not removed: a gap for every reader.
    pub(in crate::live) is_damaged: bool,
    /// Its part of the memory of all pieces.
    pub(in crate::live) share: Option<PieceShare>,
}

/// Counts the bytes of a piece until it has been read.
#[derive(Debug)]
pub(in crate::live) struct PieceShare {
    all: Arc<AtomicUsize>,
    bytes: usize,
}

impl PieceShare {
    pub(in crate::live) fn new(all: &Arc<AtomicUsize>, bytes: usize) -> Self {
        all.fetch_add(bytes, Relaxed);
        Self { all: all.clone(), bytes }
    }
}

impl Drop for PieceShare {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes, Relaxed);
    }
}

#[derive(Debug)]
struct Reply {
    piece: Mutex<Option<Piece>>,
    waiter: Arc<Waiter>,
}

/// A piece that was requested.
#[derive(Debug)]
pub(in crate::live) struct Awaited(Arc<Reply>);

impl Request {
    /// A request whose answer wakes `waiter`.
    pub(in crate::live) fn new(
        channels: Vec<(ChannelName, Cursor)>,
        up_to: Cursor,
        waiter: &Arc<Waiter>,
    ) -> (Self, Awaited) {
        let reply = Arc::new(Reply { piece: Mutex::new(None), waiter: waiter.clone() });
        (Self { channels, up_to, reply: reply.clone() }, Awaited(reply))
    }

    /// Whether nobody waits for the answer any more.
    pub(in crate::live) fn is_abandoned(&self) -> bool {
        Arc::strong_count(&self.reply) == 1
    }

    /// Answers.
    pub(in crate::live) fn answer(self, piece: Piece) {
        *self.reply.piece.lock() = Some(piece);
        self.reply.waiter.waker.wake();
    }
}

impl Awaited {
    /// The piece, once it has been read.
    pub(in crate::live) fn take(&self) -> Option<Piece> {
        self.0.piece.lock().take()
    }
}

impl Log {
    /// Bytes of messages that the log has dropped, or never had, and that only readers have.
    #[must_use]
    pub fn left_bytes(&self) -> usize {
        self.forms.left()
    }

    /// Counts messages that were read from elsewhere for one reader.
    pub(in crate::live) fn count_read(&self, messages: &mut [Arc<Message>]) {
        messages.iter_mut().filter_map(Arc::get_mut).for_each(|message| message.stay_out(&self.forms));
    }
}
