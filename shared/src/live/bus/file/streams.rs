//! The way of an operation on a stream to the writer, which decides it.
//!
//! What can be done beside the writer is done before: the copies of a fork are made, and the disk is searched for messages of a channel that is to
//! become a stream.

use tokio::sync::oneshot;

use super::{
    FileBus,
    queue::{Ask, Job, StreamJob},
};
use crate::{
    live::{
        bus::{Bus as _, BusError, MAX_BYTES},
        log::{Archive as _, Reserved},
        reader::{Limit, Reader},
    },
    pure::{
        ChannelName, Cursor, Message, Payload, Since,
        stream::{StreamError, StreamOp, StreamReply},
    },
};

impl FileBus {
    /// Has the writer decide `op`, and waits until it is as durable as the setting promises.
    pub(super) async fn change_stream(&self, op: StreamOp) -> Result<StreamReply, BusError> {
        let mut reserved = Reserved::new(self.log.clone());
        let mut unused_up_to = Cursor::ZERO;
        let (payloads, again) = match &op {
            StreamOp::Create(create) => {
                unused_up_to = self.require_unused(&create.channel).await?;
                reserved.inherited = self.log.inherited(create, (self.clock)())?;
                (&create.payloads[..], create.fork.is_some().then(|| op.clone()))
            }
            StreamOp::Append(append) => (&append.payloads[..], None),
            StreamOp::Delete(_) => (&[][..], None),
        };
        let copied = reserved.inherited.as_ref().map_or(0, |inherited| inherited.bytes);
        let bytes = payloads.iter().map(Payload::len).sum::<usize>() + copied;
        if bytes > MAX_BYTES {
            return Err(BusError::TooLarge);
        }
        let weight = bytes + (payloads.len() + 1) * Message::OVERHEAD;
        let (reply, replied) = oneshot::channel();
        let job = |done| {
            let stream = StreamJob { ask: Ask::Op(op), reserved, unused_up_to, reply: Some(reply) };
            Job { stream: Some(stream), bytes: bytes + Message::OVERHEAD, ..Job::new(done) }
        };
        self.write(weight, job).await?;
        // The writer has answered here first.
        match replied.await {
            Ok(Some(reply)) => return Ok(reply),
            Ok(None) => {}
            Err(_) => return Err(BusError::Unknown("the writer of the log did not answer".to_owned())),
        }
        let Some(op) = again else { return Err(BusError::Unavailable("the stream changed meanwhile".to_owned())) };
        self.stream(op).await
    }

    /// Whether a channel has no messages that are on disk only, up to a position, which is returned.
    async fn require_unused(&self, channel: &ChannelName) -> Result<Cursor, BusError> {
        let head = self.log.head();
        // What the memory has dropped may be on disk, unless it was purged.
        let dropped = self.log.dropped(channel).unwrap_or_else(|| self.log.forgotten().up_to);
        if dropped > self.archive.purged(channel) && !self.log.knows_stream(channel) {
            let mut reader = Reader::open(&self.log, std::slice::from_ref(channel), Since::Earliest);
            let oldest = reader.stored(Limit { messages: 1, bytes: usize::MAX }).await;
            if oldest.is_some_and(|batch| !batch.messages.is_empty()) {
                return Err(StreamError::ChannelInUse(channel.clone()).into());
            }
        }
        Ok(head)
    }
}
