//! What is said in rooms, for the Node servers of the cluster: each message of a room's channel is sent once to the Node room
//! of that name.
//!
//! ```text
//! the log ─▶ the replica that holds the lease ─▶ the cluster's pub/sub, aside ─▶ Node servers ─▶ their sockets in `chat.<room>`
//! ```
//!
//! Replicas of Trident read the log themselves, so they ignore what is sent aside. One of them sends, whoever holds the lease,
//! from the moment at which it got it on: **each message reaches Node at most once**. What is published while nobody holds the
//! lease, which is seconds after its holder was killed, or while Redis is away, does not reach Node; Node's own pub/sub
//! adapter promises no more. While there are none but replicas of Trident, and have been for a while, nothing is sent.

use std::{sync::Arc, time::Duration};

use shared::{
    edge::service::Service,
    pure::{Cursor, Message},
};
use socketio::{Namespace, Selector, adapter::Broadcast};
use socketio_redis::RedisAdapter;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::{
    presence::Presence,
    wire::{self, CHANNEL_OF_ROOM},
};

/// What replicas of Trident call themselves together.
pub(crate) const ASIDE: &str = "trident";
/// How often the log is looked at.
const PERIOD: Duration = Duration::from_millis(50);
/// How often the lease is renewed, and the servers of the cluster are counted.
const RENEWAL: Duration = Duration::from_millis(500);
/// Who holds the lease, holds it for so long after it was renewed last.
const LEASE: Duration = Duration::from_secs(2);
/// For how long other servers are believed in after they were counted last. Redis misses a replica that was killed at once, and
/// the other replicas seconds later; meanwhile the counts say that there are none but replicas, also when there are.
const BELIEVED: Duration = Duration::from_secs(15);
/// The name of the lease.
const NAME: &str = "socket.io";

/// Sends what is said to Node, for as long as the process lives.
pub(crate) async fn run(service: Service, namespace: Namespace, adapter: Arc<RedisAdapter>, presence: Presence) {
    let mut tick = interval(PERIOD);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // From where on this replica sends; nothing while another does, or nobody needs to.
    let mut from: Option<Cursor> = None;
    let mut renewed: Option<Instant> = None;
    let mut others = Others::default();
    while !service.edge.drain.is_draining() {
        tick.tick().await;
        if renewed.is_none_or(|renewed| renewed.elapsed() >= RENEWAL) {
            let asked = Instant::now();
            let servers = namespace.server_count().await.ok();
            let is_needed = others.are_there(Instant::now(), servers, presence.replicas());
            let is_ours = is_needed && service.bus.lease(NAME, LEASE).await;
            from = is_ours.then(|| from.unwrap_or_else(|| service.log().head()));
            // Counted from before it was asked for: the lease may be as old as that.
            renewed = Some(asked);
        }
        let Some(after) = from.filter(|_| renewed.is_some_and(|renewed| renewed.elapsed() < LEASE)) else { continue };
        let (said, cursor) = service.log().after(CHANNEL_OF_ROOM, after);
        for message in &said {
            send(&namespace, &adapter, message).await;
        }
        from = Some(cursor);
    }
}

/// Servers of the cluster that are no replicas of ours, as far as counting tells.
#[derive(Default)]
struct Others {
    counted: Option<Instant>,
}

impl Others {
    /// Whether there are any, or were [a moment ago](BELIEVED). `servers` is `None` when they could not be counted.
    fn are_there(&mut self, now: Instant, servers: Option<usize>, replicas: usize) -> bool {
        // A replica on its way in makes servers of the cluster one too many for a moment: what is sent then is ignored.
        if servers.is_some_and(|servers| servers > replicas) {
            self.counted = Some(now);
        }
        self.counted.is_some_and(|counted| now.duration_since(counted) < BELIEVED)
    }
}

async fn send(namespace: &Namespace, adapter: &RedisAdapter, message: &Message) {
    let room = message.draft.channel.as_str();
    let to = Selector { rooms: vec![room.into()], except: Vec::new() };
    // As clients of Socket.IO 2 get it: without an offset, which means nothing to who has not read the log.
    let packet = wire::event(message, None);
    let sent =
        adapter.broadcast_aside(namespace.local(), &Broadcast { packet, to, volatile: false, local: false }).await;
    if let Err(error) = sent {
        log::debug!("a message of {room} does not reach the other servers of the cluster: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_servers_are_believed_in_while_a_dead_replica_still_counts() {
        let (mut others, start) = (Others::default(), Instant::now());
        for (seconds, servers, replicas, there) in [
            // None but replicas; then a count that failed, which says nothing.
            (0, Some(2), 2, false),
            (1, None, 2, false),
            // Two replicas and one of Node's; one replica is killed, which presence finds out later.
            (2, Some(3), 2, true),
            (3, Some(2), 2, true),
            (4, None, 2, true),
            (7, Some(2), 1, true),
            // Node's server leaves for good.
            (8, Some(1), 1, true),
            (21, Some(1), 1, true),
            (22, Some(1), 1, false),
        ] {
            let now = start + Duration::from_secs(seconds);
            assert_eq!(others.are_there(now, servers, replicas), there, "after {seconds} s");
        }
    }
}
