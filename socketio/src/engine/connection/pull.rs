//! What a transport asks a connection for: the session's own packets first, then the outbox, then the sources.

use std::{
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Instant,
};

use bytes::{Bytes, BytesMut};

use super::{
    conn::{Conn, State, WebSocketId},
    source::{Source, SourceId, SourceLookup},
};
use crate::engine::{
    outbox::Front,
    outgoing::{Form, Outgoing, Party, write_frame},
    packet::{Packet, Protocol},
    session::{Next, Transport},
};
use crate::{engine::outgoing::Charge, stats::Counters};

/// What comes of one look at the state.
enum Step {
    Done(Poll<Option<Item>>),
    /// This may leave, once it has the offset of its party's sources.
    Stamp(Outgoing, Party, Form),
    /// There is nothing here, and this source may have something. It is out of its place until it has been asked.
    Pull(Place, Box<dyn Source>),
}

/// Where a source has its place.
#[derive(Clone, Copy)]
enum Place {
    /// At the front of the outbox: everything behind it waits.
    Queued,
    /// Among the attached ones, which are asked when the outbox is empty.
    Attached(SourceId),
}

/// How many sources are still to be asked, once that is known: each once, until one has something.
#[derive(Default)]
struct Round {
    left: Option<usize>,
}

impl Round {
    /// Whether another of the given number of sources is to be polled.
    fn goes_on(&mut self, sources: usize) -> bool {
        let left = self.left.get_or_insert(sources);
        let goes_on = *left > 0;
        *left = left.saturating_sub(1);
        goes_on
    }
}

impl Conn {
    /// What the transport `via` sends next; `Ready(None)` says that it has nothing more to do. `Pending` keeps the waker.
    pub(crate) fn poll_outgoing(self: &Arc<Self>, via: Transport, cx: &mut Context<'_>) -> Poll<Option<Item>> {
        let mut round = Round::default();
        let first = self.with(|state| state.step(via, &mut round, cx));
        self.carry_out(first, via, round, cx)
    }

    /// The same for one of the WebSockets that a session may have had; for an old one there is nothing to do.
    pub(crate) fn poll_websocket(self: &Arc<Self>, id: WebSocketId, cx: &mut Context<'_>) -> Poll<Option<Item>> {
        let via = Transport::WebSocket;
        let mut round = Round::default();
        match self.with(|state| (state.websocket_id == id).then(|| state.step(via, &mut round, cx))) {
            Some(first) => self.carry_out(first, via, round, cx),
            None => Poll::Ready(None),
        }
    }

    /// Runs each step without a lock of the connection, until there is something to send.
    fn carry_out(
        self: &Arc<Self>,
        mut step: Step,
        via: Transport,
        mut round: Round,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Item>> {
        loop {
            step = match step {
                Step::Done(done) => {
                    if let Poll::Ready(Some(item)) = &done {
                        self.count_out(item.messages());
                    }
                    return done;
                }
                Step::Pull(place, source) => self.pull(place, source, via, &mut round, cx),
                Step::Stamp(message, party, form) => {
                    let stamped = self.stamp(&message, party);
                    // Of one transport alone the sources are asked in between its messages. During an upgrade the other one may be at
                    // it right now, and what it pulled is then to leave first.
                    let (step, waker) = self.with(|state| {
                        let step = match stamped {
                            Some(stamped) if state.staged.is_empty() => {
                                Step::Done(Poll::Ready(Some(Item::Message(stamped, form))))
                            }
                            None if state.sources.are_asked(party) => {
                                state.outbox.unpop(message, self.counters(), Instant::now());
                                state.park(via, cx.waker());
                                Step::Done(Poll::Pending)
                            }
                            Some(_) | None => {
                                state.outbox.unpop(message, self.counters(), Instant::now());
                                state.step(via, &mut round, cx)
                            }
                        };
                        (step, state.waker_of_another(via))
                    });
                    if let Some(waker) = waker {
                        waker.wake();
                    }
                    step
                }
            };
        }
    }

    fn count_out(&self, messages: &[Outgoing]) {
        if !messages.is_empty() {
            self.counters().packets_out.add(messages.len() as u64);
            self.counters().bytes_out.add(messages.iter().map(|message| message.len() as u64).sum());
        }
    }

    /// Asks this source, puts it back, and takes the next look.
    fn pull(
        self: &Arc<Self>,
        place: Place,
        mut source: Box<dyn Source>,
        via: Transport,
        round: &mut Round,
        cx: &mut Context<'_>,
    ) -> Step {
        let batch = source.poll_next(cx, self.core.pull_budget());
        // Staged and put back under one lock: whoever finds the source in its slot knows that all of its earlier messages have been sent.
        let (step, left, waker) = self.with(|state| {
            let (is_over, is_pending) = match batch {
                Poll::Ready(batch) if batch.is_empty() => (true, false),
                Poll::Ready(batch) => {
                    if state.session.is_open() {
                        state.staged.add(batch, self.counters());
                    }
                    (false, false)
                }
                Poll::Pending => (false, true),
            };
            let left = state.return_source(place, source, is_over);
            let waker = state.waker_of_another(via);
            let step = match place {
                // Whatever is behind it waits with it.
                Place::Queued if is_pending => Step::Done(Poll::Pending),
                Place::Queued => state.step(via, round, cx),
                Place::Attached(_) => {
                    if is_over {
                        // The others have changed places: none of them is to be passed over.
                        *round = Round::default();
                    }
                    state.step(via, round, cx)
                }
            };
            (step, left, waker)
        });
        // What is dropped is dropped after the guard.
        drop(left);
        if let Some(waker) = waker {
            waker.wake();
        }
        step
    }

    /// Adds the offset of the party's sources. `None` if one of them is being asked for more by another transport, which then wakes
    /// this one.
    fn stamp(&self, message: &Outgoing, party: Party) -> Option<Outgoing> {
        for n in 0.. {
            let taken = self.state().sources.take_of(party, n);
            let (id, source) = match taken {
                SourceLookup::Source(id, source) => (id, source),
                SourceLookup::Busy => return None,
                SourceLookup::NoSuch => break,
            };
            let offset = source.offset();
            let left = self.state().sources.put_back(id, source);
            drop(left);
            if let Some(offset) = offset {
                return Some(message.clone().with_offset(&offset));
            }
        }
        Some(message.clone())
    }
}

impl State {
    /// The next of what was pulled: all of it, if it is short, so that it costs one look at the state and leaves in one write.
    fn next_staged(&mut self) -> Option<Item> {
        if let Some(messages) = self.staged.take_short(SHORT) {
            return Some(Item::Batch(messages, self.form));
        }
        self.staged.next().map(|message| Item::Message(message, self.form))
    }

    /// Puts a polled source back, unless it has ended. The caller drops the returned values.
    fn return_source(&mut self, place: Place, source: Box<dyn Source>, is_over: bool) -> Option<Box<dyn Source>> {
        match place {
            Place::Queued if self.outbox.is_empty() => Some(source),
            Place::Queued if is_over => {
                self.outbox.put_back(None);
                Some(source)
            }
            Place::Queued => {
                self.outbox.put_back(Some(source));
                None
            }
            Place::Attached(id) if is_over => {
                self.sources.detach(id);
                Some(source)
            }
            Place::Attached(id) => self.sources.put_back(id, source),
        }
    }

    /// The transport to wake when a source is back in its slot: the session may have moved to another transport, which found the slot
    /// empty.
    fn waker_of_another(&mut self, via: Transport) -> Option<Waker> {
        if self.session.transport() == via { None } else { self.active_waker() }
    }

    /// What is next for `via`, with its waker kept if that is nothing.
    fn step(&mut self, via: Transport, round: &mut Round, cx: &Context<'_>) -> Step {
        let step = self.next_step(via, round, cx);
        if via == self.session.transport() {
            self.is_busy = match &step {
                // The pause behind a message that leaves apart is the server's, and not due to the client.
                Step::Done(Poll::Ready(Some(item))) => !item.is_apart(),
                Step::Stamp(..) | Step::Pull(Place::Queued, _) => true,
                Step::Done(Poll::Ready(None) | Poll::Pending) | Step::Pull(Place::Attached(_), _) => false,
            };
        }
        step
    }

    fn next_step(&mut self, via: Transport, round: &mut Round, cx: &Context<'_>) -> Step {
        if via == Transport::WebSocket && via == self.session.transport() {
            // It is asked for more only when it has taken what it was given.
            self.session.on_progress();
        }
        loop {
            let flushing = match self.session.next(via) {
                Next::Send(packet) => {
                    if matches!(packet, Packet::Ping(_)) && via == Transport::WebSocket {
                        self.session.on_ping_sent(Instant::now());
                    }
                    return Step::Done(Poll::Ready(Some(Item::Packet(packet))));
                }
                Next::End => return Step::Done(Poll::Ready(None)),
                Next::Wait => {
                    self.park(via, cx.waker());
                    return Step::Done(Poll::Pending);
                }
                Next::Application => false,
                Next::Flush => true,
            };
            if self.send_pauses > 0 {
                self.park(via, cx.waker());
                return Step::Done(Poll::Pending);
            }
            if let Some(item) = self.next_staged() {
                return Step::Done(Poll::Ready(Some(item)));
            }
            match self.outbox.next() {
                Front::Message(message) => {
                    return match message.wants_offset() {
                        Some(party) if self.sources.len() > 0 => Step::Stamp(message, party, self.form),
                        _ => Step::Done(Poll::Ready(Some(Item::Message(message, self.form)))),
                    };
                }
                Front::Pong(pong) => return Step::Done(Poll::Ready(Some(Item::Packet(pong)))),
                Front::Source(source) => {
                    self.park(via, cx.waker());
                    return Step::Pull(Place::Queued, source);
                }
                Front::Busy => {
                    self.park(via, cx.waker());
                    return Step::Done(Poll::Pending);
                }
                Front::Empty => {}
            }
            if flushing {
                self.session.flushed();
                continue;
            }
            self.park(via, cx.waker());
            let turn = if round.goes_on(self.sources.len()) { self.sources.take_turn() } else { None };
            return turn.map_or(Step::Done(Poll::Pending), |(id, source)| Step::Pull(Place::Attached(id), source));
        }
    }
}

/// Messages of fewer bytes are copied into one piece with others; of longer ones all connections send the same bytes.
const SHORT: usize = 4 << 10;

/// What a transport sends next.
#[derive(Debug)]
pub(crate) enum Item {
    Packet(Packet),
    Message(Outgoing, Form),
    /// Short messages that a source gave out together, none of which leaves apart.
    Batch(std::vec::IntoIter<Outgoing>, Form),
}

impl Item {
    /// See [`Outgoing::apart`].
    pub(crate) fn is_apart(&self) -> bool {
        matches!(self, Self::Message(message, _) if message.is_apart())
    }

    /// Bytes that its messages count for.
    pub(crate) fn len(&self) -> usize {
        self.messages().iter().map(Outgoing::len).sum()
    }

    fn messages(&self) -> &[Outgoing] {
        match self {
            Self::Packet(_) => &[],
            Self::Message(message, _) => std::slice::from_ref(message),
            Self::Batch(messages, _) => messages.as_slice(),
        }
    }

    /// Counts messages above the given size in the total of queued bytes, for a transport that takes a long time to send them. `None` if
    /// the message is shorter, or if other owners count it.
    pub(crate) fn charge(&self, from: usize, counters: &Arc<Counters>) -> Option<Arc<Charge>> {
        let len = self.len();
        match self {
            _ if len <= from => None,
            Self::Packet(_) => None,
            Self::Message(message, _) => message.charge(counters),
            // They are copied into one piece.
            Self::Batch(..) => Some(Arc::new(Charge::new(counters, len))),
        }
    }

    /// As WebSocket bytes, headers included.
    pub(crate) fn into_websocket(self, protocol: Protocol) -> Bytes {
        match self {
            Self::Packet(packet) => {
                let mut out = BytesMut::new();
                write_frame(&mut out, &packet.encode_frame(protocol));
                out.freeze()
            }
            Self::Message(message, form) => message.frames(form).websocket(protocol).clone(),
            Self::Batch(messages, form) => {
                let frames = || messages.as_slice().iter().map(|message| message.frames(form).websocket(protocol));
                let mut out = BytesMut::with_capacity(frames().map(Bytes::len).sum());
                frames().for_each(|frame| out.extend_from_slice(frame));
                out.freeze()
            }
        }
    }
}
