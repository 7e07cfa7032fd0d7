//! Why something is not done.

use super::MediaType;
use crate::pure::{ChannelName, Cursor};

/// Maximum number of producers that a stream remembers.
pub const MAX_PRODUCERS: usize = 1_000;

/// Why an operation, or a publication to the channel of a stream, is rejected. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// There is no such stream.
    #[error("there is no stream `{0}`; a PUT creates it")]
    NotFound(ChannelName),
    /// It was deleted, but streams that were forked from it exist.
    #[error("the stream `{0}` has been deleted; its name is free again when its forks are deleted")]
    Gone(ChannelName),
    /// A stream of this name exists, and differs from the one to be created.
    #[error("the stream exists with another {0}")]
    Exists(&'static str),
    /// A stream of this name was deleted, but streams that were forked from it exist.
    #[error("the stream `{0}` has been deleted; its name is free again when its forks are deleted")]
    NameTaken(ChannelName),
    /// Messages were published to the channel before it was a stream.
    #[error("the channel `{0}` has messages that were published without a stream; choose another name, or purge them")]
    ChannelInUse(ChannelName),
    /// It is closed.
    #[error("the stream is closed")]
    Closed {
        /// Its newest message.
        tail: Cursor,
    },
    /// The messages have another content type.
    #[error("the content type of the stream is {0}; send that Content-Type")]
    ContentType(MediaType),
    /// `Stream-Seq` is not greater than the last one.
    #[error("Stream-Seq must be greater, byte by byte, than `{last}`, the last one")]
    Seq {
        /// The last one.
        last: Box<str>,
    },
    /// The producer has begun a later epoch.
    #[error("this producer has begun epoch {current}; requests of earlier ones are rejected")]
    StaleEpoch {
        /// The epoch.
        current: u64,
    },
    /// A producer's new epoch does not begin with its first request.
    #[error("a new epoch of a producer begins with Producer-Seq 0")]
    EpochStart,
    /// Requests of the producer are missing.
    #[error("Producer-Seq is {received}, and the next one of this producer is {expected}")]
    SequenceGap {
        /// The next sequence.
        expected: u64,
        /// The sequence of the request.
        received: u64,
    },
    /// The stream remembers as many producers as it can.
    #[error("the stream has reached its limit of {MAX_PRODUCERS} producers; reuse one of them")]
    TooManyProducers,
    /// Streams take all the memory that they may.
    #[error(
        "all streams together have reached {limit} bytes (TRIDENT_STREAM_BYTES, or a quarter of TRIDENT_DISK_TOTAL), and nothing was added; \
         delete some"
    )]
    Full {
        /// The limit in bytes.
        limit: usize,
    },
    /// The streams of one client take as much memory as they may.
    #[error(
        "your streams have reached the share of one client in {limit} bytes (TRIDENT_STREAM_BYTES, or a quarter of TRIDENT_DISK_TOTAL), and nothing was \
         added; delete some of them"
    )]
    Share {
        /// The limit of all streams in bytes.
        limit: usize,
    },
    /// The source of a fork does not exist.
    #[error("there is no stream `{0}` to fork")]
    NoSource(ChannelName),
    /// The source of a fork was deleted.
    #[error("the stream `{0}` has been deleted and cannot be forked")]
    SourceGone(ChannelName),
    /// A fork is to begin after the end of its source.
    #[error("Stream-Fork-Offset is after the end of the source")]
    ForkOffset,
    /// There is no such position after the fork's offset.
    #[error("Stream-Fork-Sub-Offset is beyond the messages or bytes after Stream-Fork-Offset")]
    ForkSubOffset,
}
