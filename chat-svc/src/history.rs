//! Earlier messages, in pages: the acks of `join` and `history`.
//!
//! ```text
//! join, history ─▶ Replies of the member ─▶ (the transport can take more) ─▶ page of the log ─▶ ack
//! ```
//!
//! A page has up to 256 KiB, so its ack is built only when the client can take it: a client that asks and does not read costs the queued
//! requests, and not the pages.

use std::{collections::VecDeque, fmt};

use shared::{
    live::log::Log,
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
    /// included even if it does not fit.
    pub(crate) fn read(
        log: &Log,
        channel: &ChannelName,
        before: Cursor,
        limit: usize,
        max_bytes: usize,
        at_least_one: bool,
        publisher: Publisher,
    ) -> Self {
        let found = log.latest(channel, limit + 1, before.before());
        let mut bytes = 0;
        let mut messages: Vec<String> = Vec::new();
        for message in found.iter().rev().take(limit) {
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
        let more = found.len() > messages.len();
        messages.reverse();
        Self { messages: messages.join(","), cursor: oldest.unwrap_or(before), more }
    }
}

/// An answer that is built when the client can take it, with messages of at most this many bytes.
type Make = Box<dyn FnOnce(usize) -> String + Send>;

/// Answers that wait until the client can take them.
#[derive(Default)]
pub(crate) struct Replies {
    waiting: VecDeque<(Ack, Make)>,
    is_closed: bool,
}

impl Replies {
    /// Answers `ack` with the JSON that `make` returns, when the client can take it.
    ///
    /// # Errors
    /// When too many answers are waiting already.
    pub(crate) fn push(
        &mut self,
        ack: &Ack,
        make: impl FnOnce(usize) -> String + Send + 'static,
    ) -> Result<(), Refusal> {
        if self.is_closed || !ack.is_wanted() {
            return Ok(());
        }
        if self.waiting.len() >= MAX_WAITING {
            let message =
                format!("{MAX_WAITING} answers with messages are still queued; try again when they have arrived");
            return Err(Refusal::new("too_many_requests", message));
        }
        self.waiting.push_back((ack.clone(), Box::new(make)));
        Ok(())
    }

    /// The next answer, to be [built](Reply::encode) without a lock.
    pub(crate) fn pop(&mut self) -> Option<Reply> {
        let (ack, make) = self.waiting.pop_front()?;
        if self.waiting.is_empty() {
            self.waiting = VecDeque::new();
        }
        Some(Reply { ack, make })
    }

    /// The client has disconnected. Drop the returned answers without holding a lock.
    pub(crate) fn close(&mut self) -> impl Sized + use<> {
        self.is_closed = true;
        std::mem::take(&mut self.waiting)
    }
}

impl fmt::Debug for Replies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replies").field("waiting", &self.waiting.len()).finish_non_exhaustive()
    }
}

/// An answer whose turn has come.
pub(crate) struct Reply {
    ack: Ack,
    make: Make,
}

impl Reply {
    /// The packet of the answer, for a pull with this budget. `None` if it was answered in the meantime.
    pub(crate) fn encode(self, budget: usize) -> Option<EncodedPacket> {
        let max_bytes = budget.saturating_mul(PULLS).min(MAX_BYTES);
        let json = format!("[{}]", (self.make)(max_bytes));
        self.ack.into_packet(Payload::from_parts(json.into(), Vec::new()))
    }
}

#[cfg(test)]
mod tests;
