//! The Socket.IO server as its users write it, against raw clients: each test is a small application.

mod support;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use socketio::{
    AckError, Args, Binary, Builder, ConnectError, DisconnectReason, EncodedPacket, Outgoing, Recovery, Socket,
    SocketIo, Source,
};
use support::{Frame, Running, WebSocket, eventually};

fn start(builder: Builder) -> (Running, SocketIo) {
    let io = builder.build();
    let mounted = io.clone();
    (Running::start(move || mounted.routes()), io)
}

const WEBSOCKET: &str = "/socket.io/?EIO=4&transport=websocket";

/// A client in a namespace; its socket's id and session.
fn join(server: &Running, connect: &str) -> (WebSocket, String) {
    let mut socket = server.websocket(WEBSOCKET);
    socket.text();
    socket.send(connect);
    let consent = socket.text();
    let json = consent.split_once('{').unwrap_or_else(|| panic!("no consent: {consent}")).1;
    let json: serde_json::Value = serde_json::from_str(&format!("{{{json}")).unwrap();
    (socket, json["sid"].as_str().unwrap().to_owned())
}

fn list<T>() -> Arc<Mutex<Vec<T>>> {
    Arc::default()
}

#[derive(Serialize, Deserialize)]
struct File {
    name: String,
    content: Binary,
}

#[test]
fn typed_events_and_acks() {
    let (server, io) = start(SocketIo::builder());
    io.of("/").on_connect(async |socket| {
        socket.on("add", async |_, (a, b): (i32, i32), ack| ack.send(&(a + b)).unwrap());
        socket.on("nothing", async |socket, (), _| socket.emit("nothing back", &()).unwrap());
        socket.on("file", async |socket, file: File, _| socket.emit("file", &file).unwrap());
        socket.on("args", async |_, args: Args, ack| ack.send(&args).unwrap());
        socket.on("optional", async |_, (a, b): (i32, Option<i32>), ack| ack.send(&(a, b)).unwrap());
    });
    let (mut client, _) = join(&server, "40");
    for (sent, expected) in [
        (r#"421["add",1,2]"#, r#"431[3]"#),
        (r#"42["nothing",1]"#, r#"42["nothing back"]"#),
        (r#"422["args",1,[2],null]"#, r#"432[1,[2],null]"#),
        (r#"423["args"]"#, r#"433[]"#),
        (r#"424["optional",1]"#, r#"434[1,null]"#),
    ] {
        client.send(sent);
        assert_eq!(client.text(), expected);
    }
    client.send(r#"451-["file",{"name":"a","content":{"_placeholder":true,"num":0}}]"#);
    client.send_binary(b"abc");
    assert_eq!(client.text(), r#"451-["file",{"name":"a","content":{"_placeholder":true,"num":0}}]"#);
    assert_eq!(client.next(), Some(Frame::Binary(b"abc".to_vec())));
    // Arguments that do not fit, and events that nobody handles, do no harm.
    client.send(r#"425["add","x"]"#);
    client.send(r#"426["unknown"]"#);
    client.send(r#"427["add",2,2]"#);
    assert_eq!(client.text(), "437[4]");
    assert_eq!(io.stats().bad_arguments, 1);
}

#[test]
fn a_handler_that_panics_ends_alone() {
    let (server, io) = start(SocketIo::builder());
    io.of("/").on("panic", async |_, (), _| panic!("on purpose")).on("ok", async |_, (), ack| ack.send(&()).unwrap());
    let (mut client, _) = join(&server, "40");
    client.send(r#"42["panic"]"#);
    client.send(r#"420["ok"]"#);
    assert_eq!(client.text(), "430[]");
}

#[test]
fn events_start_in_order_and_wait_for_the_connection_handler() {
    let (server, io) = start(SocketIo::builder());
    io.of("/").middleware(async |_| {
        actix_web::rt::time::sleep(Duration::from_millis(1)).await;
        Ok(())
    });
    io.of("/").on_connect(async |socket| {
        let seen = list::<i32>();
        socket.on("n", async move |socket, n: i32, _| {
            seen.lock().unwrap().push(n);
            actix_web::rt::task::yield_now().await;
            if n == 99 {
                let all = seen.lock().unwrap().clone();
                socket.emit("seen", &vec![all]).unwrap();
            }
        });
    });
    let (mut client, _) = join(&server, "40");
    for n in 0..100 {
        client.send(&format!(r#"42["n",{n}]"#));
    }
    let expected: Vec<i32> = (0..100).collect();
    assert_eq!(client.text(), format!(r#"42["seen",[{}]]"#, serde_json::to_string(&expected).unwrap()));
}

#[test]
fn middlewares_and_unknown_namespaces() {
    let (server, io) = start(SocketIo::builder());
    io.of("/closed").middleware(async |socket| {
        let auth: serde_json::Value = socket.auth().unwrap();
        match auth["token"].as_str() {
            Some("good") => Ok(()),
            _ => Err(ConnectError::new("bad token").with_data(serde_json::json!({"retry": false}))),
        }
    });
    io.of("/closed").on("secret", async |_, (), ack| ack.send("42").unwrap());
    let mut client = server.websocket(WEBSOCKET);
    client.text();
    client.send(r#"40/closed,{"token":"bad"}"#);
    assert_eq!(client.text(), r#"44/closed,{"message":"bad token","data":{"retry":false}}"#);
    client.send("40/nowhere");
    assert_eq!(client.text(), r#"44/nowhere,{"message":"Invalid namespace"}"#);
    client.send(r#"40/closed,{"token":"good"}"#);
    assert!(client.text().starts_with(r#"40/closed,{"sid":""#));
    client.send(r#"42/closed,7["secret"]"#);
    assert_eq!(client.text(), r#"43/closed,7["42"]"#);
    assert_eq!((io.stats().refused_namespace, io.stats().sockets), (2, 1));
}

#[test]
fn socket_middlewares_and_catch_all() {
    let (server, io) = start(SocketIo::builder());
    io.of("/").on_connect(async |socket| {
        socket.middleware(async |_, event| if event.name() == "bad" { Err("no".into()) } else { Ok(()) });
        socket.on_any(async |socket, event, _| socket.emit("any", event.name().as_ref()).unwrap());
        socket.on("good", async |socket, (), _| socket.emit("good back", &()).unwrap());
    });
    let (mut client, _) = join(&server, "40");
    client.send(r#"42["bad"]"#);
    client.send(r#"42["good"]"#);
    assert_eq!((client.text(), client.text()), (r#"42["any","good"]"#.into(), r#"42["good back"]"#.into()));
}

#[test]
fn dynamic_namespaces_come_and_go() {
    let (server, io) = start(SocketIo::builder());
    io.of_matching(|name| name.starts_with("/room-"))
        .on_connect(async |socket| socket.emit("in", socket.namespace().name()).unwrap());
    let (mut client, _) = join(&server, "40/room-1,");
    assert_eq!(client.text(), r#"42/room-1,["in","/room-1"]"#);
    assert_eq!(io.namespaces().len(), 2);
    client.send("41/room-1,");
    eventually("the namespace goes with its last socket", || io.namespaces().len() == 1);
}

#[test]
fn rooms_and_operators() {
    let (server, io) = start(SocketIo::builder());
    io.of("/").on("join", async |socket, rooms: Vec<String>, ack| {
        socket.join(rooms).unwrap();
        ack.send(&()).unwrap();
    });
    io.of("/").on("shout", async |socket, room: String, _| drop(socket.to(&room).emit("shout", &())));
    io.of("/").on("others", async |socket, (), _| drop(socket.broadcast().emit("others", &())));
    let mut clients: Vec<_> = (0..3).map(|_| join(&server, "40")).collect();
    for (at, rooms) in [r#"["a"]"#, r#"["a","b"]"#, "[]"].into_iter().enumerate() {
        clients[at].0.send(&format!(r#"420["join",{rooms}]"#));
        assert_eq!(clients[at].0.text(), "430[]");
    }
    let ids: Vec<String> = clients.iter().map(|(_, id)| id.clone()).collect();

    // Who gets what: each broadcast is followed by one to all, so that what does not come is noticed.
    let sends: [(&str, Box<dyn Fn()>, [bool; 3]); 7] = [
        ("union", Box::new(|| drop(io.to("a").to("b").emit("x", &()))), [true, true, false]),
        ("except", Box::new(|| drop(io.to("a").except("b").emit("x", &()))), [true, false, false]),
        ("except alone", Box::new(|| drop(io.except("a").emit("x", &()))), [false, false, true]),
        ("own room", Box::new(|| drop(io.to(&ids[2]).emit("x", &()))), [false, false, true]),
        ("own room twice", Box::new(|| drop(io.to([ids[0].clone(), "a".into()]).emit("x", &()))), [true, true, false]),
        ("nobody", Box::new(|| drop(io.to("nowhere").emit("x", &()))), [false, false, false]),
        ("local", Box::new(|| drop(io.to("b").local().emit("x", &()))), [false, true, false]),
    ];
    for (name, send, expected) in sends {
        send();
        drop(io.emit("end", &()));
        for ((client, _), expected) in clients.iter_mut().zip(expected) {
            let first = client.text();
            assert_eq!(first == r#"42["x"]"#, expected, "{name}: {first}");
            if expected {
                assert_eq!(client.text(), r#"42["end"]"#, "{name}");
            }
        }
    }
    clients[0].0.send(r#"42["shout","a"]"#);
    assert_eq!(clients[1].0.text(), r#"42["shout"]"#);
    clients[0].0.send(r#"42["others"]"#);
    assert_eq!(clients[1].0.text(), r#"42["others"]"#);
    assert_eq!(clients[2].0.text(), r#"42["others"]"#);
    assert_eq!(io.of("/").rooms().len(), 2);
    drop(clients);
    eventually("all rooms are empty", || io.of("/").rooms().is_empty() && io.stats().sockets == 0);
}

#[test]
fn remote_control_of_many() {
    let (server, io) = start(SocketIo::builder());
    io.of("/").on_connect(async |socket| socket.set_data("somebody"));
    let (mut one, id) = join(&server, "40");
    let (mut two, _) = join(&server, "40");
    let system = actix_web::rt::System::new();
    let sockets = system.block_on(async {
        io.in_(&id).sockets_join(["x", "y"]).await.unwrap();
        io.in_("x").sockets_leave("y").await.unwrap();
        io.in_("x").fetch_sockets().await.unwrap()
    });
    assert_eq!(sockets.len(), 1);
    assert_eq!((sockets[0].id.as_ref(), &sockets[0].data), (id.as_str(), &"somebody".into()));
    assert_eq!(sockets[0].rooms, [id.as_str(), "x"]);
    system.block_on(io.in_("x").disconnect_sockets(false)).unwrap();
    assert_eq!(one.text(), "41");
    // The connection stays, and what was on the way is no offence.
    one.send(r#"42["late"]"#);
    one.send("40");
    assert!(one.text().starts_with("40"));
    system.block_on(io.of("/").broadcast().disconnect_sockets(true)).unwrap();
    assert_eq!(two.text(), "41");
    assert_eq!((two.closed(), one.text().as_str()), (None, "41"));
}

#[test]
fn asking_one_and_many() {
    let (server, io) = start(SocketIo::builder().configure(|config| config.max_pending_acks = 1));
    let results = list::<String>();
    let keep = results.clone();
    io.of("/").on("ask me", async move |socket, (), _| {
        let keep = keep.clone();
        let answer = socket.emit_with_ack::<(String, i32)>("q", &1);
        let refused = socket.emit_with_ack::<i32>("q", &2).await;
        assert!(matches!(refused, Err(AckError::TooManyPending)));
        let answer = answer.await.unwrap();
        keep.lock().unwrap().push(format!("{answer:?}"));
        let late = socket.emit_with_ack_timeout::<i32>(Duration::from_millis(5), "slow", &()).await;
        keep.lock().unwrap().push(format!("{late:?}"));
        let gone = socket.emit_with_ack::<i32>("gone", &()).await;
        keep.lock().unwrap().push(format!("{gone:?}"));
    });
    let (mut client, _) = join(&server, "40");
    client.send(r#"42["ask me"]"#);
    assert_eq!(client.text(), r#"420["q",1]"#);
    client.send(r#"430["a",1]"#);
    assert_eq!(client.text(), r#"422["slow"]"#);
    assert_eq!(client.text(), r#"423["gone"]"#);
    client.send(r#"432[1]"#);
    client.send(r#"4399[1]"#);
    drop(client);
    eventually("the answers are in", || results.lock().unwrap().len() == 3);
    assert_eq!(*results.lock().unwrap(), [r#"("a", 1)"#, "Err(Timeout)", "Err(Disconnected)"]);

    let mut clients: Vec<_> = (0..3).map(|_| join(&server, "40").0).collect();
    let asked = std::thread::spawn({
        let io = io.clone();
        move || {
            actix_web::rt::System::new().block_on(async move {
                io.of("/").timeout(Duration::from_millis(200)).emit_with_ack::<i32>("all", &()).await.unwrap()
            })
        }
    });
    let questions: Vec<_> = clients.iter_mut().map(|client| client.text()).collect();
    assert!(questions.iter().all(|question| *question == questions[0]), "{questions:?}");
    let id = questions[0].trim_start_matches("42").split('[').next().unwrap().to_owned();
    clients[0].send(&format!("43{id}[1]"));
    clients[1].send(&format!("43{id}[2]"));
    let mut responses = asked.join().unwrap();
    responses.answers.sort_unstable();
    assert_eq!((responses.answers, responses.missing), (vec![1, 2], 1));
}

#[test]
fn reasons_for_the_end() {
    let (server, io) = start(
        SocketIo::builder()
            .ping_interval(Duration::from_millis(50))
            .ping_timeout(Duration::from_millis(50))
            .configure(|config| config.packet_rate = 20),
    );
    let reasons = list::<(bool, DisconnectReason)>();
    let keep = reasons.clone();
    io.of("/").on_connect(async move |socket| {
        let keep = keep.clone();
        socket.join("a").unwrap();
        socket.on_disconnecting(async |socket, _| assert_eq!(socket.rooms().len(), 1));
        socket.on_disconnect(async move |socket, reason| {
            // Too late to join anything.
            socket.join("b").unwrap();
            keep.lock().unwrap().push((socket.rooms().is_empty() && !socket.is_connected(), reason));
        });
        socket.on("out", async |socket, (), _| socket.disconnect());
        socket.on("close", async |socket, (), _| socket.connection().close());
    });
    type Leave = fn(&mut WebSocket);
    let leave: [(Leave, DisconnectReason); 9] = [
        (|client| client.send("41"), DisconnectReason::ClientNamespaceDisconnect),
        (|client| client.send(r#"42["out"]"#), DisconnectReason::ServerNamespaceDisconnect),
        (|client| client.send(r#"42["close"]"#), DisconnectReason::ForcedClose),
        (|client| client.frame(0x88, b""), DisconnectReason::TransportClose),
        (|client| client.stream.shutdown(std::net::Shutdown::Both).unwrap(), DisconnectReason::TransportClose),
        (|client| client.frame(0x81, b"\xff"), DisconnectReason::TransportError),
        (|client| client.send("42{}"), DisconnectReason::ParseError),
        (|client| client.send("40"), DisconnectReason::ForcedServerClose),
        (|_| {}, DisconnectReason::PingTimeout),
    ];
    for (at, (leave, expected)) in leave.into_iter().enumerate() {
        let (mut client, _) = join(&server, "40");
        leave(&mut client);
        eventually(expected.as_str(), || reasons.lock().unwrap().len() == at + 1);
        assert_eq!(reasons.lock().unwrap()[at], (true, expected));
    }
    let (mut client, _) = join(&server, "40");
    for _ in 0..50 {
        client.send(r#"42["x"]"#);
    }
    eventually("too fast", || reasons.lock().unwrap().last().unwrap().1 == DisconnectReason::RateLimit);
    let (_client, _) = join(&server, "40");
    io.close();
    eventually("closed", || reasons.lock().unwrap().last().unwrap().1 == DisconnectReason::ServerShuttingDown);
    eventually("none left", || io.stats().sockets == 0 && io.stats().connections == 0);
}

#[test]
fn no_namespace_in_time() {
    let (server, io) = start(SocketIo::builder().connect_timeout(Duration::from_millis(30)));
    let mut client = server.websocket(WEBSOCKET);
    client.text();
    assert_eq!(client.closed(), None);
    assert_eq!(io.stats().connect_timeouts, 1);
}

#[test]
fn allow_request_decides() {
    let (server, io) =
        start(SocketIo::builder().allow_request(async |handshake| match handshake.query_value("key").as_deref() {
            Some("good") => Ok(()),
            _ => Err("no key".into()),
        }));
    let path = "/socket.io/?EIO=4&transport=polling";
    let answer = server.get(path);
    assert_eq!((answer.status, answer.body.as_str()), (403, r#"{"code":4,"message":"no key"}"#));
    assert_eq!(server.get(&format!("{path}&key=good")).status, 200);
    assert_eq!(io.stats().refused_forbidden, 1);
}

#[test]
fn extensions_are_by_type() {
    struct Name(&'static str);
    struct Count(AtomicUsize);
    let (server, io) = start(SocketIo::builder());
    io.of("/").on_connect(async |socket| {
        socket.insert(Name("a"));
        socket.insert(Count(AtomicUsize::new(0)));
    });
    io.of("/").on("count", async |socket, (), ack| {
        let count = socket.get::<Count>().unwrap().0.fetch_add(1, Ordering::Relaxed);
        let name = socket.insert(Name("b")).unwrap();
        ack.send(&(count, name.0)).unwrap();
    });
    let (mut client, _) = join(&server, "40");
    for expected in [r#"430[0,"a"]"#, r#"430[1,"b"]"#] {
        client.send(r#"420["count"]"#);
        assert_eq!(client.text(), expected);
    }
}

#[test]
fn slow_clients_are_cut_off_and_volatile_events_go_first() {
    let (server, io) = start(SocketIo::builder().configure(|config| config.outbox_bytes = 100_000));
    let (client, _) = join(&server, "40");
    let big = "x".repeat(10_000);
    // The client does not read: kernel buffers fill, then the outbox, and volatile events are dropped long before.
    let mut sent = 0;
    while io.stats().connections > 0 {
        drop(io.of("/").volatile().emit("v", &big));
        drop(io.emit("e", &big));
        sent += 1;
        assert!(sent < 100_000, "nothing is bounded");
        std::thread::sleep(Duration::from_micros(100));
    }
    assert_eq!(io.stats().outbox_overflows, 1);
    assert!(io.stats().volatile_dropped > 0);
    drop(client);
}

/// Numbers from a shared log, as many as there are.
struct Numbers {
    log: Arc<Mutex<(Vec<Outgoing>, Vec<Waker>)>>,
    next: usize,
}

impl Source for Numbers {
    fn poll_next(&mut self, cx: &mut Context<'_>, budget: usize) -> Poll<Vec<Outgoing>> {
        let mut log = self.log.lock().unwrap();
        let count = log.0[self.next..]
            .iter()
            .scan(0, |sum, entry| Some((*sum += entry.len(), *sum).1))
            .take_while(|sum| *sum <= budget)
            .count();
        if self.next == log.0.len() {
            log.1.push(cx.waker().clone());
            return Poll::Pending;
        }
        let end = self.next + count.max(1);
        let batch = log.0[self.next..end].to_vec();
        self.next = end;
        Poll::Ready(batch)
    }
}

#[test]
fn sources_are_pulled_in_order_over_every_transport() {
    let (server, io) = start(SocketIo::builder().configure(|config| config.source_budget = 200));
    let log: Arc<Mutex<(Vec<Outgoing>, Vec<Waker>)>> = Arc::default();
    let shared = log.clone();
    io.of("/").on("follow", async move |socket, (), ack| {
        ack.send(&()).unwrap();
        socket.attach(Numbers { log: shared.clone(), next: 0 });
    });
    let append = |n: i32| {
        let packet = EncodedPacket::event("/", "n", &n).unwrap();
        let wakers = {
            let mut log = log.lock().unwrap();
            log.0.push(packet.into());
            std::mem::take(&mut log.1)
        };
        wakers.into_iter().for_each(Waker::wake);
    };
    (0..50).for_each(append);
    let (mut client, _) = join(&server, "40");
    client.send(r#"420["follow"]"#);
    assert_eq!(client.text(), "430[]");

    let sid = server.open("/socket.io/");
    let path = format!("/socket.io/?EIO=4&transport=polling&sid={sid}");
    server.post(&path, "40");
    assert!(server.get(&path).body.starts_with("40"));
    server.post(&path, r#"420["follow"]"#);
    let mut polled = Vec::new();

    for n in 0..100 {
        if n >= 50 {
            append(n);
        }
        assert_eq!(client.text(), format!(r#"42["n",{n}]"#));
        while polled.len() <= n as usize + 1 {
            polled.extend(server.get(&path).body.split('\u{1e}').map(str::to_owned));
            polled.retain(|packet| packet != "2");
        }
        assert_eq!(polled[n as usize + 1], format!(r#"42["n",{n}]"#));
    }
    // The socket's end takes its source along.
    client.send("41");
    eventually("it is detached", || Arc::strong_count(&log) == 4 || io.stats().sockets == 1);
}

fn recovery() -> (Running, SocketIo) {
    let (server, io) = start(SocketIo::builder().recovery(Recovery::default()));
    io.of("/").on("join", async |socket, room: String, ack| {
        socket.join(room).unwrap();
        socket.set_data(7);
        ack.send(&()).unwrap();
    });
    io.of("/").on("state", async |socket, (), ack| {
        ack.send(&(socket.recovered(), socket.rooms(), socket.data())).unwrap();
    });
    (server, io)
}

/// Connects with `auth`; what came up to and with the consent.
fn connect(server: &Running, auth: &str) -> (WebSocket, Vec<String>) {
    let mut socket = server.websocket(WEBSOCKET);
    socket.text();
    socket.send(&format!("40{auth}"));
    let mut came = Vec::new();
    loop {
        came.push(socket.text());
        if came.last().unwrap().starts_with("40") {
            return (socket, came);
        }
    }
}

fn offset(event: &str) -> String {
    event.rsplit('"').nth(1).unwrap().to_owned()
}

#[test]
fn recovery_brings_everything_back_once() {
    let (server, io) = recovery();
    let (mut client, came) = connect(&server, "");
    let consent: serde_json::Value = serde_json::from_str(&came[0][2..]).unwrap();
    let pid = consent["pid"].as_str().unwrap();
    client.send(r#"420["join","a"]"#);
    assert_eq!(client.text(), "430[]");
    drop(io.to("a").emit("e", &1));
    let first = client.text();
    assert!(first.starts_with(r#"42["e",1,""#), "{first}");

    drop(client);
    eventually("it is noticed", || io.stats().sockets == 0);
    drop(io.to("a").emit("e", &(2, Binary(bytes::Bytes::from_static(b"x")))));
    drop(io.to("b").emit("e", &"not for it"));
    drop(io.to("a").volatile().emit("e", &"volatile"));
    drop(io.emit("e", &3));

    let auth = format!(r#"{{"pid":"{pid}","offset":"{}"}}"#, offset(&first));
    let mut client = server.websocket(WEBSOCKET);
    client.text();
    client.send(&format!("40{auth}"));
    assert!(client.text().starts_with(r#"451-["e",2,{"_placeholder":true,"num":0},""#));
    assert_eq!(client.next(), Some(Frame::Binary(b"x".to_vec())));
    let third = client.text();
    assert!(third.starts_with(r#"42["e",3,""#), "{third}");
    let again: serde_json::Value = serde_json::from_str(&client.text()[2..]).unwrap();
    assert_eq!(again, consent);
    client.send(r#"421["state"]"#);
    assert_eq!(client.text(), r#"431[true,["a"],7]"#);

    // The session has been taken out: nobody else gets it, not even with the right secret.
    let (_other, came) = connect(&server, &auth);
    assert_eq!(came.len(), 1);
    assert!(!came[0].contains(pid) && !came[0].contains(consent["sid"].as_str().unwrap()), "{came:?}");
    assert_eq!((io.stats().recovered, io.stats().recovery_missed), (1, 1));
}

#[test]
fn leaving_on_purpose_is_for_good() {
    for goodbye in ["41", "42{}"] {
        let (server, io) = recovery();
        let (mut client, came) = connect(&server, "");
        let consent: serde_json::Value = serde_json::from_str(&came[0][2..]).unwrap();
        drop(io.emit("e", &1));
        let first = client.text();
        client.send(goodbye);
        eventually("it is gone", || io.stats().sockets == 0);
        let auth = format!(r#"{{"pid":{},"offset":"{}"}}"#, consent["pid"], offset(&first));
        let (_client, came) = connect(&server, &auth);
        assert!(!came[0].contains(consent["sid"].as_str().unwrap()), "{goodbye}");
    }
}

#[test]
fn odd_recovery_requests_get_a_fresh_session() {
    let (server, _io) = recovery();
    for auth in [
        r#"{"pid":1,"offset":"x"}"#,
        r#"{"pid":"x"}"#,
        r#"{"offset":"x"}"#,
        r#"{"pid":"x","offset":"y"}"#,
        r#"{"pid":{},"offset":[]}"#,
        "{}",
    ] {
        let (_client, came) = connect(&server, auth);
        assert_eq!(came.len(), 1, "{auth}");
    }
}

#[test]
fn cut_again_and_again_each_event_comes_once_in_order() {
    const EVENTS: u32 = 2000;
    let (server, io) = recovery();
    let (mut client, came) = connect(&server, "");
    let consent: serde_json::Value = serde_json::from_str(&came[0][2..]).unwrap();
    client.send(r#"420["join","a"]"#);
    assert_eq!(client.text(), "430[]");
    let sender = std::thread::spawn({
        let io = io.clone();
        move || {
            for n in 0..EVENTS {
                drop(io.to("a").emit("n", &n));
                std::thread::sleep(Duration::from_micros(200));
            }
        }
    });
    let mut expected = 0;
    let mut last = String::new();
    let mut take = |text: &str, last: &mut String| {
        if text.starts_with("42") {
            assert!(text.starts_with(&format!(r#"42["n",{expected},"#)), "{expected} expected: {text}");
            expected += 1;
            *last = offset(text);
        }
        expected
    };
    while take(&client.text(), &mut last) < EVENTS {
        // Cut the line after every 40 events.
        if expected_is_multiple(&last) {
            drop(client);
            let auth = format!(r#"{{"pid":{},"offset":"{last}"}}"#, consent["pid"]);
            loop {
                let before = io.stats().sockets;
                if before == 0 {
                    break;
                }
                std::thread::yield_now();
            }
            client = server.websocket(WEBSOCKET);
            client.text();
            client.send(&format!("40{auth}"));
        }
    }
    sender.join().unwrap();
    assert!(io.stats().recovered >= 40, "{:?}", io.stats());
    assert_eq!(io.stats().recovery_missed, 0);
}

fn expected_is_multiple(offset: &str) -> bool {
    offset.rsplit('.').next().and_then(|n| n.parse::<u64>().ok()).is_some_and(|n| n % 40 == 0)
}

#[test]
fn clients_of_socket_io_2() {
    let (server, io) = start(SocketIo::builder().configure(|config| config.allow_eio3 = true));
    io.of("/").on("echo", async |socket, args: Args, _| socket.emit("back", &args).unwrap());
    io.of("/x").on_connect(async |socket| {
        let auth: serde_json::Value = socket.auth().unwrap();
        socket.emit("hello", &(socket.id(), auth)).unwrap();
    });
    io.of("/no").middleware(async |_| Err("not you".into()));
    let mut client = server.websocket("/socket.io/?EIO=3&transport=websocket");
    let sid = support::sid(&client.text());
    assert_eq!(client.text(), "40");
    client.send(r#"42["echo",1]"#);
    assert_eq!(client.text(), r#"42["back",1]"#);
    client.send("40/x?token=a,");
    assert_eq!(client.text(), "40/x,");
    assert_eq!(client.text(), format!(r#"42/x,["hello","/x#{sid}",{{"token":"a"}}]"#));
    client.send("40/no,");
    assert_eq!(client.text(), r#"44/no,"not you""#);
}

#[test]
fn sockets_and_connections_are_let_go() {
    let (server, io) = start(SocketIo::builder());
    let alive = Arc::new(());
    let held = alive.clone();
    io.of("/").on_connect(async move |socket| {
        let (held, me) = (held.clone(), socket.clone());
        // A handler that holds its own socket is the leak that everybody writes once.
        socket.on("x", async move |_, (), _| drop((held.clone(), me.clone())));
    });
    for _ in 0..10 {
        let (client, _) = join(&server, "40");
        drop(client);
    }
    eventually("only the connection handler holds it", || Arc::strong_count(&alive) == 2);
}

/// A socket is what its users hold, so it must go where they go.
#[test]
fn handles_are_send_and_sync() {
    fn is<T: Send + Sync + Clone + 'static>() {}
    is::<SocketIo>();
    is::<Socket>();
    is::<EncodedPacket>();
    is::<Outgoing>();
    is::<socketio::Namespace>();
}
