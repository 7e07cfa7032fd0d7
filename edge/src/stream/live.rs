//! Bodies that wait for messages: what is left of one while its connection is parked, and the body that this becomes again.

use std::{any::Any, convert::Infallible, task::Context};

use actix_web::{body::MessageBody, error::PayloadError};
use bytes::Bytes;
use futures_util::stream::LocalBoxStream;
use shared::live::reader::{Batch, Reader};
use tokio::time::Instant;

use super::{Form, Phase, Slot, Stream, StreamSchedule, encode};

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
    /// Its slot.
    pub slot: Slot,
    /// Its times.
    pub times: StreamSchedule,
    /// What only its client has.
    pub own: Box<dyn Own>,
}

/// How messages are encoded, on any transport.
pub trait AnyForm: Any {
    /// The messages of one read of the log, of which none is long, and a gap before them.
    fn chunk(&self, batch: &Batch) -> Bytes;

    /// What is sent after a silence; empty for nothing.
    fn keep_alive(&self) -> Bytes;

    /// Whether both encode the same messages as the same bytes.
    fn is_same(&self, other: &dyn AnyForm) -> bool;
}

/// What a parked connection keeps of its body.
pub trait Own {
    /// The body again, which continues after what `reader` has read. It ends by itself if its time is over or its log is closed.
    fn resume(
        self: Box<Self>,
        reader: Reader,
        slot: Slot,
        times: StreamSchedule,
        incoming: ClientBytes,
    ) -> Box<dyn Live>;

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
    fn chunk(&self, batch: &Batch) -> Bytes {
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

impl<F: Form> Own for F {
    fn resume(self: Box<Self>, reader: Reader, slot: Slot, times: StreamSchedule, _: ClientBytes) -> Box<dyn Live> {
        Box::new(Stream::begin(reader, *self, slot, times, Phase::Live))
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
        Parts { reader, form: Box::new(form), slot, times, own: Box::new(form) }
    }
}
