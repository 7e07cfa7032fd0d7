//! Readers, one for each transport: take bytes from the server, return received stamps and bytes for the server.
//!
//! No sockets and no clock: [`crowd`](crate::crowd) reads and writes for thousands of these at once. Each reader performs its transport's
//! handshake and is ready when it will receive everything published from then on.

pub(crate) mod bare;
mod longpoll;
mod polling;
mod stream;
mod websocket;
mod ws;

use std::{io::Write as _, rc::Rc};

pub(crate) use websocket::WebSocket;

pub(crate) use crate::transport::Transport;
use crate::{peer::Peer, stamp::Stamp, wire::Malformed};

/// What went wrong with one connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("the server answered {0} to {1}")]
    Status(u16, &'static str),
    #[error("the server refused: {0}")]
    Refused(&'static str),
    #[error("the server ended the connection")]
    Closed,
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// What to read.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    /// Whose it is.
    pub(crate) peer: Peer,
    /// For the `Host` header.
    pub(crate) host: Rc<str>,
    /// The channel; without one, a Socket.IO reader only joins the namespace.
    pub(crate) channel: Option<Rc<str>>,
    /// Where an event stream begins; without it, with what is published from then on.
    pub(crate) since: Option<&'static str>,
}

impl Site {
    fn channel(&self) -> &str {
        self.channel.as_deref().unwrap_or("public.bench")
    }

    /// What a Socket.IO reader asks for once it is connected: a packet that is acked.
    fn subscription(&self) -> Option<String> {
        self.channel.as_ref().map(|channel| format!("420[\"subscribe\",{{\"channels\":[\"{channel}\"]}}]"))
    }
}

/// A reader of any transport.
#[derive(Debug)]
pub(crate) enum Reader {
    Stream(stream::Stream),
    Longpoll(longpoll::Longpoll),
    Ws(ws::Ws),
    WebSocket(WebSocket),
    Polling(polling::Polling),
    Bare(bare::Bare),
}

impl Reader {
    /// A reader that has not said anything yet.
    pub(crate) fn new(transport: Transport, site: Site) -> Self {
        match transport {
            Transport::Sse | Transport::Stream => Self::Stream(stream::Stream::new(transport, site)),
            Transport::Longpoll => Self::Longpoll(longpoll::Longpoll::new(site)),
            Transport::Ws => Self::Ws(ws::Ws::new(site)),
            Transport::Websocket => {
                let question = site.subscription();
                Self::WebSocket(WebSocket::new(site.host, question))
            }
            Transport::Polling => Self::Polling(polling::Polling::new(site)),
            Transport::Bare => Self::Bare(bare::Bare::default()),
        }
    }

    /// Writes the first bytes, once the connection is open.
    pub(crate) fn begin(&mut self, out: &mut Vec<u8>) {
        match self {
            Self::Stream(reader) => reader.begin(out),
            Self::Longpoll(reader) => reader.begin(out),
            Self::Ws(reader) => reader.begin(out),
            Self::WebSocket(reader) => reader.begin(out),
            Self::Polling(reader) => reader.begin(out),
            Self::Bare(_) => out.push(bare::READER),
        }
    }

    /// Takes received bytes, calls `heard` for each stamp in them, and writes the reader's reply.
    ///
    /// # Errors
    /// When the server says what it must not, or refuses.
    pub(crate) fn feed(&mut self, bytes: &[u8], out: &mut Vec<u8>, heard: &mut dyn FnMut(Stamp)) -> Result<(), Fault> {
        match self {
            Self::Stream(reader) => reader.feed(bytes, heard),
            Self::Longpoll(reader) => reader.feed(bytes, out, heard),
            Self::Ws(reader) => reader.feed(bytes, out, heard),
            Self::WebSocket(reader) => reader.feed(bytes, out, heard),
            Self::Polling(reader) => reader.feed(bytes, out, heard),
            Self::Bare(reader) => {
                reader.feed(bytes, heard);
                Ok(())
            }
        }
    }

    /// Whether everything that is published from now on will come.
    pub(crate) fn is_ready(&self) -> bool {
        match self {
            Self::Stream(reader) => reader.is_ready(),
            Self::Longpoll(reader) => reader.is_ready(),
            Self::Ws(reader) => reader.is_ready(),
            Self::WebSocket(reader) => reader.is_ready(),
            Self::Polling(reader) => reader.is_ready(),
            Self::Bare(reader) => reader.is_ready(),
        }
    }
}

/// Appends a `GET` of `target` with further header lines, each ended by CRLF.
fn get(out: &mut Vec<u8>, host: &str, target: std::fmt::Arguments<'_>, headers: &str) {
    // A vector takes all that is written to it.
    let _ = write!(out, "GET {target} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: trident-bench\r\n{headers}\r\n");
}

#[cfg(test)]
mod tests;
