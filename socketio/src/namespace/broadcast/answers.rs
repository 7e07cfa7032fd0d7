//! The answers to an event that was sent to many sockets.
//!
//! ```text
//! each socket's ack ─▶ AckSink ─▶ Gathered (a queue) ─▶ AckStream, one by one ─▶ ResponsesFuture, all together
//! ```

use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
    marker::PhantomData,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use actix_web::rt::time::{Instant, Sleep, sleep_until};
use bytestring::ByteString;
use futures_util::Stream;
use serde::de::DeserializeOwned;

use super::Sending;
use crate::{AckError, AckSink, EmitError, Namespace, Responses, Selector, socket::packet::Payload};

type Raw = (Option<ByteString>, Result<Payload, AckError>);

/// Answers that have arrived and have not been taken yet.
#[derive(Default)]
pub(super) struct Gathered(Mutex<Inbox>);

#[derive(Default)]
struct Inbox {
    answers: VecDeque<Raw>,
    waker: Option<Waker>,
}

impl Gathered {
    /// An empty queue, and the sink that fills it.
    pub(super) fn new() -> (Arc<Self>, AckSink) {
        let gathered = Arc::new(Self::default());
        let filled = gathered.clone();
        (gathered, AckSink(Arc::new(move |from, answer| filled.add(from, answer))))
    }

    fn lock(&self) -> MutexGuard<'_, Inbox> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, from: Option<ByteString>, answer: Result<Payload, AckError>) {
        let waker = {
            let mut inbox = self.lock();
            inbox.answers.push_back((from, answer));
            inbox.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn poll_next(&self, cx: &Context<'_>) -> Poll<Raw> {
        let mut inbox = self.lock();
        match inbox.answers.pop_front() {
            Some(answer) => Poll::Ready(answer),
            None => {
                inbox.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

/// One answer to a broadcast.
#[derive(Debug)]
pub struct Answer<R> {
    /// The id of the socket that answers. `None` for a socket of another server: clusters do not carry it.
    pub from: Option<ByteString>,
    /// The answer, or why there is none.
    pub result: Result<R, AckError>,
}

/// The answers to a broadcast as they arrive. The stream ends when all have answered, or at the timeout; answers that arrive after it is
/// dropped are ignored.
#[must_use = "the event has been sent; read its answers from this"]
pub struct AckStream<R> {
    namespace: Namespace,
    asking: Option<Sending<usize>>,
    asked: usize,
    received: usize,
    to: Selector,
    id: Option<u64>,
    gathered: Arc<Gathered>,
    deadline: Instant,
    sleep: Option<Pin<Box<Sleep>>>,
    answer: PhantomData<fn() -> R>,
}

impl<R> AckStream<R> {
    pub(super) fn new(
        asking: Sending<usize>,
        to: Selector,
        id: u64,
        gathered: Arc<Gathered>,
        deadline: Instant,
    ) -> Self {
        let namespace = asking.namespace().clone();
        let (id, asking) = (Some(id), Some(asking));
        Self { namespace, asking, asked: 0, received: 0, to, id, gathered, deadline, sleep: None, answer: PhantomData }
    }

    pub(super) fn failed(namespace: Namespace, error: EmitError) -> Self {
        let asking = Sending::done(namespace, Err(error));
        let (gathered, _) = Gathered::new();
        let mut failed = Self::new(asking, Selector::default(), 0, gathered, Instant::now());
        failed.id = None;
        failed
    }

    /// How many sockets were asked, as far as it is known: other servers report their numbers.
    pub fn asked(&self) -> usize {
        self.asked
    }
}

impl<R: DeserializeOwned> AckStream<R> {
    /// The next answer; `None` at the end. If the event could not be sent, the only answer is the error, without a sender.
    pub async fn next(&mut self) -> Option<Answer<R>> {
        poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }
}

impl<R: DeserializeOwned> Stream for AckStream<R> {
    type Item = Answer<R>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Answer<R>>> {
        let this = &mut *self;
        if let Some(asking) = &mut this.asking
            && let Poll::Ready(asked) = Pin::new(asking).poll(cx)
        {
            this.asking = None;
            match asked {
                Ok(asked) => this.asked = asked,
                Err(error) => return Poll::Ready(Some(Answer { from: None, result: Err(error.into()) })),
            }
        }
        if let Poll::Ready((from, answer)) = this.gathered.poll_next(cx) {
            this.received += 1;
            let result = answer.and_then(|payload| payload.ack_args().map_err(AckError::Arguments));
            return Poll::Ready(Some(Answer { from, result }));
        }
        if this.asking.is_none() && this.received >= this.asked {
            return Poll::Ready(None);
        }
        let deadline = this.deadline;
        let sleep = this.sleep.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        sleep.as_mut().poll(cx).map(|()| None)
    }
}

impl<R> Drop for AckStream<R> {
    fn drop(&mut self) {
        // Answers that have not arrived by now are ignored.
        if let Some(id) = self.id {
            self.namespace.local().forget_acks(&self.to, id);
        }
    }
}

impl<R> Unpin for AckStream<R> {}

/// The answers to a broadcast, after the last one or the timeout.
#[must_use = "the event has been sent; await this for its answers"]
pub struct ResponsesFuture<R> {
    stream: AckStream<R>,
    answers: Vec<R>,
}

impl<R> ResponsesFuture<R> {
    pub(super) fn new(stream: AckStream<R>) -> Self {
        Self { stream, answers: Vec::new() }
    }
}

impl<R> Unpin for ResponsesFuture<R> {}

impl<R: DeserializeOwned> Future for ResponsesFuture<R> {
    type Output = Result<Responses<R>, EmitError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        loop {
            match Pin::new(&mut this.stream).poll_next(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Answer { result: Ok(answer), .. })) => this.answers.push(answer),
                Poll::Ready(Some(Answer { from: None, result: Err(AckError::Emit(error)) })) => {
                    return Poll::Ready(Err(error));
                }
                Poll::Ready(Some(_)) => {}
                Poll::Ready(None) => {
                    let answers = std::mem::take(&mut this.answers);
                    let missing = this.stream.asked().saturating_sub(answers.len());
                    return Poll::Ready(Ok(Responses { answers, missing }));
                }
            }
        }
    }
}
