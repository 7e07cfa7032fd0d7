//! What time does to a session: heartbeats, and the ends of patience.

use std::time::Instant;

use bytestring::ByteString;

use super::{NOOP_INTERVAL, Phase, Session};
use crate::{
    DisconnectReason,
    engine::packet::{Packet, Protocol},
};

impl Session {
    /// When [`Session::on_deadline`] is to be called at the latest. `None` once closed.
    pub fn deadline(&self) -> Option<Instant> {
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
            if self.protocol == Protocol::V3 || self.awaiting_pong {
                self.finish(DisconnectReason::PingTimeout);
            } else {
                self.awaiting_pong = true;
                self.heartbeat = now + self.config.ping_timeout;
                self.control.push_back(Packet::Ping(ByteString::new()));
            }
        }
    }
}
