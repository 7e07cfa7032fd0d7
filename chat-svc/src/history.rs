//! Messages of before, a page at a time: what the acks of `join` and `history` show.
//!
//! ```text
//! join, history ─▶ Replies of the member ─▶ (the transport can take more) ─▶ page of the log ─▶ ack
//! ```
//!
//! A page is up to 256 KiB, so its ack is made only when the client can take it: a client that asks and does not read costs what it asked
//! for, and not the pages.

use std::{collections::VecDeque, fmt};

use shared::{
    live::log::Log,
    pure::{ChannelName, Cursor},
};
use socketio::{Ack, EncodedPacket, socket::packet::Payload};

use crate::{reply::Refusal, wire};

/// Messages of the largest page.
pub(crate) const MAX_MESSAGES: usize = 50;
/// Bytes of JSON of the messages of one page. In the answer to `history` one message comes however large it is.
pub(crate) const MAX_BYTES: usize = 256 * 1024;
/// A page may be as long as so many pulls: of the usual budget, that is `MAX_BYTES`. When little memory is left for what waits for clients, budgets
/// and pages are shorter.
const PULLS: usize = 8;
/// Answers of one client that wait until it can take them.
const MAX_WAITING: usize = 32;

/// Messages of before.
#[derive(Debug, PartialEq)]
pub(crate) struct Page {
    /// Their JSON, oldest first, with commas between them.
    pub(crate) messages: String,
    /// Older ones are those before this.
    pub(crate) cursor: Cursor,
    /// Whether the log has older ones.
    pub(crate) more: bool,
}

impl Page {
    /// The newest messages on `channel` before `before`, at most `limit`, that fit into `max_bytes`; with `at_least_one` the newest comes
    /// also where it does not fit.
    pub(crate) fn read(
        log: &Log,
        channel: &ChannelName,
        before: Cursor,
        limit: usize,
        max_bytes: usize,
        at_least_one: bool,
    ) -> Self {
        let found = log.latest(channel, limit + 1, before.before());
        let mut bytes = 0;
        let mut messages: Vec<String> = Vec::new();
        for message in found.iter().rev().take(limit) {
            // Decided before it is written, as far as that goes: a message of megabytes is not written in vain.
            if bytes + message.draft.payload.len() > max_bytes && !(at_least_one && messages.is_empty()) {
                break;
            }
            let json = wire::past(message);
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

/// An answer that is made when the client can take it, with messages of at most so many bytes.
type Make = Box<dyn FnOnce(usize) -> String + Send>;

/// Answers that wait until the client can take them.
#[derive(Default)]
pub(crate) struct Replies {
    waiting: VecDeque<(Ack, Make)>,
    is_closed: bool,
}

impl Replies {
    /// Answers `ack` with the JSON that `make` gives, when the client can take it.
    ///
    /// # Errors
    /// When too many wait already.
    pub(crate) fn push(
        &mut self,
        ack: &Ack,
        make: impl FnOnce(usize) -> String + Send + 'static,
    ) -> Result<(), Refusal> {
        if self.is_closed || !ack.is_wanted() {
            return Ok(());
        }
        if self.waiting.len() >= MAX_WAITING {
            let message = format!("{MAX_WAITING} answers with messages wait to be read; ask again when they have come");
            return Err(Refusal::new("too_many_requests", message));
        }
        self.waiting.push_back((ack.clone(), Box::new(make)));
        Ok(())
    }

    /// The next answer, to be [made](Reply::encode) with no lock held.
    pub(crate) fn pop(&mut self) -> Option<Reply> {
        let (ack, make) = self.waiting.pop_front()?;
        if self.waiting.is_empty() {
            self.waiting = VecDeque::new();
        }
        Some(Reply { ack, make })
    }

    /// Nobody is left to be answered. What comes back is to be dropped with no lock held.
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
    /// The packet of the answer, for a pull with this budget. `None` if it was answered meanwhile.
    pub(crate) fn encode(self, budget: usize) -> Option<EncodedPacket> {
        let max_bytes = budget.saturating_mul(PULLS).min(MAX_BYTES);
        let json = format!("[{}]", (self.make)(max_bytes));
        self.ack.into_packet(Payload::from_parts(json.into(), Vec::new()))
    }
}

#[cfg(test)]
mod tests;
