//! Answers to events, from where they arrive to where they are collected.

use std::{sync::Arc, time::Duration};

use bytestring::ByteString;

use crate::{AckError, socket::packet::Payload};

/// Longer than any real timeout. Later moments could overflow the clock.
pub(crate) const MAX_TIMEOUT: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

/// Receives an answer, on whatever thread it arrives.
pub(crate) type OnAck = Box<dyn FnOnce(Result<Payload, AckError>) + Send>;

/// The answers to a broadcast.
#[derive(Debug)]
pub struct Responses<R> {
    /// In the order of arrival.
    pub answers: Vec<R>,
    /// How many sockets did not answer in time, sent a different type, or disconnected.
    pub missing: usize,
}

/// Collects the answers to one broadcast.
#[derive(Clone)]
pub struct AckSink(pub(crate) Arc<Take>);

/// Receives an answer and, if it is known, the id of the socket that sent it.
type Take = dyn Fn(Option<ByteString>, Result<Payload, AckError>) + Send + Sync;

impl AckSink {
    /// A sink that calls a function for each answer, on whatever thread it arrives: for adapters, which collect the answers of local
    /// sockets for other servers.
    pub fn new(take: impl Fn(Result<Payload, AckError>) + Send + Sync + 'static) -> Self {
        Self(Arc::new(move |_, answer| take(answer)))
    }

    /// Adds one answer: the arguments as a JSON array.
    pub fn answer(&self, payload: Payload) {
        (self.0)(None, Ok(payload));
    }

    /// Reports that one socket will not answer.
    pub fn missing(&self) {
        (self.0)(None, Err(AckError::Disconnected));
    }
}
