//! Sending: events, with and without an answer.

use std::time::Duration;

use actix_web::rt::time::Instant;
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::oneshot;

use super::{Phase, Socket};
use crate::{
    AckError, AckFuture, EmitError, EncodedPacket,
    engine::SendError,
    namespace::answer::{MAX_TIMEOUT, OnAck},
    socket::packet::Packet,
};

impl Socket {
    /// Sends an event to this client. A tuple is several arguments, `()` is no argument, anything else is one.
    ///
    /// # Errors
    /// When the arguments cannot be encoded, the name is reserved, too much is queued for the client, or the socket has disconnected.
    pub fn emit<T: Serialize + ?Sized>(&self, event: &str, args: &T) -> Result<(), EmitError> {
        self.emit_with(event, args, false)
    }

    /// Sends an event that may be dropped if the client is busy.
    ///
    /// # Errors
    /// As [`emit`](Self::emit).
    pub fn emit_volatile<T: Serialize + ?Sized>(&self, event: &str, args: &T) -> Result<(), EmitError> {
        self.emit_with(event, args, true)
    }

    fn emit_with<T: Serialize + ?Sized>(&self, event: &str, args: &T, volatile: bool) -> Result<(), EmitError> {
        self.send_packet(self.0.namespace.encode(event, args)?, volatile)
    }

    fn send_packet(&self, packet: EncodedPacket, volatile: bool) -> Result<(), EmitError> {
        let namespace = &self.0.namespace;
        match namespace.adapter().send(namespace.local(), &self.0.id, packet, volatile) {
            Ok(()) | Err(SendError::Dropped) => Ok(()),
            Err(SendError::Full) => Err(EmitError::Full),
            // A connection that is ending accepts the packet, like one that breaks while it is sent.
            Err(SendError::Closed) if volatile || self.is_connected() => Ok(()),
            Err(SendError::Closed) => Err(EmitError::Disconnected),
        }
    }

    /// Sends a packet that has been encoded already: for packets to many sockets that are not in a common room.
    ///
    /// # Errors
    /// As [`emit`](Self::emit).
    pub fn send(&self, packet: &EncodedPacket) -> Result<(), EmitError> {
        self.send_packet(packet.clone(), false)
    }

    /// Sends an event and waits for an answer, until the socket disconnects. The answer's arguments are read like those of an event: a
    /// tuple for several, or else the first.
    ///
    /// ```no_run
    /// # async fn example(socket: &socketio::Socket) -> Result<(), socketio::AckError> {
    /// let (name, age): (String, u32) = socket.emit_with_ack("who", &()).await?;
    /// # Ok(()) }
    /// ```
    pub fn emit_with_ack<R: DeserializeOwned>(&self, event: &str, args: &(impl Serialize + ?Sized)) -> AckFuture<R> {
        self.ask(event, args, None)
    }

    /// The same with a timeout, which starts when the event is sent, whenever the future is first polled.
    pub fn emit_with_ack_timeout<R: DeserializeOwned>(
        &self,
        timeout: Duration,
        event: &str,
        args: &(impl Serialize + ?Sized),
    ) -> AckFuture<R> {
        self.ask(event, args, Some(timeout))
    }

    fn ask<R>(&self, event: &str, args: &(impl Serialize + ?Sized), timeout: Option<Duration>) -> AckFuture<R> {
        let payload = match self.0.namespace.payload(event, args) {
            Ok(payload) => payload,
            Err(error) => return AckFuture::failed(error.into()),
        };
        let id = self.0.namespace.local().next_ack_id();
        let (tx, rx) = oneshot::channel();
        let deadline = timeout.map(|timeout| Instant::now() + timeout.min(MAX_TIMEOUT));
        let answer: OnAck = Box::new(move |answer| {
            let is_late = deadline.is_some_and(|deadline| Instant::now() >= deadline);
            drop(tx.send(if is_late { Err(AckError::Timeout) } else { answer }));
        });
        if let Err(error) = self.expect_ack(id, answer) {
            return AckFuture::failed(error);
        }
        let packet = Packet::event(self.0.namespace.name().clone(), Some(id), payload);
        let packet = EncodedPacket::from(packet);
        match self.0.connection.send(&packet) {
            Ok(()) => self.sent(&packet),
            Err(SendError::Full) if self.forget_ack(id) => return AckFuture::failed(EmitError::Full.into()),
            Err(_) => {}
        }
        AckFuture::new(self.clone(), id, rx, deadline)
    }

    pub(crate) fn expect_ack(&self, id: u64, answer: OnAck) -> Result<(), AckError> {
        let limit = self.0.namespace.config().max_pending_acks;
        let mut state = self.state();
        if !matches!(state.phase, Phase::Entering | Phase::Connected) {
            return Err(AckError::Disconnected);
        }
        let acks = state.acks.get_or_insert_default();
        if limit > 0 && acks.len() >= limit {
            drop(state);
            self.0.namespace.counters().acks_refused.inc();
            return Err(AckError::TooManyPending);
        }
        acks.insert(id, answer);
        Ok(())
    }

    /// Whether somebody was still waiting for it.
    pub(crate) fn forget_ack(&self, id: u64) -> bool {
        self.take_ack(id).is_some()
    }

    /// Waits for this answer; the memory is freed with the last of them.
    pub(super) fn take_ack(&self, id: u64) -> Option<OnAck> {
        let mut state = self.state();
        let answer = state.acks.as_mut()?.remove(&id);
        state.acks.take_if(|acks| acks.is_empty());
        answer
    }
}
