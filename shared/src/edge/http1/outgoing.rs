//! The written side of a connection: heads and bodies of responses (RFC 9112), and the bytes that the kernel has not taken yet.

use std::{
    io::{self, Write as _},
    pin::Pin,
    task::{Context, Poll, ready},
};

use actix_web::{
    body::BodySize,
    dev::ResponseHead,
    http::{ConnectionType, StatusCode, Version, header},
    rt::net::TcpStream,
};
use tokio::io::AsyncWrite as _;

use super::clock::Clock;

/// What of a request decides how its answer is written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) version: Version,
    pub(super) is_head: bool,
    /// Whether the client wants to go on with the connection, and can.
    pub(super) keeps: bool,
}

/// How the end of a body is known (RFC 9112 §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// There is none.
    Nothing,
    /// It was told before.
    Length,
    /// By a chunk of nothing.
    Chunks,
    /// By the end of the connection.
    Close,
}

/// What comes after a response on its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) framing: Framing,
    /// Whether another request may follow.
    pub(super) keeps: bool,
}

/// Bytes on their way out. Without memory while there are none.
#[derive(Default)]
pub(super) struct Outgoing {
    bytes: Vec<u8>,
    /// So many of them the kernel has.
    taken: usize,
}

impl Outgoing {
    /// Bytes that wait.
    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.taken
    }

    /// As they are.
    pub(super) fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The head of a response with a body of this size.
    pub(super) fn head(&mut self, response: &ResponseHead, size: BodySize, shape: Shape, clock: &Clock) -> Written {
        let status = response.status;
        let has_none = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let is_switch = status == StatusCode::SWITCHING_PROTOCOLS;
        let framing = match size {
            _ if has_none => Framing::Nothing,
            _ if is_switch => Framing::Close,
            BodySize::None | BodySize::Sized(0) => Framing::Nothing,
            BodySize::Sized(_) => Framing::Length,
            BodySize::Stream if response.chunked() && shape.version >= Version::HTTP_11 => Framing::Chunks,
            BodySize::Stream => Framing::Close,
        };
        let keeps = shape.keeps && response.connection_type() == ConnectionType::KeepAlive && framing != Framing::Close;

        self.bytes.reserve(256 + response.headers.len() * 32);
        self.bytes.extend_from_slice(if shape.version < Version::HTTP_11 { b"HTTP/1.0 " } else { b"HTTP/1.1 " });
        self.bytes.extend_from_slice(status.as_str().as_bytes());
        self.bytes.push(b' ');
        self.bytes.extend_from_slice(response.reason().as_bytes());
        self.bytes.extend_from_slice(b"\r\n");
        let mut is_dated = false;
        for (name, value) in &response.headers {
            match *name {
                header::CONNECTION | header::TRANSFER_ENCODING => continue,
                // What we know of the length counts, unless the body is one that is not sent (RFC 9110 §8.6).
                header::CONTENT_LENGTH if status != StatusCode::NOT_MODIFIED => continue,
                header::DATE => is_dated = true,
                _ => {}
            }
            self.field(name.as_str().as_bytes(), value.as_bytes());
        }
        match (framing, size) {
            (Framing::Chunks, _) => self.field(b"transfer-encoding", b"chunked"),
            (Framing::Length, BodySize::Sized(length)) => {
                // A vector takes all that is written to it.
                let _ = write!(self.bytes, "content-length: {length}\r\n");
            }
            (Framing::Nothing, BodySize::Sized(0) | BodySize::None) if !has_none => self.field(b"content-length", b"0"),
            _ => {}
        }
        if is_switch {
            self.field(b"connection", b"upgrade");
        } else if !keeps {
            self.field(b"connection", b"close");
        } else if shape.version < Version::HTTP_11 {
            self.field(b"connection", b"keep-alive");
        }
        if !is_dated {
            self.bytes.extend_from_slice(b"date: ");
            clock.write_date(&mut self.bytes);
            self.bytes.extend_from_slice(b"\r\n");
        }
        self.bytes.extend_from_slice(b"\r\n");
        Written { framing: if shape.is_head { Framing::Nothing } else { framing }, keeps }
    }

    fn field(&mut self, name: &[u8], value: &[u8]) {
        self.bytes.extend_from_slice(name);
        self.bytes.extend_from_slice(b": ");
        self.bytes.extend_from_slice(value);
        self.bytes.extend_from_slice(b"\r\n");
    }

    /// A part of a body.
    pub(super) fn chunk(&mut self, framing: Framing, chunk: &[u8]) {
        // An empty chunk would be the last one (RFC 9112 §7.1).
        if chunk.is_empty() {
            return;
        }
        if framing != Framing::Chunks {
            return self.raw(chunk);
        }
        // The longest size there is, and two line ends.
        self.bytes.reserve(chunk.len() + 16 + 4);
        // A vector takes all that is written to it.
        let _ = write!(self.bytes, "{:X}\r\n", chunk.len());
        self.bytes.extend_from_slice(chunk);
        self.bytes.extend_from_slice(b"\r\n");
    }

    /// The end of a body.
    pub(super) fn end(&mut self, framing: Framing) {
        if framing == Framing::Chunks {
            self.bytes.extend_from_slice(b"0\r\n\r\n");
        }
    }

    /// Hands all there is to the kernel.
    ///
    /// # Errors
    /// When the client takes nothing any more.
    pub(super) fn poll_flush(&mut self, socket: &mut TcpStream, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.taken < self.bytes.len() {
            match ready!(Pin::new(&mut *socket).poll_write(cx, &self.bytes[self.taken..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                taken => self.taken += taken,
            }
        }
        *self = Self::default();
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests;
