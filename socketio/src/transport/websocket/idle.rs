//! A WebSocket that waits, without its body: what others send to its client, and the heartbeats that its client sends.
//!
//! ```text
//! WebSocket ─▶ into_idle ─▶ step: bytes … receive: a heartbeat … ─▶ resume ─▶ WebSocket
//! ```

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use actix_web::error::PayloadError;
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _};

use super::{Attached, PIECE, WebSocket};
use crate::{
    EncodedPacket,
    engine::{Connection, Data, Form, Item, Outgoing, Protocol, packet::Packet},
    stats::Counters,
    websocket::{Bucket, Frames, Received},
};

/// Maximum length of a heartbeat that is read here, with its header.
const MAX_HEARTBEAT: usize = 32;

/// What is left of a [`WebSocket`] that waits: neither buffers nor a task. Its server writes to the client itself: what its only source has
/// in the form of [`MessageFrames`], and what comes of [`step`](Self::step). Dropping it ends the connection.
pub struct IdleWebSocket {
    socket: Attached,
    frames: Bucket,
    /// What is to be sent by the body.
    next: Option<Box<Item>>,
}

/// What follows a [step](IdleWebSocket::step).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdleStep {
    /// Nothing, until the waker is called.
    Waits,
    /// Another step: there is more to send.
    Continues,
    /// It has to [resume](IdleWebSocket::resume).
    Ends,
}

impl IdleWebSocket {
    pub(super) fn new(socket: Attached, frames: Bucket) -> Self {
        Self { socket, frames, next: None }
    }

    /// The connection.
    pub fn connection(&self) -> Connection {
        Connection(self.socket.conn.clone())
    }

    /// How its messages are encoded.
    pub fn message_frames(&self) -> MessageFrames {
        let conn = &self.socket.conn;
        MessageFrames { protocol: conn.protocol(), form: conn.form(), counters: conn.counters().clone() }
    }

    /// Appends to `out` what is to be sent to the client now: pings, and what others send to it. The sources of the connection are asked,
    /// too. With [`IdleStep::Waits`], the waker is kept.
    pub fn step(&mut self, cx: &mut Context<'_>, out: &mut Vec<Bytes>) -> IdleStep {
        let Attached { conn, id } = &self.socket;
        let mut bytes = 0;
        while bytes < PIECE {
            match conn.poll_websocket(*id, cx) {
                Poll::Ready(Some(item)) if item.is_apart() || item.len() > PIECE => {
                    self.next = Some(Box::new(item));
                    return IdleStep::Ends;
                }
                Poll::Ready(Some(item)) => {
                    let frames = item.into_websocket(conn.protocol());
                    bytes += frames.len();
                    out.push(frames);
                }
                Poll::Ready(None) => return IdleStep::Ends,
                Poll::Pending => return if conn.is_idle(*id) { IdleStep::Waits } else { IdleStep::Ends },
            }
        }
        IdleStep::Continues
    }

    /// The client has sent these bytes. Returns whether they were a heartbeat, which is all that is read here: the body has to read anything
    /// else.
    pub fn receive(&mut self, bytes: &[u8]) -> bool {
        let conn = &self.socket.conn;
        let Some(packet) = heartbeat(bytes, conn.protocol()) else { return false };
        conn.receive_websocket(self.socket.id, packet);
        true
    }

    /// The client has not taken all that it was sent: until the [body](Self::resume) continues, volatile events for it are dropped.
    pub fn sent_partly(&self) {
        self.socket.conn.websocket_is_busy(self.socket.id);
    }

    /// The body again; `incoming` is what the client sends from now on.
    pub fn resume(self, incoming: impl Stream<Item = Result<Bytes, PayloadError>> + 'static) -> WebSocket {
        let Self { socket, frames, next } = self;
        let mut body = WebSocket::with(socket, incoming.boxed_local(), frames);
        if let Some(item) = next {
            body.begin(*item);
        }
        body
    }
}

impl fmt::Debug for IdleWebSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("IdleWebSocket").field(&self.connection()).finish()
    }
}

/// The heartbeat that these bytes are, if they are one frame with one and nothing else.
fn heartbeat(bytes: &[u8], protocol: Protocol) -> Option<Packet> {
    // Without a look at longer ones, which are no heartbeats.
    if bytes.len() > MAX_HEARTBEAT {
        return None;
    }
    let mut frames = Frames::new(MAX_HEARTBEAT);
    frames.push(Bytes::copy_from_slice(bytes));
    let Ok(Some(Received::Text(text))) = frames.take() else { return None };
    let packet = Packet::decode_frame(Data::Text(text), protocol).ok().filter(|_| frames.is_empty())?;
    match (&packet, protocol) {
        (Packet::Pong(_), Protocol::V4) => Some(packet),
        #[cfg(feature = "eio3")]
        (Packet::Ping(_), Protocol::V3) => Some(packet),
        _ => None,
    }
}

/// How the messages of a WebSocket are encoded: the same bytes for all WebSockets for which this is equal.
#[derive(Clone)]
pub struct MessageFrames {
    protocol: Protocol,
    form: Form,
    counters: Arc<Counters>,
}

impl MessageFrames {
    /// The frames of these messages, one behind the other. Those of one message are shared with all others that send it.
    pub fn encode(&self, messages: &[EncodedPacket]) -> Bytes {
        let messages: Vec<Outgoing> = messages.iter().cloned().map(Outgoing::from).collect();
        let frames = |message| Outgoing::frames(message, self.form).websocket(self.protocol);
        if let [message] = &messages[..] {
            return frames(message).clone();
        }
        let mut out = BytesMut::with_capacity(messages.iter().map(|message| frames(message).len()).sum());
        messages.iter().for_each(|message| out.extend_from_slice(frames(message)));
        out.freeze()
    }

    /// Counts messages that were sent as these frames, and their bytes.
    pub fn count(&self, messages: u64, bytes: u64) {
        self.counters.packets_out.add(messages);
        self.counters.bytes_out.add(bytes);
    }
}

impl PartialEq for MessageFrames {
    fn eq(&self, other: &Self) -> bool {
        self.protocol == other.protocol && self.form == other.form && Arc::ptr_eq(&self.counters, &other.counters)
    }
}

impl Eq for MessageFrames {}

impl fmt::Debug for MessageFrames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageFrames").field("protocol", &self.protocol).field("form", &self.form).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heartbeat_is_one_frame_with_a_pong_and_nothing_else() {
        let masked = |head: u8, data: &[u8]| {
            let mut frame = vec![head, 0x80 | data.len() as u8, 1, 2, 3, 4];
            frame.extend(data.iter().zip([1, 2, 3, 4].iter().cycle()).map(|(byte, mask)| byte ^ mask));
            frame
        };
        let pong = masked(0x81, b"3");
        for (bytes, v4, v3) in [
            (pong.clone(), true, false),
            (masked(0x81, b"2"), false, true),
            (masked(0x81, b"3probe"), true, false),
            (masked(0x81, b"2probe"), false, true),
            (masked(0x81, b"4"), false, false),
            (masked(0x81, b"1"), false, false),
            (masked(0x81, b"42[\"a\"]"), false, false),
            (masked(0x82, b"3"), false, false),
            (masked(0x01, b"3"), false, false),
            (masked(0x8a, b"3"), false, false),
            (masked(0x89, b"2"), false, false),
            ([&pong[..], &pong].concat(), false, false),
            (pong[..6].to_vec(), false, false),
            (b"\x81\x013".to_vec(), false, false),
            (Vec::new(), false, false),
        ] {
            assert_eq!(heartbeat(&bytes, Protocol::V4).is_some(), v4, "{bytes:?}");
            assert_eq!(heartbeat(&bytes, Protocol::V3).is_some(), v3, "{bytes:?}");
        }
    }
}
