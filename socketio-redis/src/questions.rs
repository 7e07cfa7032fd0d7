//! Questions to other servers that are open, by the ids that the answers name.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use socketio::AckSink;
use tokio::sync::mpsc;

use crate::wire::response::Response;

/// See the module.
#[derive(Default)]
pub(crate) struct Questions(Mutex<HashMap<String, Open>>);

enum Open {
    /// The caller waits for answers.
    Waiting(mpsc::UnboundedSender<Response>),
    /// An order of this server's own, which it carries out when it hears it.
    Echo(mpsc::UnboundedSender<()>),
    /// An event that sockets answer. The caller may have stopped waiting when they do.
    Acks { counts: mpsc::UnboundedSender<Response>, acks: AckSink, until: Instant },
}

/// An open question; closed when this is dropped.
pub(crate) struct Question<'a, T = Response> {
    questions: &'a Questions,
    id: String,
    pub(crate) answers: mpsc::UnboundedReceiver<T>,
    /// It is closed by time instead.
    stays: bool,
}

impl<T> Drop for Question<'_, T> {
    fn drop(&mut self) {
        if !self.stays {
            self.questions.0.lock().remove(&self.id);
        }
    }
}

impl Questions {
    /// Opens a question that servers answer.
    pub(crate) fn ask(&self, id: &str) -> Question<'_> {
        self.open(id, Open::Waiting, false)
    }

    /// Expects an order of this server's own.
    pub(crate) fn expect_echo(&self, id: &str) -> Question<'_, ()> {
        self.open(id, Open::Echo, false)
    }

    /// Opens a question that servers answer with numbers, and sockets with what goes to `acks` until then.
    pub(crate) fn ask_sockets(&self, id: &str, acks: AckSink, until: Instant) -> Question<'_> {
        self.open(id, |counts| Open::Acks { counts, acks, until }, true)
    }

    fn open<T>(&self, id: &str, open: impl FnOnce(mpsc::UnboundedSender<T>) -> Open, stays: bool) -> Question<'_, T> {
        let (sender, answers) = mpsc::unbounded_channel();
        self.0.lock().insert(id.to_owned(), open(sender));
        Question { questions: self, id: id.to_owned(), answers, stays }
    }

    /// Whether this server asked it.
    pub(crate) fn is_open(&self, id: &str) -> bool {
        self.0.lock().contains_key(id)
    }

    /// Passes an answer to its caller. False if nobody waits for it (any more), or if it is invalid.
    pub(crate) fn answer(&self, response: Response) -> bool {
        let open = self.0.lock();
        match open.get(&response.id) {
            Some(Open::Waiting(waiting)) => waiting.send(response).is_ok(),
            Some(Open::Acks { counts, acks, .. }) => {
                if response.client_count().is_some() {
                    // The receiver of counts may have been dropped.
                    let _ = counts.send(response);
                    return true;
                }
                let acks = acks.clone();
                // The sink is the application's.
                drop(open);
                let Some(answer) = response.ack() else { return false };
                acks.answer(answer);
                true
            }
            Some(Open::Echo(_)) | None => false,
        }
    }

    /// An order of this server's own has been carried out.
    pub(crate) fn heard(&self, id: &str) {
        if let Some(Open::Echo(echo)) = self.0.lock().get(id) {
            let _ = echo.send(());
        }
    }

    /// Closes what time has closed.
    pub(crate) fn sweep(&self, now: Instant) {
        self.0.lock().retain(|_, open| !matches!(open, Open::Acks { until, .. } if *until <= now));
    }

    /// No answer will come any more.
    pub(crate) fn drop_all(&self) {
        let open = std::mem::take(&mut *self.0.lock());
        drop(open);
    }
}

/// Longer than any real timeout. Later moments could overflow the clock.
const MAX_TIMEOUT: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

/// The deadline after this much time, which may be unlimited.
pub(crate) fn deadline(timeout: Duration) -> tokio::time::Instant {
    tokio::time::Instant::now() + timeout.min(MAX_TIMEOUT)
}
