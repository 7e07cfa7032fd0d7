//! One connection: the pure session, its outbox and its sources behind one small lock, shared by its requests and its sockets.
//!
//! ```text
//! POST / WebSocket frame ─▶ receive ─▶ Session ─▶ Peer::on_message
//! emit, broadcast ─▶ send ─▶ Outbox ─┐
//! a log ─▶ Source ───────────────────┴─▶ poll_outgoing ─▶ GET answer / WebSocket
//! ```
//!
//! The state's lock is held for a few field accesses at a time: never while application code runs, never over an `.await`.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicUsize},
    task::Waker,
    time::Instant,
};

use super::{
    Connection, Peer, SendError,
    source::{Source, Sources},
    staged::Staged,
};
use crate::engine::{
    Core, Handshake, Permit, Sid,
    outbox::{Full, Outbox},
    outgoing::{Form, Outgoing},
    packet::{Packet, Protocol},
    session::{Session, Transport},
    worker::{Timed, Worker},
};
use crate::{DisconnectReason, panics::guard, stats::Counters};

/// What the requests, the timer and the sockets of one connection share.
pub(crate) struct Conn {
    pub(crate) sid: Sid,
    pub(crate) core: Arc<Core>,
    pub(crate) handshake: Arc<Handshake>,
    pub(crate) home: Arc<Worker>,
    /// The memory that the pending handlers of its sockets use.
    pub(super) handler_bytes: AtomicUsize,
    state: Mutex<State>,
}

/// Numbers the WebSockets of one session. A session that began as a WebSocket has the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct WebSocketId(pub(super) u32);

pub(super) struct State {
    pub(super) session: Session,
    pub(super) outbox: Outbox,
    /// Pulled from sources, not yet given to the transport.
    pub(super) staged: Staged,
    pub(super) peer: Option<Arc<dyn Peer>>,
    /// Kept for the application from the first request to the end.
    pub(super) permit: Option<Permit>,
    pub(super) peer_deadline: Option<Instant>,
    /// The heap entry that counts; others of this connection are leftovers.
    scheduled: Option<Instant>,
    pub(super) http: Option<Waker>,
    pub(super) websocket: Option<Waker>,
    pub(super) websocket_id: WebSocketId,
    pub(super) form: Form,
    pub(super) sources: Sources,
    /// The transport has been given something and has not asked for more yet.
    pub(super) is_busy: bool,
    /// How many guards delay messages at present; see [`Connection::pause_sending`].
    pub(super) send_pauses: u32,
    /// Whether it is in the table and counted.
    listed: bool,
    transport: Transport,
    /// Why it has ended.
    ended: Option<DisconnectReason>,
}

impl Conn {
    pub(crate) fn new(
        core: Arc<Core>,
        sid: Sid,
        session: Session,
        handshake: Arc<Handshake>,
        permit: Option<Permit>,
        home: Arc<Worker>,
    ) -> Self {
        let transport = session.transport();
        Self {
            sid,
            core,
            handshake,
            home,
            handler_bytes: AtomicUsize::new(0),
            state: Mutex::new(State {
                session,
                outbox: Outbox::default(),
                staged: Staged::default(),
                peer: None,
                permit,
                peer_deadline: None,
                scheduled: None,
                http: None,
                websocket: None,
                websocket_id: WebSocketId::default(),
                form: Form::Text,
                sources: Sources::default(),
                is_busy: false,
                send_pauses: 0,
                listed: true,
                transport,
                ended: None,
            }),
        }
    }

    pub(crate) fn counters(&self) -> &Arc<Counters> {
        &self.core.counters
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state, then does what follows from the change. Whatever may change the session leads through here, so this is also
    /// the one place where a session ends; sources alone are taken and put back without.
    pub(super) fn with<R>(self: &Arc<Self>, change: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.state();
        let result = change(&mut state);

        let upgraded = if state.transport != state.session.transport() {
            state.transport = state.session.transport();
            self.counters().upgrades.inc();
            self.counters().connections_polling.dec();
            self.counters().connections_websocket.inc();
            state.peer.clone()
        } else {
            None
        };
        let deadline = match (state.session.deadline(), state.peer_deadline) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, _) => a,
        };
        let schedule = match (deadline, state.scheduled) {
            (Some(at), Some(scheduled)) if scheduled <= at => None,
            (Some(at), _) => {
                state.scheduled = Some(at);
                Some(at)
            }
            (None, _) => None,
        };
        let closed = state.session.take_closed().map(|reason| {
            // 1. The session is closed already: from here on nothing enters it.
            // 2. Queued messages are dropped, so that a slow transport does not keep their memory.
            let waiting = (state.outbox.take(), state.sources.clear());
            state.staged = Staged::default();
            state.peer_deadline = None;
            state.ended = Some(reason);
            (reason, state.peer.take(), state.permit.take(), waiting, std::mem::take(&mut state.listed))
        });
        let wake = closed.is_some() || state.session.is_closed();
        let wakers = if wake { [state.http.take(), state.websocket.take()] } else { [None, None] };
        drop(state);

        if let Some(at) = schedule {
            let this = Arc::downgrade(self);
            self.core.workers.schedule(&self.home, at, this);
        }
        if let Some(peer) = upgraded {
            let connection = Connection(self.clone());
            let notify = move || {
                // Another thread may have ended it before this was queued.
                if connection.0.state().ended.is_none() {
                    peer.on_upgrade(&connection);
                }
            };
            self.core.workers.queue(&self.home, Box::new(notify));
        }
        if let Some((reason, peer, permit, waiting, listed)) = closed {
            // 3. No later request finds it.
            if listed {
                self.core.unlist(self, reason);
            }
            // 4. The application is notified last, on a thread that can run handlers, and never within one of its own calls:
            // the sender may hold locks, and so may a source or a permit that is dropped.
            if peer.is_some() || permit.is_some() || !waiting.0.is_empty() || !waiting.1.is_empty() {
                let connection = Connection(self.clone());
                let notify = move || {
                    drop(waiting);
                    if let Some(peer) = peer {
                        peer.on_close(&connection, reason);
                    }
                    drop(permit);
                };
                self.core.workers.queue(&self.home, Box::new(notify));
            }
        }
        // 5. The transports say goodbye.
        for waker in wakers.into_iter().flatten() {
            waker.wake();
        }
        result
    }

    /// Gives the connection to the application and starts its timers. If it has ended in the meantime, the application is notified of that.
    pub(crate) fn start(self: &Arc<Self>, peer: Arc<dyn Peer>) {
        let ended = self.with(|state| {
            if state.ended.is_none() {
                state.peer = Some(peer.clone());
            }
            state.ended
        });
        if let Some(reason) = ended {
            let connection = Connection(self.clone());
            self.core.workers.queue(&self.home, Box::new(move || peer.on_close(&connection, reason)));
        }
    }

    pub(super) fn permit(&self) -> Option<Permit> {
        self.state().permit.clone()
    }

    pub(crate) fn transport(&self) -> Transport {
        self.state().session.transport()
    }

    pub(crate) fn protocol(&self) -> Protocol {
        self.state().session.protocol()
    }

    pub(crate) fn finish(self: &Arc<Self>, reason: DisconnectReason) {
        self.with(|state| state.session.finish(reason));
    }

    /// A packet has arrived over `via`. The session's response is sent when the transport is woken.
    pub(crate) fn receive(self: &Arc<Self>, via: Transport, packet: Packet) {
        self.counters().packets_in.inc();
        let (message, peer, wakers) = self.with(|state| {
            let is_ping = matches!(packet, Packet::Ping(_)) && via == state.session.transport();
            let message = state.session.on_packet(via, packet, Instant::now());
            if is_ping
                && !(state.outbox.is_empty() && state.staged.is_empty())
                && let Some(pong) = state.session.take_pong()
            {
                state.outbox.push_pong(pong, self.counters(), Instant::now());
            }
            let peer = message.is_some().then(|| state.peer.clone()).flatten();
            // A message changes nothing in the session; anything else may have made it want to say something.
            let wakers = if message.is_none() { [state.http.take(), state.websocket.take()] } else { [None, None] };
            (message, peer, wakers)
        });
        for waker in wakers.into_iter().flatten() {
            waker.wake();
        }
        if let (Some(message), Some(peer)) = (message, peer) {
            guard("a peer's message handler", || peer.on_message(&Connection(self.clone()), message));
        }
    }

    /// Why it has ended, once it has.
    pub(crate) fn end_reason(&self) -> Option<DisconnectReason> {
        self.state().ended
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.state().session.is_closed()
    }

    pub(super) fn send(self: &Arc<Self>, message: Outgoing) -> Result<(), SendError> {
        let counters = self.counters();
        let waker = self.with(|state| {
            if !state.session.is_open() {
                return Err(SendError::Closed);
            }
            if message.is_volatile() && (state.is_busy || !state.session.is_writable()) {
                counters.volatile_dropped.inc();
                return Err(SendError::Dropped);
            }
            match state.outbox.push(message, self.core.pending_limits(), counters, Instant::now()) {
                Ok(dropped) => {
                    counters.volatile_dropped.add(dropped as u64);
                    Ok(state.active_waker())
                }
                Err(Full) => {
                    counters.outbox_full.inc();
                    Err(SendError::Full)
                }
            }
        })?;
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }

    /// A message that does not fit ends the connection.
    pub(super) fn send_or_end(self: &Arc<Self>, message: Outgoing) -> Result<(), SendError> {
        let sent = self.send(message);
        if sent == Err(SendError::Full) && !self.is_closed() {
            self.counters().outbox_overflows.inc();
            self.finish(DisconnectReason::OutboxOverflow);
        }
        sent
    }

    /// See [`Outbox::is_filled_by_a_burst`].
    pub(super) fn is_filled_by_a_burst(&self, len: usize) -> bool {
        self.state().outbox.is_filled_by_a_burst(len, self.core.pending_limits(), Instant::now())
    }

    /// Queues a source in its place among the messages.
    pub(super) fn queue(self: &Arc<Self>, source: Box<dyn Source>) {
        let (refused, waker) = self.with(|state| {
            if !state.session.is_open() {
                return (Some(source), None);
            }
            state.outbox.push_source(source, self.counters(), Instant::now());
            (None, state.active_waker())
        });
        drop(refused);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl State {
    pub(super) fn park(&mut self, via: Transport, waker: &Waker) {
        let slot = match via {
            Transport::Polling => &mut self.http,
            Transport::WebSocket => &mut self.websocket,
        };
        match slot {
            Some(old) => old.clone_from(waker),
            None => *slot = Some(waker.clone()),
        }
    }

    pub(super) fn active_waker(&mut self) -> Option<Waker> {
        match self.session.transport() {
            Transport::Polling => self.http.take(),
            Transport::WebSocket => self.websocket.take(),
        }
    }
}

impl Timed for Conn {
    fn on_timer(self: Arc<Self>, entry: Instant, now: Instant) {
        let (peer, wakers) = self.with(|state| {
            if state.scheduled != Some(entry) {
                return (None, [None, None]);
            }
            state.scheduled = None;
            state.session.on_deadline(now);
            let peer = match state.peer_deadline {
                Some(at) if at <= now => {
                    state.peer_deadline = None;
                    state.peer.clone()
                }
                _ => None,
            };
            (peer, [state.http.take(), state.websocket.take()])
        });
        for waker in wakers.into_iter().flatten() {
            waker.wake();
        }
        if let Some(peer) = peer {
            peer.on_deadline(&Connection(self.clone()), now);
        }
    }
}
