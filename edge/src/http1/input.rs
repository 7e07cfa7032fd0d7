//! What arrives on a connection: bodies as they are wanted, what is discarded, and the client's end.

use std::{
    future::poll_fn,
    io::{self, ErrorKind},
    pin::Pin,
    task::{Context, Poll, ready},
};

use actix_web::error::PayloadError;
use bytes::BytesMut;
use socket2::SockRef;
use tokio::io::{AsyncRead as _, Interest, ReadBuf};

use super::{
    connection::{Connection, In, Input, MAX_DISCARDED, MAX_DISCARDED_BODY, MAX_READAHEAD, READ, READ_INTO},
    decoder::Part,
    incoming::Incoming,
};

impl Connection {
    /// Discards the received part of a body that nobody reads. Returns whether the rest is short enough to be discarded, too.
    pub(super) fn discard_body(&mut self) -> bool {
        while let Ok(Some(Part::Data(_))) = self.decoder.read_body(&mut self.inbox) {}
        self.shrink_inbox();
        self.decoder.body_left().is_some_and(|left| left <= MAX_DISCARDED_BODY)
    }

    /// Discards the unread part of a body, up to the next request. Returns whether that can be read.
    pub(super) async fn pass_over(&mut self) -> bool {
        self.alarm.set(self.head_timeout);
        while self.discard_body() {
            if self.decoder.is_body_done() {
                return true;
            }
            let filled = poll_fn(|cx| match self.poll_fill(cx, READ) {
                Poll::Ready(read) => Poll::Ready(read.is_ok_and(|read| read > 0)),
                Poll::Pending if self.alarm.is_over(cx.waker()) => Poll::Ready(false),
                Poll::Pending => Poll::Pending,
            });
            if !filled.await {
                break;
            }
        }
        false
    }

    /// No further request is read: input is discarded, except for a body that is still read.
    pub(super) fn discard_input(&mut self) {
        self.is_discarding = true;
        if self.decoder.is_body_done() {
            self.discarded += self.inbox.len();
            self.inbox = BytesMut::new();
        }
    }

    /// Waits for input: for the body, if it is wanted, and for the client's end.
    pub(super) fn poll_in(&mut self, cx: &mut Context<'_>, body: Option<&Incoming>, expects: &mut bool) -> Poll<In> {
        loop {
            let wanted = body.filter(|body| body.is_wanted());
            if let Some(body) = wanted {
                if std::mem::take(expects) && self.inbox.is_empty() {
                    self.outgoing.raw(b"HTTP/1.1 100 Continue\r\n\r\n");
                    // What cannot be sent now is sent with the response.
                    if let Poll::Ready(Err(_)) = self.outgoing.poll_flush(&mut self.socket, cx) {
                        self.input = Input::Broken;
                    }
                }
                self.feed(body);
                if !body.is_wanted() {
                    return Poll::Ready(In::Fed);
                }
            } else if self.inbox.len() >= MAX_READAHEAD && !self.is_discarding {
                return self.poll_end(cx);
            }
            match self.input {
                Input::Open => {}
                Input::Ended => return Poll::Ready(In::Ended),
                Input::Broken => return Poll::Ready(In::Broken),
            }
            // Input that is not needed yet is read only to notice the client's end.
            let most = if wanted.is_some() || self.is_discarding { READ } else { MAX_READAHEAD - self.inbox.len() };
            if ready!(self.poll_fill(cx, most)).is_err() {
                self.input = Input::Broken;
            }
            if self.is_discarding && wanted.is_none() {
                self.discarded += self.inbox.len();
                self.inbox = BytesMut::new();
                if self.discarded > MAX_DISCARDED && !self.is_closing {
                    self.input = Input::Broken;
                }
            }
        }
    }

    /// Passes received data to the reader of a body, or that it has ended.
    fn feed(&mut self, body: &Incoming) {
        match self.decoder.read_body(&mut self.inbox) {
            Ok(Some(Part::Data(data))) => body.feed(data),
            Ok(Some(Part::End)) => body.end(),
            Ok(None) if self.input == Input::Open => {}
            Ok(None) if self.decoder.is_tunnel() => body.end(),
            Ok(None) => {
                body.fail(PayloadError::Incomplete(None));
                self.is_discarding = true;
            }
            Err(_) => {
                body.fail(PayloadError::EncodingCorrupted);
                self.is_discarding = true;
            }
        }
        self.shrink_inbox();
    }

    /// Watches for the client's end, without reading on.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<In> {
        if self.input == Input::Ended {
            return Poll::Ready(In::Ended);
        }
        // There is more data, which is not read. Tokio is told that there is none, so that it wakes the task for the next event: more data,
        // the end, or a reset. It still knows of the end.
        for _ in 0..2 {
            self.is_paused = true;
            let _ = self.socket.try_io(Interest::READABLE, || Err::<(), _>(ErrorKind::WouldBlock.into()));
            if self.socket.poll_read_ready(cx).is_pending() {
                return Poll::Pending;
            }
            if !matches!(SockRef::from(&self.socket).take_error(), Ok(None)) {
                self.input = Input::Broken;
                return Poll::Ready(In::Broken);
            }
        }
        Poll::Ready(In::Ended)
    }

    /// Reads what is available, up to `most` bytes; zero bytes mean the client's end.
    pub(super) fn poll_fill(&mut self, cx: &mut Context<'_>, most: usize) -> Poll<io::Result<usize>> {
        READ_INTO.with_borrow_mut(|room| {
            let room = &mut room[..most];
            let read = match self.read_paused(room) {
                Some(read) => read?,
                None => {
                    let mut room = ReadBuf::new(room);
                    ready!(Pin::new(&mut self.socket).poll_read(cx, &mut room))?;
                    room.filled().len()
                }
            };
            self.inbox.extend_from_slice(&room[..read]);
            if read == 0 {
                self.input = Input::Ended;
            }
            Poll::Ready(Ok(read))
        })
    }

    /// Reads without asking tokio, which was told that there is nothing. `None` if that is true now.
    fn read_paused(&mut self, room: &mut [u8]) -> Option<io::Result<usize>> {
        if !self.is_paused {
            return None;
        }
        match io::Read::read(&mut &*SockRef::from(&self.socket), room) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.is_paused = false;
                None
            }
            read => Some(read),
        }
    }

    pub(super) fn shrink_inbox(&mut self) {
        if self.inbox.is_empty() {
            self.inbox = BytesMut::new();
        }
    }
}
