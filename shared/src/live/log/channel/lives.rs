//! The streams of one channel, and how they ended: what readers of the channel see of them.

use std::sync::atomic::Ordering::Relaxed;

use super::Channel;
use crate::pure::{
    Cursor, History, Loss,
    stream::{End, EndReason, Lifecycle},
};

/// The streams of a channel.
pub(super) struct Lives {
    /// Of the stream that it is, or was last.
    lifecycle: Lifecycle,
    /// The last one that was deleted or has expired.
    past: Option<Past>,
}

/// A stream that does not exist any more.
struct Past {
    end: End,
    /// From here on its readers know that it has ended: it may have been closed before.
    ended: Cursor,
    /// Up to here there were messages, which were removed with it.
    lost: Loss,
    /// Whether the channel was used since: it is another stream, or something was published to it.
    is_replaced: bool,
}

impl Channel {
    /// It is a stream, with this lifecycle.
    pub(in crate::live::log) fn set_lifecycle(&self, lifecycle: Lifecycle) {
        let mut lives = self.lives.lock();
        let past = lives.take().and_then(|lives| lives.past).map(|past| Past { is_replaced: true, ..past });
        *lives = Some(Box::new(Lives { lifecycle, past }));
        self.has_end.fetch_or(lifecycle.end.is_some(), Relaxed);
        self.is_stream.store(true, Relaxed);
    }

    /// The stream that was created at `created` is deleted or has expired. Its messages are still to be removed, by the event `number`.
    pub(in crate::live::log) fn end_stream(&self, created: Cursor, end: End, number: u64) {
        let lost = {
            let history = self.history.lock();
            let newest = history.own(Cursor::ZERO, Cursor::MAX).next_back();
            newest.map_or(history.losses()[0], |newest| Loss { up_to: newest.id, number })
        };
        let mut lives = self.lives.lock();
        let closed = lives.as_ref().and_then(|lives| lives.lifecycle.end);
        let past = Past { end, ended: closed.unwrap_or(end).id, lost, is_replaced: false };
        *lives = Some(Box::new(Lives { lifecycle: Lifecycle { created, end: Some(end) }, past: Some(past) }));
        self.has_end.store(true, Relaxed);
    }

    /// It is no stream any more. Readers still see how the last one ended.
    pub(in crate::live::log) fn leave_stream(&self) {
        self.is_stream.store(false, Relaxed);
    }

    /// It gets a message while it stores none.
    pub(in crate::live::log) fn is_used_again(&self) {
        if self.has_end.load(Relaxed)
            && let Some(past) = self.lives.lock().as_mut().and_then(|lives| lives.past.as_mut())
        {
            past.is_replaced = true;
        }
    }

    /// The lifecycle of the stream that it is, or was last.
    pub(in crate::live) fn lifecycle(&self) -> Option<Lifecycle> {
        self.lives.lock().as_ref().map(|lives| lives.lifecycle)
    }

    /// The first end of a stream after `cursor`. One that its readers knew of at `cursor`, since it had been closed, is none.
    pub(in crate::live) fn end_after(&self, cursor: Cursor) -> Option<End> {
        if !self.has_end.load(Relaxed) {
            return None;
        }
        let lives = self.lives.lock();
        let lives = lives.as_ref()?;
        let past = lives.past.as_ref().filter(|past| past.ended > cursor).map(|past| past.end);
        past.or_else(|| lives.closed().filter(|end| end.id > cursor))
    }

    /// Just after the end of the last stream that does not exist any more: where a reader is that does not know of it.
    pub(in crate::live) fn after_past(&self) -> Cursor {
        let lives = self.lives.lock();
        lives
            .as_ref()
            .and_then(|lives| lives.past.as_ref())
            .map_or(Cursor::ZERO, |past| Cursor::new(past.end.id.ms, past.end.id.seq + 1))
    }

    /// The end of its stream, if that had ended for a reader at `cursor`, and nothing follows; and whether the reader knows of it. `known` is the
    /// last end that it has returned, or the cursor with which it began.
    pub(in crate::live) fn ended(&self, cursor: Cursor, known: Cursor) -> Option<(Cursor, bool)> {
        if !self.has_end.load(Relaxed) {
            return None;
        }
        let lives = self.lives.lock();
        let lives = lives.as_ref()?;
        if let Some(closed) = lives.closed() {
            return (closed.id <= cursor).then_some((closed.id, true));
        }
        let past = lives.past.as_ref().filter(|past| !past.is_replaced && past.ended <= cursor)?;
        Some((past.end.id, known == past.end.id || known == past.ended))
    }

    /// Up to where messages were lost, if the channel has dropped everything up to `dropped`: not at the end of a stream, if there were none.
    pub(in crate::live) fn lost(&self, dropped: Cursor) -> Cursor {
        self.lost_at(dropped).map_or(dropped, |lost| lost.up_to)
    }

    /// What it has lost, and may have lost. `history` is its own.
    pub(in crate::live) fn losses(&self, history: &History) -> [Loss; 2] {
        let [dropped, marked] = history.losses();
        [self.lost_at(dropped.up_to).unwrap_or(dropped), marked]
    }

    /// What was lost with the last stream, if it ended at `end`.
    fn lost_at(&self, end: Cursor) -> Option<Loss> {
        if !self.has_end.load(Relaxed) {
            return None;
        }
        let lives = self.lives.lock();
        lives.as_ref()?.past.as_ref().filter(|past| past.end.id == end).map(|past| past.lost)
    }
}

impl Lives {
    fn closed(&self) -> Option<End> {
        self.lifecycle.end.filter(|end| end.reason == EndReason::Closed)
    }
}
