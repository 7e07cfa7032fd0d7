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
        outgoing::{Framing, framed},
    },
    member::List,
    woken::{CohortWaker, Woken},
    write::{Writing, after_first, writings},
};
use crate::{
    metrics::{Transport, TransportMetrics},
    stream::{AnyForm, BATCH, BESIDE_DATA},
};

/// Bytes of data after a place that a cohort sends at a time, and at least the messages of one read of the log. A member that has missed more
/// gets the rest when it is its turn again.
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
    pub(super) fn framed(&self, part: Bytes) -> Vec<Bytes> {
        if self.framing == Framing::Chunks { framed(part) } else { vec![part] }
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
    /// The member that was sent a part of what it misses last.
    pub(super) newest_partial: Option<u32>,
}

/// What follows a place.
pub(super) enum Follows {
    /// Nothing up to this place.
    Nothing(Place),
    /// Messages, in parts.
    Run(Run),
    /// A gap, the end of a stream, or messages on disk.
    NotForAll,
}

/// Messages as they are sent to every member before the first of them.
pub(super) struct Run {
    /// The first message.
    pub(super) first: Cursor,
    /// At least one.
    pub(super) parts: Vec<Part>,
    /// What writes all of them.
    pub(super) writings: Vec<Writing>,
    /// There may be more after them.
    pub(super) is_cut: bool,
}

/// The messages of one read of the log.
pub(super) struct Part {
    /// A part of the body, with its framing.
    bytes: Vec<Bytes>,
    /// The number of messages.
    pub(super) messages: usize,
    /// The place after them.
    pub(super) end: Place,
}

impl Run {
    /// The number of bytes of all parts.
    pub(super) fn len(&self) -> usize {
        self.parts.iter().map(Part::len).sum()
    }
}

impl Part {
    /// The number of its bytes.
    pub(super) fn len(&self) -> usize {
        self.bytes.iter().map(Bytes::len).sum()
    }

    /// What follows the first `taken` bytes.
    pub(super) fn after(&self, taken: usize) -> Vec<Bytes> {
        after_first(&self.bytes, taken)
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
        Self { reader, kind, figures, list: List::default(), waker, is_ready: false, beat: NEVER, newest_partial: None }
    }

    /// Whether a stream of the same channels can be a member.
    pub(super) fn admits(&self, kind: &Kind) -> bool {
        self.kind.is_same(kind)
    }

    /// What follows `place`.
    pub(super) fn follows(&mut self, place: Place) -> Follows {
        self.reader.seek(place);
        let (mut batches, mut bytes, mut is_cut) = (Vec::<(Batch, Place)>::new(), 0, false);
        while bytes < MAX_RUN
            && let Some((batch, end)) = self.reader.read(BATCH)
        {
            if batch.gap.is_some() || batch.end.is_some() {
                is_cut = true;
                break;
            }
            bytes += batch.messages.iter().map(|message| message.len() + BESIDE_DATA).sum::<usize>();
            batches.push((batch, end));
        }
        is_cut |= bytes >= MAX_RUN || self.reader.is_on_disk();
        let Some(first) = batches.first().and_then(|(batch, _)| batch.messages.first()).map(|message| message.id)
        else {
            return if is_cut { Follows::NotForAll } else { Follows::Nothing(self.reader.place()) };
        };
        let part = |(batch, end): (Batch, Place)| {
            let bytes = self.kind.framed(self.kind.form.chunk(&batch));
            Part { bytes, messages: batch.messages.len(), end }
        };
        let parts: Vec<_> = batches.into_iter().map(part).collect();
        let writings = writings(parts.iter().flat_map(|part| part.bytes.iter().cloned()));
        Follows::Run(Run { first, parts, writings, is_cut })
    }
}
