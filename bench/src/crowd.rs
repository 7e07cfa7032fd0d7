//! Thousands of readers on one thread: each readable socket is read until it is drained, through one buffer for all, and a reader's reply
//! is written immediately.

use std::{
    io::{self, Read as _, Write as _},
    net::SocketAddr,
    time::{Duration, Instant},
};

use mio::{Events, Interest, Poll, Registry, Token, net::TcpStream};
use socket2::{Domain, Protocol, Socket, Type};

use crate::{
    reader::{Fault, Reader},
    stamp::Stamp,
};

/// The token of descriptors that are not readers.
pub(crate) const OTHER: Token = Token(usize::MAX);
const EVENTS: usize = 1024;
const BUFFER: usize = 256 * 1024;

/// The clock of stamps: nanoseconds since it was made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(Instant);

impl Clock {
    pub(crate) fn new() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn nanos(self) -> u64 {
        u64::try_from(self.0.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

struct Member {
    stream: TcpStream,
    reader: Reader,
    has_begun: bool,
    is_ready: bool,
}

/// See the module.
pub(crate) struct Crowd {
    poll: Poll,
    events: Events,
    members: Vec<Member>,
    ready: usize,
    buffer: Vec<u8>,
    out: Vec<u8>,
    pub(crate) clock: Clock,
}

impl Crowd {
    /// Nobody yet.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            poll: Poll::new()?,
            events: Events::with_capacity(EVENTS),
            members: Vec::new(),
            ready: 0,
            buffer: vec![0; BUFFER],
            out: Vec::with_capacity(4096),
            clock: Clock::new(),
        })
    }

    /// Begins a connection to `server` for `reader`, from `source` if that is given.
    pub(crate) fn open(&mut self, server: SocketAddr, source: Option<SocketAddr>, reader: Reader) -> io::Result<()> {
        let mut stream = connect(server, source)?;
        let token = Token(self.members.len());
        self.poll.registry().register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        self.members.push(Member { stream, reader, has_begun: false, is_ready: false });
        Ok(())
    }

    /// Connections that were opened.
    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    /// Readers that are ready.
    pub(crate) fn ready(&self) -> usize {
        self.ready
    }

    /// Where others that use [`OTHER`] are registered.
    pub(crate) fn registry(&self) -> &Registry {
        self.poll.registry()
    }

    /// Waits up to `timeout` for events and handles them. Calls `heard` for each stamp, with its reader and time. Returns whether there was
    /// an event at [`OTHER`].
    ///
    /// # Errors
    /// When a connection fails: a measurement is of all of them, or none.
    pub(crate) fn turn(
        &mut self,
        timeout: Option<Duration>,
        heard: &mut dyn FnMut(usize, Stamp, u64),
    ) -> Result<bool, Fault> {
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(false),
            polled => polled?,
        }
        let mut is_other = false;
        for event in &self.events {
            if event.token() == OTHER {
                is_other = true;
                continue;
            }
            let index = event.token().0;
            let Some(member) = self.members.get_mut(index) else { continue };
            let clock = self.clock;
            let mut heard = |stamp| heard(index, stamp, clock.nanos());
            member.turn(event.is_readable() || event.is_read_closed(), &mut self.buffer, &mut self.out, &mut heard)?;
            if !member.is_ready && member.reader.is_ready() {
                member.is_ready = true;
                self.ready += 1;
            }
        }
        Ok(is_other)
    }
}

impl Member {
    fn turn(
        &mut self,
        is_readable: bool,
        buffer: &mut [u8],
        out: &mut Vec<u8>,
        heard: &mut dyn FnMut(Stamp),
    ) -> Result<(), Fault> {
        out.clear();
        if !self.has_begun {
            if let Some(error) = self.stream.take_error()? {
                return Err(error.into());
            }
            if self.stream.peer_addr().is_err() {
                return Ok(());
            }
            self.has_begun = true;
            self.reader.begin(out);
            self.say(out)?;
        }
        if !is_readable {
            return Ok(());
        }
        // Edge-triggered: bytes that a read leaves would not be reported again.
        loop {
            let read = match self.stream.read(buffer) {
                Ok(0) => return Err(Fault::Closed),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            out.clear();
            self.reader.feed(&buffer[..read], out, heard)?;
            self.say(out)?;
            // A short read has emptied the socket; asking again would only cost a call.
            if read < buffer.len() {
                return Ok(());
            }
        }
    }

    /// Writes what a reader says: a few hundred bytes, for which an honest server always leaves room.
    fn say(&mut self, out: &[u8]) -> Result<(), Fault> {
        if out.is_empty() {
            return Ok(());
        }
        if self.stream.write(out)? < out.len() {
            return Err(Fault::Refused("a request of a few hundred bytes"));
        }
        Ok(())
    }
}

/// Begins a connection that does not block.
pub(crate) fn connect(server: SocketAddr, source: Option<SocketAddr>) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(server), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    if let Some(source) = source {
        socket.bind(&source.into())?;
    }
    match socket.connect(&server.into()) {
        // EINPROGRESS: the socket is reported as writable when it is connected.
        Err(error) if error.raw_os_error() != Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => Err(error),
        _ => Ok(TcpStream::from_std(socket.into())),
    }
}
