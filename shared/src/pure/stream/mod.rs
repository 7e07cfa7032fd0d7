//! A stream: a channel with a lifecycle. It is created, appended to, closed, forked and deleted (PROTOCOL.md, "Streams").
//!
//! An operation is plain data ([`StreamOp`]), so that whatever makes the order of a bus can check and apply it: a lock, a script, the
//! writer of a disk. [`StreamState`] has the rules, without a clock and without the messages. What was decided is a [`StreamRecord`], which a bus
//! stores in its order, beside the messages: all of them together give the same state again.

mod append;
mod error;
mod media_type;
mod operation;
mod producers;
mod record;
mod state;

pub use error::{MAX_PRODUCERS, StreamError};
pub use media_type::{MediaType, MediaTypeError};
pub use operation::{
    Append, Create, End, EndReason, Fork, Lifecycle, Lifetime, MAX_LIFETIME_SECS, Outcome, StreamEnd, StreamInfo,
    StreamOp, StreamReply,
};
pub use producers::{MAX_PRODUCER_NUMBER, Producer};
pub use record::{SavedCopies, SavedStream, StreamRecord};
pub use state::{Check, SavedState, StreamState};
