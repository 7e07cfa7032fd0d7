//! Socket.IO over a WebSocket, opened directly: upgrade, `0`, `40`, and a question that is acked if there is one.

use std::rc::Rc;

use super::{Fault, get};
use crate::{
    stamp::{Scanner, Stamp},
    wire::{
        http,
        packet::{Packet, Packets},
        websocket::{self, UPGRADE, frame},
    },
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Upgrading,
    /// The WebSocket is open, or already the session: `40` is next, or its answer.
    Greeting,
    /// The request is in flight.
    Asking,
    Ready,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct WebSocket {
    host: Rc<str>,
    question: Option<String>,
    phase: Phase,
    http: http::Decoder,
    frames: websocket::Decoder,
    packets: Packets,
    opcode: u8,
    scanner: Scanner,
}

impl WebSocket {
    /// A client that sends `question` once it is in the namespace, and is ready when that is acked.
    pub(crate) fn new(host: Rc<str>, question: Option<String>) -> Self {
        Self {
            host,
            question,
            phase: Phase::Upgrading,
            http: http::Decoder::default(),
            frames: websocket::Decoder::default(),
            packets: Packets::default(),
            opcode: 0,
            scanner: Scanner::default(),
        }
    }

    /// Writes the upgrade.
    pub(crate) fn begin(&mut self, out: &mut Vec<u8>) {
        get(out, &self.host, format_args!("/socket.io/?EIO=4&transport=websocket"), UPGRADE);
    }

    /// As [`Reader::feed`](super::Reader::feed).
    pub(crate) fn feed(
        &mut self,
        mut bytes: &[u8],
        out: &mut Vec<u8>,
        heard: &mut dyn FnMut(Stamp),
    ) -> Result<(), Fault> {
        if self.phase == Phase::Upgrading {
            match self.http.next(&mut bytes)? {
                None => return Ok(()),
                Some(http::Piece::Head(101)) => self.phase = Phase::Greeting,
                Some(http::Piece::Head(status)) => return Err(Fault::Status(status, "a WebSocket upgrade")),
                Some(_) => return Err(Fault::Refused("an answer without a head")),
            }
        }
        while let Some(piece) = self.frames.next(&mut bytes)? {
            match piece {
                websocket::Piece::Start(websocket::CLOSE) => return Err(Fault::Closed),
                websocket::Piece::Start(opcode) => self.opcode = opcode,
                websocket::Piece::Data(data) => {
                    self.packets.feed(data);
                    self.scanner.feed(data, heard);
                }
                websocket::Piece::End { .. } if self.opcode == websocket::PING => frame(websocket::PONG, b"", out),
                websocket::Piece::End { is_final: false } => {}
                websocket::Piece::End { is_final: true } => {
                    let mut met = None;
                    self.packets.end(&mut |packet| met = Some(packet));
                    met.map_or(Ok(()), |packet| self.react(packet, out))?;
                }
            }
        }
        Ok(())
    }

    fn react(&mut self, packet: Packet, out: &mut Vec<u8>) -> Result<(), Fault> {
        match packet {
            Packet::Open => frame(websocket::TEXT, b"40", out),
            Packet::Ping => frame(websocket::TEXT, b"3", out),
            Packet::Connected => {
                self.phase = match &self.question {
                    Some(question) => {
                        frame(websocket::TEXT, question.as_bytes(), out);
                        Phase::Asking
                    }
                    None => Phase::Ready,
                }
            }
            Packet::Ack if self.phase == Phase::Asking => self.phase = Phase::Ready,
            Packet::Refused => return Err(Fault::Refused("the namespace")),
            Packet::Close => return Err(Fault::Closed),
            Packet::Ack | Packet::Other => {}
        }
        Ok(())
    }

    /// Whether it is in the namespace, and its question answered.
    pub(crate) fn is_ready(&self) -> bool {
        self.phase == Phase::Ready
    }
}
