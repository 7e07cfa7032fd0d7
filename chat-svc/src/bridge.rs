//! What is said in rooms, for the Node servers of the cluster: each message of a room's channel is sent once to the Node room
//! of that name.
//!
//! ```text
//! the log ─▶ the replica that holds the lease ─▶ the cluster's pub/sub, aside ─▶ Node servers ─▶ their sockets in `chat.<room>`
//! ```
//!
//! Replicas of Trident read the log themselves, so they ignore what is sent aside. One of them sends, whoever holds the lease:
//! **each message reaches Node at most once**. That does not hang on how fast Redis is: a message is sent only while the lease is
//! ours, so it was in the log before another could get the lease, and the other goes on behind all that were in the log then. A
//! replica that is stopped gives the lease back with the place at which it left off, and Node misses nothing. What is published
//! while nobody holds the lease, which is seconds after its holder was killed, or while Redis is away, does not reach Node;
//! Node's own pub/sub adapter promises no more. While there are none but replicas of Trident, and have been for a while,
//! nothing is sent.

use std::{sync::Arc, time::Duration};

use edge::service::Service;
use futures_util::future::join_all;
use shared::{
    live::{bus::Lease, log::Watch},
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
/// Messages that are on their way at a time: of the largest there are, half of what may wait for Redis.
const MOST_TOGETHER: usize = 256;
/// The name of the lease.
const NAME: &str = "socket.io";

/// Sends what is said to Node, for as long as the process lives.
pub(crate) async fn run(service: Service, namespace: Namespace, adapter: Arc<RedisAdapter>, presence: Presence) {
    let mut tick = interval(PERIOD);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // From where on this replica sends; nothing while another does, or nobody needs to.
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
            // Counted from before it was asked for: the lease may be as old as that.
            renewed = Some(Instant::now());
            let lease = if is_needed { service.bus.lease(NAME, LEASE).await } else { None };
            if !matches!(lease, Some(Lease::Kept)) {
                // Whoever begins elsewhere than it left off looks at all channels once.
                watch = None;
            }
            from = lease.map(|lease| goes_on(lease, from, service.log().head()));
        }
        let (Some(after), Some(renewed)) = (from, renewed) else { continue };
        let (said, head) = watch.get_or_insert_with(|| service.log().watch(CHANNEL_OF_ROOM)).after(after);
        let sent = pass_on(&said, || renewed.elapsed() < LEASE, |message| send(&namespace, &adapter, message)).await;
        from = Some(if sent == said.len() { head } else { said[..sent].last().map_or(after, |message| message.id) });
        if sent < said.len() {
            watch = None;
        }
    }
    if let Some(at) = from {
        // The next one need not wait until the lease has run out, and leaves nothing out.
        service.bus.release(NAME, at).await;
    }
}

/// Where to go on with a lease: `from` as long as it was kept.
fn goes_on(lease: Lease, from: Option<Cursor>, head: Cursor) -> Cursor {
    match lease {
        Lease::Kept => from.unwrap_or(head),
        Lease::Got { from } => from,
    }
}

/// Sends messages in their order, some together, as long as the lease is ours at the moment at which each is on its way; how many that
/// were.
async fn pass_on<F: Future<Output = ()>>(
    said: &[Arc<Message>],
    is_ours: impl Fn() -> bool,
    mut send: impl FnMut(&Message) -> F,
) -> usize {
    let mut sent = 0;
    for some in said.chunks(MOST_TOGETHER) {
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

/// Has it on its way when it returns; the future is when Redis has it.
fn send(namespace: &Namespace, adapter: &RedisAdapter, message: &Message) -> impl Future<Output = ()> + use<> {
    let room = message.draft.channel.clone();
    let to = Selector { rooms: vec![room.as_str().into()], except: Vec::new() };
    // As clients of Socket.IO 2 get it: without an offset, which means nothing to who has not read the log.
    let packet = wire::event(message, None);
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

    /// All of a batch are on their way before Redis is waited for.
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
        assert_eq!((sent.await, on_their_way.get(), most.get()), (1_000, 0, MOST_TOGETHER));
    }

    /// Redis took longer over a batch than the lease lasts: the rest of what was said is not sent.
    #[tokio::test]
    async fn nothing_is_sent_that_another_may_send() {
        for (ours, expected) in [(0, 0), (1, 1), (MOST_TOGETHER, MOST_TOGETHER), (300, 300), (1_000, 600)] {
            let (said, sent) = (said(600), Cell::new(0));
            let count = pass_on(
                &said,
                || sent.get() < ours,
                |_| {
                    sent.set(sent.get() + 1);
                    std::future::ready(())
                },
            );
            assert_eq!((count.await, sent.get()), (expected, expected), "ours for {ours}");
        }
    }

    #[test]
    fn who_gets_the_lease_goes_on_where_it_says() {
        let [a, b, head] = [1, 2, 3].map(|n| Cursor::new(n, 0));
        assert_eq!(goes_on(Lease::Kept, Some(a), head), a);
        assert_eq!(goes_on(Lease::Kept, None, head), head);
        // It was lost and won again: another may have sent meanwhile.
        assert_eq!(goes_on(Lease::Got { from: b }, Some(a), head), b);
        assert_eq!(goes_on(Lease::Got { from: b }, None, head), b);
    }

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
