//! Bodies that wait for messages: what is left of one while its connection is parked, and the body that this becomes again.

use std::{
    any::Any,
    convert::Infallible,
    task::{Context, Waker},
};

use actix_web::{body::MessageBody, error::PayloadError};
use bytes::Bytes;
use futures_util::stream::LocalBoxStream;
use shared::{
    live::reader::{Batch, Reader},
    pure::Cursor,
};
use tokio::time::Instant;

use super::{Form, Phase, Slot, Stream, StreamSchedule, encode};
use crate::metrics::Transport;

/// What the client of a tunnel sends; nothing, of any other client.
pub type ClientBytes = LocalBoxStream<'static, Result<Bytes, PayloadError>>;

/// A body that sends messages of the log. While it waits for more, its connection does not need it.
pub trait Live: MessageBody<Error = Infallible> + Unpin {
    /// Whether it waits for nothing but messages, the client, and its times. Asked while it is pending.
    fn can_park(&self) -> bool;

    /// Whether it was ended from outside. Its task is woken when it is: while the client does not read, the body itself is not polled.
    fn is_ended(&self, cx: &Context<'_>) -> bool;

    /// What it is made of. Only of a body that [can be parked](Self::can_park).
    fn take_apart(self: Box<Self>) -> Parts;
}

/// What a body that waits is made of.
pub struct Parts {
    /// Its reader, which has read everything.
    pub reader: Reader,
    /// How it encodes messages.
    pub form: Box<dyn AnyForm>,
    /// The transport that it counts for.
    pub transport: Transport,
    /// Its times.
    pub times: StreamSchedule,
    /// What only its client has.
    pub own: Box<dyn Own>,
}

/// How messages are encoded, on any transport.
pub trait AnyForm: Any {
    /// The messages of one read of the log, of which none is long, and a gap before them. If `is_newest`, nothing followed when they were read.
    fn chunk(&self, batch: &Batch, is_newest: bool) -> Bytes;

    /// Whether the messages of one read of the log can be sent as they are. Otherwise each body sends them by itself.
    fn is_whole(&self, _batch: &Batch) -> bool {
        true
    }

    /// What is sent after a silence; empty for nothing.
    fn keep_alive(&self) -> Bytes;

    /// This many messages were sent, each of them to one client, and bytes of them.
    fn has_sent(&self, _messages: u64, _bytes: u64) {}

    /// Whether both encode the same messages as the same bytes.
    fn is_same(&self, other: &dyn AnyForm) -> bool;
}

/// What is done with a parked connection after what others have sent to its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// Nothing, until the waker is called.
    Waits,
    /// There is more to send.
    Continues,
    /// The body has to continue.
    Ends,
}

/// What a parked connection keeps of its body: its slot, above all.
pub trait Own {
    /// The body again, which continues after what `reader` has read. It ends by itself if its time is over or its log is closed.
    fn resume(self: Box<Self>, reader: Reader, times: StreamSchedule, incoming: ClientBytes) -> Box<dyn Live>;

    /// Whether it was ended from outside.
    fn is_ended(&self) -> bool {
        false
    }

    /// Has `waker` called when it is ended from outside. Ask whether it [is](Self::is_ended) afterwards.
    fn wait_for_end(&self, _waker: &Waker) {}

    /// Whether others send to its client, so that it needs a waker of its own for [`send`](Self::send).
    fn is_sent_to(&self) -> bool {
        false
    }

    /// Appends to `out` what others have sent to its client, which has been sent the messages of the reader up to `place`. Called when the
    /// waker was called that it kept the last time, and once without.
    fn send(&mut self, _place: Cursor, _cx: &mut Context<'_>, _out: &mut Vec<Bytes>) -> Sent {
        Sent::Waits
    }

    /// The client has taken only a part of what it was sent. The rest is sent before the body, which [continues](Self::resume) next.
    fn sent_partly(&mut self) {}

    /// A keep-alive is being sent.
    fn sends_keep_alive(&mut self, _now: Instant) {}

    /// When the body has to continue, unless its client sends something before.
    fn deadline(&self) -> Option<Instant> {
        None
    }

    /// The client of a tunnel has sent these bytes. Returns whether nothing follows from them. If something does, the body gets them.
    fn receive(&mut self, _bytes: &[u8], _now: Instant) -> bool {
        false
    }
}

impl<F: Form> AnyForm for F {
    fn chunk(&self, batch: &Batch, _: bool) -> Bytes {
        encode(self, batch)
    }

    fn keep_alive(&self) -> Bytes {
        Form::keep_alive(self)
    }

    fn is_same(&self, other: &dyn AnyForm) -> bool {
        let other: &dyn Any = other;
        other.downcast_ref::<F>() == Some(self)
    }
}

/// What is left of a stream that waits.
struct Waiting<F> {
    form: F,
    slot: Slot,
}

impl<F: Form> Own for Waiting<F> {
    fn resume(self: Box<Self>, reader: Reader, times: StreamSchedule, _: ClientBytes) -> Box<dyn Live> {
        Box::new(Stream::begin(reader, self.form, self.slot, times, Phase::Live))
    }

    fn is_ended(&self) -> bool {
        self.slot.end().is_some()
    }

    fn wait_for_end(&self, waker: &Waker) {
        let _ = self.slot.poll_end(&Context::from_waker(waker));
    }
}

impl<F: Form> Live for Stream<F> {
    fn can_park(&self) -> bool {
        self.phase == Phase::Live && self.reader.can_join()
    }

    fn is_ended(&self, cx: &Context<'_>) -> bool {
        self.slot.poll_end(cx).is_ready()
    }

    fn take_apart(self: Box<Self>) -> Parts {
        let Self { reader, form, slot, times, .. } = *self;
        let transport = slot.transport();
        Parts { reader, form: Box::new(form), transport, times, own: Box::new(Waiting { form, slot }) }
    }
}
