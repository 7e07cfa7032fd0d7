//! Connection state recovery whatever is sent and wherever the connection breaks: a client that counts as the official one does gets each
//! event once and in order.

use std::{io::Read as _, sync::Mutex, time::Duration};

use proptest::prelude::*;
use serde_json::Value;
use socketio::{Config, Recovery, SocketIo};

use crate::{
    WEBSOCKET, list, start,
    support::{Frame, Running, eventually},
};

/// How an event is sent.
#[derive(Clone, Copy, Debug)]
enum Emit {
    Room,
    Everybody,
    ThisServer,
    Direct,
    /// By `Socket::send`.
    Encoded,
}

#[derive(Clone, Debug)]
enum Step {
    /// An event that carries its number first, and last a number or a string.
    Emit(Emit, bool),
    /// A large one.
    Large,
    /// The connection breaks when this many bytes of the server have arrived.
    Cut(usize),
    /// A client that connects anew and says nothing, so that there are others to be sent to.
    Noise,
}

fn step() -> impl Strategy<Value = Step> {
    let emit = prop_oneof![
        Just(Emit::Room),
        Just(Emit::Everybody),
        Just(Emit::ThisServer),
        Just(Emit::Direct),
        Just(Emit::Encoded),
    ];
    prop_oneof![
        6 => (emit, any::<bool>()).prop_map(|(emit, string)| Step::Emit(emit, string)),
        1 => Just(Step::Large),
        4 => (0_usize..2_000).prop_map(Step::Cut),
        1 => Just(Step::Noise),
    ]
}

/// The official client as far as recovery goes.
#[derive(Default)]
struct Client {
    pid: Option<String>,
    last_offset: Option<String>,
    sids: Vec<String>,
    received: Vec<u64>,
    connected: bool,
}

impl Client {
    fn connect_packet(&self) -> String {
        match (&self.pid, &self.last_offset) {
            (Some(pid), Some(offset)) => format!("40{}", serde_json::json!({ "pid": pid, "offset": offset })),
            (Some(pid), None) => format!("40{}", serde_json::json!({ "pid": pid })),
            (None, _) => "40".to_owned(),
        }
    }

    fn take(&mut self, text: &str) {
        if let Some(json) = text.strip_prefix("40") {
            let connect: Value = serde_json::from_str(json).unwrap();
            self.pid = Some(connect["pid"].as_str().unwrap().to_owned());
            self.sids.push(connect["sid"].as_str().unwrap().to_owned());
            self.connected = true;
        } else if let Some(json) = text.strip_prefix("42") {
            assert!(self.connected, "an event before CONNECT: {text}");
            let event: Vec<Value> = serde_json::from_str(json).unwrap();
            self.received.push(event[1].as_u64().unwrap());
            if let Some(Value::String(offset)) = event.last() {
                self.last_offset = Some(offset.clone());
            }
        }
    }

    /// Connects, and takes every message that is whole within the first `bytes` of what comes, then breaks the connection; with no limit,
    /// until `until` events have come.
    fn attempt(&mut self, server: &Running, bytes: Option<usize>, until: usize) {
        self.connected = false;
        let mut socket = server.websocket(WEBSOCKET);
        socket.text();
        socket.send(&self.connect_packet());
        let Some(bytes) = bytes else {
            while !self.connected || self.received.len() < until {
                match socket.next() {
                    Some(Frame::Text(text)) if text == "2" => socket.send("3"),
                    Some(Frame::Text(text)) => self.take(&text),
                    // Another thread of the server read an earlier attempt later, and that attempt took the session over.
                    _ => return self.attempt(server, None, until),
                }
            }
            return;
        };
        // As much as arrives at once: missed messages are in flight when the server has accepted the session.
        let mut came = vec![0; bytes];
        socket.stream.set_read_timeout(Some(Duration::from_millis(30))).unwrap();
        let mut read = 0;
        while read < bytes {
            match socket.stream.read(&mut came[read..]) {
                Ok(0) | Err(_) => break,
                Ok(more) => read += more,
            }
        }
        drop(socket);
        let mut rest = &came[..read];
        while let Some((text, after)) = whole_text(rest) {
            self.take(text);
            rest = after;
        }
    }
}

/// The first text frame if it is whole, and what comes behind it (RFC 6455 §5.2).
fn whole_text(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (start, len) = match bytes.get(1)? {
        126 => (4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
        127 => (10, u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?) as usize),
        short => (2, usize::from(*short)),
    };
    Some((std::str::from_utf8(bytes.get(start..start + len)?).unwrap(), &bytes[start + len..]))
}

struct World {
    server: Running,
    io: SocketIo,
}

fn start_world() -> World {
    start_world_with(|_| {})
}

fn start_world_with(configure: impl FnOnce(&mut Config)) -> World {
    let (server, io) = start(SocketIo::builder().recovery(Recovery::default()).configure(configure));
    io.of("/").on_connect(async |socket| {
        if !socket.recovered() {
            socket.join("room").unwrap();
        }
    });
    World { server, io }
}

impl World {
    fn emit(&self, client: &Client, emit: Emit, args: &impl serde::Serialize) {
        let sid = client.sids.last().map_or("nobody", String::as_str);
        let namespace = self.io.of("/");
        match emit {
            Emit::Room => drop(namespace.to("room").emit("e", args)),
            Emit::Everybody => drop(namespace.emit("e", args)),
            Emit::ThisServer => drop(namespace.on_this_server().emit("e", args)),
            Emit::Direct => drop(namespace.to(sid).emit("e", args)),
            Emit::Encoded => {
                // Of a socket that is gone nothing can be sent; to its room it can.
                let packet = namespace.encode("e", args).unwrap();
                match namespace.socket(sid) {
                    Some(socket) => drop(socket.send(&packet)),
                    None => drop(namespace.to(sid).send(packet)),
                }
            }
        }
    }
}

static WORLD: Mutex<Option<World>> = Mutex::new(None);

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Cases 2.2 and 2.4: a recovered client has missed nothing and received nothing twice, whatever was sent and wherever the connection
    /// broke, any number of times.
    #[test]
    fn recovery_works_wherever_the_connection_breaks(steps in prop::collection::vec(step(), 1..14)) {
        let mut world = WORLD.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let world = world.get_or_insert_with(start_world);
        let mut client = Client::default();
        client.attempt(&world.server, None, 0);
        let mut sent = 0_u64;
        for step in steps {
            match step {
                Step::Emit(emit, true) => world.emit(&client, emit, &(sent, "a string")),
                Step::Emit(emit, false) => world.emit(&client, emit, &(sent, sent)),
                Step::Large => world.emit(&client, Emit::Room, &(sent, "x".repeat(100_000), 1)),
                Step::Cut(bytes) => {
                    client.attempt(&world.server, Some(bytes), 0);
                    continue;
                }
                Step::Noise => {
                    Client::default().attempt(&world.server, Some(100), 0);
                    continue;
                }
            }
            sent += 1;
        }
        client.attempt(&world.server, None, sent as usize);
        prop_assert_eq!(client.received, (0..sent).collect::<Vec<_>>());
        prop_assert!(client.sids.iter().all(|sid| *sid == client.sids[0]), "not recovered");
    }
}

/// Case 2.2: reconnections break after 640 bytes, several times, then one works.
#[test]
fn a_second_broken_connection_loses_and_repeats_nothing() {
    let world = start_world();
    let mut client = Client::default();
    client.attempt(&world.server, None, 0);
    for n in 0..4_u64 {
        world.emit(&client, Emit::Everybody, &(n, "x".repeat(200)));
    }
    for _ in 0..6 {
        client.attempt(&world.server, Some(640), 0);
    }
    client.attempt(&world.server, None, 4);
    assert_eq!(client.received, [0, 1, 2, 3]);
    assert!(client.sids.iter().all(|sid| *sid == client.sids[0]));
}

/// Case 1.4: two megabytes of missed messages are delivered, although at most one may be queued, and the client stays connected.
#[test]
fn a_large_backlog_is_pulled() {
    let world = start_world_with(|config| config.max_pending_bytes = 1 << 20);
    let mut client = Client::default();
    client.attempt(&world.server, None, 0);
    for n in 0..41_u64 {
        world.emit(&client, Emit::Room, &(n, "x".repeat(50_000)));
    }
    client.attempt(&world.server, None, 41);
    assert_eq!(client.received, (0..41).collect::<Vec<_>>());
    let stats = world.io.stats();
    assert_eq!((stats.recovered, stats.recovery_missed, stats.outbox_overflows), (1, 0, 0));
    assert_eq!(client.sids[0], client.sids[1]);
}

/// Case 2.4: events that bypass the rooms of others and end in a string carry an offset, and are missed as any other.
#[test]
fn local_and_direct_events_are_recovered() {
    let world = start_world();
    let namespace = world.io.of("/");
    let mut client = Client::default();
    let mut socket = world.server.websocket(WEBSOCKET);
    socket.text();
    socket.send("40");
    client.take(&socket.text());
    drop(namespace.on_this_server().emit("ls", &(0, "bob")));
    client.take(&socket.text());
    let packet = namespace.encode("ls", &(1, "bob")).unwrap();
    namespace.socket(&client.sids[0]).unwrap().send(&packet).unwrap();
    client.take(&socket.text());
    drop(socket);
    eventually("it is noticed", || world.io.stats().sockets == 0);
    drop(namespace.on_this_server().emit("ls", &(2, "bob")));
    client.attempt(&world.server, None, 3);
    assert_eq!(client.received, [0, 1, 2]);
    assert_eq!(client.sids[0], client.sids[1]);
}

/// Case 2.1: a client that is cut before any event recovers, although it has no offset.
#[test]
fn a_client_without_an_offset_recovers() {
    let world = start_world();
    let mut client = Client::default();
    client.attempt(&world.server, None, 0);
    world.emit(&client, Emit::Room, &(0, 1));
    world.emit(&client, Emit::Direct, &(1, 1));
    client.attempt(&world.server, None, 2);
    assert_eq!(client.received, [0, 1]);
    assert_eq!(client.sids[0], client.sids[1]);
}

/// Case 2.3: what is dropped while a middleware looks at the client makes it a new session.
#[test]
fn a_slow_middleware_and_a_full_store_make_a_new_session() {
    let recovery = Recovery { skip_middlewares: false, max_packets: 10, ..Recovery::default() };
    let (server, io) = start(SocketIo::builder().recovery(recovery));
    let recovered = list::<bool>();
    let (keep, namespace) = (recovered.clone(), io.of("/"));
    let flood = namespace.clone();
    namespace
        .middleware(async move |socket| {
            if socket.recovered() {
                for n in 0..20_u64 {
                    drop(flood.emit("e", &(n, 1)));
                }
            }
            Ok(())
        })
        .on_connect(async move |socket| keep.lock().unwrap().push(socket.recovered()));
    let mut client = Client::default();
    client.attempt(&server, None, 0);
    eventually("it is noticed", || io.stats().sockets == 0);
    client.attempt(&server, None, 0);
    assert_eq!(client.sids.len(), 2);
    assert_ne!(client.sids[0], client.sids[1]);
    assert_eq!(client.received, [0_u64; 0]);
    eventually("both are in", || *recovered.lock().unwrap() == [false, false]);
}

/// Cases 2.6 and 2.9: a session whose socket is refused, or whose middleware panics, is kept, with the deadline of the disconnection.
#[test]
fn a_refused_session_is_kept_with_its_deadline() {
    let keep = Duration::from_secs(3);
    let recovery = Recovery { skip_middlewares: false, max_disconnection: keep, ..Recovery::default() };
    let (server, io) = start(SocketIo::builder().recovery(recovery));
    let attempts = std::sync::Arc::new(Mutex::new(0));
    let counted = attempts.clone();
    io.of("/").middleware(async move |socket| {
        if !socket.recovered() {
            return Ok(());
        }
        let attempt = {
            let mut attempts = counted.lock().unwrap();
            *attempts += 1;
            *attempts
        };
        match attempt {
            1 => Err("not now".into()),
            2 => {
                fail();
                Ok(())
            }
            3 => Ok(()),
            _ => Err("never again".into()),
        }
    });
    let refused = |client: &Client| {
        let mut socket = server.websocket(WEBSOCKET);
        socket.text();
        socket.send(&client.connect_packet());
        let text = socket.text();
        assert!(text.starts_with("44"), "{text}");
    };
    let mut client = Client::default();
    client.attempt(&server, None, 0);
    eventually("it is noticed", || io.stats().sockets == 0);
    refused(&client);
    refused(&client);
    client.attempt(&server, None, 0);
    assert_eq!(client.sids[0], client.sids[1], "it was kept both times");

    // From here on each attempt is refused. Would one give the session a fresh deadline, it would never end.
    eventually("it is noticed", || io.stats().sockets == 0);
    let began = std::time::Instant::now();
    while io.stats().recovery_missed == 0 {
        let mut socket = server.websocket(WEBSOCKET);
        socket.text();
        socket.send(&client.connect_packet());
        socket.text();
        assert!(began.elapsed() < keep * 3, "it is given back for ever");
    }
}

fn fail() {
    panic!("a middleware that panics, as this test wants it");
}

/// Case 2.8: a client that answers a disconnect with CONNECT immediately is connected again, while its earlier socket ends on another
/// thread.
#[test]
fn connect_right_after_a_disconnect() {
    let world = start_world();
    let namespace = world.io.of("/");
    let mut socket = world.server.websocket(WEBSOCKET);
    socket.text();
    for _ in 0..100 {
        socket.send("40");
        let connect: Value = serde_json::from_str(socket.text().strip_prefix("40").unwrap()).unwrap();
        let sid = connect["sid"].as_str().unwrap().to_owned();
        // From this thread, which does not belong to the server.
        namespace.socket(&sid).unwrap().disconnect();
        assert_eq!(socket.text(), "41");
    }
    eventually("all have ended", || world.io.stats().sockets == 0);
    assert_eq!(world.io.stats().connections, 1);
}
