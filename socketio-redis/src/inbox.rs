//! Messages of Redis that have not been handled yet: bounded in bytes.
//!
//! ```text
//! connection ─▶ fill: counts ─▶ messages in their order ─▶ the receiver, one after the other
//! ```
//!
//! Redis does not wait for slow subscribers, so the connection is read as fast as possible. To bound the memory of a server that is slower
//! than the others publish, a message that exceeds the limit ends the connection: messages received so far are still handled, the rest is
//! lost, as while Redis is unavailable.

use std::sync::Arc;

use futures_util::{Stream, StreamExt as _};
use redis::Msg;
use tokio::{sync::mpsc, task::AbortHandle};

use crate::queue::{Room, Waiting};

/// The approximate overhead in bytes of a message.
const OVERHEAD: usize = 256;

/// The next item.
pub(crate) enum Next {
    /// A message. Its space is reserved until it has been handled.
    Message(Msg, Room),
    /// The limit was exceeded.
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
    /// Reads messages from `stream`, at most `limit` bytes waiting at a time; signals `overrun` when it was more.
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
