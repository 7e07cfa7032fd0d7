//! What is set on an accepted socket, and the watch over connections that ask for nothing.
//!
//! Actix times the head of a connection's first request and the silence between two requests; as soon as one byte of a
//! later head has come it times nothing any more, and a client that stops there holds its connection for good. So each
//! connection notes when its last answer ended, and one that has had no request in flight for longer than any honest
//! client takes is shut down from here. So is one whose last answer was written and that is still not closed.
//!
//! That needs a second descriptor of the socket. A connection that turns into a stream gives it back, and closes at the
//! stream's end instead of waiting for another head; so idle streams, of which there are many, cost one descriptor each.
//! When descriptors run short, connections go unwatched rather than unserved.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{
            AtomicBool, AtomicU32, AtomicU64, AtomicUsize,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
    time::{Duration, Instant},
};

use actix_web::{dev::Extensions, rt};
use socket2::{SockRef, Socket};

use super::{metrics::Metrics, open_files};

/// A peer that takes nothing of what was sent for so long is gone, or might as well be (TCP_USER_TIMEOUT, RFC 5482).
const USER_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes that the kernel takes for a peer before our writes wait (it takes twice that in memory). Its own choice grows to
/// megabytes, which would hide a slow reader from us and hold messages that are long out of date.
const SEND_BUFFER: usize = 64 * 1024;
/// Bytes a second that a client has to take of an answer that is already written.
const SLOWEST: u64 = 16 * 1024;
/// How long a client has to take an answer that ends its connection. Of a body in chunks that was refused, actix would
/// otherwise read on until it ends, however slowly it comes.
const CLOSING: Duration = Duration::from_secs(2);

/// Watches the connections of a server.
#[derive(Clone)]
pub(super) struct Watch(Arc<Inner>);

struct Inner {
    epoch: Instant,
    /// How long a connection may go without a request in flight.
    silence: Duration,
    connections: Mutex<Vec<Weak<Connection>>>,
    /// Second descriptors that are open.
    watched: AtomicUsize,
    most_watched: usize,
    metrics: Arc<Metrics>,
}

/// One connection; lives as long as actix serves it.
pub(super) struct Connection {
    /// Gone when the connection became a stream.
    socket: Mutex<Option<Watched>>,
    watch: Arc<Inner>,
    in_flight: AtomicU32,
    /// When it is shut down unless a request is in flight, in milliseconds of the watch.
    deadline: AtomicU64,
    /// It has had its last answer.
    closing: AtomicBool,
}

/// The second descriptor of a socket, counted.
struct Watched {
    socket: Socket,
    watch: Arc<Inner>,
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.watch.watched.fetch_sub(1, Relaxed);
    }
}

impl Watch {
    /// Shuts down connections that have had no request in flight for `keep_alive` and `header_timeout` together.
    pub(super) fn start(keep_alive: Duration, header_timeout: Duration, metrics: Arc<Metrics>) -> Self {
        let silence = keep_alive + header_timeout;
        let inner = Arc::new(Inner {
            epoch: Instant::now(),
            silence,
            connections: Mutex::default(),
            watched: AtomicUsize::new(0),
            // The rest of the descriptors is for connections themselves.
            most_watched: open_files::limit() / 3,
            metrics,
        });
        let weak = Arc::downgrade(&inner);
        let mut ticks = tokio::time::interval((silence / 16).clamp(Duration::from_millis(50), CLOSING));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        rt::spawn(async move {
            loop {
                ticks.tick().await;
                // Gone when the server is.
                let Some(inner) = weak.upgrade() else { return };
                inner.sweep();
            }
        });
        Self(inner)
    }

    /// To be called for each accepted socket; `data` goes along with each of its requests.
    pub(super) fn accept(&self, stream: &rt::net::TcpStream, data: &mut Extensions) {
        let socket = SockRef::from(stream);
        // An option that this system does not know is one that we go without.
        #[cfg(any(target_os = "linux", target_os = "android"))]
        let _ = socket.set_tcp_user_timeout(Some(USER_TIMEOUT));
        let _ = socket.set_send_buffer_size(SEND_BUFFER);
        let inner = &self.0;
        let room = inner.watched.load(Relaxed) < inner.most_watched;
        let Some(socket) = room.then(|| socket.try_clone().ok()).flatten() else { return };
        inner.watched.fetch_add(1, Relaxed);
        let connection = Arc::new(Connection {
            socket: Mutex::new(Some(Watched { socket, watch: inner.clone() })),
            watch: inner.clone(),
            in_flight: AtomicU32::new(0),
            deadline: AtomicU64::new(inner.deadline(inner.silence)),
            closing: AtomicBool::new(false),
        });
        inner.connections().push(Arc::downgrade(&connection));
        data.insert(connection);
    }
}

impl Inner {
    fn now(&self) -> u64 {
        self.epoch.elapsed().as_millis() as u64
    }

    fn deadline(&self, after: Duration) -> u64 {
        self.now().saturating_add(after.as_millis() as u64)
    }

    fn connections(&self) -> MutexGuard<'_, Vec<Weak<Connection>>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sweep(&self) {
        let now = self.now();
        let mut overdue = Vec::new();
        self.connections().retain(|connection| {
            let Some(connection) = connection.upgrade() else { return false };
            if connection.socket().is_none() {
                return false;
            }
            let due = connection.in_flight.load(Acquire) == 0 && connection.deadline.load(Relaxed) < now;
            if due {
                overdue.push(connection);
            }
            !due
        });
        for connection in overdue {
            if let Some(watched) = connection.socket().take() {
                // Actix sees the end of the stream and lets go of the connection. An error means that it already has.
                let _ = watched.socket.shutdown(std::net::Shutdown::Both);
                if !connection.closing.load(Relaxed) {
                    self.metrics.refusals.slow_head.inc();
                }
            }
        }
    }
}

impl Connection {
    fn socket(&self) -> MutexGuard<'_, Option<Watched>> {
        self.socket.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request of a connection is in flight until this is dropped.
pub(super) struct Busy {
    connection: Arc<Connection>,
    rest: Duration,
}

impl Busy {
    pub(super) fn new(connection: Arc<Connection>) -> Self {
        connection.in_flight.fetch_add(1, Relaxed);
        Self { connection, rest: Duration::ZERO }
    }

    /// The answer is a stream, and the connection closes when it ends: nothing is left to watch.
    pub(super) fn streams(&mut self) {
        self.connection.socket().take();
    }

    /// The connection closes with this answer, whatever its client still has to say.
    pub(super) fn closes(&mut self) {
        self.connection.closing.store(true, Relaxed);
    }

    /// The answer has so many bytes, all of which may lie in our buffer when its body ends.
    pub(super) fn sized(&mut self, bytes: u64) {
        self.rest = Duration::from_secs(bytes / SLOWEST);
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        // The deadline first: the sweep must not see the connection free with the deadline of long ago.
        let Connection { watch, closing, deadline, .. } = &*self.connection;
        let silence = if closing.load(Relaxed) { CLOSING } else { watch.silence };
        deadline.store(watch.deadline(silence + self.rest), Relaxed);
        self.connection.in_flight.fetch_sub(1, Release);
    }
}

impl std::fmt::Debug for Busy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Busy").finish_non_exhaustive()
    }
}
