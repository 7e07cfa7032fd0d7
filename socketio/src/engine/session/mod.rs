//! One Engine.IO session as a state machine: packets and the time go in, packets and deadlines come out.
//!
//! ```text
//! GET  ─▶ begin_poll ─▶ (parked) ─▶ next(Polling) … ─▶ end_poll
//! POST ─▶ begin_post ─▶ on_packet … ─▶ end_post
//! WebSocket ─▶ attach_candidate ─▶ on_packet(`2probe`, `5`) ─▶ the session's transport
//! time ─▶ on_deadline       server ─▶ close
//! ```
//!
//! The session knows nothing of TCP sockets, tasks or clocks. It does not store the application's messages either: they wait in an outbox
//! beside it, and [`Session::next`] says when the transport may take them. After each call that takes `&mut self`, the caller has to check
//! [`Session::take_closed`] and [`Session::deadline`] again.
//!
//! Here is what all transports share: opening, packets in, packets out, the end. The requests of long-polling are in `requests`, the
//! change to a WebSocket in `upgrade`, what time does in `clock`.

mod clock;
mod requests;
mod terms;
#[cfg(test)]
mod tests;
mod upgrade;

use std::{collections::VecDeque, sync::Arc, time::Instant};

use bytestring::ByteString;

pub(crate) use self::requests::{Posted, Stamp};
pub use self::terms::Transport;
pub(crate) use self::terms::{NOOP_INTERVAL, Next, Refused, SessionConfig};
use self::{
    requests::{Poll, Stamps},
    upgrade::Upgrade,
};
use super::packet::{Data, Packet, Protocol};
use crate::{DisconnectReason, websocket::Bucket};

#[derive(Debug)]
enum Phase {
    Open,
    /// The server closed the session: queued messages are flushed, then the client is notified.
    Closing {
        deadline: Instant,
        flushed: bool,
    },
    Closed,
}

/// The state of one Engine.IO session.
#[derive(Debug)]
pub(crate) struct Session {
    config: Arc<SessionConfig>,
    protocol: Protocol,
    transport: Transport,
    phase: Phase,
    closed: Option<DisconnectReason>,
    /// The session's own packets that wait to be sent. Allocates nothing while it is empty, as in an idle session.
    control: VecDeque<Packet>,
    poll: Poll,
    posting: bool,
    stamps: Stamps,
    /// The WebSocket that is to become the transport. Few sessions have one at any moment.
    upgrade: Option<Box<Upgrade>>,
    heartbeat: Instant,
    awaiting_pong: bool,
    /// The WebSocket has taken something since the time was last looked at.
    progressed: bool,
    /// What the client may send beside messages. It needs one packet for each ping, and a few for an upgrade.
    packets: Bucket,
}

impl Session {
    /// Opens a session; its first packet out is the handshake.
    pub(crate) fn open(
        config: Arc<SessionConfig>,
        protocol: Protocol,
        transport: Transport,
        sid: &str,
        now: Instant,
    ) -> Self {
        let upgrades = if transport == Transport::Polling && config.allow_upgrades { r#"["websocket"]"# } else { "[]" };
        let open = format!(
            r#"{{"sid":"{sid}","upgrades":{upgrades},"pingInterval":{},"pingTimeout":{},"maxPayload":{}}}"#,
            config.ping_interval.as_millis(),
            config.ping_timeout.as_millis(),
            config.max_payload,
        );
        let heartbeat = match protocol {
            Protocol::V4 => now + config.ping_interval,
            #[cfg(feature = "eio3")]
            Protocol::V3 => now + config.ping_interval + config.ping_timeout,
        };
        let packets = Bucket::new(config.packet_rate, now);
        Self {
            config,
            protocol,
            transport,
            phase: Phase::Open,
            closed: None,
            control: VecDeque::from([Packet::Open(ByteString::from(open))]),
            poll: Poll::Idle,
            posting: false,
            stamps: Stamps::default(),
            upgrade: None,
            heartbeat,
            awaiting_pong: false,
            progressed: false,
            packets,
        }
    }

    /// The transport that carries the session now.
    pub(crate) fn transport(&self) -> Transport {
        self.transport
    }

    /// The Engine.IO revision that the client speaks.
    pub(crate) fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Whether messages are still taken from the application.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open)
    }

    /// Whether the session has ended.
    pub(crate) fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    /// Whether the transport can carry a message now: a WebSocket always, long-polling while a GET waits.
    pub(crate) fn is_writable(&self) -> bool {
        self.is_open() && (self.transport == Transport::WebSocket || self.poll == Poll::Open)
    }

    /// Whether a WebSocket carries the open session, which itself has nothing to send.
    pub(crate) fn is_quiet_websocket(&self) -> bool {
        self.is_open() && self.transport == Transport::WebSocket && self.control.is_empty() && self.upgrade.is_none()
    }

    /// Handles a received packet. Returns a message for the application, if it is one.
    pub(crate) fn on_packet(&mut self, via: Transport, packet: Packet, now: Instant) -> Option<Data> {
        if self.is_closed() {
            return None;
        }
        let is_message = matches!(packet, Packet::Message(_)) && via == self.transport && self.is_open();
        if !is_message && !self.packets.take(now) {
            self.finish(DisconnectReason::RateLimit);
            return None;
        }
        if via != self.transport {
            if via == Transport::WebSocket {
                self.on_candidate_packet(&packet, now);
            }
            return None;
        }
        match (packet, self.protocol) {
            (Packet::Message(data), _) if self.is_open() => return Some(data),
            (Packet::Message(_), _) => {}
            (Packet::Pong(_), Protocol::V4) => {
                self.awaiting_pong = false;
                self.heartbeat = now + self.config.ping_interval;
            }
            #[cfg(feature = "eio3")]
            (Packet::Ping(data), Protocol::V3) => {
                // One pong answers all pings that came since the last: a flood of them does not pile up.
                self.control.retain(|packet| !matches!(packet, Packet::Pong(_)));
                self.control.push_back(Packet::Pong(data));
                self.heartbeat = now + self.config.ping_interval + self.config.ping_timeout;
            }
            // A heartbeat in the wrong direction.
            (Packet::Ping(_), Protocol::V4) => self.finish(DisconnectReason::TransportError),
            #[cfg(feature = "eio3")]
            (Packet::Pong(_), Protocol::V3) => self.finish(DisconnectReason::TransportError),
            (Packet::Close, _) => {
                self.release_poll();
                self.finish(DisconnectReason::TransportClose);
            }
            (Packet::Open(_) | Packet::Upgrade | Packet::Noop, _) => {}
        }
        None
    }

    /// The pong of protocol 3 that is due, taken out, for a caller who sends it behind the application's messages.
    pub(crate) fn take_pong(&mut self) -> Option<Packet> {
        if self.protocol == Protocol::V4 {
            return None;
        }
        let at = self.control.iter().position(|packet| matches!(packet, Packet::Pong(_)))?;
        self.control.remove(at)
    }

    /// What the transport `via` does now.
    pub(crate) fn next(&mut self, via: Transport) -> Next {
        if via == Transport::Polling {
            match self.poll {
                Poll::Idle => return Next::End,
                Poll::Noop | Poll::Close => return Next::Send(self.answer_poll()),
                Poll::Open => {}
            }
        } else if via != self.transport {
            return self.next_for_candidate();
        }
        match self.phase {
            Phase::Open => self.pop_control().map_or(Next::Application, Next::Send),
            Phase::Closing { flushed: false, .. } => self.pop_control().map_or(Next::Flush, Next::Send),
            Phase::Closing { flushed: true, .. } => {
                // Polling: `finish` turns the open poll into the close packet.
                self.finish(DisconnectReason::ForcedClose);
                if via == Transport::Polling { self.next(via) } else { Next::End }
            }
            Phase::Closed => Next::End,
        }
    }

    fn pop_control(&mut self) -> Option<Packet> {
        let packet = self.control.pop_front()?;
        if self.control.is_empty() {
            self.control = VecDeque::new();
        }
        Some(packet)
    }

    /// The messages queued before [`Session::close`] have been sent.
    pub(crate) fn flushed(&mut self) {
        if let Phase::Closing { flushed, .. } = &mut self.phase {
            *flushed = true;
        }
    }

    /// The server closes the session: queued messages are flushed, then the client is notified. A polling client without an open poll is
    /// notified in its next one; [`SessionConfig::close_timeout`] limits the wait for it.
    pub(crate) fn close(&mut self, now: Instant) {
        if self.is_open() {
            self.upgrade = None;
            self.phase = Phase::Closing { deadline: now + self.config.close_timeout, flushed: false };
        }
    }

    /// Ends the session now, whatever waits. Only the first reason counts.
    pub(crate) fn finish(&mut self, reason: DisconnectReason) {
        if self.is_closed() {
            return;
        }
        self.phase = Phase::Closed;
        self.closed = Some(reason);
        self.control = VecDeque::new();
        self.upgrade = None;
        if self.poll == Poll::Open {
            self.poll = Poll::Close;
        }
    }

    /// The reason for which the session has ended, once.
    pub(crate) fn take_closed(&mut self) -> Option<DisconnectReason> {
        self.closed.take()
    }
}
