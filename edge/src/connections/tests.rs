use std::{
    net::Ipv4Addr,
    sync::atomic::AtomicBool,
    task::{Context, Wake},
};

use super::*;

fn channel(name: &str) -> ChannelName {
    name.parse().unwrap()
}

fn client(last: u8) -> Client {
    Client { owner: None, address: Ipv4Addr::new(10, 0, 0, last).into() }
}

pub(crate) fn add(connections: &Connections, names: &[&str]) -> Arc<Connection> {
    let channels: Vec<_> = names.iter().map(|name| channel(name)).collect();
    connections.add(ConnectionId::random(), client(1), Transport::Sse, &channels)
}

/// Whether it was called.
#[derive(Default)]
struct Called(AtomicBool);

impl Wake for Called {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Every idle connection has one: the fields, and the counts of the reference.
#[test]
fn a_connection_takes_ten_words() {
    assert_eq!(size_of::<Connection>(), 10 * size_of::<usize>());
}

#[test]
fn ids_have_the_form_of_a_sockets() {
    let id = ConnectionId::random();
    let text = id.to_string();
    assert_eq!((text.len(), text.parse()), (20, Ok(id)));
    for bad in ["", "short", "abcdefghijklmnopqrs*", "abcdefghijklmnopqrstu", "AAAAAAAAAAAAAAAAAAAAAAAA"] {
        assert_eq!(bad.parse::<ConnectionId>(), Err(InvalidConnectionId), "{bad}");
    }
}

#[tokio::test]
async fn pages_have_each_connection_once_in_the_order_of_ids() {
    let connections = Connections::default();
    let all: Vec<_> = (0..2_000).map(|n| add(&connections, &[if n % 3 == 0 { "a" } else { "b" }])).collect();
    let is_a = |connection: &Connection| connection.channels().has(&channel("a"));
    let (mut after, mut seen) = (None, Vec::new());
    loop {
        let page = connections.page(after, 100, is_a).await;
        seen.extend(page.connections.iter().map(|connection| connection.id()));
        after = page.next;
        if after.is_none() {
            break;
        }
        assert_eq!(page.connections.len(), 100);
    }
    let mut expected: Vec<_> =
        all.iter().filter(|connection| is_a(connection)).map(|connection| connection.id()).collect();
    expected.sort_unstable();
    assert_eq!(seen, expected);
    all.iter().for_each(|connection| connections.remove(connection));
    assert_eq!((connections.count(), connections.page(None, 10, |_| true).await.connections.len()), (0, 0));
}

#[test]
fn connections_with_the_same_channels_share_their_list() {
    let connections = Connections::default();
    let (one, other) = (add(&connections, &["b", "a"]), add(&connections, &["a", "b"]));
    assert!(Arc::ptr_eq(&one.channels(), &other.channels()));
    connections.set_channels(&one, &[channel("c")]);
    assert!(
        one.channels().has(&channel("c")) && !one.channels().has(&channel("a")) && other.channels().has(&channel("a"))
    );
    for n in 0..100_000 {
        let connection = add(&connections, &[&n.to_string()]);
        connections.remove(&connection);
    }
    assert!(connections.0.sets.len() < 10_000, "{} sets of connections that are gone", connections.0.sets.len());
}

/// The waker is called once the reason is there, and a connection is ended once.
#[tokio::test]
async fn a_connection_is_ended_from_outside() {
    let connections = Connections::default();
    let (one, other) = (add(&connections, &["a"]), add(&connections, &["b"]));
    let called = Arc::new(Called::default());
    one.wait(Context::from_waker(&Waker::from(called.clone())).waker());
    let is_a = |connection: &Connection| connection.channels().has(&channel("a"));
    assert_eq!(connections.end_all(End::Revoked, is_a).await, 1);
    assert!(called.0.load(Ordering::SeqCst));
    assert_eq!((one.end(), other.end()), (Some(End::Revoked), None));
    assert!(!one.end_for(End::Disconnected) && one.end() == Some(End::Revoked), "the first reason applies");
    assert!(connections.get(one.id()).is_none() && connections.get(other.id()).is_some());
    assert_eq!(connections.page(None, 10, |_| true).await.connections.len(), 1, "it is no longer listed");
}

/// A client that resumes its session has the id of its earlier connection, which may end later.
#[test]
fn a_connection_that_was_replaced_does_not_remove_its_successor() {
    let connections = Connections::default();
    let one = add(&connections, &["a"]);
    let other = connections.add(one.id(), client(1), Transport::WebSocket, &[channel("a")]);
    connections.remove(&one);
    assert!(connections.get(one.id()).is_some_and(|found| Arc::ptr_eq(&found, &other)));
    assert_eq!(connections.count(), 1);
}

#[test]
fn polls_of_a_client_are_one_connection_until_it_stops() {
    let connections = Connections::default();
    let poll = |last, name: &str| connections.poll(client(last), &[channel(name)], Duration::from_secs(25));
    let first = poll(1, "a");
    let id = first.connection().id();
    assert_eq!(poll(1, "a").connection().id(), id, "at the same time");
    drop(first);
    let bytes = connections.idle_poller_bytes();
    assert!(bytes > 0);
    assert_eq!(poll(1, "a").connection().id(), id, "afterwards");
    assert_eq!(connections.idle_poller_bytes(), bytes);
    let others = [poll(2, "a"), poll(1, "b")];
    assert!(others.iter().all(|other| other.connection().id() != id));
    assert_eq!(connections.count(), 3);
    let until = Instant::now() + Duration::from_secs(25) + pollers::GRACE;
    connections.sweep(until - Duration::from_secs(1));
    assert_eq!(connections.count(), 3);
    connections.sweep(until + Duration::from_secs(1));
    assert_eq!((connections.count(), connections.idle_poller_bytes()), (2, 0), "the others still wait");
}

#[tokio::test]
async fn all_polls_of_a_client_end_together() {
    let connections = Connections::default();
    let poll = || connections.poll(client(1), &[channel("a")], Duration::from_secs(25));
    let (one, other) = (poll(), poll());
    let id = one.connection().id();
    let ended = async {
        tokio::task::yield_now().await;
        connections.get(id).unwrap().end_for(End::Disconnected)
    };
    assert_eq!(tokio::join!(one.ended(), other.ended(), ended), (End::Disconnected, End::Disconnected, true));
    let next = poll();
    assert_ne!(next.connection().id(), id, "the next one is another connection");
    drop((one, other));
    assert!(connections.get(next.connection().id()).is_some());
    assert_eq!(connections.count(), 1);
}

/// Clients that come no more leave behind a bounded number of bytes, whatever the names of their channels are.
#[test]
fn clients_between_two_polls_are_bounded_in_bytes() {
    let connections = Connections::default();
    for n in 0..2_000 {
        let channels: Vec<_> = (0..128).map(|m| channel(&format!("{n:064}{m:064}"))).collect();
        drop(connections.poll(client(1), &channels, Duration::from_secs(60)));
    }
    assert!(connections.idle_poller_bytes() <= 16 * 1024 * 1024);
    // One client has at most as much as it leaves free for others.
    let one = connections.count();
    assert!((250..1_000).contains(&one), "{one}");
    for n in 0..one / 3 {
        let channels: Vec<_> = (0..128).map(|m| channel(&format!("{n:064}{m:064}"))).collect();
        drop(connections.poll(client(2), &channels, Duration::from_secs(60)));
    }
    assert_eq!(connections.count(), one + one / 3);
    connections.sweep(Instant::now() + Duration::from_secs(3_600));
    assert_eq!((connections.count(), connections.idle_poller_bytes()), (0, 0));
}
