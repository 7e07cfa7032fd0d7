//! What processes on one bus have in common besides messages: questions that one asks all others, and records that outlive a process.

use std::{fmt, time::Duration};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

/// How long a question waits for the answers of other processes.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// What other processes answered to a question.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replies {
    /// The name of each process that answered, and its answer.
    pub answers: Vec<(String, Bytes)>,
    /// The names of those that did not within [`ANSWER_WITHIN`].
    pub missing: Vec<String>,
}

/// A question of another process.
pub struct Question {
    text: Bytes,
    reply: oneshot::Sender<Bytes>,
}

impl Question {
    /// A question, and where its answer arrives.
    pub(super) fn new(text: Bytes) -> (Self, oneshot::Receiver<Bytes>) {
        let (reply, answer) = oneshot::channel();
        (Self { text, reply }, answer)
    }

    /// Its text, as the other process wrote it.
    #[must_use]
    pub fn text(&self) -> &Bytes {
        &self.text
    }

    /// Answers it.
    pub fn answer(self, answer: Bytes) {
        // The connection to the bus may be closed by now.
        let _ = self.reply.send(answer);
    }
}

impl fmt::Debug for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Question").field("text", &self.text).finish_non_exhaustive()
    }
}

/// A fact that all processes on a bus know for a time. Of two records of one name, the one with the greater value applies, in whatever order they
/// arrive; of equal ones, the one with the later end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// What it is about.
    pub name: String,
    /// A number whose meaning depends on the name.
    pub value: u64,
    /// When it ends, in milliseconds since the Unix epoch.
    pub expires_ms: u64,
    /// Whether the later end of both applies, too, when it is stored.
    pub is_monotone: bool,
}

/// Records that a bus has stored. The bus waits until this is dropped before it is ready.
#[derive(Debug)]
pub struct Stored {
    /// The records, some of which may have expired.
    pub records: Vec<Record>,
    _applied: Option<mpsc::Sender<()>>,
}

impl Stored {
    /// Records; `applied` is dropped with them.
    pub(super) fn new(records: Vec<Record>, applied: Option<mpsc::Sender<()>>) -> Self {
        Self { records, _applied: applied }
    }
}
