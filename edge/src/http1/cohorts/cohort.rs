//! A cohort: one cursor, one form, and its members.

use std::{sync::Arc, task::Waker, time::Duration};

use bytes::Bytes;
use shared::{
    live::reader::{
        Batch,
        cohort::{CohortReader, Place},
    },
    pure::Cursor,
};

use super::{
    super::{
        clock::NEVER,
        outgoing::{Framing, MAX_WRITE, framed},
    },
    member::List,
    woken::{CohortWaker, Woken},
};
use crate::{
    metrics::{Transport, TransportMetrics},
    stream::{AnyForm, BATCH},
};

/// Bytes of data after a place that a cohort sends. A member that has missed more leaves: it is not caught up, or one message is so large that
/// it is not to be copied for each slice.
const MAX_RUN: usize = 64 * 1024;

/// What the members of a cohort have in common, beside their channels.
pub(super) struct Kind {
    pub(super) form: Box<dyn AnyForm>,
    pub(super) framing: Framing,
    /// Their clients may send something.
    pub(super) is_tunnel: bool,
    pub(super) transport: Transport,
    /// The idle time after which a keep-alive is sent.
    pub(super) keep_alive: Duration,
}

impl Kind {
    fn is_same(&self, other: &Self) -> bool {
        self.form.is_same(&*other.form)
            && self.framing == other.framing
            && self.is_tunnel == other.is_tunnel
            && self.transport == other.transport
            && self.keep_alive == other.keep_alive
    }

    /// A part of a body, with its framing.
    pub(super) fn framed(&self, part: Bytes) -> Bytes {
        if self.framing == Framing::Chunks { framed(&part).into() } else { part }
    }
}

/// Streams that have read everything, on the same channels, in the same form.
pub(super) struct Cohort {
    pub(super) reader: CohortReader,
    pub(super) kind: Kind,
    pub(super) figures: TransportMetrics,
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
    /// Nothing up to this place.
    Nothing(Place),
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
    /// A part of the body, with its framing.
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
    /// A cohort whose first member is still to be added to its list.
    pub(super) fn new(
        key: usize,
        reader: CohortReader,
        kind: Kind,
        figures: TransportMetrics,
        woken: &Arc<Woken>,
    ) -> Self {
        let waker = CohortWaker::waker(key, woken);
        Self { reader, kind, figures, list: List::default(), waker, is_ready: false, beat: NEVER }
    }

    /// Whether a stream of the same channels can be a member.
    pub(super) fn admits(&self, kind: &Kind) -> bool {
        self.kind.is_same(kind)
    }

    /// What follows `place`.
    pub(super) fn follows(&mut self, place: Place) -> Follows {
        self.reader.seek(place);
        let (mut batches, mut bytes) = (Vec::new(), 0);
        while let Some((batch, end)) = self.reader.read(BATCH) {
            bytes += batch.messages.iter().map(|message| message.len()).sum::<usize>();
            // Before anything is encoded: whoever leaves shares the forms of the messages.
            if batch.gap.is_some() || bytes > MAX_RUN {
                return Follows::NotForAll;
            }
            batches.push((batch, end));
        }
        if self.reader.is_on_disk() {
            return Follows::NotForAll;
        }
        let Some(first) = batches.first().and_then(|(batch, _)| batch.messages.first()).map(|message| message.id)
        else {
            return Follows::Nothing(self.reader.place());
        };
        let part = |(batch, end): (Batch, Place)| {
            let bytes = self.kind.framed(self.kind.form.chunk(&batch));
            Part { bytes, messages: batch.messages.len(), end }
        };
        Follows::Run(Run { first, parts: batches.into_iter().map(part).collect() })
    }
}
