//! Counters of the server. A snapshot is a plain struct, to be exported in any metrics format.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! stats {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// Live counters, one set for a server.
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $(pub(crate) $name: Counter,)+
        }

        /// The counters at one moment; see [`SocketIo::stats`](crate::SocketIo::stats). All but the first ten only grow.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Stats {
            $($(#[doc = $doc])+ pub $name: u64,)+
        }

        impl Counters {
            pub(crate) fn snapshot(&self) -> Stats {
                Stats { $($name: self.$name.get(),)+ }
            }
        }

        impl Stats {
            /// Each counter with its name.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name),)+].into_iter()
            }
        }
    };
}

stats! {
    /// Open Engine.IO sessions.
    connections,
    /// Of these, the ones whose transport is long-polling.
    connections_polling,
    /// Of these, the ones whose transport is a WebSocket.
    connections_websocket,
    /// Polls that wait for a message.
    polls_waiting,
    /// Sockets connected to namespaces.
    sockets,
    /// Bytes of messages queued for clients, limited by [`Config::max_pending_total`](crate::Config::max_pending_total).
    pending_bytes,
    /// Bytes of packets and sessions that [`LocalAdapter`](crate::LocalAdapter) stores for recovery.
    recovery_bytes,
    /// Sessions of disconnected clients that it stores.
    recovery_sessions,
    /// Bytes of WebSocket messages and request bodies that are not complete.
    receiving_bytes,
    /// Bytes of events whose handlers are still running.
    handler_bytes,
    /// Sessions opened since the start.
    opened,
    /// Sessions upgraded from polling to WebSocket.
    upgrades,
    /// Engine.IO packets received.
    packets_in,
    /// Engine.IO messages sent.
    packets_out,
    /// Bytes of messages sent, without framing and before compression.
    bytes_out,
    /// Requests rejected: unknown or disabled transport.
    refused_transport,
    /// Requests rejected: unknown session id.
    refused_sid,
    /// Requests rejected: the method cannot open a session.
    refused_method,
    /// Requests rejected: malformed, or invalid in the state of the session.
    refused_request,
    /// Requests rejected: by origin, by `allow_request`, or because the server is full or closing.
    refused_forbidden,
    /// Of these, the ones refused by origin.
    refused_origin,
    /// Of the refused ones, those refused because there were [`Config::max_connections`](crate::Config::max_connections).
    refused_full,
    /// Requests rejected: unsupported revision of Engine.IO.
    refused_protocol,
    /// Request bodies or frames above the size limit.
    refused_size,
    /// Connections to namespaces that were rejected, by a middleware or because the namespace does not exist.
    refused_namespace,
    /// Sessions ended by a ping timeout.
    ping_timeouts,
    /// Sessions ended because of an invalid packet.
    parse_errors,
    /// Volatile messages dropped.
    volatile_dropped,
    /// Messages rejected with [`Full`](crate::engine::SendError::Full), because too many bytes were queued for the client or for all
    /// clients.
    outbox_full,
    /// Sessions ended because a message did not fit whose sender cannot be notified, such as an ack or a broadcast.
    outbox_overflows,
    /// WebSocket messages and request bodies rejected because incomplete ones already used
    /// [`Config::max_receiving_total`](crate::Config::max_receiving_total).
    receiving_refused,
    /// Sessions ended because pending handlers used too much memory.
    handler_overflows,
    /// Sessions ended because they sent too fast.
    rate_limited,
    /// Connections that joined no namespace in time.
    connect_timeouts,
    /// Binary packets whose attachments did not come in time.
    binary_timeouts,
    /// Acks asked for beyond the limit of pending ones.
    acks_refused,
    /// Joins beyond the limit of rooms for one socket.
    rooms_refused,
    /// Events whose arguments did not fit their handler.
    bad_arguments,
    /// Sockets that resumed their session.
    recovered,
    /// Sockets that asked for a session which was gone.
    recovery_missed,
}

/// One number.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub(crate) fn inc(&self) {
        self.add(1);
    }

    /// Counts one more unless that would be more than `limit`: of several threads only as many get in as there are places.
    pub(crate) fn inc_below(&self, limit: u64) -> bool {
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| (n < limit).then_some(n + 1)).is_ok()
    }

    pub(crate) fn dec(&self) {
        self.sub(1);
    }

    pub(crate) fn sub(&self, n: u64) {
        self.0.fetch_sub(n, Ordering::Relaxed);
    }

    pub(crate) fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
