//! The settings of a server: meaning, default, and the meaning of 0 or `None`.

use std::time::Duration;

#[cfg(feature = "client-bundle")]
use crate::bundle::Bundle;
use crate::origins::Origins;

/// All settings. Create them with [`Config::default`] and change fields, or use [`SocketIo::builder`](crate::SocketIo::builder).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// The path prefix of requests for this server. Default `/socket.io/`.
    pub path: String,
    /// Whether [`path`](Self::path) ends in a slash. Without, `/socket.io` is served as well: `addTrailingSlash` in Node. Default true.
    pub add_trailing_slash: bool,
    /// The time from a pong to the next ping. Default 25 s.
    pub ping_interval: Duration,
    /// The time from a ping to the end of the session if no pong arrives. Default 20 s.
    pub ping_timeout: Duration,
    /// How long an upgrade to a WebSocket may take. Default 10 s.
    pub upgrade_timeout: Duration,
    /// How long a connection may stay without connecting to a namespace. Default 45 s.
    pub connect_timeout: Duration,
    /// How long the body of a POST may take to arrive. Default 10 s.
    pub body_timeout: Duration,
    /// How long a closed polling session waits for the poll that receives its close packet. Default 30 s.
    pub close_timeout: Duration,
    /// The largest request body, WebSocket frame and (reassembled) WebSocket message, in bytes. Default 1,000,000.
    pub max_http_buffer_size: usize,
    /// Whether long-polling is served. Default true.
    pub polling: bool,
    /// Whether WebSockets are served. Default true.
    pub websocket: bool,
    /// Whether a polling session may become a WebSocket session. Default true.
    pub allow_upgrades: bool,
    /// Whether Engine.IO 3, the protocol of Socket.IO 2 clients, is served as well. Default false.
    #[cfg(feature = "eio3")]
    pub allow_eio3: bool,
    /// Whether polling answers may take the form of a script (JSONP), for very old browsers. Default false.
    #[cfg(feature = "jsonp")]
    pub jsonp: bool,
    /// Whether clients may use the msgpack encoding. The server recognizes it by the first packet, so clients with either encoding can
    /// connect. Default false.
    #[cfg(feature = "msgpack")]
    pub msgpack: bool,
    /// The origins whose pages may use the server. Default: only the server's own.
    pub origins: Origins,
    /// The other CORS settings, for pages of other origins. Default: as Node's `cors` option, except for the allowed origins, which are
    /// [`origins`](Self::origins). With `None` responses have no CORS headers: the application adds its own to all its responses, and
    /// answers preflights. `origins` still decides who may connect.
    pub cors: Option<Cors>,
    /// A cookie to set in the polling handshake, for load balancers. Default none.
    pub cookie: Option<Cookie>,
    /// Polling answers of at least this size are compressed if the client accepts it; `None` means never. Default 1,024 bytes.
    pub compress_from: Option<usize>,
    /// The JavaScript client, served at its official paths. Default `None`: not served.
    #[cfg(feature = "client-bundle")]
    pub client_bundle: Option<Bundle>,
    /// The headers of the first request that a connection keeps, as names in lower case; `None`, the default, keeps all. A browser's take
    /// several hundred bytes for as long as it is connected, not counting cookies, and most applications need one or two of them.
    /// [`allow_request`](crate::Builder::allow_request) and [`sid_prefix`](crate::Builder::sid_prefix) see only these.
    pub kept_headers: Option<Vec<String>>,
    /// Take the client's address and scheme from `Forwarded` or `X-Forwarded-For`. Enable this only behind a proxy that sets them;
    /// otherwise clients can forge them. Default false.
    pub trust_proxy: bool,

    /// Maximum number of sessions at a time; beyond, handshakes are rejected. 0 means no limit, the default.
    pub max_connections: usize,
    /// Maximum number of bytes queued for one client. Beyond, volatile messages are dropped; for others the sender gets
    /// [`EmitError::Full`](crate::EmitError::Full), and the connection stays open. A message whose sender cannot be notified, such as an
    /// ack, or a broadcast to a slow client, ends the connection with [`OutboxOverflow`](crate::DisconnectReason::OutboxOverflow). A client
    /// with an empty queue is sent any message up to this size. 0 means no limit. Default 64 MiB.
    pub max_pending_bytes: usize,
    /// Maximum number of bytes queued for all clients together, with the same consequences. A message to many counts once, and each client
    /// may have 64 KiB, or a single message, beyond it. Messages pulled from a [source](crate::Source) count, and so does the rest of a
    /// long message or poll that a client reads slowly, unless others share the same bytes. 0 means no limit. Default 256 MiB.
    pub max_pending_total: usize,
    /// Maximum number of bytes of incomplete WebSocket messages, request bodies and packets with attachments, of all clients together.
    /// Beyond, the message that exceeds the limit is rejected and its connection ended, unless it is below 64 KiB. 0 means no limit.
    /// Default 64 MiB.
    pub max_receiving_total: usize,
    /// Maximum number of bytes of events whose handlers are still running, for each connection. A handler counts 1 KiB in addition to its
    /// event. Beyond, the connection ends with [`HandlerOverflow`](crate::DisconnectReason::HandlerOverflow). 0 means no limit. Default 16
    /// MiB.
    pub max_handler_bytes: usize,
    /// The same for all connections together, with the same consequence for the connection whose event exceeds it, unless its own events
    /// take less than 64 KiB. 0 means no limit. Default 256 MiB.
    pub max_handler_total: usize,
    /// About how many bytes are pulled from the [sources](crate::Source) of a connection at a time, unless
    /// [`max_pending_total`](Self::max_pending_total) leaves fewer. Default 32 KiB.
    pub source_budget: usize,
    /// Maximum number of messages that one client may send per second, with bursts of twice as many. The same limit applies to other
    /// packets of Engine.IO (pongs, and the pings of its revision 3), and to fragments and control frames of a WebSocket. Beyond, the
    /// client is disconnected with [`RateLimit`](crate::DisconnectReason::RateLimit). 0 means no limit, the default.
    pub packet_rate: u32,
    /// Maximum number of attachments of one binary packet. Default 10.
    pub max_attachments: usize,
    /// Maximum size in bytes of one packet with all its attachments, which stay in memory until the last has arrived. 0, the default, sets
    /// no limit of its own: as in Node, the text and each of [`max_attachments`](Self::max_attachments) may then have
    /// [`max_http_buffer_size`](Self::max_http_buffer_size).
    pub max_packet_bytes: usize,
    /// How long the attachments of a binary packet may take to arrive. Default 10 s.
    pub binary_timeout: Duration,
    /// Maximum number of acks that one socket may owe at a time. Beyond, requesting another fails immediately. 0 means no limit. Default
    /// 1,000.
    pub max_pending_acks: usize,
    /// Maximum number of rooms of one socket. Beyond, joins are rejected. 0 means no limit. Default 1,000.
    pub max_rooms: usize,
    /// Maximum number of namespaces of one connection. Default 100.
    pub max_namespaces: usize,
    /// Maximum size in bytes of the `auth` that a client sends when it connects to a namespace. A larger one is rejected with
    /// `connect_error`. 0, the default, means no limit except [`max_http_buffer_size`](Self::max_http_buffer_size), as in Node.
    pub max_auth_bytes: usize,
    /// Connection state recovery. Default none.
    pub recovery: Option<Recovery>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            path: "/socket.io/".into(),
            add_trailing_slash: true,
            ping_interval: Duration::from_secs(25),
            ping_timeout: Duration::from_secs(20),
            upgrade_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(45),
            body_timeout: Duration::from_secs(10),
            close_timeout: Duration::from_secs(30),
            max_http_buffer_size: 1_000_000,
            polling: true,
            websocket: true,
            allow_upgrades: true,
            #[cfg(feature = "eio3")]
            allow_eio3: false,
            #[cfg(feature = "jsonp")]
            jsonp: false,
            #[cfg(feature = "msgpack")]
            msgpack: false,
            origins: Origins::same_origin(),
            cors: Some(Cors::default()),
            cookie: None,
            compress_from: Some(1024),
            #[cfg(feature = "client-bundle")]
            client_bundle: None,
            kept_headers: None,
            trust_proxy: false,
            max_connections: 0,
            max_pending_bytes: 64 << 20,
            max_pending_total: 256 << 20,
            max_receiving_total: 64 << 20,
            max_handler_bytes: 16 << 20,
            max_handler_total: 256 << 20,
            source_budget: 32 << 10,
            packet_rate: 0,
            max_attachments: 10,
            max_packet_bytes: 0,
            binary_timeout: Duration::from_secs(10),
            max_pending_acks: 1000,
            max_rooms: 1000,
            max_namespaces: 100,
            max_auth_bytes: 0,
            recovery: None,
        }
    }
}

/// Longer times are treated as this one, which can be added to a clock without overflow.
const FOR_EVER: Duration = Duration::from_secs(365 * 24 * 60 * 60);

impl Config {
    /// The same settings with every value corrected to one that the server can use: times that clocks can represent, and a path between
    /// slashes.
    pub(crate) fn normalized(mut self) -> Self {
        for time in [
            &mut self.ping_interval,
            &mut self.ping_timeout,
            &mut self.upgrade_timeout,
            &mut self.connect_timeout,
            &mut self.body_timeout,
            &mut self.close_timeout,
            &mut self.binary_timeout,
        ] {
            *time = (*time).min(FOR_EVER);
        }
        if let Some(recovery) = &mut self.recovery {
            recovery.max_disconnection = recovery.max_disconnection.min(FOR_EVER);
        }
        let bare = self.path.trim_matches('/');
        self.path = match (bare, self.add_trailing_slash) {
            ("", _) => "/".into(),
            (bare, true) => format!("/{bare}/"),
            (bare, false) => format!("/{bare}"),
        };
        self
    }
}

/// The CORS headers other than the origins, which [`Config::origins`] decides; see [`Config::cors`].
#[derive(Clone, Debug)]
pub struct Cors {
    /// `Access-Control-Allow-Methods`. Default `GET,POST,OPTIONS`.
    pub methods: String,
    /// `Access-Control-Allow-Headers`; `None`, the default, allows what the browser asks for.
    pub allowed_headers: Option<String>,
    /// `Access-Control-Expose-Headers`. Default none.
    pub exposed_headers: Option<String>,
    /// How long a browser may cache the answer to its preflight; `None` leaves that to the browser. Default 10 min.
    pub max_age: Option<Duration>,
}

impl Default for Cors {
    fn default() -> Self {
        Self {
            methods: "GET,POST,OPTIONS".into(),
            allowed_headers: None,
            exposed_headers: None,
            max_age: Some(Duration::from_secs(600)),
        }
    }
}

/// A cookie that contains the session's id.
#[derive(Clone, Debug)]
pub struct Cookie {
    /// Its name. Node's default is `io`.
    pub name: String,
    /// The attributes after the value, such as `Path=/; HttpOnly; SameSite=Lax`.
    pub attributes: String,
}

impl Default for Cookie {
    fn default() -> Self {
        Self { name: "io".into(), attributes: "Path=/; HttpOnly; SameSite=Lax".into() }
    }
}

/// Connection state recovery: a client that was disconnected gets back its id, its rooms and the events that it missed.
#[derive(Clone, Debug)]
pub struct Recovery {
    /// How long a session is kept after the disconnection. Default 2 min.
    pub max_disconnection: Duration,
    /// Whether a recovered socket skips the middlewares, which it passed at its first connection. Default true.
    pub skip_middlewares: bool,
    /// Maximum number of packets that [`LocalAdapter`](crate::LocalAdapter) stores for each namespace. Default 10,000.
    pub max_packets: usize,
    /// Maximum size in bytes of packets that [`LocalAdapter`](crate::LocalAdapter) stores for each namespace. Default 16 MiB.
    pub max_bytes: usize,
    /// Maximum size in bytes of packets and sessions that [`LocalAdapter`](crate::LocalAdapter) stores for all namespaces together. Beyond,
    /// the oldest of the largest namespaces are evicted. Default 64 MiB.
    pub max_total_bytes: usize,
}

impl Default for Recovery {
    fn default() -> Self {
        Self {
            max_disconnection: Duration::from_secs(120),
            skip_middlewares: true,
            max_packets: 10_000,
            max_bytes: 16 << 20,
            max_total_bytes: 64 << 20,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_those_of_node() {
        let config = Config::default();
        assert_eq!(config.path, "/socket.io/");
        for (time, seconds) in [
            (config.ping_interval, 25),
            (config.ping_timeout, 20),
            (config.upgrade_timeout, 10),
            (config.connect_timeout, 45),
            (config.close_timeout, 30),
        ] {
            assert_eq!(time, Duration::from_secs(seconds));
        }
        assert_eq!((config.max_http_buffer_size, config.max_attachments), (1_000_000, 10));
        assert_eq!((config.allow_eio3, config.jsonp, config.msgpack), (false, false, false));
        assert!(config.polling && config.websocket && config.allow_upgrades);
        assert!(config.recovery.is_none() && config.cookie.is_none());
    }

    #[test]
    fn odd_settings_are_made_workable() {
        for (path, expected) in
            [("/socket.io/", "/socket.io/"), ("socket.io", "/socket.io/"), ("/a/b", "/a/b/"), ("", "/"), ("/", "/")]
        {
            let config = Config { path: path.into(), ..Config::default() };
            assert_eq!(config.normalized().path, expected);
        }
        let config = Config { path: "/a/b/".into(), add_trailing_slash: false, ..Config::default() };
        assert_eq!(config.normalized().path, "/a/b");
        let config = Config { ping_interval: Duration::MAX, ..Config::default() };
        assert_eq!(config.normalized().ping_interval, FOR_EVER);
    }
}
