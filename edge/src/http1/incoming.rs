//! A request's body, between the connection and its reader.
//!
//! Both ends are in one task. The connection reads only when the reader polls: a body that nobody reads stays with the client
//! (backpressure).

use std::{
    cell::RefCell,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use actix_web::error::PayloadError;
use bytes::Bytes;
use futures_util::Stream;

/// The connection's end.
pub(super) struct Incoming(Rc<RefCell<State>>);

/// The reader's end.
pub(super) struct Reading(Rc<RefCell<State>>);

#[derive(Default)]
struct State {
    chunk: Option<Bytes>,
    end: End,
    /// The reader has polled, and there was nothing.
    waiting: Option<Waker>,
    /// The body is complete, or failed.
    is_over: bool,
}

#[derive(Default)]
enum End {
    #[default]
    NotYet,
    Whole,
    Broken(PayloadError),
}

impl Incoming {
    /// Both ends.
    pub(super) fn new() -> (Self, Reading) {
        let state = Rc::<RefCell<State>>::default();
        (Self(state.clone()), Reading(state))
    }

    /// Whether the reader waits for more.
    pub(super) fn is_wanted(&self) -> bool {
        let state = self.0.borrow();
        !state.is_over && state.waiting.is_some()
    }

    /// Whether its reader was dropped.
    pub(super) fn is_abandoned(&self) -> bool {
        Rc::strong_count(&self.0) == 1
    }

    /// Whether nothing more follows.
    pub(super) fn is_over(&self) -> bool {
        self.0.borrow().is_over
    }

    /// Adds a part of the body; call it when the reader waits.
    pub(super) fn feed(&self, chunk: Bytes) {
        self.tell(|state| state.chunk = Some(chunk));
    }

    /// The body is complete.
    pub(super) fn end(&self) {
        self.tell(|state| {
            state.is_over = true;
            state.end = End::Whole;
        });
    }

    /// The body cannot be read further.
    pub(super) fn fail(&self, error: PayloadError) {
        self.tell(|state| {
            state.is_over = true;
            state.end = End::Broken(error);
        });
    }

    fn tell(&self, act: impl FnOnce(&mut State)) {
        let waiting = {
            let mut state = self.0.borrow_mut();
            act(&mut state);
            state.waiting.take()
        };
        // The reader may be in another task.
        if let Some(waiting) = waiting {
            waiting.wake();
        }
    }
}

impl Stream for Reading {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut state = self.0.borrow_mut();
        if let Some(chunk) = state.chunk.take() {
            return Poll::Ready(Some(Ok(chunk)));
        }
        match std::mem::take(&mut state.end) {
            End::NotYet if !state.is_over => {
                match &mut state.waiting {
                    Some(waker) => waker.clone_from(cx.waker()),
                    None => state.waiting = Some(cx.waker().clone()),
                }
                Poll::Pending
            }
            End::Broken(error) => Poll::Ready(Some(Err(error))),
            End::Whole | End::NotYet => Poll::Ready(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt as _;

    use super::*;

    #[actix_web::test]
    async fn what_is_fed_is_read_and_then_the_end() {
        let (incoming, mut reading) = Incoming::new();
        assert!(!incoming.is_wanted());
        assert!(futures_util::poll!(reading.next()).is_pending());
        assert!(incoming.is_wanted());
        incoming.feed(Bytes::from_static(b"a"));
        assert!(!incoming.is_wanted());
        incoming.end();
        assert_eq!(reading.next().await.unwrap().unwrap(), "a");
        assert!(reading.next().await.is_none() && reading.next().await.is_none());
        assert!(incoming.is_over() && !incoming.is_wanted());
    }

    #[actix_web::test]
    async fn a_failed_body_gives_one_error() {
        let (incoming, mut reading) = Incoming::new();
        incoming.fail(PayloadError::EncodingCorrupted);
        assert!(matches!(reading.next().await, Some(Err(PayloadError::EncodingCorrupted))));
        assert!(reading.next().await.is_none());
    }
}
