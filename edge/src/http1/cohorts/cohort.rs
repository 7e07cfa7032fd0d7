//! A cohort: one cursor, one form, and its members.

use std::{sync::Arc, task::Waker};

use actix_web::http::StatusCode;
use bytes::Bytes;
use shared::{
    live::reader::{
        Batch,
        cohort::{CohortReader, Place},
    },
    pure::Cursor,
};

use super::{
    super::clock::NEVER,
    kind::{Content, Kind},
    member::List,
    woken::{CohortWaker, Woken},
    write::{Writing, after_first, writings},
};
use crate::{
    metrics::TransportMetrics,
    stream::{BATCH, BESIDE_DATA, has_long},
};

/// Bytes of data after a place that a cohort sends at a time, and at least the messages of one read of the log. A member that has missed more
/// gets the rest when it is its turn again.
const MAX_RUN: usize = 64 * 1024;

/// Streams or requests that have read everything, on the same channels, in the same form.
pub(super) struct Cohort {
    /// Its number among those of the worker.
    pub(super) number: u64,
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
    /// A gap, the end of a stream, a long message, or messages on disk.
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
    /// They are the end of an answer: whether another request may follow, and its status.
    pub(super) answers: Option<(bool, StatusCode)>,
    /// The ids of messages whose deliveries are to be noted for traces.
    pub(super) watched: Vec<Cursor>,
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
    fn new(first: Cursor, parts: Vec<Part>, is_cut: bool, answers: Option<(bool, StatusCode)>) -> Self {
        let writings = writings(parts.iter().flat_map(|part: &Part| part.bytes.iter().cloned()));
        Self { first, parts, writings, is_cut, answers, watched: Vec::new() }
    }

    /// The number of bytes of all parts.
    pub(super) fn len(&self) -> usize {
        self.parts.iter().map(Part::len).sum()
    }

    /// The numbers of messages and of bytes of the parts of which the first `taken` bytes have something. A client that stays gets the rest of the last one
    /// alone.
    pub(super) fn begun(&self, mut taken: usize) -> (u64, u64) {
        let is_begun = |part: &&Part| {
            let is_begun = taken > 0;
            taken = taken.saturating_sub(part.len());
            is_begun
        };
        let begun = self.parts.iter().take_while(is_begun);
        begun.fold((0, 0), |(messages, bytes), part| (messages + part.messages as u64, bytes + part.len() as u64))
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
        number: u64,
        reader: CohortReader,
        kind: Kind,
        figures: TransportMetrics,
        woken: &Arc<Woken>,
    ) -> Self {
        let waker = CohortWaker::waker(key, woken);
        let list = List::default();
        Self { number, reader, kind, figures, list, waker, is_ready: false, beat: NEVER, newest_partial: None }
    }

    /// Whether a stream of the same channels can be a member.
    pub(super) fn admits(&self, kind: &Kind) -> bool {
        self.kind.is_same(kind)
    }

    /// What follows `place`.
    pub(super) fn follows(&mut self, place: Place) -> Follows {
        self.reader.seek(place);
        match &self.kind.content {
            Content::Stream { .. } => self.run(),
            Content::Answer(shared) => {
                let Some((batch, end)) = self.reader.read(shared.form.limit()) else { return self.nothing() };
                let first = batch
                    .messages
                    .first()
                    .filter(|_| batch.gap.is_none() && batch.end.is_none())
                    .map(|message| message.id);
                let Some((first, (bytes, written, status))) = first.zip(shared.encode(&batch)) else {
                    return Follows::NotForAll;
                };
                let parts = vec![Part { bytes, messages: batch.messages.len(), end }];
                let watched = self.figures.watched(&batch.messages);
                Follows::Run(Run { watched, ..Run::new(first, parts, false, Some((written.keeps, status))) })
            }
        }
    }

    /// Nothing that is in memory follows.
    fn nothing(&self) -> Follows {
        if self.reader.is_on_disk() { Follows::NotForAll } else { Follows::Nothing(self.reader.place()) }
    }

    fn run(&mut self) -> Follows {
        let (mut batches, mut bytes, mut is_cut) = (Vec::<(Batch, Place)>::new(), 0, false);
        while bytes < MAX_RUN
            && let Some((batch, end)) = self.reader.read(BATCH)
        {
            // Each member sends a long message by itself, in pieces: those that stop reading would keep it, long after the others.
            if batch.gap.is_some() || batch.end.is_some() || has_long(&batch) || !self.kind.is_whole(&batch) {
                if batches.is_empty() {
                    return Follows::NotForAll;
                }
                is_cut = true;
                break;
            }
            bytes += batch.messages.iter().map(|message| message.len() + BESIDE_DATA).sum::<usize>();
            batches.push((batch, end));
        }
        is_cut |= bytes >= MAX_RUN || self.reader.is_on_disk();
        let Some(first) = batches.first().and_then(|(batch, _)| batch.messages.first()).map(|message| message.id)
        else {
            return self.nothing();
        };
        let watched = batches.iter().flat_map(|(batch, _)| self.figures.watched(&batch.messages)).collect();
        let newest = batches.len() - 1;
        let part = |(at, (batch, end)): (usize, (Batch, Place))| {
            let bytes = self.kind.chunk(&batch, at == newest && !is_cut);
            Part { bytes, messages: batch.messages.len(), end }
        };
        let parts = batches.into_iter().enumerate().map(part).collect();
        Follows::Run(Run { watched, ..Run::new(first, parts, is_cut, None) })
    }
}
