//! A reader whose cursor is older than what its channels have in memory: it reads pieces from disk until it has caught up.
//!
//! A piece is requested and read on another thread, and the reader is woken. Everything visible is on disk, so a piece needs nothing from
//! memory; from its end on the reader looks again whether memory has the rest.

use std::{
    collections::{HashMap, VecDeque},
    future::poll_fn,
    mem,
    sync::Arc,
    task::{Context, Poll},
};

use super::{Batch, Found, Limit, Reader, Subscription};
use crate::{
    live::log::{Awaited, Piece, PieceShare, Present, Request},
    pure::{ChannelName, Cursor, Message},
};

/// The result of a look at the disk.
pub(super) enum Older {
    /// Everything after the cursor is in memory.
    None,
    /// A piece is being read.
    Waiting,
    /// The next messages, or a gap.
    Batch(Batch),
    /// There was nothing up to the end of the piece.
    Skipped,
}

/// What a reader has requested and received.
#[derive(Default)]
pub(super) struct OlderState {
    awaited: Option<Awaited>,
    /// How many purges there were when it was requested.
    purges: u64,
    /// For each channel, whether it was a stream then: its messages are taken from memory.
    are_streams: Vec<bool>,
    /// A piece that was read to find out whether there is a gap.
    read: Option<Piece>,
    piece: Option<Rest>,
    /// Up to where losses of each channel have been reported, if that is after the cursor.
    reported: Vec<(ChannelName, Cursor)>,
}

/// What is left of a piece.
struct Rest {
    messages: VecDeque<Arc<Message>>,
    end: Cursor,
    /// How many purges it obeys.
    purges: u64,
    /// Counted until all of it has been delivered.
    _share: Option<PieceShare>,
}

impl OlderState {
    /// Whether nothing is being read.
    pub(super) fn is_idle(&self) -> bool {
        self.awaited.is_none() && self.read.is_none() && self.piece.is_none()
    }

    /// Forgets a channel that is not read any more.
    pub(super) fn forget(&mut self, channel: &ChannelName) {
        self.reported.retain(|(known, _)| known != channel);
    }

    /// Up to where each channel has lost messages.
    pub(super) fn removed(&self) -> impl Iterator<Item = Cursor> {
        self.reported.iter().map(|(_, removed)| *removed)
    }
}

impl Reader {
    /// As [`read`](Self::read), but it does not wait for new messages: only for the requested position and for older messages from disk.
    pub fn poll_stored(&mut self, cx: &Context<'_>, limit: Limit) -> Poll<Option<Batch>> {
        self.waiter.waker.register(cx.waker());
        match self.read(limit) {
            None if !self.is_resolved() || self.is_waiting() => Poll::Pending,
            batch => Poll::Ready(batch),
        }
    }

    /// As [`poll_stored`](Self::poll_stored), for `async` code, except that it does not wait for the position.
    pub async fn stored(&mut self, limit: Limit) -> Option<Batch> {
        poll_fn(|cx| match self.poll_stored(cx, limit) {
            Poll::Pending if !self.is_waiting() => Poll::Ready(None),
            polled => polled,
        })
        .await
    }

    /// Whether older messages are being read from disk, or the channels of a pattern are being looked for.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.is_scanning() || self.older.as_ref().is_some_and(|older| older.awaited.is_some())
    }

    /// How many channels' losses are remembered.
    #[cfg(test)]
    pub(in crate::live) fn reported(&self) -> usize {
        self.older.as_ref().map_or(0, |older| older.reported.len())
    }

    /// Drops what was read for other channels or positions. What was delivered is behind the cursor.
    pub(super) fn forget_older(&mut self) {
        if let Some(older) = &mut self.older {
            (older.awaited, older.read, older.piece) = (None, None, None);
        }
    }

    /// As [`is_gap`](Self::is_gap), for a reader whose position is determined. Waits for the disk, if only that knows.
    pub fn poll_gap(&mut self, cx: &Context<'_>) -> Poll<bool> {
        self.waiter.waker.register(cx.waker());
        if self.is_resolved() && !self.find_channels() {
            return Poll::Pending;
        }
        if self.is_gap() || self.log.archive().is_none() || !self.is_resolved() {
            return Poll::Ready(self.is_gap());
        }
        if self.older.as_ref().is_some_and(|older| older.piece.is_some()) {
            return Poll::Ready(false);
        }
        let up_to = self.activate(self.log.head());
        let Some(piece) = self.next_piece(up_to) else {
            return if self.is_waiting() { Poll::Pending } else { Poll::Ready(false) };
        };
        let is_lost = piece.is_damaged || self.is_removed(&piece.removed);
        self.older.get_or_insert_default().read = Some(piece);
        Poll::Ready(is_lost)
    }

    /// Reads from disk up to `up_to`, which is at most the head, if some messages after the cursor are only there.
    pub(super) fn read_older(&mut self, present: Present, up_to: Cursor, limit: Limit) -> Older {
        if self.log.archive().is_none() {
            return Older::None;
        }
        if self.older.as_ref().is_none_or(|older| older.piece.is_none()) {
            let Some(piece) = self.next_piece(up_to) else {
                return if self.is_waiting() { Older::Waiting } else { Older::None };
            };
            let mut found = Found::in_read(present);
            (found.is_news, found.is_damaged) = (self.report(&piece.removed), piece.is_damaged);
            let Piece { messages, end, share, .. } = piece;
            let purges = self.older.as_ref().map_or(0, |older| older.purges);
            // A reader never moves back, whatever the piece says.
            let rest = Rest { messages: messages.into(), end: end.max(self.cursor), purges, _share: share };
            return self.serve(rest, limit, found);
        }
        match self.older.as_mut().and_then(|older| older.piece.take()) {
            Some(rest) => self.serve(rest, limit, Found::in_read(present)),
            None => Older::None,
        }
    }

    /// The next piece if it has been read; requests it if it is needed.
    fn next_piece(&mut self, head: Cursor) -> Option<Piece> {
        if let Some(piece) = self.older.as_mut().and_then(|older| older.read.take()) {
            return Some(piece);
        }
        if let Some(awaited) = self.older.as_ref().and_then(|older| older.awaited.as_ref()) {
            let mut piece = awaited.take()?;
            self.log.count_read(&mut piece.messages);
            self.older.as_mut()?.awaited = None;
            return Some(self.with_streams(piece));
        }
        let mut up_to = None;
        let mut channels = Vec::with_capacity(self.subscriptions.len());
        let are_streams: Vec<bool> = self.subscriptions.iter().map(|one| one.channel.is_stream()).collect();
        for (subscription, is_stream) in self.subscriptions.iter().zip(&are_streams) {
            if *is_stream {
                channels.push((subscription.channel.name.clone(), Cursor::MAX));
                continue;
            }
            let after = self.cursor.max(subscription.from);
            let dropped = subscription.channel.history.lock().dropped().unwrap_or_default().min(head);
            if dropped > after {
                up_to = up_to.max(Some(dropped));
            }
            channels.push((subscription.channel.name.clone(), after));
        }
        let (request, awaited) = Request::new(channels, up_to?, &self.waiter);
        let archive = self.log.archive()?.clone();
        let older = self.older.get_or_insert_default();
        (older.awaited, older.purges) = (Some(awaited), archive.purges());
        older.are_streams = are_streams;
        archive.request(request);
        None
    }

    /// The piece with the messages of streams, which are in memory. If one was deleted since, it is the purge that says what was lost.
    fn with_streams(&mut self, mut piece: Piece) -> Piece {
        let are_streams = self.older.as_mut().map(|older| mem::take(&mut older.are_streams)).unwrap_or_default();
        let mut has_some = false;
        for ((subscription, is_stream), removed) in self.subscriptions.iter().zip(are_streams).zip(&mut piece.removed) {
            let channel = &subscription.channel;
            if !is_stream {
                *removed = channel.lost(*removed);
                continue;
            }
            let history = channel.history.lock();
            let after = self.cursor.max(subscription.from);
            let own = history.own(after, piece.end).cloned();
            has_some |= own.len() > 0;
            piece.messages.extend(own);
            *removed = channel.lost(history.dropped().unwrap_or_default());
        }
        if has_some {
            piece.messages.sort_by_key(|message| message.id);
        }
        piece
    }

    /// Whether there are losses that have not been reported, if each channel has lost its messages up to `removed`.
    fn is_removed(&self, removed: &[Cursor]) -> bool {
        let reported = self.older.as_ref().map_or(&[][..], |older| &older.reported);
        let is_lost = |subscription: &Subscription, removed: Cursor| {
            let known = reported.iter().find(|(channel, _)| *channel == subscription.channel.name);
            // What was removed before the subscription began is not missed.
            let before = known.map_or(subscription.removal_reported_up_to, |(_, before)| *before);
            removed > self.cursor.max(subscription.from).max(before)
        };
        let mut removed = self.subscriptions.iter().zip(removed);
        self.opening.is_none() && removed.any(|(subscription, removed)| is_lost(subscription, *removed))
    }

    /// The losses of the channels up to `removed` are reported from now on. Returns whether there are any that were not.
    fn report(&mut self, removed: &[Cursor]) -> bool {
        let is_lost = self.is_removed(removed);
        let cursor = self.cursor;
        let reported = &mut self.older.get_or_insert_default().reported;
        for (subscription, removed) in self.subscriptions.iter().zip(removed) {
            match reported.iter_mut().find(|(channel, _)| *channel == subscription.channel.name) {
                Some((_, before)) => *before = (*before).max(*removed),
                None => reported.push((subscription.channel.name.clone(), *removed)),
            }
        }
        // What is before the cursor is not looked at again.
        reported.retain(|(_, removed)| *removed > cursor);
        is_lost
    }

    /// Drops what was purged after the piece was requested. Returns whether the client has not received some of it.
    fn obey_purges(&mut self, rest: &mut Rest) -> bool {
        let Some(archive) = self.log.archive() else { return false };
        let purges = archive.purges();
        if mem::replace(&mut rest.purges, purges) == purges {
            return false;
        }
        // Up to where each has been purged, and up to where it may have lost some.
        let lost = |subscription: &Subscription| {
            let channel = &subscription.channel;
            let [purged, removed] = match channel.is_stream() {
                // What a stream has is what its own records left.
                true => [channel.history.lock().dropped().unwrap_or_default(); 2],
                false => [archive.purged(&channel.name), archive.removed(&channel.name)],
            };
            [channel.lost(purged), channel.lost(removed)]
        };
        let lost: Vec<[Cursor; 2]> = self.subscriptions.iter().map(lost).collect();
        let purged = self.subscriptions.iter().zip(&lost).map(|(one, [purged, _])| (&one.channel.name, *purged));
        let purged: HashMap<&ChannelName, Cursor> = purged.collect();
        let is_kept = |message: &Message| purged.get(&message.draft.channel).is_none_or(|purged| message.id > *purged);
        rest.messages.retain(|message| is_kept(message));
        let removed: Vec<Cursor> = lost.into_iter().map(|[_, removed]| removed).collect();
        self.report(&removed)
    }

    /// Delivers the beginning of what is left of a piece, and keeps the rest.
    fn serve(&mut self, mut rest: Rest, limit: Limit, mut found: Found) -> Older {
        found.is_news |= self.obey_purges(&mut rest);
        let (mut messages, mut bytes) = (Vec::new(), 0_usize);
        while let Some(message) = rest.messages.pop_front() {
            bytes = bytes.saturating_add(message.len());
            let fits = messages.len() < limit.messages && bytes <= limit.bytes;
            if !fits && !messages.is_empty() {
                rest.messages.push_front(message);
                break;
            }
            messages.push(message);
        }
        let last = messages.last().map(|last| last.id).filter(|_| !rest.messages.is_empty());
        let end = last.unwrap_or(rest.end);
        if last.is_some()
            && let Some(older) = &mut self.older
        {
            older.piece = Some(rest);
        }
        self.deliver(messages, end, found).map_or(Older::Skipped, Older::Batch)
    }
}
