//! A cohort: one cursor, one form, and its members.

use std::{sync::Arc, task::Waker, time::Duration};

use bytes::Bytes;
use shared::{
    live::reader::cohort::{CohortReader, Place},
    pure::Cursor,
};

use super::{
    super::{
        clock::NEVER,
        outgoing::{MAX_WRITE, framed},
    },
    member::List,
    woken::{CohortWaker, Woken},
};
use crate::{
    limits::Slot,
    metrics::{Transport, TransportMetrics},
    stream::{AnyForm, BATCH, Parts},
};

/// Bytes of data after a place that a cohort sends. A member that has missed more is not caught up, and leaves.
const MAX_RUN: usize = 64 * 1024;

/// Streams that have read everything, on the same channels, in the same form.
pub(super) struct Cohort {
    pub(super) reader: CohortReader,
    pub(super) form: Box<dyn AnyForm>,
    transport: Transport,
    pub(super) figures: TransportMetrics,
    /// The idle time after which a keep-alive is sent.
    pub(super) keep_alive: Duration,
    pub(super) list: List,
    /// Wakes the worker's host for this cohort.
    pub(super) waker: Waker,
    /// It is in the queue of those to be served.
    pub(super) is_ready: bool,
    /// When its keep-alives are due, as far as is known.
    pub(super) beat: u64,
}

/// What follows a place.
pub(super) enum Follows {
    Nothing,
    /// Messages, in parts.
    Run(Run),
    /// A gap, messages on disk, or more than a cohort sends.
    NotForAll,
}

/// Messages as they are sent to every member before the first of them.
pub(super) struct Run {
    /// The first message.
    pub(super) first: Cursor,
    /// At least one.
    pub(super) parts: Vec<Part>,
}

/// The messages of one read of the log.
pub(super) struct Part {
    /// A chunk, with its framing.
    pub(super) bytes: Bytes,
    /// The number of messages.
    pub(super) messages: usize,
    /// The place after them.
    pub(super) end: Place,
}

impl Run {
    /// The number of system calls that send it, at least.
    pub(super) fn writes(&self) -> usize {
        self.parts.iter().map(|part| part.bytes.len().div_ceil(MAX_WRITE)).sum()
    }

    /// The number of bytes of all parts.
    pub(super) fn bytes(&self) -> usize {
        self.parts.iter().map(|part| part.bytes.len()).sum()
    }
}

impl Cohort {
    /// A cohort with its first member.
    pub(super) fn new(key: usize, parts: Parts, woken: &Arc<Woken>) -> (Self, Place, Slot) {
        let Parts { reader, form, slot, times } = parts;
        let (reader, place) = CohortReader::new(reader);
        let cohort = Self {
            reader,
            form,
            transport: slot.transport(),
            figures: slot.figures().clone(),
            keep_alive: times.keep_alive,
            list: List::default(),
            waker: CohortWaker::waker(key, woken),
            is_ready: false,
            beat: NEVER,
        };
        (cohort, place, slot)
    }

    /// Whether a stream of the same channels can be a member.
    pub(super) fn admits(&self, parts: &Parts) -> bool {
        self.form.is_same(&*parts.form)
            && self.transport == parts.slot.transport()
            && self.keep_alive == parts.times.keep_alive
    }

    /// What follows `place`.
    pub(super) fn follows(&mut self, place: Place) -> Follows {
        self.reader.seek(place);
        let (mut parts, mut first, mut bytes) = (Vec::new(), None, 0);
        while let Some((batch, end)) = self.reader.read(BATCH) {
            if batch.gap.is_some() || bytes >= MAX_RUN {
                return Follows::NotForAll;
            }
            first = first.or(batch.messages.first().map(|message| message.id));
            let chunk = self.form.chunk(&batch);
            bytes += chunk.len();
            parts.push(Part { bytes: framed(&chunk).into(), messages: batch.messages.len(), end });
        }
        if self.reader.is_on_disk() {
            return Follows::NotForAll;
        }
        first.map_or(Follows::Nothing, |first| Follows::Run(Run { first, parts }))
    }
}
