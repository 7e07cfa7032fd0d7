//! What Redis has sent and nobody has acted upon yet: bounded in bytes.
//!
//! ```text
//! connection ─▶ fill: counts ─▶ messages in their order ─▶ whoever acts upon them, one after the other
//! ```
//!
//! Redis does not wait for who listens, and the connection is read as fast as it can be. So that a server which acts more slowly than the
//! others speak does not run out of memory, what would not fit ends the connection: what is there is still acted upon, the rest is lost,
//! as while Redis is away.

use std::sync::Arc;

use futures_util::{Stream, StreamExt as _};
use redis::Msg;
use tokio::{sync::mpsc, task::AbortHandle};

use crate::publisher::{Room, Waiting};

/// Bytes that a message takes beside what it holds, about.
const OVERHEAD: usize = 256;

/// What comes out next.
pub(crate) enum Next {
    /// A message. Its room is taken until it has been acted upon.
    Message(Msg, Room),
    /// More came than there was room for.
    Overrun,
    /// The connection is closed.
    Closed,
}

/// See the module. Dropping it ends the connection that it reads.
pub(crate) struct Inbox {
    messages: mpsc::UnboundedReceiver<Next>,
    filling: AbortHandle,
}

impl Inbox {
    /// Takes in what comes by `stream`, `limit` bytes at a time at most; tells by `overrun` when it was more.
    pub(crate) fn of<S>(stream: S, limit: usize, overrun: impl FnOnce() + Send + 'static) -> Self
    where
        S: Stream<Item = Msg> + Send + Unpin + 'static,
    {
        let (sender, messages) = mpsc::unbounded_channel();
        Self { messages, filling: tokio::spawn(fill(stream, limit, sender, overrun)).abort_handle() }
    }

    pub(crate) async fn next(&mut self) -> Next {
        self.messages.recv().await.unwrap_or(Next::Closed)
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.filling.abort();
    }
}

async fn fill<S>(mut stream: S, limit: usize, sender: mpsc::UnboundedSender<Next>, overrun: impl FnOnce())
where
    S: Stream<Item = Msg> + Unpin,
{
    let waiting = Arc::<Waiting>::default();
    while let Some(message) = stream.next().await {
        let bytes = message.get_channel_name().len() + message.get_payload_bytes().len() + OVERHEAD;
        let Some(room) = waiting.take(bytes, limit) else {
            overrun();
            let _ = sender.send(Next::Overrun);
            return;
        };
        if sender.send(Next::Message(message, room)).is_err() {
            return;
        }
    }
}
