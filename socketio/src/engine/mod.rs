//! Engine.IO: sessions of messages over long-polling and WebSockets, the layer under Socket.IO.
//!
//! ```text
//! a transport ─▶ Connection ─▶ session (pure) ─▶ Peer (the application)
//! ```
//!
//! [`EngineIo`](crate::EngineIo) serves it alone, for applications that want messages and none of the rooms and events above them. The session state
//! machine in `session` and the codecs in [`packet`] and [`payload`] have no I/O and no clock.

mod admission;
mod connection;
mod handshake;
mod id;
mod outbox;
mod outgoing;
pub mod packet;
pub mod payload;
mod refusal;
pub(crate) mod session;
mod table;
pub(crate) mod worker;

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use tokio::sync::Notify;

pub(crate) use self::admission::{Admission, Permit};
pub(crate) use self::connection::{Conn, HandlerBytes, Item, SendPause, WebSocketId};
pub(crate) use self::handshake::parse_query;
pub(crate) use self::outgoing::{Charge, Party};
pub(crate) use self::refusal::Refusal;
pub(crate) use self::session::{Posted, Stamp};
pub use self::{
    connection::{Connection, Peer, SendError, Source, SourceId},
    handshake::{Handshake, Headers},
    id::{IdError, Sid},
    outgoing::{Encoded, Form, Frames, Outgoing},
    packet::{Data, Protocol},
    session::Transport,
};
use self::{
    session::{Session, SessionConfig},
    table::Table,
    worker::Workers,
};
use crate::{Config, DisconnectReason, hooks::Hooks, panics::guard, rate::OncePerSecond, stats::Counters};

static ID_ERRORS: OncePerSecond = OncePerSecond::new();

/// Makes the [`Peer`] of each new connection.
pub trait Service: Send + Sync + 'static {
    /// A connection has opened. Messages sent here arrive right behind the handshake.
    fn connect(&self, connection: &Connection) -> Arc<dyn Peer>;
}

impl<F, P> Service for F
where
    F: Fn(&Connection) -> P + Send + Sync + 'static,
    P: Peer + 'static,
{
    fn connect(&self, connection: &Connection) -> Arc<dyn Peer> {
        Arc::new(self(connection))
    }
}

/// What all connections of a server share.
pub(crate) struct Core {
    pub(crate) config: Arc<Config>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) workers: Workers,
    pub(crate) admission: Admission,
    pub(crate) hooks: Hooks,
    /// Notified when the last connection has ended.
    idle: Notify,
    session: Arc<SessionConfig>,
    service: Box<dyn Service>,
    table: Table,
    closing: AtomicBool,
}

impl Core {
    pub(crate) fn new(
        config: Arc<Config>,
        counters: Arc<Counters>,
        workers: Workers,
        admission: Admission,
        hooks: Hooks,
        service: Box<dyn Service>,
    ) -> Arc<Self> {
        let session = Arc::new(SessionConfig {
            ping_interval: config.ping_interval,
            ping_timeout: config.ping_timeout,
            upgrade_timeout: config.upgrade_timeout,
            close_timeout: config.close_timeout,
            max_payload: config.max_http_buffer_size,
            allow_upgrades: config.allow_upgrades && config.websocket,
            packet_rate: config.packet_rate,
        });
        Arc::new(Self {
            config,
            counters,
            workers,
            admission,
            hooks,
            idle: Notify::new(),
            session,
            service,
            table: Table::default(),
            closing: AtomicBool::new(false),
        })
    }

    fn pending_limits(&self) -> outbox::Limits {
        let limit = |bytes| if bytes == 0 { usize::MAX } else { bytes };
        outbox::Limits { connection: limit(self.config.max_pending_bytes), total: limit(self.config.max_pending_total) }
    }

    /// About how many bytes are pulled from a source now: as many as is set, fewer when what waits for all clients nears its limit, and then
    /// one message.
    fn pull_budget(&self) -> usize {
        let pending = usize::try_from(self.counters.pending_bytes.get()).unwrap_or(usize::MAX);
        let left = self.pending_limits().total.saturating_sub(pending);
        self.config.source_budget.min(left).max(1)
    }

    /// The session with this id, if its time is not over.
    pub(crate) fn find_alive(&self, sid: &str) -> Option<Arc<Conn>> {
        let conn = self.table.get(&Sid::parse(sid)?)?;
        conn.check_deadline();
        (!conn.is_closed()).then_some(conn)
    }

    /// Opens a connection and hands it to the application.
    pub(crate) fn accept(
        self: &Arc<Self>,
        protocol: Protocol,
        handshake: Arc<Handshake>,
        permit: Option<Permit>,
    ) -> Result<Arc<Conn>, Refusal> {
        if self.closing.load(Ordering::Acquire) {
            return Err(Refusal::Forbidden("Server is closing".into()));
        }
        let sid = self.new_sid(&handshake).map_err(|error| {
            ID_ERRORS.log(|more| log::error!("{error}{more}"));
            Refusal::BadRequest
        })?;
        let limit = match self.config.max_connections {
            0 => u64::MAX,
            limit => limit as u64,
        };
        if !self.counters.connections.inc_below(limit) {
            return Err(Refusal::Full);
        }
        let transport = handshake.transport;
        let session = Session::open(self.session.clone(), protocol, transport, sid.as_str(), Instant::now());
        let home = self.workers.here();
        let conn = Arc::new(Conn::new(self.clone(), sid, session, handshake, permit, home));
        self.counters.opened.inc();
        match transport {
            Transport::Polling => self.counters.connections_polling.inc(),
            Transport::WebSocket => self.counters.connections_websocket.inc(),
        }
        self.table.insert(conn.clone());
        let Some(peer) = guard("the service of the engine", || self.service.connect(&Connection(conn.clone()))) else {
            conn.finish(DisconnectReason::ForcedServerClose);
            return Err(Refusal::Internal);
        };
        conn.start(peer);
        // `close` may have looked at the table just before this one was in it.
        if self.closing.load(Ordering::Acquire) {
            conn.finish(DisconnectReason::ServerShuttingDown);
        }
        Ok(conn)
    }

    fn new_sid(&self, handshake: &Handshake) -> Result<Sid, IdError> {
        match self.admission.prefix(handshake) {
            Some(prefix) => Sid::beginning_with(&prefix),
            None => Sid::random(),
        }
    }

    /// Takes an ended connection out of the table and counts its end.
    pub(crate) fn unlist(&self, conn: &Conn, reason: DisconnectReason) {
        self.table.remove(&conn.sid);
        self.counters.connections.dec();
        match conn.transport() {
            Transport::Polling => self.counters.connections_polling.dec(),
            Transport::WebSocket => self.counters.connections_websocket.dec(),
        }
        match reason {
            DisconnectReason::PingTimeout => self.counters.ping_timeouts.inc(),
            DisconnectReason::ParseError => self.counters.parse_errors.inc(),
            DisconnectReason::RateLimit => self.counters.rate_limited.inc(),
            _ => {}
        }
        if self.counters.connections.get() == 0 {
            self.idle.notify_waiters();
        }
    }

    /// Waits until there is no connection.
    pub(crate) async fn idle(&self) {
        loop {
            let mut ended = pin!(self.idle.notified());
            // Before the look, so that an end in between is not missed.
            ended.as_mut().enable();
            if self.counters.connections.get() == 0 {
                return;
            }
            ended.await;
        }
    }

    /// Refuses new connections from now on; the ones that are open.
    pub(crate) fn begin_close(&self) -> Vec<Connection> {
        self.closing.store(true, Ordering::Release);
        self.table.all().into_iter().map(Connection).collect()
    }

    pub(crate) fn connections(&self) -> Vec<Connection> {
        self.table.all().into_iter().map(Connection).collect()
    }
}
