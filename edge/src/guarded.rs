//! A response body that keeps a value alive as long as itself.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use actix_web::{
    body::{BodySize, MessageBody},
    web::Bytes,
};
use pin_project_lite::pin_project;

pin_project! {
    /// `body`, and a guard that is dropped with it: when the last byte has been written, when the client disconnects, or when the server
    /// ends. Clean-up at the end of a response happens there and nowhere else.
    #[derive(Debug)]
    pub struct Guarded<B, G> {
        #[pin]
        body: B,
        guard: G,
    }
}

impl<B, G> Guarded<B, G> {
    /// Keeps `guard` for as long as `body` lives.
    pub fn new(body: B, guard: G) -> Self {
        Self { body, guard }
    }

    /// The body.
    pub(super) fn body(&self) -> &B {
        &self.body
    }

    /// Both.
    pub(super) fn into_parts(self) -> (B, G) {
        (self.body, self.guard)
    }
}

impl<B: MessageBody, G> MessageBody for Guarded<B, G> {
    type Error = B::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        self.project().body.poll_next(cx)
    }
}
