//! The connection itself: reads the next request and its body on demand, and closes.

use std::{
    cell::RefCell,
    future::poll_fn,
    io::{self, ErrorKind},
    net::SocketAddr,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use actix_web::{
    HttpResponse,
    body::BodySize,
    http::{StatusCode, Version},
    rt::net::TcpStream,
};
use bytes::BytesMut;
use tokio::io::AsyncWrite as _;

use super::{
    Worker,
    clock::{Alarm, Clock},
    decoder::Decoder,
    outgoing::{Outgoing, Shape},
    quiet::Quiet,
    sockets::Socket,
};
/// Bytes that are read at a time.
pub(super) const READ: usize = 16 * 1024;
/// Bytes that a client may send ahead while it is being answered. More stays in the kernel.
pub(super) const MAX_READAHEAD: usize = 8 * 1024;
/// Bytes that a client may still send on a connection from which no further request is read.
pub(super) const MAX_DISCARDED: usize = 64 * 1024;
/// Bytes of an unread body that are discarded to reach the next request.
pub(super) const MAX_DISCARDED_BODY: u64 = 64 * 1024;
/// How long a client has to close its side after the server has closed its own. Its data is read and discarded in the meantime: if the
/// socket were closed immediately, the kernel would answer it with a reset, which can overtake the last response (RFC 9112 §9.6).
const CLOSING: Duration = Duration::from_secs(2);

/// How long the client of a response that was ended from outside has to read what it was sent before. A backend expects the end within a second.
const CUT: Duration = Duration::from_millis(400);

thread_local! {
    /// The buffer for a read whose size is unknown.
    pub(super) static READ_INTO: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ].into());
}

/// One connection.
pub(super) struct Connection {
    pub(super) socket: TcpStream,
    pub(super) peer: Option<SocketAddr>,
    pub(super) decoder: Decoder,
    pub(super) clock: Rc<Clock>,
    pub(super) alarm: Alarm,
    pub(super) head_timeout: Duration,
    write_grace: Duration,
    /// Received, and not yet decoded.
    pub(super) inbox: BytesMut,
    pub(super) outgoing: Outgoing,
    pub(super) quiet: Quiet,
    pub(super) input: Input,
    /// Reading was stopped although there was data: tokio does not know of it.
    pub(super) is_paused: bool,
    /// The client reads less than there is, and the alarm is set for it.
    is_stalled: bool,
    /// The response was ended from outside, and the alarm is set for its rest.
    is_cut: bool,
    /// No further request is read: input is discarded.
    pub(super) is_discarding: bool,
    /// The number of bytes received since then.
    pub(super) discarded: usize,
    /// The server has written its last byte: input is discarded for a while, however much it is.
    pub(super) is_closing: bool,
    /// It is parked while its stream waits.
    pub(super) parks: bool,
    /// How often it was parked, and left because its client took too little.
    slow: u8,
    /// How often it still waits by itself before it is parked.
    unparked_waits: u8,
    brief: Duration,
    /// The last request that waited was answered within that time: the next one waits by itself for as long.
    pub(super) was_brief: bool,
}

/// What is left of a connection while it is parked, and of what happened then.
pub(super) struct Remains {
    pub(super) quiet: Quiet,
    pub(super) discarded: usize,
    pub(super) slow: u8,
    pub(super) inbox: BytesMut,
    pub(super) outgoing: Outgoing,
    pub(super) waits_for: WaitsFor,
    /// The peer, if it may send further requests.
    pub(super) peer: Option<SocketAddr>,
}

/// What a parked connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WaitsFor {
    /// The messages of a stream: no further request is read.
    Stream,
    /// Messages, and what a client sends that sends more than requests: its connection is a WebSocket.
    Tunnel,
    /// A message that answers a request, or the next request.
    Answer,
}

/// The state of the client's sending side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Input {
    Open,
    /// The client has closed it. It may have closed the connection, or still read.
    Ended,
    /// The connection is lost.
    Broken,
}

/// The result of waiting for input.
pub(super) enum In {
    /// The reader of the body has new data.
    Fed,
    /// The client sends nothing more: see [`Input::Ended`].
    Ended,
    /// The connection is lost.
    Broken,
}

impl Connection {
    /// A connection that was accepted from `peer`.
    pub(super) fn new(worker: &Worker, socket: TcpStream, peer: SocketAddr, place: &Socket) -> Self {
        // Linux copies the options of the listener.
        #[cfg(not(target_os = "linux"))]
        crate::server::prepare(&socket);
        Self { peer: Some(peer), ..Self::around(worker, socket, place) }
    }

    /// A connection whose last response continues: everything before what is queued was passed to the kernel.
    pub(super) fn resumed(worker: &Worker, socket: TcpStream, place: &Socket, remains: Remains) -> Self {
        let Remains { quiet, discarded, slow, inbox, outgoing, waits_for, peer } = remains;
        let new = Self::around(worker, socket, place);
        let is_tunnel = waits_for == WaitsFor::Tunnel;
        let decoder = if is_tunnel { Decoder::tunnel(worker.config.clone()) } else { new.decoder };
        // Leaving and coming back costs more than a message does: a client that is slow again and again stays alone for longer.
        let unparked_waits = (1 << (slow.clamp(1, 4) - 1)) - 1;
        let is_discarding = waits_for == WaitsFor::Stream;
        Self { peer, quiet, discarded, slow, unparked_waits, inbox, outgoing, decoder, is_discarding, ..new }
    }

    fn around(worker: &Worker, socket: TcpStream, place: &Socket) -> Self {
        Self {
            peer: None,
            socket,
            decoder: Decoder::new(worker.config.clone()),
            clock: worker.clock.clone(),
            alarm: worker.clock.alarm(place.address()),
            head_timeout: worker.times.head,
            write_grace: worker.times.write,
            inbox: BytesMut::new(),
            outgoing: Outgoing::default(),
            quiet: Quiet::new(worker.edge.settings.keepalive, worker.clock.now()),
            input: Input::Open,
            is_paused: false,
            is_stalled: false,
            is_cut: false,
            is_discarding: false,
            discarded: 0,
            is_closing: false,
            parks: cfg!(target_os = "linux"),
            slow: 0,
            unparked_waits: 0,
            brief: worker.times.brief,
            was_brief: false,
        }
    }

    /// Whether it can be parked: it may be, and everything that was received has been decoded.
    pub(super) fn can_park(&self) -> bool {
        self.parks && self.input == Input::Open && self.inbox.is_empty()
    }

    /// How long its request waits before it is parked, if it is.
    pub(super) fn park_after(&self) -> Option<Duration> {
        self.parks.then_some(if self.was_brief { self.brief } else { Duration::ZERO })
    }

    /// Whether it can be parked while its request waits: nothing else is received, or to be sent.
    pub(super) fn can_park_request(&mut self) -> bool {
        let is_open = !self.is_discarding && !self.is_paused && self.outgoing.len() == 0;
        is_open && self.can_park() && self.decoder.is_body_done() && !self.waits_unparked()
    }

    /// A request that waited is answered; it began at `since`, in milliseconds of the worker's clock.
    pub(super) fn has_waited(&mut self, since: u64) {
        self.was_brief = u128::from(self.clock.now().saturating_sub(since)) < self.brief.as_millis();
    }

    /// Whether it waits by itself once more although it can be parked; counts it.
    pub(super) fn waits_unparked(&mut self) -> bool {
        let waits = self.unparked_waits > 0;
        self.unparked_waits = self.unparked_waits.saturating_sub(1);
        waits
    }

    /// What is left of it while it is parked.
    pub(super) fn into_remains(self) -> (TcpStream, Remains) {
        let Self { socket, peer, quiet, discarded, slow, inbox, outgoing, decoder, is_discarding, .. } = self;
        let waits_for = match is_discarding {
            true => WaitsFor::Stream,
            false if decoder.is_tunnel() => WaitsFor::Tunnel,
            false => WaitsFor::Answer,
        };
        (socket, Remains { quiet, discarded, slow, inbox, outgoing, waits_for, peer })
    }

    /// A request that cannot be decoded gets a status, and the connection ends.
    pub(super) fn refuse(&mut self, status: StatusCode) {
        let shape = Shape { version: Version::HTTP_11, is_head: false, keeps: false };
        self.outgoing.head(HttpResponse::new(status).head(), BodySize::Sized(0), shape, &self.clock);
    }

    /// Writes what is queued. A client that reads none of it has [`ConnectionTimeouts::write`](super::ConnectionTimeouts::write).
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let before = self.outgoing.len();
        if before > 0 && !self.is_stalled {
            self.quiet.before_write(&self.socket, before, self.clock.now());
        }
        let flushed = self.outgoing.poll_flush(&mut self.socket, cx);
        let is_stalled = flushed.is_pending();
        let has_new_time = is_stalled && (!self.is_stalled || self.outgoing.len() < before);
        match (has_new_time, !is_stalled && self.is_stalled) {
            // The rest of its time is all that it has, however much it reads.
            _ if self.is_cut => {}
            (true, _) => self.alarm.set(self.write_grace),
            (_, true) => self.alarm.clear(),
            _ => {}
        }
        self.is_stalled = is_stalled;
        flushed
    }

    /// While the client reads nothing: whether it is still connected.
    pub(super) fn poll_stalled(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.poll_in(cx, None, &mut false) {
            Poll::Ready(In::Broken) => Poll::Ready(Err(ErrorKind::ConnectionReset.into())),
            _ => self.poll_grace(cx),
        }
    }

    /// As [`poll_stalled`](Self::poll_stalled), for a response that was ended from outside: its connection ends soon, however much of the rest the
    /// client reads.
    pub(super) fn poll_cut(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !std::mem::replace(&mut self.is_cut, true) {
            self.alarm.set(CUT);
        }
        let is_over = self.alarm.is_over(cx.waker());
        match self.poll_in(cx, None, &mut false) {
            Poll::Ready(In::Broken) => Poll::Ready(Err(ErrorKind::ConnectionReset.into())),
            _ if is_over => Poll::Ready(Err(ErrorKind::TimedOut.into())),
            _ => Poll::Pending,
        }
    }

    /// Whether the timeout of a client that reads nothing has expired. The kernel reports free space only when a third of its buffer has
    /// been sent, which takes long with a slow client: so the amount is queried.
    pub(super) fn poll_grace(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.alarm.is_over(cx.waker()) {
            return Poll::Pending;
        }
        match self.outgoing.write_now(&self.socket) {
            Ok(()) => {
                self.alarm.set(self.write_grace);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Poll::Ready(Err(ErrorKind::TimedOut.into())),
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    pub(super) async fn flush(&mut self) -> io::Result<()> {
        poll_fn(|cx| match self.poll_flush(cx) {
            Poll::Pending => self.poll_stalled(cx),
            ready => ready,
        })
        .await
    }

    /// Closes the sending side, and waits a while for the client to close its own.
    pub(super) async fn close(&mut self) {
        if self.input == Input::Broken {
            return;
        }
        self.is_discarding = true;
        self.is_closing = true;
        self.inbox = BytesMut::new();
        if self.flush().await.is_err() {
            return;
        }
        self.alarm.set(CLOSING);
        let ended = poll_fn(|cx| {
            ready!(Pin::new(&mut self.socket).poll_shutdown(cx))?;
            match self.poll_in(cx, None, &mut false) {
                Poll::Ready(_) => Poll::Ready(Ok(())),
                Poll::Pending if self.alarm.is_over(cx.waker()) => Poll::Ready(Ok(())),
                Poll::Pending => Poll::Pending,
            }
        });
        // However it ends, the connection is closed.
        let _: io::Result<()> = ended.await;
    }
}
