//! The messages that one socket reads: one cursor in the log for all its channels, and catch-ups from older positions.
//!
//! A subscription without a cursor joins the live reader, at the head of the log. One from a cursor that the live reader has passed first
//! gets a reader of its own, up to the live reader's position. The live reader waits during such a catch-up, so that each channel is
//! delivered in order. Every event carries an offset that identifies everything before it: the live cursor alone, or with the number and
//! the cursor of its catch-up. With this offset and the [`Plan`], which is stored with the session, a disconnected client resumes where it
//! stopped.
//!
//! Numbers of catch-ups start again with each session, yet they are distinguishable: official clients keep the last offset of a session
//! that could not be recovered, and send it for the next session until they have received an event of that one.

mod catch_up;
mod lending;
mod plan;

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use edge::metrics::TransportMetrics;
use shared::{
    live::{
        log::{Log, Opener},
        reader::{Batch, Limit, Reader},
    },
    pure::{ChannelName, Cursor, Message, Publisher, Since},
};
use socketio::EncodedPacket;

pub(crate) use self::plan::{Offset, Plan};
use self::{
    catch_up::{last_given, up_to},
    lending::Live,
    plan::CatchUp,
};

use crate::wire::{self, Event};

/// Events ready to be sent, with the messages and the number of gaps among them.
#[derive(Default)]
pub(crate) struct Pulled {
    pub(crate) packets: Vec<EncodedPacket>,
    pub(crate) messages: Vec<Arc<Message>>,
    pub(crate) gaps: usize,
}

impl Pulled {
    /// Counts them as delivered to a client.
    pub(crate) fn count(&self, figures: &TransportMetrics) {
        figures.deliver(&self.messages);
        figures.gaps.inc_by(u64::try_from(self.gaps).unwrap_or(u64::MAX));
    }
}

/// See the module.
pub(crate) struct Feed {
    log: Arc<Log>,
    live: Live,
    /// The subscriptions of the live reader, and the catch-ups: recent ones that are done, and those that are not.
    plan: Plan,
    /// The current catch-up, by its index in the plan.
    reading: usize,
    /// Its reader, which few members have at a time.
    reader: Option<Box<Reader>>,
    /// The last end that it has returned, if it is for ends.
    last_end: Cursor,
    next_number: u64,
    /// The task that waits for more.
    waker: Option<Waker>,
    /// The number of callers that currently suppress delivery.
    holds: u32,
    /// For a client that does not support offsets.
    is_plain: bool,
    /// Whether the client gets the users who published messages.
    publisher: Publisher,
}

impl Feed {
    /// A feed without channels. `session` differs between the sessions of a client.
    pub(crate) fn new(log: &Arc<Log>, session: u32, is_plain: bool) -> Self {
        let live = Reader::open(log, &[], Since::Now);
        let plan = Plan { session, ..Plan::default() };
        Self { is_plain, ..Self::with(log, plan, live, 0, None) }
    }

    /// The same feed, for a client that gets the users who published messages if `publisher` says so.
    pub(crate) fn showing(self, publisher: Publisher) -> Self {
        Self { publisher, ..self }
    }

    /// Resumes `plan` after `offset`; `None` is the beginning of the session, for a client that has received nothing since. Channels
    /// created by it count for `opener`. Returns `None` if the plan no longer contains the catch-up that the client needs.
    pub(crate) fn resume(
        log: &Arc<Log>,
        mut plan: Plan,
        offset: Option<Offset>,
        opener: Option<Arc<Opener>>,
    ) -> Option<Self> {
        let Some(offset) = offset else { return Self::from_beginning(log, plan, opener) };
        let (mut reading, mut reader, mut last_end) = (plan.catch_ups.len(), None, Cursor::ZERO);
        match offset.catch_up.filter(|(number, _)| plan.is_mine(*number)) {
            Some((number, cursor)) => {
                // Those that are no longer stored may have been before it or after it.
                plan.catch_ups.first().filter(|first| first.number <= number)?;
                reading = plan.catch_ups.iter().position(|catch_up| catch_up.number >= number).unwrap_or(reading);
                reader = plan
                    .catch_ups
                    .get(reading)
                    .filter(|catch_up| catch_up.number == number && cursor > Cursor::ZERO)
                    .map(|catch_up| catch_up.resume(log, cursor, opener.clone()));
                last_end = cursor;
            }
            // A catch-up began after the last event that the client has, unless the live reader was past its end by then. An event of an
            // earlier session precedes all of them.
            None => {
                let is_begun_later = |catch_up: &CatchUp| catch_up.until >= offset.live;
                reading = plan.catch_ups.iter().position(is_begun_later).unwrap_or(reading);
            }
        }
        plan.forget_unissued(reading + usize::from(reader.is_some()), log.head());
        let mut live = Reader::open_for(log, &[], Since::After(offset.live), opener);
        for (channel, from) in &plan.channels {
            live.require_from(channel, *from);
        }
        Some(Self { last_end, ..Self::with(log, plan, live, reading, reader) })
    }

    /// Subscribes to all channels of `plan`.
    fn from_beginning(log: &Arc<Log>, plan: Plan, opener: Option<Arc<Opener>>) -> Option<Self> {
        plan.catch_ups.first().is_none_or(|first| first.number == plan.first_number()).then_some(())?;
        let since = plan.beginning().map_or(Since::Now, Since::After);
        let mut live = Reader::open_for(log, &[], since, opener);
        for (channel, from) in &plan.channels {
            live.require_from(channel, *from);
        }
        Some(Self::with(log, plan, live, 0, None))
    }

    fn with(log: &Arc<Log>, plan: Plan, live: Reader, reading: usize, reader: Option<Reader>) -> Self {
        let next_number = plan.catch_ups.last().map_or(plan.first_number(), |last| last.number + 1);
        let reader = reader.map(Box::new);
        Self {
            log: log.clone(),
            live: Live::new(live),
            plan,
            reading,
            reader,
            last_end: Cursor::ZERO,
            next_number,
            waker: None,
            holds: 0,
            is_plain: false,
            publisher: Publisher::Hidden,
        }
    }

    /// Whether messages after its position are lost, as far as that is known without the disk.
    pub(crate) fn is_gap(&self) -> bool {
        self.live.is_gap() || self.reader.as_ref().is_some_and(|reader| reader.is_gap())
    }

    /// Whether messages after its position are lost. Waits for the disk, if only that knows.
    pub(crate) fn poll_gap(&mut self, cx: &Context<'_>) -> Poll<bool> {
        let live = self.live.reader(&self.log).poll_gap(cx);
        let catch_up = self.reader.as_mut().map_or(Poll::Ready(false), |reader| reader.poll_gap(cx));
        match (live, catch_up) {
            (Poll::Ready(true), _) | (_, Poll::Ready(true)) => Poll::Ready(true),
            (Poll::Ready(false), Poll::Ready(false)) => Poll::Ready(false),
            _ => Poll::Pending,
        }
    }

    /// The data to store with a session.
    pub(crate) fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Channels created by this feed count for `opener` from now on.
    pub(crate) fn opens_for(&mut self, opener: Option<Arc<Opener>>) {
        if opener.is_some() {
            self.live.reader(&self.log).opens_for(opener);
        }
    }

    /// The number of subscribed channels.
    pub(crate) fn channels(&self) -> usize {
        self.plan.channels.len()
    }

    /// Their names.
    pub(crate) fn names(&self) -> Vec<ChannelName> {
        self.plan.channels.iter().map(|(channel, _)| channel.clone()).collect()
    }

    /// Subscribes to `channels` from `since` on: those that are not subscribed to yet, or all of them again from an older position. Returns
    /// the cursor from which they are read; without `since`, the head of the log.
    pub(crate) fn add(&mut self, channels: Vec<ChannelName>, since: Since) -> Cursor {
        let (head, live) = (self.log.head(), self.live.cursor());
        let is_first = self.plan.channels.is_empty();
        let (from, older) = match since {
            Since::Now => (head, None),
            // Messages that the live reader has not reached yet: it will deliver them.
            Since::After(cursor) if (live..=head).contains(&cursor) && self.log.can_have_issued(cursor) => {
                (cursor, None)
            }
            // A cursor of another process that is ahead, or an unknown one: the catch-up finds out which.
            Since::After(cursor) if cursor > head => (cursor, Some(Some(cursor))),
            Since::After(cursor) => (live, Some(Some(cursor))),
            Since::Earliest => (live, Some(None)),
        };
        let mut closed = Vec::new();
        if is_first {
            // Most clients never add more, and there are many of them.
            self.plan.channels.reserve_exact(channels.len());
        }
        for channel in &channels {
            if !self.live.reader(&self.log).reads(channel) {
                match since {
                    // Messages dropped since then are missed, although the live reader never requested them.
                    Since::After(_) if older.is_none() => self.live.reader(&self.log).require_from(channel, from),
                    _ => self.live.reader(&self.log).add_from(channel, from),
                }
                let from = if since == Since::Now { self.live_position(channel, from, &mut closed) } else { from };
                self.plan.channels.push((channel.clone(), from));
            }
        }
        self.require_ends(closed);
        if let Some(since) = older {
            self.begin_catch_up(CatchUp { number: 0, channels, since, until: live, is_for_ends: false });
        }
        self.wake();
        let cursor = older.flatten().unwrap_or(from);
        if is_first {
            self.live.reader(&self.log).client_has(cursor);
        }
        cursor
    }

    /// Stops reading `channel`. A catch-up in progress continues without it.
    pub(crate) fn remove(&mut self, channel: &ChannelName) {
        self.live.reader(&self.log).remove(channel);
        if let Some(reader) = &mut self.reader {
            reader.remove(channel);
        }
        self.plan.channels.retain(|(other, _)| other != channel);
        for catch_up in &mut self.plan.catch_ups {
            catch_up.channels.retain(|other| other != channel);
        }
    }

    /// The position after everything pulled so far, for an event that is not a message. `None` for a client that does not support offsets.
    pub(crate) fn offset(&self) -> Option<Offset> {
        let live = self.live.cursor();
        Some(match self.plan.catch_ups.get(self.reading) {
            _ if self.is_plain => return None,
            // A catch-up that has not begun starts at its beginning, which may be the oldest message.
            Some(catch_up) => {
                let at = |reader: &Reader| if catch_up.is_for_ends { self.last_end } else { reader.cursor() };
                let at = self.reader.as_deref().map_or(Cursor::ZERO, at);
                Offset { live, catch_up: Some((catch_up.number, at)) }
            }
            None => self.live_at(live, self.settled()),
        })
    }

    /// A live position after this one implies that all catch-ups are done: each of them ended before it.
    fn settled(&self) -> Cursor {
        self.plan.catch_ups.iter().map(|catch_up| catch_up.until).max().unwrap_or_default()
    }

    /// The offset of a live position when all catch-ups are done.
    fn live_at(&self, live: Cursor, settled: Cursor) -> Offset {
        Offset { live, catch_up: (live <= settled).then_some((self.next_number, Cursor::ZERO)) }
    }

    /// Suppresses delivery until [`release`](Self::release) has been called as often.
    pub(crate) fn hold(&mut self) {
        self.holds += 1;
    }

    /// See [`hold`](Self::hold).
    pub(crate) fn release(&mut self) {
        self.holds -= 1;
        if self.holds == 0 {
            self.wake();
        }
    }

    /// Wakes the task that waits for more messages: there may be some now.
    pub(crate) fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// The next messages, about `budget` bytes.
    pub(crate) fn poll_pull(&mut self, cx: &Context<'_>, budget: usize) -> Poll<Pulled> {
        if self.holds > 0 || self.live.is_lent() {
            return self.wait(cx);
        }
        let limit = Limit { messages: 256, bytes: budget };
        while let Some(catch_up) = self.plan.catch_ups.get(self.reading) {
            let (number, until, is_for_ends) = (catch_up.number, catch_up.until, catch_up.is_for_ends);
            let reader = self.reader.get_or_insert_with(|| Box::new(catch_up.open(&self.log)));
            if reader.poll_resolved(cx).is_pending() {
                return self.wait(cx);
            }
            if let (Some(nowhere), None) = (catch_up.since, reader.place()) {
                // Not a cursor of this log: the live reader does not wait for it.
                for (channel, from) in self.plan.channels.iter_mut().filter(|(_, from)| *from == nowhere) {
                    *from = until;
                    self.live.reader(&self.log).skip_until(channel, until);
                }
            }
            let Poll::Ready(batch) = reader.poll_stored(cx, limit) else { return self.wait(cx) };
            let batch = batch.map(|batch| up_to(batch, until));
            let cursor = reader.cursor();
            // Of several ends, each has a batch.
            if cursor >= until && (batch.is_none() || !is_for_ends) {
                self.reading += 1;
                (self.reader, self.last_end) = (None, Cursor::ZERO);
            }
            if let Some(end) = batch.as_ref().and_then(|batch| batch.end.as_ref()).filter(|_| is_for_ends) {
                self.last_end = end.id;
            }
            if let Some(given) = batch.as_ref().and_then(last_given) {
                // During a catch-up the live reader waits, so that the client has everything up to this position.
                let live = self.live.reader(&self.log);
                live.client_has(live.client().max(given));
            }
            let pulled = batch.map(|batch| self.encode(batch, Some(number))).unwrap_or_default();
            if !pulled.packets.is_empty() {
                return Poll::Ready(pulled);
            }
        }
        match self.live.reader(&self.log).poll_read(cx, limit) {
            Poll::Ready(Some(batch)) => Poll::Ready(self.encode(batch, None)),
            // A closed log means that the process ends, which ends the socket, too.
            Poll::Ready(None) | Poll::Pending => self.wait(cx),
        }
    }

    /// Nothing for now: whoever changes the channels wakes the task that polled.
    fn wait(&mut self, cx: &Context<'_>) -> Poll<Pulled> {
        match &mut self.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            None => self.waker = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    fn encode(&self, batch: Batch, catch_up: Option<u64>) -> Pulled {
        let mut pulled = Pulled::default();
        let (live, settled) = (self.live.cursor(), self.settled());
        let offset = |at: Cursor| match catch_up {
            _ if self.is_plain => None,
            None => Some(self.live_at(at, settled)),
            Some(number) => Some(Offset { live, catch_up: Some((number, at)) }),
        };
        let offset = |at| offset(at).map(|offset| offset.to_string());
        if let Some(gap) = &batch.gap {
            pulled.packets.push(wire::gap(gap, offset(gap.resumed).as_deref()));
            pulled.gaps += 1;
        }
        for message in &batch.messages {
            let packet = match catch_up {
                None if message.id > settled => Event::of(message, self.is_plain, self.publisher),
                _ => wire::event(message, offset(message.id).as_deref(), self.publisher),
            };
            pulled.packets.push(packet);
        }
        if let Some(end) = &batch.end {
            let at = if self.last_end == end.id { end.id } else { batch.cursor };
            pulled.packets.push(wire::end(end, offset(at).as_deref()));
        }
        pulled.messages = batch.messages;
        pulled
    }
}

impl fmt::Debug for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feed").field("live", &self.live.cursor()).field("plan", &self.plan).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
