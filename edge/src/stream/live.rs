//! The parts of a stream that has returned everything, and the stream that they make again.

use std::{any::Any, convert::Infallible};

use actix_web::body::MessageBody;
use bytes::Bytes;
use shared::live::reader::{Batch, Reader};

use super::{Form, Phase, Slot, Stream, StreamSchedule, encode};

/// A stream, whatever its form.
pub(crate) trait Live: MessageBody<Error = Infallible> + Unpin {
    /// Whether it waits for a message in a way that a cohort can. Ask while it is pending.
    fn can_park(&self) -> bool;
    /// What it is made of. Only of a stream that [can park](Self::can_park).
    fn take_apart(self: Box<Self>) -> Parts;
}

/// What a stream that waits is made of.
pub(crate) struct Parts {
    pub(crate) reader: Reader,
    pub(crate) form: Box<dyn AnyForm>,
    pub(crate) slot: Slot,
    pub(crate) times: StreamSchedule,
}

/// A form, whichever it is.
pub(crate) trait AnyForm: Any {
    fn chunk(&self, batch: &Batch) -> Bytes;
    fn keep_alive(&self) -> Bytes;
    fn closing(&self) -> Bytes;
    /// Whether both encode the same messages as the same bytes.
    fn is_same(&self, other: &dyn AnyForm) -> bool;
    /// A stream after its opening.
    fn resume(&self, reader: Reader, slot: Slot, times: StreamSchedule) -> Box<dyn Live>;
}

impl<F: Form> AnyForm for F {
    fn chunk(&self, batch: &Batch) -> Bytes {
        encode(self, batch)
    }

    fn keep_alive(&self) -> Bytes {
        Form::keep_alive(self)
    }

    fn closing(&self) -> Bytes {
        Form::closing(self)
    }

    fn is_same(&self, other: &dyn AnyForm) -> bool {
        let other: &dyn Any = other;
        other.downcast_ref::<F>() == Some(self)
    }

    fn resume(&self, reader: Reader, slot: Slot, times: StreamSchedule) -> Box<dyn Live> {
        Box::new(Stream::begin(reader, *self, slot, times, Phase::Live))
    }
}

impl<F: Form> Live for Stream<F> {
    fn can_park(&self) -> bool {
        self.phase == Phase::Live && self.reader.can_join()
    }

    fn take_apart(self: Box<Self>) -> Parts {
        let Self { reader, form, slot, times, .. } = *self;
        Parts { reader, form: Box::new(form), slot, times }
    }
}
