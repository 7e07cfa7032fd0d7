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

    /// The offset after the newest message of the stream that was created at `created`.
    pub(crate) fn tail(&self, created: Cursor) -> Option<Cursor> {
        let info = self.bus.stream_info(&self.channel, false).ok()?;
        (info.created == created).then_some(info.tail)
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
        Poll::Ready(Some(batch)) => return Poll::Ready(found(batch, reader, created)),
        Poll::Ready(None) => return Poll::Ready(Found::Draining),
        Poll::Pending => {}
    }
    // The waker is registered: an end after this is not missed.
    match reader.lifecycle() {
        Some(known) if known.created == created => match known.end {
            None => Poll::Pending,
            // The last messages may have come together with the end, after the read.
            Some(End { reason: EndReason::Closed, .. }) => match reader.poll_read(cx, limit) {
                Poll::Ready(Some(batch)) => Poll::Ready(found(batch, reader, created)),
                Poll::Ready(None) => Poll::Ready(Found::Draining),
                Poll::Pending => Poll::Ready(Found::Closed),
            },
            Some(_) => Poll::Ready(Found::Deleted),
        },
        _ => Poll::Ready(Found::Deleted),
    }
}

/// What a batch is for a reader of the stream that was created at `created`: another stream may have the name by now. The log changes the lifecycle before
/// the messages, so it is looked at after they were read.
fn found(batch: Batch, reader: &Reader, created: Cursor) -> Found {
    if is_deleted(reader, created) { Found::Deleted } else { Found::Batch(batch) }
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

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use shared::{
        live::{bus::MemoryBus, clock::Moment, log::Limits},
        pure::{
            Payload, Since,
            stream::{Create, Fork, Lifetime, StreamOp},
        },
    };

    use super::*;

    const ALL: Limit = Limit { messages: 100, bytes: usize::MAX };

    fn name(text: &str) -> ChannelName {
        text.parse().unwrap()
    }

    fn create(channel: &str, json: &str, fork: Option<Fork>) -> StreamOp {
        let create = Create {
            channel: name(channel),
            content_type: "application/json".parse().ok(),
            lifetime: Lifetime::Unlimited,
            is_closed: false,
            payloads: vec![Payload::from_json(json.as_bytes()).unwrap()],
            fork,
            user: None,
            owner: None,
        };
        StreamOp::Create(create.into())
    }

    /// The name of a deleted stream that becomes a fork has no gap: a slow reader got the messages of the fork as those of its own stream.
    #[test]
    fn a_reader_does_not_continue_with_another_stream_of_the_name() {
        let bus = MemoryBus::new(Limits::default(), Moment::now);
        let log = bus.log().clone();
        let stream = |op| log.stream(op, Moment::now()).unwrap().info;
        let cx = Context::from_waker(Waker::noop());
        for fork in [None, Some(Fork { source: name("base"), at: None, sub: 0 })] {
            stream(create("base", "0", None));
            let created = stream(create("s", "1", None)).created;
            let open = |since| Reader::open(&log, &[name("s")], since).with_copies();
            let (mut slow, mut unread) = (open(Since::Earliest), open(Since::Earliest));
            assert!(matches!(poll(&mut slow, created, &cx, ALL), Poll::Ready(Found::Batch(_))));
            stream(StreamOp::Delete(name("s")));
            let again = stream(create("s", "2", fork)).created;
            for reader in [&mut slow, &mut unread] {
                assert!(matches!(poll(reader, created, &cx, ALL), Poll::Ready(Found::Deleted)));
            }
            let read = poll(&mut open(Since::Earliest), again, &cx, ALL);
            assert!(matches!(read, Poll::Ready(Found::Batch(batch)) if batch.gap.is_none()));
            stream(StreamOp::Delete(name("s")));
            stream(StreamOp::Delete(name("base")));
        }
    }
}
