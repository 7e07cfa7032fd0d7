//! The write side of a connection: heads and bodies of responses (RFC 9112), and the bytes that the kernel has not accepted yet.

use std::{
    collections::VecDeque,
    io::{self, IoSlice, Write as _},
    pin::Pin,
    task::{Context, Poll},
};

use actix_web::{
    HttpResponse,
    body::{BodySize, MessageBody as _},
    dev::ResponseHead,
    http::{ConnectionType, StatusCode, Version, header},
    rt::net::TcpStream,
};
use bytes::{Buf as _, Bytes};
use socket2::SockRef;
use tokio::io::AsyncWrite as _;

use super::clock::Clock;

/// The properties of a request that determine how its response is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) version: Version,
    pub(super) is_head: bool,
    /// Whether the client keeps the connection open, and can.
    pub(super) keeps: bool,
}

/// How a body is delimited (RFC 9112 §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// There is no body.
    Nothing,
    /// By its announced length.
    Length,
    /// By an empty chunk.
    Chunks,
    /// By the end of the connection.
    Close,
}

/// What follows a response on its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) framing: Framing,
    /// Whether another request may follow.
    pub(super) keeps: bool,
}

/// A part of a body of at least this size is not copied: many clients may be sent the same bytes, without reading them.
const MIN_SHARED: usize = 4 * 1024;
/// Maximum size of one write in bytes. The kernel's buffer exceeds its limit by at most one write, and only after that has been sent does
/// the socket become writable for a slow client.
pub(super) const MAX_WRITE: usize = 16 * 1024;
/// What ends a body in chunks (RFC 9112 §7.1).
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";
/// Maximum number of parts in one write.
pub(super) const MAX_PARTS: usize = 8;

/// The queue of outgoing bytes. Allocates nothing while it is empty.
#[derive(Default)]
pub(super) struct Outgoing {
    /// Sent first.
    parts: VecDeque<Bytes>,
    /// Sent after them: heads, framing, and data that is too short to be shared.
    bytes: Vec<u8>,
    /// The kernel has this many of `bytes`; zero while there are parts.
    taken: usize,
}

/// A part of a body as a chunk, with its framing (RFC 9112 §7.1). A long part is not copied.
pub(super) fn framed(part: Bytes) -> Vec<Bytes> {
    const LINE_END: &[u8] = b"\r\n";
    let is_shared = part.len() >= MIN_SHARED;
    let mut before = Vec::with_capacity(16 + 4 + if is_shared { 0 } else { part.len() });
    // Writing to a vector never fails.
    let _ = write!(before, "{:X}\r\n", part.len());
    if is_shared {
        return vec![before.into(), part, Bytes::from_static(LINE_END)];
    }
    before.extend_from_slice(&part);
    before.extend_from_slice(LINE_END);
    vec![before.into()]
}

impl Outgoing {
    /// These bytes, and nothing else yet.
    pub(super) fn of(parts: Vec<Bytes>) -> Self {
        Self { parts: parts.into_iter().filter(|bytes| !bytes.is_empty()).collect(), ..Self::default() }
    }

    /// A whole response, and what follows it. `None` if its body is not in memory.
    pub(super) fn whole(response: HttpResponse, shape: Shape, clock: &Clock) -> Option<(Vec<Bytes>, Written)> {
        let (head, body) = response.into_parts();
        let mut outgoing = Self::default();
        let size = body.size();
        let written = outgoing.head(head.head(), size, shape, clock);
        let body = body.try_into_bytes().ok()?;
        if written.framing != Framing::Nothing {
            outgoing.chunk(written.framing, body);
        }
        outgoing.parts.push_back(outgoing.bytes.into());
        Some((outgoing.parts.into(), written))
    }

    /// The number of queued bytes.
    pub(super) fn len(&self) -> usize {
        self.parts.iter().map(Bytes::len).sum::<usize>() + self.bytes.len() - self.taken
    }

    /// Appends them unchanged.
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
                // The actual length is used, unless the body is not sent (RFC 9110 §8.6).
                header::CONTENT_LENGTH if status != StatusCode::NOT_MODIFIED => continue,
                header::DATE => is_dated = true,
                _ => {}
            }
            self.field(name.as_str().as_bytes(), value.as_bytes());
        }
        match (framing, size) {
            (Framing::Chunks, _) => self.field(b"transfer-encoding", b"chunked"),
            (Framing::Length, BodySize::Sized(length)) => {
                // Writing to a vector never fails.
                let _ = write!(self.bytes, "content-length: {length}\r\n");
            }
            // The length of the GET's response may be unknown for a HEAD (RFC 9110 §8.6).
            (Framing::Nothing, BodySize::None) if shape.is_head => {}
            (Framing::Nothing, BodySize::Sized(0) | BodySize::None) if !has_none => self.field(b"content-length", b"0"),
            _ => {}
        }
        // `Upgrade` is always named here (RFC 9110 §7.8).
        let is_offered = response.headers.contains_key(header::UPGRADE);
        if is_switch || (is_offered && keeps) {
            self.field(b"connection", b"upgrade");
        } else if is_offered {
            self.field(b"connection", b"close, upgrade");
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
    pub(super) fn chunk(&mut self, framing: Framing, chunk: Bytes) {
        // An empty chunk would be the last one (RFC 9112 §7.1).
        if chunk.is_empty() {
            return;
        }
        let is_framed = framing == Framing::Chunks;
        if is_framed {
            // The longest size, and two line ends.
            self.bytes.reserve(16 + 4 + if chunk.len() < MIN_SHARED { chunk.len() } else { 0 });
            // Writing to a vector never fails.
            let _ = write!(self.bytes, "{:X}\r\n", chunk.len());
        }
        if chunk.len() < MIN_SHARED {
            self.bytes.extend_from_slice(&chunk);
        } else {
            self.share(chunk);
        }
        if is_framed {
            self.bytes.extend_from_slice(b"\r\n");
        }
    }

    /// Appends `part` without a copy.
    fn share(&mut self, part: Bytes) {
        let mut before = Bytes::from(std::mem::take(&mut self.bytes));
        before.advance(std::mem::take(&mut self.taken));
        self.parts.extend([before, part].into_iter().filter(|part| !part.is_empty()));
    }

    /// The end of a body.
    pub(super) fn end(&mut self, framing: Framing) {
        if framing == Framing::Chunks {
            self.bytes.extend_from_slice(LAST_CHUNK);
        }
    }

    /// Writes everything to the kernel.
    ///
    /// # Errors
    /// When the connection is closed.
    pub(super) fn poll_flush(&mut self, socket: &mut TcpStream, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.len() > 0 {
            let written = if self.parts.is_empty() {
                Pin::new(&mut *socket).poll_write(cx, self.first())
            } else {
                Pin::new(&mut *socket).poll_write_vectored(cx, &self.slices())
            };
            match written {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(taken)) => self.advance(taken),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    self.shrink();
                    return Poll::Pending;
                }
            }
        }
        *self = Self::default();
        Poll::Ready(Ok(()))
    }

    /// Writes what the kernel accepts, without asking tokio first.
    ///
    /// # Errors
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) if the kernel accepts nothing, or that the connection is lost.
    pub(super) fn write_now(&mut self, socket: &TcpStream) -> io::Result<()> {
        match (&mut &*SockRef::from(socket)).write(self.first())? {
            0 => Err(io::ErrorKind::WriteZero.into()),
            taken => {
                self.advance(taken);
                Ok(())
            }
        }
    }

    /// The first bytes, for one write.
    fn first(&self) -> &[u8] {
        let first = self.parts.front().map_or(&self.bytes[self.taken..], |part| &part[..]);
        &first[..first.len().min(MAX_WRITE)]
    }

    /// As [`first`](Self::first), for several parts.
    fn slices(&self) -> Vec<IoSlice<'_>> {
        let mut left = MAX_WRITE;
        let all = self.parts.iter().map(|part| &part[..]).chain([&self.bytes[self.taken..]]);
        all.map(|part| {
            let part = &part[..part.len().min(left)];
            left -= part.len();
            IoSlice::new(part)
        })
        .take_while(|part| !part.is_empty())
        .take(MAX_PARTS)
        .collect()
    }

    /// This many more bytes have been written.
    fn advance(&mut self, mut taken: usize) {
        while let Some(part) = self.parts.front_mut() {
            if taken < part.len() {
                part.advance(taken);
                return;
            }
            taken -= part.len();
            self.parts.pop_front();
        }
        self.taken += taken;
    }

    /// Frees memory that the queued bytes do not need.
    fn shrink(&mut self) {
        if self.taken > 0 || self.bytes.capacity() > 2 * self.bytes.len() {
            self.bytes.drain(..std::mem::take(&mut self.taken));
            self.bytes.shrink_to_fit();
        }
    }
}

#[cfg(test)]
mod tests;
