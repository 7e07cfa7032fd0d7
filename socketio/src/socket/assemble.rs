//! Assembles packets and their attachments: takes the messages of one connection, returns complete packets.
//!
//! A binary packet announces its attachments, which follow immediately and in order, without another message in between. [`Limits`] bounds
//! the memory. The owner decides how long to wait for the rest; [`Assembler::is_waiting`] shows that some is missing.
//!
//! Specification: Socket.IO protocol 5, "Packet encoding", binary events.

use bytes::Bytes;
use bytestring::ByteString;

use super::packet::{Packet, Payload};
use super::text::{self, Decoded, ParseError};

/// Bounds on one packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Maximum number of attachments of a packet. Default 10, as in Node.
    pub max_attachments: usize,
    /// Maximum size of a packet in bytes, its text and all attachments together. Default 2,000,000, twice the maximum of one message:
    /// enough for one of the largest attachments and the rest of the packet. Bounds the memory that a connection can use.
    pub max_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_attachments: 10, max_bytes: 2_000_000 }
    }
}

/// The incomplete packet of one connection. After an error the connection must be closed.
#[derive(Debug, Default)]
pub struct Assembler {
    limits: Limits,
    waiting: Option<Box<Waiting>>,
}

#[derive(Debug)]
struct Waiting {
    packet: Packet,
    due: usize,
    bytes: usize,
    attachments: Vec<Bytes>,
}

impl Assembler {
    /// An assembler with these limits.
    pub fn new(limits: Limits) -> Self {
        Self { limits, waiting: None }
    }

    /// Whether a packet has announced attachments that have not come yet.
    pub fn is_waiting(&self) -> bool {
        self.waiting.is_some()
    }

    /// Bytes of the packet in the making.
    pub fn bytes(&self) -> usize {
        self.waiting.as_ref().map_or(0, |waiting| waiting.bytes)
    }

    /// Takes the content of a text message. Gives the packet, unless it has attachments.
    ///
    /// # Errors
    /// When the text is no packet, is too large, or attachments were due.
    pub fn text(&mut self, text: &ByteString) -> Result<Option<Packet>, ParseError> {
        if self.waiting.is_some() {
            return Err(ParseError::UnexpectedText);
        }
        if text.len() > self.limits.max_bytes {
            return Err(ParseError::TooLarge(self.limits.max_bytes));
        }
        let Decoded { packet, attachments: due } = text::decode(text, self.limits.max_attachments)?;
        if due == 0 {
            return Ok(Some(packet));
        }
        self.waiting = Some(Box::new(Waiting { packet, due, bytes: text.len(), attachments: Vec::new() }));
        Ok(None)
    }

    /// Takes the content of a binary message. Gives the packet if this was the last that it waited for.
    ///
    /// # Errors
    /// When none was due, or the packet grows too large.
    pub fn binary(&mut self, data: Bytes) -> Result<Option<Packet>, ParseError> {
        let mut waiting = self.waiting.take().ok_or(ParseError::UnexpectedBinary)?;
        waiting.bytes = waiting.bytes.saturating_add(data.len());
        if waiting.bytes > self.limits.max_bytes {
            return Err(ParseError::TooLarge(self.limits.max_bytes));
        }
        waiting.attachments.push(data);
        if waiting.attachments.len() < waiting.due {
            self.waiting = Some(waiting);
            return Ok(None);
        }
        let Waiting { mut packet, attachments, .. } = *waiting;
        packet.payload = packet.payload.map(|payload| Payload::from_parts(payload.into_parts().0, attachments));
        Ok(Some(packet))
    }
}

#[cfg(test)]
mod tests;
