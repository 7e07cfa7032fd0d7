//! Earlier messages, in pages: the acks of `join` and `history`.
//!
//! ```text
//! join, history ─▶ Replies of the member ─▶ (the transport can take more) ─▶ page of the log ─▶ ack
//! ```
//!
//! A page has up to 256 KiB, so its ack is built only when the client can take it: a client that asks and does not read costs the queued
//! requests, and not the pages.

use std::{
    collections::VecDeque,
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use shared::{
    live::{
        log::Log,
        reader::{Limit, latest},
    },
    pure::{ChannelName, Cursor, Publisher},
};
use socketio::{Ack, EncodedPacket, socket::packet::Payload};

use crate::{refusal::Refusal, wire};

/// Maximum number of messages in a page.
pub(crate) const MAX_MESSAGES: usize = 50;
/// Maximum size in bytes of the JSON of the messages in a page. `history` returns at least one message, however large it is.
pub(crate) const MAX_BYTES: usize = 256 * 1024;
/// The maximum number of pulls for a page: with the usual budget, that is `MAX_BYTES`. When little memory is left for queued messages,
/// budgets and pages are smaller.
const PULLS: usize = 8;
/// Maximum number of answers of one client that wait until it can take them.
const MAX_WAITING: usize = 32;

/// Earlier messages.
#[derive(Debug, PartialEq)]
pub(crate) struct Page {
    /// Their JSON, oldest first, separated by commas.
    pub(crate) messages: String,
    /// The cursor for the previous page.
    pub(crate) cursor: Cursor,
    /// Whether the log has older ones.
    pub(crate) more: bool,
}

impl Page {
    /// The newest messages on `channel` before `before`, at most `limit`, that fit into `max_bytes`; with `at_least_one` the newest is
    /// included even if it does not fit. Waits for the disk if the memory does not have them.
    pub(crate) async fn read(
        log: &Arc<Log>,
        channel: &ChannelName,
        before: Cursor,
        limit: usize,
        max_bytes: usize,
        at_least_one: bool,
        publisher: Publisher,
    ) -> Self {
        let most = Limit { messages: limit, bytes: max_bytes };
        let (found, has_more) = latest(log, channel, most, before.before()).await;
        let mut bytes = 0;
        let mut messages: Vec<String> = Vec::new();
        for message in found.iter().rev() {
            // Checked before encoding, if possible: a message of megabytes is not encoded in vain.
            if bytes + message.draft.payload.len() > max_bytes && !(at_least_one && messages.is_empty()) {
                break;
            }
            let json = wire::past(message, publisher);
            bytes += json.len() + 1;
            if bytes > max_bytes && !(at_least_one && messages.is_empty()) {
                break;
            }
            messages.push(json);
        }
        let oldest = messages.len().checked_sub(1).map(|at| found[found.len() - 1 - at].id);
        let more = has_more || found.len() > messages.len();
        messages.reverse();
        Self { messages: messages.join(","), cursor: oldest.unwrap_or(before), more }
    }
}

/// An answer that is being built.
type Made = Pin<Box<dyn Future<Output = String> + Send>>;
/// Begins to build an answer when the client can take it, with messages of at most this many bytes.
type Make = Box<dyn FnOnce(usize) -> Made + Send>;

/// Answers that wait until the client can take them.
#[derive(Default)]
pub(crate) struct Replies {
    #[expect(
        clippy::box_collection,
        reason = "few members have any, and a pointer to nothing is a quarter of an empty queue"
    )]
    waiting: Option<Box<VecDeque<(Ack, Make)>>>,
    is_building: bool,
    is_closed: bool,
}

impl Replies {
    /// Answers `ack` with the JSON that `make` returns, when the client can take it.
    ///
    /// # Errors
    /// When too many answers are waiting already.
    pub(crate) fn push<F: Future<Output = String> + Send + 'static>(
        &mut self,
        ack: &Ack,
        make: impl FnOnce(usize) -> F + Send + 'static,
    ) -> Result<(), Refusal> {
        if self.is_closed || !ack.is_wanted() {
            return Ok(());
        }
        let waiting = self.waiting.get_or_insert_default();
        if waiting.len() >= MAX_WAITING {
            let message =
                format!("{MAX_WAITING} answers with messages are still queued; try again when they have arrived");
            return Err(Refusal::new("too_many_requests", message));
        }
        waiting.push_back((ack.clone(), Box::new(|max_bytes| Box::pin(make(max_bytes)))));
        Ok(())
    }

    /// Whether none waits or is being built.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_none() && !self.is_building
    }

    /// One that was [taken](Self::pop) is still being built, or is not any more. Until then, messages wait.
    pub(crate) fn set_building(&mut self, is_building: bool) {
        self.is_building = is_building;
    }

    /// Whether the client has disconnected.
    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// The next answer, for a pull with this budget. It is [built](Reply::poll) without a lock.
    pub(crate) fn pop(&mut self, budget: usize) -> Option<Reply> {
        let waiting = self.waiting.as_mut()?;
        let (ack, make) = waiting.pop_front()?;
        if waiting.is_empty() {
            self.waiting = None;
        }
        let made = make(budget.saturating_mul(PULLS).min(MAX_BYTES));
        Some(Reply { ack, made })
    }

    /// The client has disconnected. Drop the returned answers without holding a lock.
    pub(crate) fn close(&mut self) -> impl Sized + use<> {
        self.is_closed = true;
        self.waiting.take()
    }
}

impl fmt::Debug for Replies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replies")
            .field("waiting", &self.waiting.as_ref().map_or(0, |waiting| waiting.len()))
            .finish_non_exhaustive()
    }
}

/// An answer whose turn has come.
pub(crate) struct Reply {
    ack: Ack,
    made: Made,
}

impl Reply {
    /// The packet of the answer. `None` if it was answered in the meantime. Not to be called again once it is ready.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<EncodedPacket>> {
        let json = format!("[{}]", ready!(self.made.as_mut().poll(cx)));
        Poll::Ready(self.ack.clone().into_packet(Payload::from_parts(json.into(), Vec::new())))
    }
}

#[cfg(test)]
mod tests;
