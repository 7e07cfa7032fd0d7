//! Who hears what.

use std::task::{Context, Poll};

use bytes::Bytes;
use socketio::{Binary, Outgoing, Recovery, SocketIo, Source};

use crate::{
    Cluster,
    support::{Frame, WebSocket, eventually},
};

fn events(client: &mut WebSocket, count: usize) -> Vec<String> {
    (0..count).map(|_| client.text()).collect()
}

#[test]
fn events_of_each_sender_keep_their_order_and_come_once() {
    const EVENTS: usize = 300;
    let (cluster, [one, two, three]) = Cluster::of();
    let mut clients = [&one, &two, &three].map(|node| node.join(&["a"]));
    std::thread::scope(|scope| {
        for (name, node) in [("one", &one), ("two", &two)] {
            let runtime = &cluster.runtime;
            scope.spawn(move || {
                let _within = runtime.enter();
                for n in 0..EVENTS {
                    let namespace = node.io.of("/");
                    // By both channels, which must not overtake each other.
                    let to = if n % 2 == 0 { namespace.broadcast() } else { namespace.to("a") };
                    runtime.block_on(to.emit(name, &n)).unwrap();
                }
            });
        }
    });
    cluster.wait(one.io.emit("end", &())).unwrap();
    for client in &mut clients {
        // Sockets on the same server receive the last one immediately, while others' may be in flight.
        let heard = events(client, 2 * EVENTS + 1);
        for name in ["one", "two"] {
            let expected: Vec<String> = (0..EVENTS).map(|n| format!(r#"42["{name}",{n}]"#)).collect();
            let of_one: Vec<_> = heard.iter().filter(|event| event.contains(name)).cloned().collect();
            assert_eq!(of_one, expected);
        }
        assert_eq!(heard.iter().filter(|event| *event == r#"42["end"]"#).count(), 1);
    }
    assert_eq!(one.adapter.stats().published, EVENTS as u64 + 1);
    eventually("all is counted", || three.adapter.stats().received == 2 * EVENTS as u64 + 1);
}

#[test]
fn rooms_exceptions_and_what_stays_here() {
    let (cluster, [one, two]) = Cluster::of();
    let (mut here, _) = one.client("/", &["a", "x"]);
    let (mut there, there_id) = two.client("/", &["a", "b"]);
    let io = &one.io;
    let sends = [
        (io.to("a").emit("a", &()), [true, true]),
        (io.to("b").emit("b", &()), [false, true]),
        (io.to(["x", "b"]).emit("x or b", &()), [true, true]),
        (io.to("a").except("x").emit("a not x", &()), [false, true]),
        (io.except("b").emit("not b", &()), [true, false]),
        (io.to(&there_id).emit("one", &()), [false, true]),
        (io.to("a").local().emit("local", &()), [true, false]),
        (io.of("/elsewhere").emit("elsewhere", &()), [false, false]),
        (io.emit("end", &()), [true, true]),
    ];
    let mut expected = [Vec::new(), Vec::new()];
    for ((sent, hear), name) in
        sends.into_iter().zip(["a", "b", "x or b", "a not x", "not b", "one", "local", "elsewhere", "end"])
    {
        cluster.wait(sent).unwrap();
        for (expected, hears) in expected.iter_mut().zip(hear) {
            if hears {
                expected.push(format!("42[{name:?}]"));
            }
        }
    }
    assert_eq!(events(&mut here, expected[0].len()), expected[0]);
    assert_eq!(events(&mut there, expected[1].len()), expected[1]);
}

#[test]
fn binary_data_is_as_it_was() {
    let (cluster, [one, two]) = Cluster::of();
    let mut client = two.join(&[]);
    let bytes: Vec<u8> = (0..=255).cycle().take(70_000).collect();
    cluster.wait(one.io.emit("file", &("name", Binary(Bytes::from(bytes.clone()))))).unwrap();
    assert_eq!(client.text(), r#"451-["file","name",{"_placeholder":true,"num":0}]"#);
    assert_eq!(client.next(), Some(Frame::Binary(bytes)));
}

#[test]
fn invalid_messages_are_counted_and_ignored() {
    let (cluster, [one, two]) = Cluster::of();
    let mut client = one.join(&["a"]);
    let garbage: [&[u8]; 8] =
        [b"", b"{", b"\xc1", b"\xff\xff", b"{\"type\":2}", b"[]", b"\x93\xa1x\x80\x80", &[0x91; 100_000]];
    let channels = ["socket.io#/#", "socket.io#/#a#", "socket.io-request#/#", "socket.io-response#/#"];
    for channel in channels {
        for message in garbage {
            cluster.publish(channel, message);
        }
    }
    // For nobody here, so not even looked at; of channels that only look like ours; of one for another namespace.
    cluster.publish("socket.io#/#nobody#", b"\xc1");
    cluster.publish("socket.io#/#/#", b"\xc1");
    cluster.publish("socket.io#/other#", b"\xc1");
    cluster.publish("socket.io#/#", b"\x93\xa1u\x83\xa4type\x02\xa4data\x91\xa1e\xa3nsp\xa2/x\x80");
    // An emitter of another language.
    cluster.publish(
        "socket.io#/#",
        b"\x93\xa7emitter\x82\xa4type\x02\xa4data\x92\xa4news\x07\x82\xa5rooms\xa0\xa5flags\xa0",
    );
    assert_eq!(client.text(), r#"42["news",7]"#);
    let expected = u64::try_from(channels.len() * garbage.len()).unwrap();
    eventually("all is counted", || one.adapter.stats().ignored == expected);
    eventually("the one that makes sense is counted", || two.adapter.stats().received == 1);
    cluster.wait(two.io.emit("still here", &())).unwrap();
    assert_eq!(client.text(), r#"42["still here"]"#);
}

#[test]
fn messages_have_a_largest_size() {
    let cluster = Cluster::new();
    let small = socketio_redis::Config { max_message_bytes: 1_000, ..cluster.config() };
    let one = cluster.add_with(small, SocketIo::builder(), |adapter| adapter);
    let two = cluster.add();
    cluster.wait(one.adapter.connected());
    let mut client = one.join(&[]);
    cluster.wait(two.io.emit("long", &"x".repeat(1_000))).unwrap();
    cluster.wait(two.io.emit("short", &1)).unwrap();
    assert_eq!(client.text(), r#"42["short",1]"#);
    assert_eq!(one.adapter.stats().ignored, 1);
}

/// A value may be a single byte on the wire, and is 72 in memory.
#[test]
fn messages_have_a_largest_number_of_values() {
    let cluster = Cluster::new();
    let few = socketio_redis::Config { max_message_values: 1_000, ..cluster.config() };
    let one = cluster.add_with(few, SocketIo::builder(), |adapter| adapter);
    let two = cluster.add();
    cluster.wait(one.adapter.connected());
    let mut client = one.join(&[]);
    cluster.wait(two.io.emit("many", &vec![0; 1_000])).unwrap();
    cluster.wait(two.io.of("/").server_side_emit("many", &vec![0; 1_000])).unwrap();
    cluster.wait(two.io.emit("few", &1)).unwrap();
    assert_eq!(client.text(), r#"42["few",1]"#);
    assert_eq!(one.adapter.stats().ignored, 2);
}

/// A source whose offset is the client's position; it has no messages.
struct Quiet;

impl Source for Quiet {
    fn poll_next(&mut self, _: &mut Context<'_>, _: usize) -> Poll<Vec<Outgoing>> {
        Poll::Pending
    }

    fn offset(&self) -> Option<String> {
        Some("offset".into())
    }
}

/// A client that can be recovered takes any string at the end of an event for its offset.
#[test]
fn events_from_elsewhere_leave_offsets_alone() {
    let cluster = Cluster::new();
    let recovering = SocketIo::builder().recovery(Recovery::default());
    let one = cluster.add_with(cluster.config(), recovering, |adapter| adapter);
    let two = cluster.add();
    cluster.wait(one.adapter.connected());
    one.io.of("/").on_connect(async |socket| {
        let _ = socket.attach(Quiet);
    });
    let mut client = one.join(&["a"]);
    for (text, expected) in [
        (two.io.emit("said", &"text"), r#"42["said","text","offset"]"#),
        (two.io.to("a").emit("said", &1), r#"42["said",1]"#),
    ] {
        cluster.wait(text).unwrap();
        assert_eq!(client.text(), expected);
    }
}
