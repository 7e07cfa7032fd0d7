//! What is counted of connections, brought up to date every second: which transport each has now, and what was refused
//! before anybody came in.

use std::time::Duration;

use shared::edge::service::Service;
use socketio::{Selector, SocketIo, Stats};
use tokio::time::MissedTickBehavior;

use crate::{arrival::counted_as, member::Member, wire::NAMESPACE};

const PERIOD: Duration = Duration::from_secs(1);

/// Counts until the process is on its way out.
pub(crate) async fn take(io: SocketIo, service: Service) {
    let mut tick = tokio::time::interval(PERIOD);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut before = Stats::default();
    while !service.edge.drain.is_draining() {
        tick.tick().await;
        let now = io.stats();
        let refusals = &service.edge.metrics.refusals;
        refusals.socket_rate.inc_by(now.rate_limited - before.rate_limited);
        refusals.bad_origin.inc_by(now.refused_origin - before.refused_origin);
        // Without an upgrade nobody has changed their transport, and with thousands of sockets looking costs something.
        if now.upgrades != before.upgrades {
            for socket in io.of(NAMESPACE).local().handles(&Selector::default()) {
                let Some(member) = socket.get::<std::sync::Arc<Member>>() else { continue };
                member.place.lock().change_transport(counted_as(socket.connection().transport()));
            }
        }
        before = now;
    }
}
