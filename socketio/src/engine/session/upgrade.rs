//! From long-polling to a WebSocket: `2probe`, `3probe`, a noop for the open poll now and then, `5`.

use std::time::Instant;

use bytestring::ByteString;

use super::{NOOP_INTERVAL, Next, Session, Transport, requests::Poll};
use crate::{DisconnectReason, engine::packet::Packet};

/// A WebSocket that is about to carry the session.
#[derive(Debug)]
pub(super) struct Upgrade {
    /// When it is given up.
    pub(super) deadline: Instant,
    /// When the open poll gets its next noop. None is due before the probe.
    pub(super) noop: Option<Instant>,
    /// Whether the answer to the probe is still to be sent.
    owes_pong: bool,
}

impl Session {
    /// A WebSocket has opened for this session. False: there is one already, so close this one.
    pub(crate) fn attach_candidate(&mut self, now: Instant) -> bool {
        let free = self.is_open()
            && self.config.allow_upgrades
            && self.transport == Transport::Polling
            && self.upgrade.is_none();
        if free {
            let deadline = now + self.config.upgrade_timeout;
            self.upgrade = Some(Box::new(Upgrade { deadline, noop: None, owes_pong: false }));
        }
        free
    }

    /// The WebSocket is gone. It takes the session along only if it carried it.
    pub(crate) fn detach_websocket(&mut self, reason: DisconnectReason) {
        if self.transport == Transport::WebSocket {
            self.finish(reason);
        } else {
            self.upgrade = None;
        }
    }

    pub(super) fn on_candidate_packet(&mut self, packet: &Packet, now: Instant) {
        let Some(upgrade) = &mut self.upgrade else { return };
        match packet {
            Packet::Ping(data) if data == "probe" => {
                upgrade.owes_pong = true;
                if upgrade.noop.is_none() {
                    upgrade.noop = Some(now + NOOP_INTERVAL);
                    self.release_poll();
                }
            }
            Packet::Upgrade if self.is_open() => self.upgrade(),
            _ => self.upgrade = None,
        }
    }

    fn upgrade(&mut self) {
        let owes_pong = self.upgrade.take().is_some_and(|upgrade| upgrade.owes_pong);
        self.transport = Transport::WebSocket;
        // Clients wait for the answer to their poll before they send `5`. A poll that is still unanswered was sent after the `5` on another
        // connection and overtook it, even if it was about to get its noop. It is rejected like any later one.
        if matches!(self.poll, Poll::Open | Poll::Noop) {
            self.poll = Poll::Idle;
        }
        // The answer to the probe goes first if it is still here.
        if owes_pong {
            self.control.push_front(probe_answer());
        }
    }

    /// What the WebSocket does that does not carry the session yet.
    pub(super) fn next_for_candidate(&mut self) -> Next {
        match &mut self.upgrade {
            None => Next::End,
            Some(upgrade) if upgrade.owes_pong => {
                upgrade.owes_pong = false;
                Next::Send(probe_answer())
            }
            Some(_) => Next::Wait,
        }
    }
}

fn probe_answer() -> Packet {
    Packet::Pong(ByteString::from_static("probe"))
}
