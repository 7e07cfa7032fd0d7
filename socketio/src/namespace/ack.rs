//! Acknowledgements, in both directions.

use std::{
    future::Future,
    marker::PhantomData,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use actix_web::rt::time::{Instant, Sleep, sleep_until};
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::oneshot;

use crate::{
    AckError, EncodedPacket, Socket,
    socket::packet::{Packet, Payload},
};

/// A client's request for an answer to its event. Every event handler gets one. [`Ack::is_wanted`] tells whether the client asked for an
/// answer; if it did not, answering does nothing.
#[derive(Clone)]
pub struct Ack(Option<Arc<Wanted>>);

struct Wanted {
    socket: Socket,
    id: u64,
    sent: AtomicBool,
}

impl Ack {
    pub(crate) fn new(socket: &Socket, id: Option<u64>) -> Self {
        Self(id.map(|id| Arc::new(Wanted { socket: socket.clone(), id, sent: AtomicBool::new(false) })))
    }

    /// Whether the client waits for an answer.
    pub fn is_wanted(&self) -> bool {
        self.0.is_some()
    }

    /// Answers: a tuple is several arguments, `()` is none, anything else is one. Only the first answer is sent.
    ///
    /// # Errors
    /// When the arguments cannot be serialized.
    pub fn send<T: Serialize + ?Sized>(&self, args: &T) -> Result<(), serde_json::Error> {
        if self.0.is_some() {
            self.send_payload(Payload::ack(args)?);
        }
        Ok(())
    }

    /// Answers that the event was rejected: `{"ok":false,"error":{"code","message","data"?}}`. Does nothing after an earlier answer.
    pub(crate) fn refuse(&self, code: &str, message: &str, data: Option<&serde_json::Value>) {
        #[derive(Serialize)]
        struct Refusal<'a> {
            ok: bool,
            error: Reason<'a>,
        }
        #[derive(Serialize)]
        struct Reason<'a> {
            code: &'a str,
            message: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            data: Option<&'a serde_json::Value>,
        }

        if let Err(error) = self.send(&Refusal { ok: false, error: Reason { code, message, data } }) {
            log::debug!("an error answer cannot be encoded: {error}");
        }
    }

    /// The answer as a packet that is not sent yet, for a [`Source`](crate::Source) to return: a large answer that is encoded only when the
    /// client can take it uses no memory until then. `None` if the client did not ask for an answer, or has already got one. `payload` is
    /// what [`Payload::ack`] returns: a JSON array of the arguments.
    pub fn into_packet(self, payload: Payload) -> Option<EncodedPacket> {
        self.packet(payload)
    }

    /// As [`send`](Self::send), with arguments that are encoded already. `payload` is what [`Payload::ack`] returns: a JSON array of the
    /// arguments.
    pub fn send_payload(&self, payload: Payload) {
        if let (Some(wanted), Some(packet)) = (&self.0, self.packet(payload)) {
            // A client would wait forever for a lost answer, so the connection of one that cannot take it is ended.
            let _ = wanted.socket.connection().send_or_end(packet);
        }
    }

    fn packet(&self, payload: Payload) -> Option<EncodedPacket> {
        let wanted = self.0.as_ref().filter(|wanted| !wanted.sent.swap(true, Ordering::Relaxed))?;
        let nsp = wanted.socket.namespace().name().clone();
        Some(Packet::ack(nsp, wanted.id, payload).into())
    }
}

impl std::fmt::Debug for Ack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Ack").field(&self.0.as_ref().map(|wanted| wanted.id)).finish()
    }
}

/// The answer to an event, as a future. The event has been sent already; dropping this ignores the answer.
#[must_use = "the event has been sent; await this for its answer"]
pub struct AckFuture<R> {
    pending: Result<Pending, Option<AckError>>,
    answer: PhantomData<fn() -> R>,
}

struct Pending {
    socket: Socket,
    id: u64,
    answer: oneshot::Receiver<Result<Payload, AckError>>,
    deadline: Option<Instant>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl<R> AckFuture<R> {
    pub(crate) fn failed(error: AckError) -> Self {
        Self { pending: Err(Some(error)), answer: PhantomData }
    }

    pub(crate) fn new(
        socket: Socket,
        id: u64,
        answer: oneshot::Receiver<Result<Payload, AckError>>,
        deadline: Option<Instant>,
    ) -> Self {
        Self { pending: Ok(Pending { socket, id, answer, deadline, sleep: None }), answer: PhantomData }
    }
}

impl<R: DeserializeOwned> Future for AckFuture<R> {
    type Output = Result<R, AckError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let pending = match &mut self.pending {
            Ok(pending) => pending,
            Err(error) => return Poll::Ready(Err(error.take().unwrap_or(AckError::Disconnected))),
        };
        if let Poll::Ready(answer) = Pin::new(&mut pending.answer).poll(cx) {
            let answer = answer.unwrap_or(Err(AckError::Disconnected));
            return Poll::Ready(answer.and_then(|payload| payload.ack_args().map_err(AckError::Arguments)));
        }
        if let Some(deadline) = pending.deadline {
            let sleep = pending.sleep.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
            if sleep.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Err(AckError::Timeout));
            }
        }
        Poll::Pending
    }
}

impl<R> Drop for AckFuture<R> {
    fn drop(&mut self) {
        if let Ok(pending) = &self.pending {
            pending.socket.forget_ack(pending.id);
        }
    }
}
