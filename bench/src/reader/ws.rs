//! Text frames of a WebSocket, without a protocol above it.

use super::{Fault, Site, get};
use crate::{
    stamp::{Scanner, Stamp},
    wire::{
        http,
        websocket::{self, UPGRADE, frame},
    },
};

/// See the module.
#[derive(Debug)]
pub(crate) struct Ws {
    site: Site,
    is_open: bool,
    http: http::Decoder,
    frames: websocket::Decoder,
    opcode: u8,
    scanner: Scanner,
}

impl Ws {
    pub(super) fn new(site: Site) -> Self {
        let (http, frames) = (http::Decoder::default(), websocket::Decoder::default());
        Self { site, is_open: false, http, frames, opcode: 0, scanner: Scanner::default() }
    }

    pub(super) fn begin(&mut self, out: &mut Vec<u8>) {
        get(out, &self.site.host, format_args!("/ws?channel={}", self.site.channel()), UPGRADE);
    }

    pub(super) fn feed(
        &mut self,
        mut bytes: &[u8],
        out: &mut Vec<u8>,
        heard: &mut dyn FnMut(Stamp),
    ) -> Result<(), Fault> {
        if !self.is_open {
            match self.http.next(&mut bytes)? {
                None => return Ok(()),
                // The subscription is active when the upgrade is answered.
                Some(http::Piece::Head(101)) => self.is_open = true,
                Some(http::Piece::Head(status)) => return Err(Fault::Status(status, "a WebSocket upgrade")),
                Some(_) => return Err(Fault::Refused("an answer without a head")),
            }
        }
        while let Some(piece) = self.frames.next(&mut bytes)? {
            match piece {
                websocket::Piece::Start(websocket::CLOSE) => return Err(Fault::Closed),
                websocket::Piece::Start(opcode) => self.opcode = opcode,
                websocket::Piece::Data(data) => self.scanner.feed(data, heard),
                websocket::Piece::End { .. } if self.opcode == websocket::PING => frame(websocket::PONG, b"", out),
                websocket::Piece::End { .. } => {}
            }
        }
        Ok(())
    }

    pub(super) fn is_ready(&self) -> bool {
        self.is_open
    }
}
