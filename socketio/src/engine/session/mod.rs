//! One Engine.IO session as a state machine: packets and the time go in, packets and deadlines come out.
//!
//! ```text
//! GET  ─▶ begin_poll ─▶ (parked) ─▶ next(Polling) … ─▶ end_poll
//! POST ─▶ begin_post ─▶ on_packet … ─▶ end_post
//! WebSocket ─▶ attach_candidate ─▶ on_packet(`2probe`, `5`) ─▶ the session's transport
//! time ─▶ on_deadline       server ─▶ close
//! ```
//!
//! The session knows nothing of sockets, tasks or clocks. It also does not hold the application's messages: those wait beside
//! it in an outbox, and [`Session::next`] says when the transport may take them. After each call that takes `&mut self`
//! the caller looks at [`Session::take_closed`] and [`Session::deadline`] again.

mod terms;
#[cfg(test)]
mod tests;

use std::{collections::VecDeque, sync::Arc, time::Instant};

use bytestring::ByteString;

pub use self::terms::{NOOP_INTERVAL, Next, Refused, SessionConfig, Transport};
use super::packet::{Data, Packet, Protocol};
use crate::DisconnectReason;

#[derive(Debug)]
enum Poll {
    Idle,
    /// A GET waits and may carry anything.
    Open,
    /// A GET waits and is to be answered with this packet alone.
    Answer(Packet),
}

#[derive(Debug)]
enum Upgrade {
    None,
    Attached { deadline: Instant },
    Probed { deadline: Instant, noop: Instant },
}

#[derive(Debug)]
enum Phase {
    Open,
    /// The server closed: what waits is flushed, then the client is told.
    Closing {
        deadline: Instant,
        flushed: bool,
    },
    Closed,
}

/// The state of one Engine.IO session.
#[derive(Debug)]
pub struct Session {
    config: Arc<SessionConfig>,
    protocol: Protocol,
    transport: Transport,
    phase: Phase,
    closed: Option<DisconnectReason>,
    control: VecDeque<Packet>,
    poll: Poll,
    posting: bool,
    upgrade: Upgrade,
    candidate: Option<Packet>,
    heartbeat: Instant,
    awaiting_pong: bool,
}

impl Session {
    /// Opens a session; its first packet out is the handshake.
    pub fn open(config: Arc<SessionConfig>, protocol: Protocol, transport: Transport, sid: &str, now: Instant) -> Self {
        let upgrades = if transport == Transport::Polling && config.allow_upgrades { r#"["websocket"]"# } else { "[]" };
        let open = format!(
            r#"{{"sid":"{sid}","upgrades":{upgrades},"pingInterval":{},"pingTimeout":{},"maxPayload":{}}}"#,
            config.ping_interval.as_millis(),
            config.ping_timeout.as_millis(),
            config.max_payload,
        );
        let heartbeat = match protocol {
            Protocol::V4 => now + config.ping_interval,
            Protocol::V3 => now + config.ping_interval + config.ping_timeout,
        };
        Self {
            config,
            protocol,
            transport,
            phase: Phase::Open,
            closed: None,
            control: VecDeque::from([Packet::Open(ByteString::from(open))]),
            poll: Poll::Idle,
            posting: false,
            upgrade: Upgrade::None,
            candidate: None,
            heartbeat,
            awaiting_pong: false,
        }
    }

    /// The transport that carries the session now.
    pub fn transport(&self) -> Transport {
        self.transport
    }

    /// The Engine.IO revision that the client speaks.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Whether messages are still taken from the application.
    pub fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open)
    }

    /// Whether the session has ended.
    pub fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    /// Whether a message handed over now would leave at once, as far as the session can tell.
    pub fn is_writable(&self) -> bool {
        self.is_open()
            && self.control.is_empty()
            && (self.transport == Transport::WebSocket || matches!(self.poll, Poll::Open))
    }

    /// A GET has come. On `Err` the session is closed and the earlier GET gets the close packet.
    pub fn begin_poll(&mut self) -> Result<(), Refused> {
        // The session may have moved on since the request was let in.
        if self.is_closed() || self.transport != Transport::Polling {
            return Err(Refused);
        }
        if !matches!(self.poll, Poll::Idle) {
            self.finish(DisconnectReason::TransportError);
            return Err(Refused);
        }
        self.poll = Poll::Open;
        Ok(())
    }

    /// Whether a GET waits.
    pub fn has_poll(&self) -> bool {
        !matches!(self.poll, Poll::Idle)
    }

    /// The answer to the GET is complete.
    pub fn end_poll(&mut self) {
        self.poll = Poll::Idle;
    }

    /// The client gave up the GET before it was answered: packets may be lost, so the session cannot go on.
    pub fn abort_poll(&mut self) {
        if !matches!(self.poll, Poll::Idle) {
            self.poll = Poll::Idle;
            if self.transport == Transport::Polling {
                self.finish(DisconnectReason::TransportError);
            }
        }
    }

    /// A POST has come. On `Err` the session is closed.
    pub fn begin_post(&mut self) -> Result<(), Refused> {
        if self.is_closed() || self.transport != Transport::Polling {
            return Err(Refused);
        }
        if self.posting {
            self.finish(DisconnectReason::TransportError);
            return Err(Refused);
        }
        self.posting = true;
        Ok(())
    }

    /// The POST is over.
    pub fn end_post(&mut self) {
        self.posting = false;
    }

    /// A WebSocket has opened for this session. False: there is one already, so close this one.
    pub fn attach_candidate(&mut self, now: Instant) -> bool {
        let free = self.is_open()
            && self.config.allow_upgrades
            && self.transport == Transport::Polling
            && matches!(self.upgrade, Upgrade::None);
        if free {
            self.upgrade = Upgrade::Attached { deadline: now + self.config.upgrade_timeout };
        }
        free
    }

    /// The WebSocket is gone. It takes the session along only if it carried it.
    pub fn detach_websocket(&mut self, reason: DisconnectReason) {
        if self.transport == Transport::WebSocket {
            self.finish(reason);
        } else {
            self.drop_candidate();
        }
    }

    /// Takes a packet in. What comes back is a message for the application.
    pub fn on_packet(&mut self, via: Transport, packet: Packet, now: Instant) -> Option<Data> {
        if self.is_closed() {
            return None;
        }
        if via != self.transport {
            if via == Transport::WebSocket {
                self.on_candidate_packet(packet, now);
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
            (Packet::Ping(data), Protocol::V3) => {
                self.control.push_back(Packet::Pong(data));
                self.heartbeat = now + self.config.ping_interval + self.config.ping_timeout;
            }
            // A heartbeat in the wrong direction.
            (Packet::Ping(_), Protocol::V4) | (Packet::Pong(_), Protocol::V3) => {
                self.finish(DisconnectReason::TransportError);
            }
            (Packet::Close, _) => {
                if matches!(self.poll, Poll::Open) {
                    self.poll = Poll::Answer(Packet::Noop);
                }
                self.finish(DisconnectReason::TransportClose);
            }
            (Packet::Open(_) | Packet::Upgrade | Packet::Noop, _) => {}
        }
        None
    }

    fn on_candidate_packet(&mut self, packet: Packet, now: Instant) {
        match (&packet, &self.upgrade) {
            (_, Upgrade::None) => {}
            (Packet::Ping(data), _) if data == "probe" => {
                self.candidate = Some(Packet::Pong(ByteString::from_static("probe")));
                if let Upgrade::Attached { deadline } = self.upgrade {
                    self.release_poll();
                    self.upgrade = Upgrade::Probed { deadline, noop: now + NOOP_INTERVAL };
                }
            }
            (Packet::Upgrade, _) if self.is_open() => {
                self.release_poll();
                self.upgrade = Upgrade::None;
                self.transport = Transport::WebSocket;
                // The candidate's answer to the probe goes first if it is still here.
                if let Some(pong) = self.candidate.take() {
                    self.control.push_front(pong);
                }
            }
            _ => self.drop_candidate(),
        }
    }

    /// What the transport `via` does now.
    pub fn next(&mut self, via: Transport) -> Next {
        if via == Transport::Polling {
            match &mut self.poll {
                Poll::Idle => return Next::End,
                Poll::Answer(packet) => {
                    let packet = std::mem::replace(packet, Packet::Noop);
                    self.poll = Poll::Idle;
                    return Next::Send(packet);
                }
                Poll::Open => {}
            }
        } else if via != self.transport {
            return match (self.candidate.take(), &self.upgrade) {
                (Some(packet), _) => Next::Send(packet),
                (None, Upgrade::None) => Next::End,
                (None, _) => Next::Wait,
            };
        }
        match self.phase {
            Phase::Open => match self.control.pop_front() {
                Some(packet) => Next::Send(packet),
                None => Next::Application,
            },
            Phase::Closing { flushed: false, .. } => match self.control.pop_front() {
                Some(packet) => Next::Send(packet),
                None => Next::Flush,
            },
            Phase::Closing { flushed: true, .. } => {
                // Polling: `finish` turns the open poll into the close packet.
                self.finish(DisconnectReason::ForcedClose);
                if via == Transport::Polling { self.next(via) } else { Next::End }
            }
            Phase::Closed => Next::End,
        }
    }

    /// What the application had at the time of [`Session::close`] is on its way.
    pub fn flushed(&mut self) {
        if let Phase::Closing { flushed, .. } = &mut self.phase {
            *flushed = true;
        }
    }

    /// The server closes: what waits goes out, then the client is told. A polling client that has no poll open is told at
    /// its next one, and is given up after [`SessionConfig::close_timeout`].
    pub fn close(&mut self, now: Instant) {
        if self.is_open() {
            self.drop_candidate();
            self.phase = Phase::Closing { deadline: now + self.config.close_timeout, flushed: false };
        }
    }

    /// Ends the session now, whatever waits. Only the first reason counts.
    pub fn finish(&mut self, reason: DisconnectReason) {
        if self.is_closed() {
            return;
        }
        self.phase = Phase::Closed;
        self.closed = Some(reason);
        self.control = VecDeque::new();
        self.drop_candidate();
        if matches!(self.poll, Poll::Open) {
            self.poll = Poll::Answer(Packet::Close);
        }
    }

    /// The reason for which the session has ended, once.
    pub fn take_closed(&mut self) -> Option<DisconnectReason> {
        self.closed.take()
    }

    /// When [`Session::on_deadline`] is to be called at the latest. `None` once closed.
    pub fn deadline(&self) -> Option<Instant> {
        let base = match self.phase {
            Phase::Open => self.heartbeat,
            Phase::Closing { deadline, .. } => return Some(deadline),
            Phase::Closed => return None,
        };
        Some(match self.upgrade {
            Upgrade::None => base,
            Upgrade::Attached { deadline } => base.min(deadline),
            Upgrade::Probed { deadline, noop } => base.min(deadline).min(noop),
        })
    }

    /// The time is `now`: does everything that is due.
    pub fn on_deadline(&mut self, now: Instant) {
        match self.phase {
            Phase::Closed => return,
            Phase::Closing { deadline, .. } => {
                if deadline <= now {
                    self.finish(DisconnectReason::ForcedClose);
                }
                return;
            }
            Phase::Open => {}
        }
        match self.upgrade {
            Upgrade::Attached { deadline } | Upgrade::Probed { deadline, .. } if deadline <= now => {
                self.drop_candidate();
            }
            Upgrade::Probed { deadline, noop } if noop <= now => {
                self.release_poll();
                self.upgrade = Upgrade::Probed { deadline, noop: now + NOOP_INTERVAL };
            }
            _ => {}
        }
        if self.heartbeat <= now {
            if self.protocol == Protocol::V3 || self.awaiting_pong {
                self.finish(DisconnectReason::PingTimeout);
            } else {
                self.awaiting_pong = true;
                self.heartbeat = now + self.config.ping_timeout;
                self.control.push_back(Packet::Ping(ByteString::new()));
            }
        }
    }

    fn release_poll(&mut self) {
        if matches!(self.poll, Poll::Open) {
            self.poll = Poll::Answer(Packet::Noop);
        }
    }

    fn drop_candidate(&mut self) {
        self.upgrade = Upgrade::None;
        self.candidate = None;
    }
}
