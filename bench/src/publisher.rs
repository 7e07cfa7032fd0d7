//! Who publishes: over one connection, so that messages get their order from being sent in it.

use std::{
    io::{self, Read as _, Write as _},
    net::SocketAddr,
};

use clap::ValueEnum;
use mio::{Interest, net::TcpStream};
use serde::{Deserialize, Serialize};

use crate::{
    crowd::{self, Crowd, OTHER},
    reader::{Fault, WebSocket, bare},
    server::Server,
    stamp::Stamp,
    wire::{
        http::{Decoder, Piece},
        websocket,
    },
};

/// How messages are published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Via {
    /// `POST /events`, one request a message, sent without waiting for the answers of those before (pipelining).
    Http,
    /// The event `chat message` over Socket.IO on a WebSocket.
    Socketio,
}

/// The room that is spoken in over Socket.IO, and its channel.
pub(crate) const ROOM: &str = "bench";

enum Kind {
    Http {
        decoder: Decoder,
        /// Of each channel, the head of its requests.
        heads: Vec<String>,
    },
    SocketIo(Box<WebSocket>),
    Bare {
        is_ready: bool,
    },
}

/// See the module.
pub(crate) struct Publisher {
    stream: TcpStream,
    kind: Kind,
    /// Bytes of each message.
    size: usize,
    out: Vec<u8>,
    written: usize,
    has_begun: bool,
    buffer: Vec<u8>,
}

/// The head of a request to `target` that publishes `length` bytes.
pub(crate) fn head(host: &str, target: &str, content_type: &str, length: usize, token: Option<&str>) -> String {
    let authorization = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    format!(
        "POST {target} HTTP/1.1\r\nHost: {host}\r\n{authorization}Content-Type: {content_type}\r\n\
         Content-Length: {length}\r\n\r\n"
    )
}

impl Publisher {
    /// Over HTTP, to `channels`.
    pub(crate) fn http(crowd: &Crowd, server: &Server, channels: &[String], size: usize) -> io::Result<Self> {
        let (host, token) = (server.address.to_string(), server.token.as_deref());
        let head = |channel: &String| head(&host, &server.peer.publishing(channel), "text/plain", size, token);
        let heads = channels.iter().map(head).collect();
        Self::new(crowd, server.address, Kind::Http { decoder: Decoder::default(), heads }, size)
    }

    /// Over Socket.IO, in [`ROOM`].
    pub(crate) fn socket_io(crowd: &Crowd, server: SocketAddr, size: usize) -> io::Result<Self> {
        let join = format!("420[\"join\",\"{ROOM}\"]");
        let client = WebSocket::new(server.to_string().into(), Some(join));
        Self::new(crowd, server, Kind::SocketIo(Box::new(client)), size)
    }

    /// To a server of [`bare`](crate::bare).
    pub(crate) fn bare(crowd: &Crowd, server: SocketAddr, size: usize) -> io::Result<Self> {
        Self::new(crowd, server, Kind::Bare { is_ready: false }, size)
    }

    fn new(crowd: &Crowd, server: SocketAddr, kind: Kind, size: usize) -> io::Result<Self> {
        let mut stream = crowd::connect(server, None)?;
        crowd.registry().register(&mut stream, OTHER, Interest::READABLE | Interest::WRITABLE)?;
        let (out, buffer) = (Vec::with_capacity(64 * 1024), vec![0; 64 * 1024]);
        Ok(Self { stream, kind, size, out, written: 0, has_begun: false, buffer })
    }

    /// Whether messages may be pushed.
    pub(crate) fn is_ready(&self) -> bool {
        match &self.kind {
            Kind::Http { .. } => self.has_begun,
            Kind::SocketIo(client) => client.is_ready(),
            Kind::Bare { is_ready } => *is_ready,
        }
    }

    /// Whether everything that was pushed has been handed to the kernel.
    pub(crate) fn is_drained(&self) -> bool {
        self.written == self.out.len()
    }

    /// Writes a message behind those before it; [`flush`](Self::flush) sends it.
    pub(crate) fn push(&mut self, channel: usize, stamp: Stamp) {
        match &self.kind {
            Kind::Http { heads, .. } => {
                self.out.extend_from_slice(heads[channel].as_bytes());
                stamp.write(self.size, &mut self.out);
            }
            Kind::SocketIo(_) => {
                const BEFORE: &[u8] = b"42[\"chat message\",\"";
                const BEHIND: &[u8] = b"\"]";
                websocket::header(websocket::TEXT, BEFORE.len() + self.size + BEHIND.len(), &mut self.out);
                self.out.extend_from_slice(BEFORE);
                stamp.write(self.size, &mut self.out);
                self.out.extend_from_slice(BEHIND);
            }
            Kind::Bare { .. } => {
                self.out.extend_from_slice(&u32::try_from(self.size).unwrap_or(u32::MAX).to_be_bytes());
                stamp.write(self.size, &mut self.out);
            }
        }
    }

    /// Sends as much as the kernel takes.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        while self.has_begun && self.written < self.out.len() {
            match self.stream.write(&self.out[self.written..]) {
                Ok(written) => self.written += written,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if self.is_drained() {
            self.out.clear();
            self.written = 0;
        }
        Ok(())
    }

    /// To be called when the crowd saw something happen at [`OTHER`].
    ///
    /// # Errors
    /// When a message was refused.
    pub(crate) fn turn(&mut self) -> Result<(), Fault> {
        if !self.has_begun {
            if let Some(error) = self.stream.take_error()? {
                return Err(error.into());
            }
            if self.stream.peer_addr().is_err() {
                return Ok(());
            }
            self.has_begun = true;
            match &mut self.kind {
                Kind::Http { .. } => {}
                Kind::SocketIo(client) => client.begin(&mut self.out),
                Kind::Bare { .. } => self.out.push(bare::PUBLISHER),
            }
        }
        loop {
            match self.stream.read(&mut self.buffer) {
                Ok(0) => return Err(Fault::Closed),
                Ok(read) => self.kind.feed(&self.buffer[..read], &mut self.out)?,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.flush()?;
        Ok(())
    }
}

impl Kind {
    fn feed(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
        match self {
            Self::Http { decoder, .. } => {
                while let Some(piece) = decoder.next(&mut bytes)? {
                    match piece {
                        // nchan says 202 where nobody reads, and durable-streams 204.
                        Piece::Head(201 | 202 | 204) | Piece::Body(_) | Piece::End => {}
                        Piece::Head(status) => return Err(Fault::Status(status, "a message")),
                    }
                }
                Ok(())
            }
            // The publisher is in the room too, and hears what it says.
            Self::SocketIo(client) => client.feed(bytes, out, &mut |_| {}),
            Self::Bare { is_ready } => {
                *is_ready = true;
                Ok(())
            }
        }
    }
}
