//! Clients of quiet streams that have vanished.
//!
//! A client whose network or machine fails acknowledges nothing. If messages are sent, they soon fill the kernel's buffer, and a client
//! that reads nothing is disconnected. On a quiet stream only a few bytes are sent, as keep-alives: they fit into the buffer, and TCP
//! itself retransmits them for a quarter of an hour (RFC 9293 §3.8.3 gives up after 100 s at the earliest by default). Keep-alive probes of
//! TCP do not help: the kernel sends none while data is unacknowledged.
//!
//! `TCP_USER_TIMEOUT` (RFC 5482) does, but it also disconnects a client that reads slowly, since its window opens a little at a time. It is
//! therefore set only while that cannot happen: the data is short, it is sent after a silence, and everything before it has left the
//! kernel.

use std::{os::fd::AsFd, time::Duration};

use socket2::SockRef;

/// How long a client may take to acknowledge a keep-alive.
const MAX_UNACKNOWLEDGED: Duration = Duration::from_secs(30);
/// Maximum length of a keep-alive in bytes.
const MAX_SIGN: usize = 512;
/// The silence after which a stream is quiet; at most half the keep-alive interval.
const SILENCE: Duration = Duration::from_secs(5);

/// The state of the silence on one connection.
#[derive(Debug)]
pub(super) struct Quiet {
    /// In milliseconds.
    silence: u64,
    /// The time of the last write, in milliseconds of the worker's clock.
    written: u64,
    is_watched: bool,
}

impl Quiet {
    /// A connection that begins at `now`, whose streams send a keep-alive after a silence of `keep_alive`.
    pub(super) fn new(keep_alive: Duration, now: u64) -> Self {
        let silence = u64::try_from(SILENCE.min(keep_alive / 2).as_millis()).unwrap_or(u64::MAX);
        Self { silence, written: now, is_watched: false }
    }

    /// Call it at `now`, before `bytes` are passed to the kernel: has the kernel disconnect the client if they are a keep-alive that is not
    /// acknowledged.
    pub(super) fn before_write(&mut self, socket: &impl AsFd, bytes: usize, now: u64) {
        let is_quiet = bytes <= MAX_SIGN && now.saturating_sub(self.written) >= self.silence;
        self.written = now;
        if self.is_watched && is_quiet {
            // Unsent data is earlier keep-alives, which the client does not acknowledge.
            return;
        }
        // Systems without the option do without it.
        if is_quiet && !has_unsent(socket) {
            self.is_watched = set_timeout(socket, Some(MAX_UNACKNOWLEDGED));
        } else if self.is_watched {
            self.is_watched = !set_timeout(socket, None);
        }
    }
}

impl Quiet {
    /// The time of the last write, in milliseconds of the worker's clock.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// Everything was passed to the kernel by `now`.
    pub(super) fn flushed(&mut self, now: u64) {
        self.written = now;
    }
}

/// Sets the time after which the kernel disconnects for lack of acknowledgements. Returns whether it succeeded.
#[cfg(target_os = "linux")]
fn set_timeout(socket: &impl AsFd, timeout: Option<Duration>) -> bool {
    SockRef::from(socket).set_tcp_user_timeout(timeout).is_ok()
}

/// Whether the kernel has bytes that it has not sent yet, since the client has no space for them. True if that is unknown.
#[cfg(target_os = "linux")]
fn has_unsent(socket: &impl AsFd) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let options = SockRef::from(socket);
    // With this option a socket is writable only while nothing is unsent.
    if options.set_tcp_notsent_lowat(1).is_err() {
        return true;
    }
    let mut polled = [PollFd::new(socket, PollFlags::OUT)];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    let is_writable = poll(&mut polled, Some(&at_once)).is_ok() && polled[0].revents().contains(PollFlags::OUT);
    // 0 is the default of the system.
    options.set_tcp_notsent_lowat(0).is_err() || !is_writable
}

#[cfg(not(target_os = "linux"))]
fn set_timeout(_: &impl AsFd, _: Option<Duration>) -> bool {
    false
}

#[cfg(not(target_os = "linux"))]
fn has_unsent(_: &impl AsFd) -> bool {
    true
}

#[cfg(target_os = "linux")]
#[cfg(test)]
mod tests {
    use actix_web::rt::net::TcpStream;
    use tokio::{io::AsyncReadExt as _, net::TcpListener};

    use super::*;

    const KEEP_ALIVE: Duration = Duration::from_secs(15);

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (listener.accept().await.unwrap().0, client)
    }

    fn timeout(socket: &TcpStream) -> Option<Duration> {
        SockRef::from(socket).tcp_user_timeout().unwrap().filter(|timeout| !timeout.is_zero())
    }

    #[actix_web::test]
    async fn only_a_short_write_after_a_silence_has_to_be_acknowledged() {
        let (socket, _client) = pair().await;
        let mut quiet = Quiet::new(KEEP_ALIVE, 0);
        for (now, bytes, expected) in [
            (1_000, 2, None),
            (16_000, 2, Some(MAX_UNACKNOWLEDGED)),
            (31_000, 2, Some(MAX_UNACKNOWLEDGED)),
            (32_000, 2, None),
            (47_000, 2, Some(MAX_UNACKNOWLEDGED)),
            (62_000, 100_000, None),
            (77_000, 2, Some(MAX_UNACKNOWLEDGED)),
        ] {
            quiet.before_write(&socket, bytes, now);
            assert_eq!(timeout(&socket), expected, "{bytes} bytes at {now}");
        }
        let mut short = Quiet::new(Duration::from_secs(1), 0);
        short.before_write(&socket, 2, 1_000);
        assert!(short.is_watched, "a shorter keep-alive is a sign of life, too");
    }

    /// A client that reads slowly is not disconnected, however long it takes.
    #[actix_web::test]
    async fn a_slow_reader_does_not_time_out() {
        let (socket, mut client) = pair().await;
        let mut quiet = Quiet::new(KEEP_ALIVE, 0);
        quiet.before_write(&socket, 2, 15_000);
        assert!(quiet.is_watched);
        quiet.before_write(&socket, 64 * 1024, 16_000);
        while socket.try_write(&[b'x'; 64 * 1024]).is_ok() {}
        quiet.before_write(&socket, 2, 30_000);
        assert_eq!((timeout(&socket), quiet.is_watched), (None, false));
        // Once it has read on, it is timed again.
        let mut room = vec![0; 1 << 20];
        while has_unsent(&socket) {
            assert!(client.read(&mut room).await.unwrap() > 0);
        }
        quiet.before_write(&socket, 2, 45_000);
        assert_eq!(timeout(&socket), Some(MAX_UNACKNOWLEDGED));
    }

    /// A client that has vanished leaves one keep-alive unacknowledged and later ones unsent.
    #[actix_web::test]
    async fn signs_of_life_that_cannot_be_sent_do_not_end_the_watch() {
        let (socket, _client) = pair().await;
        let mut quiet = Quiet::new(KEEP_ALIVE, 0);
        quiet.before_write(&socket, 2, 15_000);
        while socket.try_write(&[b'x'; 64 * 1024]).is_ok() {}
        assert!(has_unsent(&socket));
        quiet.before_write(&socket, 2, 30_000);
        assert_eq!((timeout(&socket), quiet.is_watched), (Some(MAX_UNACKNOWLEDGED), true));
    }
}
