//! A response of known length whose body is encoded while its client reads.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use actix_web::body::{BodySize, MessageBody};
use bytes::Bytes;
use shared::pure::Pieces;

use super::unread::{Unread, UnreadAnswer};

/// The body of an answer with messages, which counts until its client has read it.
pub struct PiecesBody {
    pieces: Pieces,
    length: usize,
    unread: UnreadAnswer,
}

impl PiecesBody {
    /// A body of `pieces`, which have `length` bytes together.
    #[must_use]
    pub fn new((length, pieces): (usize, Pieces), unread: &Unread) -> Self {
        Self { pieces, length, unread: unread.hold(length) }
    }
}

impl MessageBody for PiecesBody {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.length as u64)
    }

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, Infallible>>> {
        let piece = self.pieces.next();
        self.unread.taken(piece.as_ref().map_or(0, Bytes::len));
        Poll::Ready(piece.map(Ok))
    }
}

impl std::fmt::Debug for PiecesBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PiecesBody").field("length", &self.length).finish_non_exhaustive()
    }
}
