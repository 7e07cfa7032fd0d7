//! Forwards messages of rooms to the Node servers of the cluster: each message of a room's channel is sent once to the Node room of that
//! name.
//!
//! ```text
//! the log ─▶ the replica with the lease ─▶ the cluster's pub/sub, aside ─▶ Node servers ─▶ their sockets in `chat.<room>`
//! ```
//!
//! Replicas of Trident read the log themselves, so they ignore these messages. Only the replica with the lease sends them:
//! **each message reaches Node at most once**. That does not depend on the speed of Redis: a message is sent only while the lease is
//! this replica had the lease, so the message was in the log before another could get the lease, and the other starts after it. A
//! replica that shuts down releases the lease with its position, and Node misses nothing. What is published
//! while no replica has the lease, which is seconds after its holder was killed, or while Redis is unavailable, does not reach Node;
//! Node's own pub/sub adapter promises no more. While there are only replicas of Trident, and have been for a while,
//! nothing is sent.

use std::{sync::Arc, time::Duration};

use edge::service::Service;
use futures_util::future::join_all;
use shared::{
    live::{bus::Lease, log::Watch},
    pure::{Cursor, Message, Publisher},
};
use socketio::{Namespace, Selector, adapter::Broadcast};
use socketio_redis::RedisAdapter;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::{
    presence::Presence,
    wire::{self, CHANNEL_OF_ROOM},
};

/// The common name of all replicas of Trident.
pub(crate) const ASIDE: &str = "trident";
/// The interval at which the log is checked.
const PERIOD: Duration = Duration::from_millis(50);
/// The interval at which the lease is renewed, and the servers of the cluster are counted.
const RENEWAL: Duration = Duration::from_millis(500);
/// Duration of the lease after its last renewal.
const LEASE: Duration = Duration::from_secs(2);
/// How long other servers are assumed to exist after they were last counted. Redis notices immediately that a replica was killed, and the
/// other replicas notice seconds later. Until then the count suggests that all servers are replicas, even if some are not.
const BELIEVED: Duration = Duration::from_secs(15);
/// Maximum number of messages in flight: of the largest messages, half of what may be queued for Redis.
const MAX_MESSAGES_IN_FLIGHT: usize = 256;
/// The name of the lease.
const NAME: &str = "socket.io";

/// Forwards messages to Node, for as long as the process runs.
pub(crate) async fn run(service: Service, namespace: Namespace, adapter: Arc<RedisAdapter>, presence: Presence) {
    let mut tick = interval(PERIOD);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The position from which this replica sends; `None` while another does, or no server needs it.
    let mut from: Option<Cursor> = None;
    // Reads the rooms' channels while this replica sends.
    let mut watch: Option<Watch> = None;
    let mut renewed: Option<Instant> = None;
    let mut others = Others::default();
    let drain = &service.edge.drain;
    loop {
        tokio::select! {
            biased;
            () = drain.begun() => break,
            _ = tick.tick() => {}
        }
        if renewed.is_none_or(|renewed| renewed.elapsed() >= RENEWAL) {
            let servers = namespace.server_count().await.ok();
            let is_needed = others.are_there(Instant::now(), servers, presence.replicas());
            // Measured from before the request: the lease may be as old as that.
            renewed = Some(Instant::now());
            let lease = if is_needed { service.bus.lease(NAME, LEASE).await } else { None };
            if !matches!(lease, Some(Lease::Kept)) {
                // When it starts at another position than it stopped, it checks all channels once.
                watch = None;
            }
            from = lease.map(|lease| goes_on(lease, from, service.log().head()));
        }
        let (Some(after), Some(renewed)) = (from, renewed) else { continue };
        let (said, head) = watch.get_or_insert_with(|| service.log().watch(CHANNEL_OF_ROOM)).after(after);
        let publisher = service.edge.settings.backend.show_user.to_reader(false);
        let send = |message: &Message| send(&namespace, &adapter, message, publisher);
        let sent = pass_on(&said, || renewed.elapsed() < LEASE, send).await;
        from = Some(if sent == said.len() { head } else { said[..sent].last().map_or(after, |message| message.id) });
        if sent < said.len() {
            watch = None;
        }
    }
    if let Some(at) = from {
        // The next holder need not wait until the lease expires, and misses nothing.
        service.bus.release(NAME, at).await;
    }
}

/// Where to continue with a lease: `from` if it was kept without interruption.
fn goes_on(lease: Lease, from: Option<Cursor>, head: Cursor) -> Cursor {
    match lease {
        Lease::Kept => from.unwrap_or(head),
        Lease::Got { from } => from,
    }
}

/// Sends messages in order, several at a time, as long as this replica has the lease when each is sent; returns how many were sent.
async fn pass_on<F: Future<Output = ()>>(
    said: &[Arc<Message>],
    is_ours: impl Fn() -> bool,
    mut send: impl FnMut(&Message) -> F,
) -> usize {
    let mut sent = 0;
    for some in said.chunks(MAX_MESSAGES_IN_FLIGHT) {
        let under_way: Vec<F> = some.iter().take_while(|_| is_ours()).map(|message| send(message)).collect();
        sent += under_way.len();
        let is_all = under_way.len() == some.len();
        join_all(under_way).await;
        if !is_all {
            break;
        }
    }
    sent
}

/// The number of servers in the cluster that are not replicas of Trident, by the last count.
#[derive(Default)]
struct Others {
    counted: Option<Instant>,
}

impl Others {
    /// Whether there are any, or were [a moment ago](BELIEVED). `servers` is `None` if they could not be counted.
    fn are_there(&mut self, now: Instant, servers: Option<usize>, replicas: usize) -> bool {
        // While a replica joins, the count of servers is one too high for a moment: messages sent then are ignored.
        if servers.is_some_and(|servers| servers > replicas) {
            self.counted = Some(now);
        }
        self.counted.is_some_and(|counted| now.duration_since(counted) < BELIEVED)
    }
}

/// The message has been queued when it returns; the future resolves when Redis has it.
fn send(
    namespace: &Namespace,
    adapter: &RedisAdapter,
    message: &Message,
    publisher: Publisher,
) -> impl Future<Output = ()> + use<> {
    let room = message.draft.channel.clone();
    let to = Selector { rooms: vec![room.as_str().into()], except: Vec::new() };
    // The form for clients of Socket.IO 2: without an offset, which has no meaning outside of the log.
    let packet = wire::event(message, None, publisher);
    let sent = adapter.broadcast_aside(namespace.local(), &Broadcast { packet, to, volatile: false, local: false });
    async move {
        if let Err(error) = sent.await {
            log::debug!("a message of {room} does not reach the other servers of the cluster: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, future::poll_fn, task::Poll};

    use shared::pure::{Draft, Payload};

    use super::*;

    fn said(count: u64) -> Vec<Arc<Message>> {
        let draft = Draft::new("chat.lobby".parse().unwrap(), Payload::from_value(&1));
        (1..=count).map(|n| Arc::new(Message::new(Cursor::new(n, 0), draft.clone()))).collect()
    }

    /// All messages of a batch are sent before the first result is awaited.
    #[tokio::test]
    async fn messages_are_sent_together() {
        let said = said(1_000);
        let (on_their_way, most) = (Cell::new(0), Cell::new(0));
        let sent = pass_on(
            &said,
            || true,
            |_| {
                on_their_way.set(on_their_way.get() + 1);
                most.set(most.get().max(on_their_way.get()));
                let mut is_first = true;
                let on_their_way = &on_their_way;
                poll_fn(move |context| {
                    if std::mem::take(&mut is_first) {
                        context.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    on_their_way.set(on_their_way.get() - 1);
                    Poll::Ready(())
                })
            },
        );
        assert_eq!((sent.await, on_their_way.get(), most.get()), (1_000, 0, MAX_MESSAGES_IN_FLIGHT));
    }

    /// Redis took longer over a batch than the lease lasts: the rest of the batch is not sent.
    #[tokio::test]
    async fn nothing_is_sent_without_the_lease() {
        for (ours, expected) in
            [(0, 0), (1, 1), (MAX_MESSAGES_IN_FLIGHT, MAX_MESSAGES_IN_FLIGHT), (300, 300), (1_000, 600)]
        {
            let (said, sent) = (said(600), Cell::new(0));
            let count = pass_on(
                &said,
                || sent.get() < ours,
                |_| {
                    sent.set(sent.get() + 1);
                    std::future::ready(())
                },
            );
            assert_eq!((count.await, sent.get()), (expected, expected), "with our number {ours}");
        }
    }

    #[test]
    fn a_new_lease_holder_continues_at_its_cursor() {
        let [a, b, head] = [1, 2, 3].map(|n| Cursor::new(n, 0));
        assert_eq!(goes_on(Lease::Kept, Some(a), head), a);
        assert_eq!(goes_on(Lease::Kept, None, head), head);
        // It was lost and acquired again: another replica may have sent in between.
        assert_eq!(goes_on(Lease::Got { from: b }, Some(a), head), b);
        assert_eq!(goes_on(Lease::Got { from: b }, None, head), b);
    }

    #[test]
    fn other_servers_are_believed_in_while_a_dead_replica_still_counts() {
        let (mut others, start) = (Others::default(), Instant::now());
        for (seconds, servers, replicas, there) in [
            // Only replicas; then a failed count, which means nothing.
            (0, Some(2), 2, false),
            (1, None, 2, false),
            // Two replicas and one of Node's servers; one replica is killed, which presence notices later.
            (2, Some(3), 2, true),
            (3, Some(2), 2, true),
            (4, None, 2, true),
            (7, Some(2), 1, true),
            // Node's server leaves permanently.
            (8, Some(1), 1, true),
            (21, Some(1), 1, true),
            (22, Some(1), 1, false),
        ] {
            let now = start + Duration::from_secs(seconds);
            assert_eq!(others.are_there(now, servers, replicas), there, "after {seconds} s");
        }
    }
}
