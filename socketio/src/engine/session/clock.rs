//! What time does to a session: heartbeats, and the ends of patience.

use std::time::{Duration, Instant};

use bytestring::ByteString;

use super::{NOOP_INTERVAL, Phase, Session};
use crate::{
    DisconnectReason,
    engine::packet::{Packet, Protocol},
};

/// What a timer may be late by without the client's getting more time.
const LATE: Duration = Duration::from_millis(100);

impl Session {
    /// When [`Session::on_deadline`] is to be called at the latest. `None` once closed.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match (&self.phase, &self.upgrade) {
            (Phase::Closed, _) => None,
            (Phase::Closing { deadline, .. }, _) => Some(*deadline),
            (Phase::Open, None) => Some(self.heartbeat),
            (Phase::Open, Some(upgrade)) => {
                let deadline = self.heartbeat.min(upgrade.deadline);
                Some(upgrade.noop.map_or(deadline, |noop| noop.min(deadline)))
            }
        }
    }

    /// Whether the session has expired at `now`, so that [`Session::on_deadline`] would end it.
    pub(crate) fn is_overdue(&self, now: Instant) -> bool {
        match self.phase {
            Phase::Open => self.heartbeat <= now && (self.awaiting_pong || self.protocol != Protocol::V4),
            Phase::Closing { deadline, .. } => deadline <= now,
            Phase::Closed => false,
        }
    }

    /// The time is `now`: does everything that is due.
    pub(crate) fn on_deadline(&mut self, now: Instant) {
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
        if let Some(upgrade) = &mut self.upgrade {
            if upgrade.deadline <= now {
                self.upgrade = None;
            } else if let Some(noop) = &mut upgrade.noop
                && *noop <= now
            {
                *noop = now + NOOP_INTERVAL;
                self.release_poll();
            }
        }
        if self.heartbeat <= now {
            self.on_heartbeat(now);
        }
    }

    fn on_heartbeat(&mut self, now: Instant) {
        let progressed = std::mem::take(&mut self.progressed);
        if self.awaiting_pong && progressed && self.control.iter().any(is_ping) {
            // The ping waits behind a long message, which the client takes as fast as it can.
            self.heartbeat = now + self.config.ping_timeout;
        } else if self.protocol != Protocol::V4 || self.awaiting_pong {
            self.finish(DisconnectReason::PingTimeout);
        } else {
            self.awaiting_pong = true;
            // A timer is a little late. The client's time is counted from when the ping was due, so that it ends at the deadline.
            let due = if now < self.heartbeat + LATE { self.heartbeat } else { now };
            self.heartbeat = due + self.config.ping_timeout;
            self.control.push_back(Packet::Ping(ByteString::new()));
        }
    }

    /// The WebSocket has taken something. As long as it does, a ping that waits behind a long message is not overdue.
    pub(crate) fn on_progress(&mut self) {
        self.progressed = true;
    }

    /// A ping has been sent. If a long message delayed it, the client's time to answer starts now.
    pub(crate) fn on_ping_sent(&mut self, now: Instant) {
        let due = self.heartbeat.checked_sub(self.config.ping_timeout);
        if self.awaiting_pong && due.is_some_and(|due| due + LATE < now) {
            self.heartbeat = now + self.config.ping_timeout;
        }
    }
}

fn is_ping(packet: &Packet) -> bool {
    matches!(packet, Packet::Ping(_))
}
