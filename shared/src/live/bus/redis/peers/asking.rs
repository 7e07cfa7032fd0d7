//! A question of this process that waits for answers.

use std::collections::HashSet;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::Peers;
use crate::live::bus::Replies;

/// A question that waits for answers.
pub(super) struct Open {
    pub(super) waiting: HashSet<String>,
    pub(super) answers: Vec<(String, Bytes)>,
    /// Whether nothing more is needed after an answer.
    pub(super) is_enough: fn(&[u8]) -> bool,
    pub(super) done: Option<oneshot::Sender<()>>,
}

impl Open {
    pub(super) fn end_if_complete(&mut self) {
        let is_answered = self.answers.last().is_some_and(|(_, answer)| (self.is_enough)(answer));
        if (self.waiting.is_empty() || is_answered)
            && let Some(done) = self.done.take()
        {
            // The asker may have stopped waiting.
            let _ = done.send(());
        }
    }
}

/// Closes a question.
pub(super) struct Asking<'a> {
    pub(super) peers: &'a Peers,
    pub(super) number: u64,
}

impl Asking<'_> {
    pub(super) fn end(self) -> Replies {
        let Some(Open { waiting, answers, .. }) = self.peers.table.lock().open.remove(&self.number) else {
            return Replies::default();
        };
        let mut missing: Vec<_> = waiting.into_iter().collect();
        missing.sort_unstable();
        Replies { answers, missing }
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.peers.table.lock().open.remove(&self.number);
    }
}
