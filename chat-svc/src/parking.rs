//! Connections over WebSocket that are parked while they wait.
//!
//! ```text
//! upgrade ─▶ Body ─▶ it waits for messages of its member alone ─▶ Waiting, in a cohort ─▶ the client sends a packet ─▶ Body
//! ```
//!
//! The cohort sends the messages of the log: for the same form, the same bytes. Presence, broadcasts and pings are in the outbox of each
//! connection, and are written where it is parked.

use std::{
    any::Any,
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use actix_web::body::{BodySize, MessageBody};
use bytes::Bytes;
use edge::{
    metrics::Transport,
    stream::{AnyForm, ClientBytes, Live, Own, Parts, Sent, StreamSchedule},
};
use futures_util::Stream as _;
use shared::{
    live::{
        log::Log,
        reader::{Batch, Reader},
    },
    pure::{Cursor, Publisher, Since},
};
use socketio::{EncodedPacket, IdleStep, IdleWebSocket, MessageFrames, WebSocket};

use crate::{
    member::{Member, Place},
    wire::Event,
};

/// A connection over WebSocket.
pub(crate) struct Body {
    websocket: WebSocket,
    log: Arc<Log>,
}

/// What is left of one that is parked.
struct Waiting {
    websocket: IdleWebSocket,
    log: Arc<Log>,
    /// The member whose reader the cohort has. None: it has left the chat at the last moment.
    member: Option<Arc<Member>>,
}

/// How messages are encoded.
#[derive(PartialEq, Eq)]
struct Events {
    frames: MessageFrames,
    is_plain: bool,
    publisher: Publisher,
}

impl Body {
    pub(crate) fn new(websocket: WebSocket, log: Arc<Log>) -> Self {
        Self { websocket, log }
    }
}

impl MessageBody for Body {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Infallible>>> {
        Pin::new(&mut self.get_mut().websocket).poll_next(cx).map(|bytes| bytes.map(Ok))
    }
}

impl Live for Body {
    fn can_park(&self) -> bool {
        self.websocket.is_idle()
            && self.websocket.connection().permit::<Place>().is_some_and(|place| {
                // Until it is counted as a WebSocket, its messages are not.
                place.lock().transport() == Transport::WebSocket
                    && place.member().is_some_and(|member| member.state().can_lend())
            })
    }

    fn is_ended(&self, _: &Context<'_>) -> bool {
        false
    }

    fn take_apart(self: Box<Self>) -> Parts {
        let Self { websocket, log } = *self;
        let websocket = websocket.into_idle();
        let member = websocket.connection().permit::<Place>().and_then(|place| place.member());
        let lent = member.and_then(|member| {
            let mut state = member.state();
            let reader = state.lend()?;
            let (is_plain, publisher) = (state.feed.is_plain(), state.feed.publisher());
            drop(state);
            Some((reader, is_plain, publisher, member))
        });
        let (reader, is_plain, publisher, member) = match lent {
            Some((reader, is_plain, publisher, member)) => (reader, is_plain, publisher, Some(member)),
            // It continues at once.
            None => (Reader::open(&log, &[], Since::Now), false, Publisher::Hidden, None),
        };
        let form = Box::new(Events { frames: websocket.message_frames(), is_plain, publisher });
        // Its connection has pings of its own, and an end.
        let times = StreamSchedule { keep_alive: Duration::MAX, end: None };
        Parts {
            reader,
            form,
            transport: Transport::WebSocket,
            times,
            own: Box::new(Waiting { websocket, log, member }),
        }
    }
}

impl Own for Waiting {
    fn resume(self: Box<Self>, reader: Reader, _: StreamSchedule, incoming: ClientBytes) -> Box<dyn Live> {
        let Self { websocket, log, member } = *self;
        if let Some(member) = member {
            member.state().feed.take_back(reader);
        }
        Box::new(Body::new(websocket.resume(incoming), log))
    }

    fn is_sent_to(&self) -> bool {
        true
    }

    fn send(&mut self, place: Cursor, cx: &mut Context<'_>, out: &mut Vec<Bytes>) -> Sent {
        let Some(member) = &self.member else { return Sent::Ends };
        {
            let mut state = member.state();
            if state.is_gone() {
                return Sent::Ends;
            }
            state.feed.lent_at(place);
        }
        match self.websocket.step(cx, out) {
            IdleStep::Waits => Sent::Waits,
            IdleStep::Continues => Sent::Continues,
            IdleStep::Ends => Sent::Ends,
        }
    }

    fn sent_partly(&mut self) {
        self.websocket.sent_partly();
    }

    fn receive(&mut self, bytes: &[u8], _: tokio::time::Instant) -> bool {
        self.websocket.receive(bytes)
    }
}

impl AnyForm for Events {
    fn chunk(&self, batch: &Batch, _: bool) -> Bytes {
        let event = |message: &Arc<_>| Event::of(message, self.is_plain, self.publisher);
        let events: Vec<EncodedPacket> = batch.messages.iter().map(event).collect();
        self.frames.encode(&events)
    }

    fn keep_alive(&self) -> Bytes {
        Bytes::new()
    }

    fn has_sent(&self, messages: u64, bytes: u64) {
        self.frames.count(messages, bytes);
    }

    fn is_same(&self, other: &dyn AnyForm) -> bool {
        let other: &dyn Any = other;
        other.downcast_ref::<Self>() == Some(self)
    }
}
