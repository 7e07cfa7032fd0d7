//! From the stream to the log: first what is there, then what comes.
//!
//! The place in the stream outlives the connection, so that a new one goes on where the old one stopped. What lay
//! between them and was trimmed meanwhile counts as lost, and so does whatever a break in the stream says.

use std::{convert::Infallible, mem, sync::Arc, time::Duration};

use redis::{Value, aio::MultiplexedConnection};
use tokio::time::Instant;

use super::{
    Line, Phase, Shared,
    entry::{self, Entry, What},
    ledger::Ledger,
    link::{Joined, LinkError},
    scripts::{EDGE, STREAM},
};
use crate::{
    live::log::{Limits, Log},
    pure::{Cursor, Message},
};

/// How long Redis holds a question to which there is no answer yet.
pub(super) const BLOCK: Duration = Duration::from_secs(1);
/// Entries in the largest page.
const MAX_PAGE: usize = 512;
/// Bytes of a page, about: what entries of the size of those before take. At most [`MAX_PAGE`] times the largest entry.
const PAGE_BYTES: usize = 1024 * 1024;
/// Entries in the first page, when their size is not known.
const FIRST_PAGE: usize = 16;
/// Bytes of an entry without a message.
const BREAK_BYTES: usize = 64;

/// A place in the stream.
pub(super) struct Tail {
    log: Arc<Log>,
    shared: Arc<Shared>,
    ledger: Ledger,
    /// What has been read, or is lost, ends here; `None`: nothing yet.
    position: Option<Cursor>,
    /// Tells the entry there from another one with the same id.
    digest: Option<u64>,
    /// Before this there was nothing to be read.
    floor: Cursor,
    /// Entries to ask for next.
    page: usize,
}

/// How many entries to ask for after a page of `entries` that took `bytes`, which had asked for `page`.
fn next_page(page: usize, entries: usize, bytes: usize) -> usize {
    if entries == 0 {
        return page;
    }
    let fitting = PAGE_BYTES / (bytes / entries).max(1);
    fitting.clamp(1, MAX_PAGE).min(page * 2)
}

impl Tail {
    pub(super) fn new(limits: Limits, log: Arc<Log>, shared: Arc<Shared>) -> Self {
        let ledger = Ledger::new(limits.total);
        Self { log, shared, ledger, position: None, digest: None, floor: Cursor::ZERO, page: FIRST_PAGE }
    }

    /// The last entry that has been read.
    pub(super) fn position(&self) -> Cursor {
        self.position.unwrap_or_default()
    }

    /// Whether the entry with `digest` is the one that was read at this place, as far as that is known.
    pub(super) fn is_last(&self, digest: u64) -> bool {
        self.digest.is_none_or(|last| last == digest)
    }

    /// Takes up its place in a stream that is as `joined` says.
    pub(super) fn join(&mut self, joined: &Joined) {
        let edge = joined.first.map_or(joined.last, Cursor::before);
        match self.position {
            None => {
                self.floor = edge;
                self.position = Some(edge);
            }
            Some(_) => self.lose(edge),
        }
    }

    /// Counts everything up to `last` as lost, if it has not been read.
    fn lose(&mut self, last: Cursor) {
        if self.position.is_some_and(|position| position >= last) {
            return;
        }
        if self.log.is_filled() {
            log::warn!("messages up to {last} are lost: every reader is told of a gap");
        }
        self.log.lose(last);
        self.position = Some(last);
        self.digest = None;
    }

    /// Reads until the connection breaks. Ready is who has read `last`, the newest entry at the beginning.
    pub(super) async fn run(
        &mut self,
        mut connection: MultiplexedConnection,
        line: &Line,
        last: Cursor,
    ) -> Result<Infallible, LinkError> {
        let mut is_ready = false;
        loop {
            let mut pipeline = redis::pipe();
            pipeline.cmd("XREAD").arg("COUNT").arg(self.page);
            // Before it is ready it does not wait: that an answer comes shows that it may read.
            if is_ready {
                pipeline.arg("BLOCK").arg(u64::try_from(BLOCK.as_millis()).unwrap_or(u64::MAX));
            }
            pipeline.arg("STREAMS").arg(STREAM).arg(self.position().to_string());
            // After the page: whatever was trimmed before the page was read is in it.
            pipeline.cmd("GET").arg(EDGE);
            let (page, edge): (Value, Option<String>) = pipeline.query_async(&mut connection).await?;
            let page = entries(page).ok_or(LinkError::Answer("XREAD"))?;
            if page.is_empty() && !is_ready {
                // Trimmed while we were on the way.
                self.lose(last);
            }
            self.take(page, edge.and_then(|edge| edge.parse().ok()))?;
            self.shared.progress.send_replace(self.log.head());
            if !is_ready && self.position() >= last {
                is_ready = true;
                self.ready(line);
            }
        }
    }

    fn ready(&mut self, line: &Line) {
        if !self.log.is_filled() {
            self.log.filled(self.floor);
        }
        self.shared.progress.send_replace(self.log.head());
        *self.shared.phase.lock() = Phase::Ready(line.clone(), Instant::now());
        let stats = self.log.stats(self.shared.now());
        log::info!("the log is at {}: {} messages in {} channels", self.position(), stats.messages, stats.channels);
    }

    /// Adds a page to the log; everything before `edge` may have been trimmed before the page was read.
    fn take(&mut self, page: Vec<Value>, edge: Option<Cursor>) -> Result<(), LinkError> {
        let mut messages: Vec<Message> = Vec::with_capacity(page.len());
        let (entries, mut total) = (page.len(), 0);
        for (n, value) in page.into_iter().enumerate() {
            let Entry { id, what, digest } = entry::read(value).ok_or(LinkError::Answer("XREAD"))?;
            if let (0, Some(edge)) = (n, edge) {
                self.lose(edge.min(id).before());
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
                    self.lose(id);
                    BREAK_BYTES
                }
                What::Strange(wrong) => {
                    log::error!("entry {id} of {STREAM} is no message and is passed over: {wrong}");
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
        // Ids of one stream grow; if they do not, this is not the stream that we joined.
        self.log.append_placed(messages, self.shared.now()).map_err(|_| LinkError::Shortened)
    }
}

/// The entries of the one stream in an answer to XREAD.
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
