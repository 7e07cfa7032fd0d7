//! Clients that have vanished from quiet streams.
//!
//! A client whose network or machine is gone acknowledges nothing. Where messages flow, they soon fill the buffer of the kernel, and a
//! client that takes nothing is cut. On a quiet stream only a few bytes are sent, as a sign of life: they fit into the buffer, and TCP
//! itself repeats them for a quarter of an hour (RFC 9293 §3.8.3 gives up no sooner than 100 s by default). Keep-alive probes of TCP do
//! not help: the kernel sends none while data is unacknowledged.
//!
//! `TCP_USER_TIMEOUT` (RFC 5482) does, but it also cuts a client that reads slowly, since its window opens a little at a time. So it is
//! set only while that cannot happen: what is sent is short, comes after a silence, and everything before it has left the kernel.

use std::time::Duration;

use actix_web::rt::net::TcpStream;
use socket2::SockRef;

/// How long a client may take to acknowledge a sign of life.
const MAX_UNACKNOWLEDGED: Duration = Duration::from_secs(30);
/// Bytes of the longest sign of life.
const MAX_SIGN: usize = 512;
/// Silence after which a stream is quiet; half the keep-alive interval where that is shorter.
const SILENCE: Duration = Duration::from_secs(5);

/// What is known of the silence on one connection.
#[derive(Debug)]
pub(super) struct Quiet {
    /// Milliseconds.
    silence: u64,
    /// When something was last written, in milliseconds of the worker's clock.
    written: u64,
    is_watched: bool,
}

impl Quiet {
    /// A connection that begins at `now`, whose streams write a sign of life after a silence of `keep_alive`.
    pub(super) fn new(keep_alive: Duration, now: u64) -> Self {
        let silence = u64::try_from(SILENCE.min(keep_alive / 2).as_millis()).unwrap_or(u64::MAX);
        Self { silence, written: now, is_watched: false }
    }

    /// To be called at `now`, before `bytes` are handed to the kernel: has the kernel cut the connection if they are a sign of life
    /// that is not acknowledged.
    pub(super) fn before_write(&mut self, socket: &TcpStream, bytes: usize, now: u64) {
        let is_quiet = bytes <= MAX_SIGN && now.saturating_sub(self.written) >= self.silence;
        self.written = now;
        if self.is_watched && is_quiet {
            // What is unsent now are earlier signs of life, which the client does not acknowledge.
            return;
        }
        // A system that does not know the option goes without.
        if is_quiet && !has_unsent(socket) {
            self.is_watched = set_timeout(socket, Some(MAX_UNACKNOWLEDGED));
        } else if self.is_watched {
            self.is_watched = !set_timeout(socket, None);
        }
    }
}

/// Sets the time after which the kernel cuts the connection for want of acknowledgements. Whether it could.
#[cfg(target_os = "linux")]
fn set_timeout(socket: &TcpStream, timeout: Option<Duration>) -> bool {
    SockRef::from(socket).set_tcp_user_timeout(timeout).is_ok()
}

/// Whether the kernel holds bytes that it has not sent yet, since the client has no room for them. Where that cannot be found out, it
/// does.
#[cfg(target_os = "linux")]
fn has_unsent(socket: &TcpStream) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let options = SockRef::from(socket);
    // With this mark a socket is writable only while nothing is unsent.
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
fn set_timeout(_: &TcpStream, _: Option<Duration>) -> bool {
    false
}

#[cfg(not(target_os = "linux"))]
fn has_unsent(_: &TcpStream) -> bool {
    true
}

#[cfg(target_os = "linux")]
#[cfg(test)]
mod tests {
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

    /// A client that reads slowly is not cut, however long it takes.
    #[actix_web::test]
    async fn who_has_not_been_sent_everything_is_not_timed() {
        let (socket, mut client) = pair().await;
        let mut quiet = Quiet::new(KEEP_ALIVE, 0);
        quiet.before_write(&socket, 2, 15_000);
        assert!(quiet.is_watched);
        quiet.before_write(&socket, 64 * 1024, 16_000);
        while socket.try_write(&[b'x'; 64 * 1024]).is_ok() {}
        quiet.before_write(&socket, 2, 30_000);
        assert_eq!((timeout(&socket), quiet.is_watched), (None, false));
        // Once it has read on, it is.
        let mut room = vec![0; 1 << 20];
        while has_unsent(&socket) {
            assert!(client.read(&mut room).await.unwrap() > 0);
        }
        quiet.before_write(&socket, 2, 45_000);
        assert_eq!(timeout(&socket), Some(MAX_UNACKNOWLEDGED));
    }

    /// A client that has vanished leaves one sign of life unacknowledged and those after it unsent.
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
