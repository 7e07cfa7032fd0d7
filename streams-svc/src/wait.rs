//! Waits for messages of a stream, or for its end.

use std::{
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll},
};

use edge::service::Service;
use shared::{
    live::{
        bus::Bus,
        reader::{Batch, Limit, Reader},
    },
    pure::{
        ChannelName, Cursor,
        stream::{End, EndReason},
    },
};

/// A read that lasts. When it ends, the idle time of its stream begins again.
pub(crate) struct Use {
    bus: Arc<dyn Bus>,
    channel: ChannelName,
}

impl Use {
    /// A read of `channel` that begins now.
    pub(crate) fn of(service: &Service, channel: &ChannelName) -> Self {
        Self { bus: service.bus.clone(), channel: channel.clone() }
    }
}

impl Drop for Use {
    fn drop(&mut self) {
        // Otherwise it is over already.
        drop(self.bus.stream_info(&self.channel, true));
    }
}

/// What a reader of a stream finds.
pub(crate) enum Found {
    /// Messages, or that some are lost.
    Batch(Batch),
    /// The stream is closed, and everything was read.
    Closed,
    /// The stream was deleted.
    Deleted,
    /// The process is shutting down.
    Draining,
}

/// What follows in the stream that was created at `created`.
pub(crate) fn poll(reader: &mut Reader, created: Cursor, cx: &Context<'_>, limit: Limit) -> Poll<Found> {
    match reader.poll_read(cx, limit) {
        // Its readers get no gap for its messages: the stream has ended.
        Poll::Ready(Some(batch)) if batch.gap.is_some() && is_deleted(reader, created) => {
            return Poll::Ready(Found::Deleted);
        }
        Poll::Ready(Some(batch)) => return Poll::Ready(Found::Batch(batch)),
        Poll::Ready(None) => return Poll::Ready(Found::Draining),
        Poll::Pending => {}
    }
    // The waker is registered: an end after this is not missed.
    match reader.lifecycle() {
        Some(known) if known.created == created => match known.end {
            None => Poll::Pending,
            // The last messages may have come together with the end, after the read.
            Some(End { reason: EndReason::Closed, .. }) => match reader.poll_read(cx, limit) {
                Poll::Ready(Some(batch)) => Poll::Ready(Found::Batch(batch)),
                Poll::Ready(None) => Poll::Ready(Found::Draining),
                Poll::Pending => Poll::Ready(Found::Closed),
            },
            Some(_) => Poll::Ready(Found::Deleted),
        },
        _ => Poll::Ready(Found::Deleted),
    }
}

/// Whether the stream that was created at `created` does not exist any more.
fn is_deleted(reader: &Reader, created: Cursor) -> bool {
    reader
        .lifecycle()
        .is_none_or(|known| known.created != created || known.end.is_some_and(|end| end.reason != EndReason::Closed))
}

/// As [`poll`], for `async` code.
pub(crate) async fn next(reader: &mut Reader, created: Cursor, limit: Limit) -> Found {
    poll_fn(|cx| poll(reader, created, cx, limit)).await
}
