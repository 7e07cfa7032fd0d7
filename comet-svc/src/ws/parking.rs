//! A connection that is parked while it waits, and the answers to its pings that it takes meanwhile.

use std::task::{Context, Waker};

use edge::stream::{ClientBytes, Live, Own, Parts, StreamSchedule};
use shared::live::reader::Reader;
use socketio::websocket::{Received, is_pong};
use tokio::time::Instant;

use super::{
    conversation::Step,
    frames::TextFrames,
    socket::{Idle, Socket},
};

impl Live for Socket {
    fn can_park(&self) -> bool {
        self.is_idle()
    }

    fn is_ended(&self, cx: &Context<'_>) -> bool {
        self.poll_end(cx).is_ready()
    }

    fn take_apart(self: Box<Self>) -> Parts {
        let (idle, reader, times) = self.into_idle();
        let form = Box::new(TextFrames { publisher: idle.access.publisher() });
        Parts { reader, form, transport: idle.slot.transport(), times, own: Box::new(idle) }
    }
}

impl Own for Idle {
    fn resume(self: Box<Self>, reader: Reader, times: StreamSchedule, incoming: ClientBytes) -> Box<dyn Live> {
        Box::new(Socket::resumed(*self, reader, times, incoming))
    }

    fn is_ended(&self) -> bool {
        self.slot.end().is_some()
    }

    fn wait_for_end(&self, waker: &Waker) {
        let _ = self.slot.poll_end(&Context::from_waker(waker));
    }

    fn sends_keep_alive(&mut self, now: Instant) {
        self.alive.pinged(now);
    }

    fn deadline(&self) -> Option<Instant> {
        self.alive.deadline()
    }

    fn receive(&mut self, bytes: &[u8], now: Instant) -> bool {
        // It counts as any frame does. One too many closes the connection, which reads it again.
        let is_answer =
            is_pong(bytes) && matches!(self.conversation.receive(Ok(Received::Pong), now.into_std()), Step::Pong);
        if is_answer {
            self.alive.pong();
        }
        is_answer
    }
}
