//! What a transport asks a connection for: the session's own packets first, then the outbox, then the sources.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;

use super::conn::{Conn, State};
use crate::engine::{
    outgoing::{Form, Outgoing, Party, write_frame},
    packet::{Packet, Protocol},
    session::{Next, Transport},
    source::Taken,
};

/// What comes of one look at the state.
enum Step {
    Done(Poll<Option<Item>>),
    /// This may leave, once it has the offset of its party's sources.
    Stamp(Outgoing, Party, Form),
    /// There is nothing here: the sources may have something.
    Sources,
}

impl Conn {
    /// What the transport `via` sends next; `Ready(None)` says that it has nothing more to do. `Pending` keeps the waker.
    pub(crate) fn poll_outgoing(self: &Arc<Self>, via: Transport, cx: &mut Context<'_>) -> Poll<Option<Item>> {
        loop {
            let done = match self.with(|state| state.step(via, cx)) {
                Step::Done(done) => done,
                Step::Stamp(message, party, form) => {
                    let stamped = self.stamp(&message, party);
                    // Of one transport alone the sources are asked in between its messages. During an upgrade the other one may be at
                    // it right now, and what it pulled is then to leave first.
                    let done = self.with(|state| match stamped {
                        Some(stamped) if state.staged.len() == 0 => {
                            Some(Poll::Ready(Some(Item::Message(stamped, form))))
                        }
                        Some(_) => {
                            state.outbox.unpop(message);
                            None
                        }
                        None => {
                            state.outbox.unpop(message);
                            state.park(via, cx.waker());
                            Some(Poll::Pending)
                        }
                    });
                    match done {
                        Some(done) => done,
                        None => continue,
                    }
                }
                Step::Sources if self.pull(via, cx) => continue,
                Step::Sources => Poll::Pending,
            };
            if let Poll::Ready(Some(Item::Message(message, _))) = &done {
                self.counters().packets_out.inc();
                self.counters().bytes_out.add(message.len() as u64);
            }
            return done;
        }
    }

    /// Asks each source once, until one has something. True: there is something staged.
    fn pull(self: &Arc<Self>, via: Transport, cx: &mut Context<'_>) -> bool {
        let rounds = self.sources().len();
        for _ in 0..rounds {
            let Some((id, mut source)) = self.sources().take_turn() else {
                return false;
            };
            let batch = source.poll_next(cx, self.core.config.source_budget);
            let ended = matches!(&batch, Poll::Ready(batch) if batch.is_empty());
            let staged = match batch {
                Poll::Ready(batch) if !ended => {
                    // Staged before the source is back in its place: whoever finds it there finds all that it gave out gone before.
                    self.with(|state| {
                        if state.session.is_open() {
                            state.stage(batch);
                        }
                    });
                    true
                }
                _ => false,
            };
            // Whatever is dropped here is dropped after the guard.
            let left = if ended {
                let mut sources = self.sources();
                sources.detach(id);
                Some(source)
            } else {
                let mut sources = self.sources();
                sources.put_back(id, source)
            };
            drop(left);
            // The session may have gone over to another transport meanwhile, which found the source away.
            let waker = self.with(|state| if state.session.transport() == via { None } else { state.active_waker() });
            if let Some(waker) = waker {
                waker.wake();
            }
            if staged {
                return true;
            }
        }
        false
    }

    /// Adds the offset of the party's sources. `None` if one of them is being asked for more by another transport, which then wakes
    /// this one.
    fn stamp(&self, message: &Outgoing, party: Party) -> Option<Outgoing> {
        for n in 0.. {
            let taken = self.sources().take_of(party, n);
            let (id, source) = match taken {
                Taken::Source(id, source) => (id, source),
                Taken::Busy => return None,
                Taken::NoSuch => break,
            };
            let offset = source.offset();
            let left = self.sources().put_back(id, source);
            drop(left);
            if let Some(offset) = offset {
                return Some(message.clone().with_offset(&offset));
            }
        }
        Some(message.clone())
    }
}

impl State {
    /// Puts what was pulled behind what was pulled before and is still here, which there is only while two transports are at it.
    fn stage(&mut self, batch: Vec<Outgoing>) {
        let before = std::mem::take(&mut self.staged);
        self.staged =
            if before.len() == 0 { batch.into_iter() } else { before.chain(batch).collect::<Vec<_>>().into_iter() };
    }

    fn step(&mut self, via: Transport, cx: &Context<'_>) -> Step {
        loop {
            let flushing = match self.session.next(via) {
                Next::Send(packet) => return Step::Done(Poll::Ready(Some(Item::Packet(packet)))),
                Next::End => return Step::Done(Poll::Ready(None)),
                Next::Wait => {
                    self.park(via, cx.waker());
                    return Step::Done(Poll::Pending);
                }
                Next::Application => false,
                Next::Flush => true,
            };
            if self.holds > 0 {
                self.park(via, cx.waker());
                return Step::Done(Poll::Pending);
            }
            if let Some(message) = self.staged.next() {
                if self.staged.len() == 0 {
                    // Most connections idle: an empty batch keeps no memory.
                    self.staged = Vec::new().into_iter();
                }
                return Step::Done(Poll::Ready(Some(Item::Message(message, self.form))));
            }
            if let Some(message) = self.outbox.pop() {
                return match message.wants_offset() {
                    Some(party) if self.has_sources => Step::Stamp(message, party, self.form),
                    _ => Step::Done(Poll::Ready(Some(Item::Message(message, self.form)))),
                };
            }
            if flushing {
                self.session.flushed();
                continue;
            }
            self.park(via, cx.waker());
            return if self.has_sources { Step::Sources } else { Step::Done(Poll::Pending) };
        }
    }
}

/// One thing for a transport to send.
#[derive(Debug)]
pub(crate) enum Item {
    Packet(Packet),
    Message(Outgoing, Form),
}

impl Item {
    /// See [`Outgoing::apart`].
    pub(crate) fn is_apart(&self) -> bool {
        matches!(self, Self::Message(message, _) if message.is_apart())
    }

    /// As WebSocket bytes, headers included.
    pub(crate) fn into_websocket(self, protocol: Protocol) -> Bytes {
        match self {
            Self::Packet(packet) => {
                let mut out = bytes::BytesMut::new();
                write_frame(&mut out, &packet.encode_frame(protocol));
                out.freeze()
            }
            Self::Message(message, form) => message.frames(form).websocket(protocol).clone(),
        }
    }
}
