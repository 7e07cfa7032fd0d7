//! Reports a connection's requests to its session: polls, posts and WebSockets as they begin and end.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use super::conn::{Conn, WebSocketId};
use crate::{
    DisconnectReason,
    engine::{
        outgoing::Form,
        packet::Packet,
        session::{Posted, Refused, Stamp, Transport},
    },
};

impl Conn {
    /// Ends the session if it has expired: a request at the deadline is not answered as if it were earlier, however late the timer is.
    /// Everything else that is due is left to the timer.
    pub(crate) fn check_deadline(self: &Arc<Self>) {
        let now = Instant::now();
        let is_overdue = self.state().session.is_overdue(now);
        if is_overdue {
            self.with(|state| state.session.on_deadline(now));
        }
    }

    /// One of the session's WebSockets has taken a part of what it was given.
    pub(crate) fn on_progress(&self, id: WebSocketId) {
        let mut state = self.state();
        if state.websocket_id == id {
            state.session.on_progress();
        }
    }

    pub(crate) fn begin_poll(self: &Arc<Self>, stamp: Option<Stamp>) -> Result<(), Refused> {
        self.with(|state| state.session.begin_poll(stamp))
    }

    pub(crate) fn has_poll(&self) -> bool {
        self.state().session.has_poll()
    }

    pub(crate) fn abort_poll(self: &Arc<Self>) {
        self.with(|state| state.session.abort_poll());
    }

    pub(crate) fn begin_post(self: &Arc<Self>, stamp: Option<Stamp>) -> Result<Posted, Refused> {
        self.with(|state| state.session.begin_post(stamp))
    }

    pub(crate) fn end_post(self: &Arc<Self>) {
        self.with(|state| state.session.end_post());
    }

    /// A second WebSocket is a stranger to the session, even when the first has been given up: each is known by a number.
    pub(crate) fn attach_websocket(self: &Arc<Self>) -> Option<WebSocketId> {
        self.with(|state| {
            let attached = state.session.attach_candidate(Instant::now());
            attached.then(|| {
                state.websocket_id = WebSocketId(state.websocket_id.0.wrapping_add(1));
                state.websocket_id
            })
        })
    }

    pub(crate) fn detach_websocket(self: &Arc<Self>, id: WebSocketId, reason: DisconnectReason) {
        self.with(|state| {
            if state.websocket_id == id {
                state.websocket = None;
                state.session.detach_websocket(reason);
            }
        });
    }

    pub(crate) fn receive_websocket(self: &Arc<Self>, id: WebSocketId, packet: Packet) {
        if self.state().websocket_id == id {
            self.receive(Transport::WebSocket, packet);
        }
    }

    /// Whether this WebSocket carries the session, and nothing is to be sent on it but what the only source will have.
    pub(crate) fn is_idle(&self, id: WebSocketId) -> bool {
        let state = self.state();
        state.websocket_id == id
            && state.session.is_quiet_websocket()
            && state.outbox.is_empty()
            && state.staged.is_empty()
            && state.send_pauses == 0
            && state.sources.is_one()
    }

    /// Its WebSocket has not taken all that it was given.
    pub(crate) fn websocket_is_busy(&self, id: WebSocketId) {
        let mut state = self.state();
        if state.websocket_id == id {
            state.is_busy = true;
        }
    }

    /// Whether handlers of its sockets have not returned.
    pub(crate) fn has_handlers(&self) -> bool {
        self.handler_bytes.load(Ordering::Relaxed) > 0
    }

    /// The encoding of its messages.
    pub(crate) fn form(&self) -> Form {
        self.state().form
    }

    /// The poll's answer is complete.
    pub(crate) fn end_poll(self: &Arc<Self>) {
        self.with(|state| {
            state.http = None;
            state.session.end_poll();
        });
    }
}
