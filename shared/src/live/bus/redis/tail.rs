//! From the stream to the log: first the existing entries, then new ones.
//!
//! The position in the stream outlives the connection, so that a new connection continues where the old one stopped. Entries in between
//! that were trimmed count as lost, and so does everything that a break entry in the stream names.

use std::{convert::Infallible, mem, sync::Arc, time::Duration};

use redis::{Value, aio::MultiplexedConnection};
use tokio::time::Instant;

use super::{
    Connection, Phase, Shared,
    entry::{self, Entry, What},
    error::LinkError,
    ledger::Ledger,
    scripts::{EDGE, STREAM},
};
use crate::{
    live::log::{Limits, Log},
    pure::{Cursor, Message},
};

/// How long Redis waits for a new entry before it answers without one.
pub(super) const BLOCK: Duration = Duration::from_secs(1);
/// Maximum number of entries in a page.
const MAX_PAGE: usize = 512;
/// The approximate size of a page in bytes, assuming the size of recent entries. At most [`MAX_PAGE`] times the largest entry.
const PAGE_BYTES: usize = 1024 * 1024;
/// Entries in the first page, when their size is unknown.
const FIRST_PAGE: usize = 16;
/// The overhead of an entry without a message in bytes.
const BREAK_BYTES: usize = 64;

/// The state of the stream when it was joined.
#[derive(Debug)]
pub(super) struct Joined {
    /// The newest id.
    pub(super) last: Cursor,
    /// The id of the oldest stored entry.
    pub(super) first: Option<Cursor>,
}

/// A position in the stream.
pub(super) struct Tail {
    log: Arc<Log>,
    shared: Arc<Shared>,
    ledger: Ledger,
    /// The last entry that was read or lost; `None` before the first.
    position: Option<Cursor>,
    /// Distinguishes the entry from another one with the same id.
    digest: Option<u64>,
    /// Nothing was readable before this.
    floor: Cursor,
    /// The number of entries to request next.
    page: usize,
}

/// The number of entries to request after a page of `entries` entries and `bytes` bytes, which had requested `page`.
fn next_page(page: usize, entries: usize, bytes: usize) -> usize {
    if entries == 0 {
        return page;
    }
    let fitting = PAGE_BYTES / (bytes / entries).max(1);
    fitting.clamp(1, MAX_PAGE).min(page * 2)
}

impl Tail {
    pub(super) fn new(limits: Limits, log: Arc<Log>, shared: Arc<Shared>) -> Self {
        // Events of the server take their own part, so that they leave as much to messages as before.
        let room = limits.total.map(|total| total.saturating_add(limits.server.unwrap_or_default()));
        let ledger = Ledger::new(room);
        Self { log, shared, ledger, position: None, digest: None, floor: Cursor::ZERO, page: FIRST_PAGE }
    }

    /// The last entry that has been read.
    pub(super) fn position(&self) -> Cursor {
        self.position.unwrap_or_default()
    }

    /// Whether the entry with `digest` is the one that was read at this position, as far as that is known.
    pub(super) fn is_last(&self, digest: u64) -> bool {
        self.digest.is_none_or(|last| last == digest)
    }

    /// Moves to its position in a stream in the state `joined`.
    pub(super) fn join(&mut self, joined: &Joined) {
        let edge = joined.first.map_or(joined.last, Cursor::before);
        match self.position {
            None => {
                self.floor = edge;
                self.position = Some(edge);
            }
            Some(_) => self.mark_lost_up_to(edge),
        }
    }

    /// Records everything up to `last` as lost, if it has not been read.
    fn mark_lost_up_to(&mut self, last: Cursor) {
        if self.position.is_some_and(|position| position >= last) {
            return;
        }
        if self.log.is_filled() {
            log::warn!("messages up to {last} are lost: readers with an older cursor get a gap");
        }
        self.log.mark_lost_up_to(last);
        self.position = Some(last);
        self.digest = None;
    }

    /// Reads until the connection breaks. The log is ready when `last`, the newest entry at the beginning, has been read.
    pub(super) async fn run(
        &mut self,
        mut connection: MultiplexedConnection,
        commands: &Connection,
        last: Cursor,
    ) -> Result<Infallible, LinkError> {
        let mut is_ready = false;
        loop {
            let mut pipeline = redis::pipe();
            pipeline.cmd("XREAD").arg("COUNT").arg(self.page);
            // Before it is ready, it does not block: an answer shows that it has the permission to read.
            if is_ready {
                pipeline.arg("BLOCK").arg(u64::try_from(BLOCK.as_millis()).unwrap_or(u64::MAX));
            }
            pipeline.arg("STREAMS").arg(STREAM).arg(self.position().to_string());
            // Requested after the page: entries that were trimmed earlier cannot be in the page.
            pipeline.cmd("GET").arg(EDGE);
            let (page, edge): (Value, Option<String>) = pipeline.query_async(&mut connection).await?;
            let page = entries(page).ok_or(LinkError::Answer("XREAD"))?;
            if page.is_empty() && !is_ready {
                // Trimmed in the meantime.
                self.mark_lost_up_to(last);
            }
            self.take(page, edge.and_then(|edge| edge.parse().ok()))?;
            self.shared.progress.send_replace(self.log.head());
            if !is_ready && self.position() >= last {
                is_ready = true;
                self.ready(commands);
            }
        }
    }

    fn ready(&mut self, connection: &Connection) {
        if !self.log.is_filled() {
            self.log.filled(self.floor);
        }
        self.shared.progress.send_replace(self.log.head());
        *self.shared.phase.lock() = Phase::Ready(connection.clone(), Instant::now());
        let stats = self.log.stats(self.shared.now());
        log::info!("log loaded up to {}: {} messages in {} channels", self.position(), stats.messages, stats.channels);
    }

    /// Adds a page to the log. Entries before `edge` may have been trimmed before the page was read.
    fn take(&mut self, page: Vec<Value>, edge: Option<Cursor>) -> Result<(), LinkError> {
        let mut messages: Vec<Message> = Vec::with_capacity(page.len());
        let (entries, mut total) = (page.len(), 0);
        for (n, value) in page.into_iter().enumerate() {
            let Entry { id, what, digest } = entry::read(value).ok_or(LinkError::Answer("XREAD"))?;
            if let (0, Some(edge)) = (n, edge) {
                self.mark_lost_up_to(edge.min(id).before());
            }
            let bytes = match what {
                What::Message(draft) => {
                    let message = Message::new(id, draft);
                    let bytes = message.footprint();
                    messages.push(message);
                    bytes
                }
                What::Break => {
                    self.append(mem::take(&mut messages))?;
                    self.mark_lost_up_to(id);
                    BREAK_BYTES
                }
                What::Purge(channel, up_to) => {
                    self.append(mem::take(&mut messages))?;
                    self.log.purge_placed(&channel, up_to, id).map_err(|_| LinkError::Shortened)?;
                    BREAK_BYTES
                }
                What::Strange(wrong) => {
                    log::error!("entry {id} of {STREAM} is not a message and is skipped: {wrong}");
                    BREAK_BYTES
                }
            };
            total += bytes;
            self.ledger.add(id, bytes);
            (self.position, self.digest) = (Some(id), Some(digest));
        }
        self.append(messages)?;
        self.page = next_page(self.page, entries, total);
        *self.shared.needed.lock() = self.ledger.edge();
        Ok(())
    }

    fn append(&self, messages: Vec<Message>) -> Result<(), LinkError> {
        // Ids of one stream are ascending; otherwise this is not the stream that was joined.
        self.log.append_placed(messages, self.shared.now()).map_err(|_| LinkError::Shortened)
    }
}

/// The entries of the stream in an answer to XREAD.
fn entries(answer: Value) -> Option<Vec<Value>> {
    let Value::Array(mut streams) = answer else { return matches!(answer, Value::Nil).then(Vec::new) };
    let Some(Value::Array(mut stream)) = streams.pop() else { return None };
    match stream.pop() {
        Some(Value::Array(entries)) => Some(entries),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Case 8.1: pages are measured in bytes, not in entries.
    #[test]
    fn pages_are_as_large_as_their_bytes_allow() {
        let mut page = FIRST_PAGE;
        for _ in 0..6 {
            page = next_page(page, page, page * 100);
        }
        assert_eq!(page, MAX_PAGE, "small entries come many at a time");
        assert_eq!(next_page(page, page, page * 64 * 1024), 16, "large ones few");
        assert_eq!(next_page(16, 16, 16 * 4 * PAGE_BYTES), 1, "and the largest alone");
        assert_eq!(next_page(1, 1, 100), 2, "it grows step by step");
        assert_eq!(next_page(7, 0, 0), 7, "nothing says nothing");
    }
}
