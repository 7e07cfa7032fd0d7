//! What a transport asks a connection for: the session's own packets first, then the outbox, then the sources.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;

use super::conn::Conn;
use crate::engine::{
    outgoing::{Form, Outgoing, write_frame},
    packet::{Packet, Protocol},
    session::{Next, Transport},
};

impl Conn {
    /// What the transport `via` sends next; `Ready(None)` says that it has nothing more to do. `Pending` keeps the waker.
    pub(crate) fn poll_outgoing(self: &Arc<Self>, via: Transport, cx: &mut Context<'_>) -> Poll<Option<Item>> {
        loop {
            enum Step {
                Done(Poll<Option<Item>>),
                Sources,
            }
            let step = self.with(|state| {
                loop {
                    let flushing = match state.session.next(via) {
                        Next::Send(packet) => {
                            return Step::Done(Poll::Ready(Some(Item::Packet(packet))));
                        }
                        Next::End => return Step::Done(Poll::Ready(None)),
                        Next::Wait => {
                            state.park(via, cx.waker());
                            return Step::Done(Poll::Pending);
                        }
                        Next::Application => false,
                        Next::Flush => true,
                    };
                    if let Some(message) = state.staged.pop_front().or_else(|| state.outbox.pop()) {
                        return Step::Done(Poll::Ready(Some(Item::Message(message, state.form))));
                    }
                    if flushing {
                        state.session.flushed();
                        continue;
                    }
                    state.park(via, cx.waker());
                    return if state.has_sources { Step::Sources } else { Step::Done(Poll::Pending) };
                }
            });
            match step {
                Step::Done(Poll::Ready(Some(Item::Message(message, form)))) => {
                    self.counters().packets_out.inc();
                    self.counters().bytes_out.add(message.len() as u64);
                    return Poll::Ready(Some(Item::Message(message, form)));
                }
                Step::Done(done) => return done,
                Step::Sources if self.pull(cx) => {}
                Step::Sources => return Poll::Pending,
            }
        }
    }

    /// Asks each source once, until one has something. True: there is something staged.
    fn pull(self: &Arc<Self>, cx: &mut Context<'_>) -> bool {
        let rounds = self.sources().len();
        for _ in 0..rounds {
            let Some((id, mut source)) = self.sources().take_turn() else {
                return false;
            };
            let batch = source.poll_next(cx, self.core.config.source_budget);
            let ended = matches!(&batch, Poll::Ready(batch) if batch.is_empty());
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
            if let Poll::Ready(batch) = batch
                && !ended
            {
                self.with(|state| {
                    if state.session.is_open() {
                        state.staged.extend(batch);
                    }
                });
                return true;
            }
        }
        false
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
