//! From the stream to the log: first the existing entries, then new ones.
//!
//! The position in the stream outlives the connection, so that a new connection continues where the old one stopped. Entries in between
//! that were trimmed count as lost, and so does everything that a break entry in the stream names.

use std::{convert::Infallible, mem, sync::Arc, time::Duration};

use redis::{Value, aio::MultiplexedConnection};
use tokio::time::{Instant, timeout};

use super::{
    Connection, Phase, Shared,
    entry::{self, Entry, What},
    error::LinkError,
    ledger::Ledger,
    linger::Linger,
    page::{FIRST_PAGE, next_page},
    scripts::{EDGE, STREAM},
    streams::{self, Known, Loaded},
};
use crate::{
    live::log::{Change, Limits, Log},
    pure::{ChannelName, Cursor, Message, stream::StreamRecord},
};

/// How long Redis waits for a new entry before it answers without one.
pub(super) const BLOCK: Duration = Duration::from_secs(1);
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
    linger: Linger,
    /// Whether streams may have changed in a part of the stream that was not read: they have to be loaded.
    has_missed: bool,
    /// The log has all of what was loaded of streams when it is here.
    loaded: Cursor,
    /// The end of a stream that was read last: what it had in the log is removed with it.
    ended: Option<Cursor>,
}

impl Tail {
    pub(super) fn new(limits: Limits, log: Arc<Log>, shared: Arc<Shared>) -> Self {
        // Events of the server take their own part, so that they leave as much to messages as before.
        let room = limits.total.map(|total| total.saturating_add(limits.server.unwrap_or_default()));
        let ledger = Ledger::new(room);
        Self {
            log,
            shared,
            ledger,
            position: None,
            digest: None,
            floor: Cursor::ZERO,
            page: FIRST_PAGE,
            linger: Linger::new(Instant::now()),
            has_missed: true,
            loaded: Cursor::ZERO,
            ended: None,
        }
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
        self.has_missed = true;
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
            if self.has_missed {
                self.load_streams(&connection).await?;
                self.shared.progress.send_replace(self.log.head());
            }
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
            let (count, is_full) = (page.len(), page.len() >= self.page);
            if page.is_empty() && !is_ready {
                // Trimmed in the meantime.
                self.mark_lost_up_to(last);
            }
            self.take(page, edge.and_then(|edge| edge.parse().ok()))?;
            // Whoever waits for an id also waits for what was missed of streams before it.
            if !self.has_missed {
                self.shared.progress.send_replace(self.log.head());
            }
            if !is_ready && !self.has_missed && self.position() >= last.max(self.loaded) {
                is_ready = true;
                self.ready(commands);
            }
            let pause = self.linger.after(count, Instant::now());
            if is_ready && !is_full && !pause.is_zero() {
                // Who waits for an entry does not wait for this, too.
                let _ = timeout(pause, self.shared.hurried.notified()).await;
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

    /// Replaces the streams by those that Redis has. What the log has of them up to then is part of it.
    async fn load_streams(&mut self, connection: &MultiplexedConnection) -> Result<(), LinkError> {
        let Loaded { streams, known, newest } = streams::load(connection).await?;
        let mut held = self.shared.streams.known.lock();
        self.log.replace_streams(streams, self.position(), self.shared.now());
        *held = known;
        self.loaded = newest;
        self.has_missed = false;
        Ok(())
    }

    /// Adds a page to the log, up to an entry after which streams have to be loaded. Entries before `edge` may have been trimmed before the page
    /// was read.
    fn take(&mut self, page: Vec<Value>, edge: Option<Cursor>) -> Result<(), LinkError> {
        let shared = self.shared.clone();
        let mut known = shared.streams.known.lock();
        let mut changes: Vec<Change> = Vec::with_capacity(page.len());
        let (mut entries, mut total) = (0, 0);
        for value in page {
            let Entry { id, what, digest } = entry::read(value).ok_or(LinkError::Answer("XREAD"))?;
            if let (0, Some(edge)) = (entries, edge) {
                self.mark_lost_up_to(edge.min(id).before());
                if self.has_missed {
                    return Ok(());
                }
            }
            entries += 1;
            let bytes = match what {
                What::Message(draft) => {
                    let message = Message::new(id, draft);
                    let bytes = message.footprint();
                    let channel = &message.draft.channel;
                    if !known.is_loaded(channel, id) {
                        known.message(channel, id);
                        changes.push(Change::Message(message));
                    }
                    bytes
                }
                What::Break => {
                    self.apply(mem::take(&mut changes))?;
                    self.mark_lost_up_to(id);
                    BREAK_BYTES
                }
                What::Purge(channel, up_to) => {
                    self.apply(mem::take(&mut changes))?;
                    if !known.is_loaded(&channel, id) && self.ended != Some(up_to) {
                        self.purge(&mut known, channel, up_to, id)?;
                    }
                    BREAK_BYTES
                }
                What::Stream(record, token) => {
                    if known.is_loaded(record.channel(), id) {
                        known.loaded(&record, id);
                    } else {
                        self.add_record(&mut known, &record, id, token, &mut changes)?;
                    }
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
            if self.has_missed {
                break;
            }
        }
        self.apply(changes)?;
        // Also past entries that are no messages.
        self.log.continue_after(self.position());
        self.page = next_page(self.page, entries, total);
        *self.shared.needed.lock() = self.ledger.edge();
        Ok(())
    }

    fn purge(&self, known: &mut Known, channel: ChannelName, up_to: Cursor, id: Cursor) -> Result<(), LinkError> {
        if !self.log.has_stream(&channel) {
            return self.log.purge_placed(&channel, up_to, id).map_err(|_| LinkError::Shortened);
        }
        known.purge(&channel, id);
        self.apply(vec![Change::stream(StreamRecord::Purge { channel, up_to })])
    }

    /// Adds a record to `changes`, which are applied first if it depends on them.
    fn add_record(
        &mut self,
        known: &mut Known,
        record: &StreamRecord,
        id: Cursor,
        token: Option<String>,
        changes: &mut Vec<Change>,
    ) -> Result<(), LinkError> {
        let mut inherited = None;
        match record {
            StreamRecord::Create(saved) => {
                self.apply(mem::take(changes))?;
                // Published by a process that did not know of the creation yet.
                self.log.purge_up_to(&saved.channel, id);
                inherited = self.log.inherited_by(saved, self.shared.now()).map(Box::new);
            }
            StreamRecord::End { channel, at, .. } => {
                self.apply(mem::take(changes))?;
                self.ended = Some(*at);
                if !self.log.has_stream(channel) {
                    // Its creation is not in the log any more, and some of its messages may be.
                    self.log.purge_up_to(channel, *at);
                }
            }
            _ => {}
        }
        known.record(record, id, token);
        changes.push(Change::Stream(Box::new(record.clone()), inherited));
        Ok(())
    }

    fn apply(&self, changes: Vec<Change>) -> Result<(), LinkError> {
        if changes.is_empty() {
            return Ok(());
        }
        // Ids of one stream are ascending; otherwise this is not the stream that was joined.
        self.log.apply(changes, self.shared.now()).map_err(|_| LinkError::Shortened)
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
