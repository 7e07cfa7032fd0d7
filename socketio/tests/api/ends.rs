//! How connections are refused, and how they end.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use socketio::{DisconnectReason, SocketIo};

use crate::{
    WEBSOCKET, join, list, start,
    support::{WebSocket, eventually},
};

/// The server removes a socket on another thread, and before its own thread knows, the client has left and connected again.
#[test]
fn a_late_removal_does_not_affect_a_new_socket() {
    let (server, io) = start(SocketIo::builder());
    io.of("/").on("out", async |socket, (), _| {
        std::thread::spawn(move || socket.disconnect()).join().unwrap();
    });
    io.of("/").on("echo", async |_, (), ack| drop(ack.send(&())));
    // The server's two threads take connections in turn: the session's own has to be the one that hears of all this, once.
    for away in 0..2 {
        let sid = server.open("/socket.io/");
        let path = format!("/socket.io/?EIO=4&transport=polling&sid={sid}");
        server.post(&path, "40");
        assert!(server.get(&path).body.starts_with("40{"));
        for _ in 0..away {
            server.get("/elsewhere");
        }
        server.post(&path, "42[\"out\"]\u{1e}41\u{1e}40");
        let answer = server.get(&path).body;
        assert!(answer.split('\u{1e}').any(|packet| packet.starts_with("40{")), "{answer}");
        server.post(&path, "420[\"echo\"]");
        let mut answers = server.get(&path).body;
        while !answers.contains("430[]") {
            let more = server.get(&path).body;
            assert!(more != "2", "the second is not heard: {answers}");
            answers.push_str(&more);
        }
        server.post(&path, "41");
    }
    eventually("it leaves by itself, too", || io.stats().sockets == 0);
}

/// A client of Socket.IO 2 is in the chat before its connection has begun, and may be out of it, too.
#[test]
fn an_end_before_the_start_is_reported() {
    let (server, io) = start(SocketIo::builder().configure(|config| config.allow_eio3 = true));
    let reasons = list::<DisconnectReason>();
    let keep = reasons.clone();
    io.of("/").on_connect(async move |socket| {
        let keep = keep.clone();
        socket.on_disconnect(async move |_, reason| keep.lock().unwrap().push(reason));
        socket.connection().finish(DisconnectReason::ForcedClose);
    });
    let mut client = server.websocket("/socket.io/?EIO=3&transport=websocket");
    while client.next().is_some() {}
    eventually("it is told", || *reasons.lock().unwrap() == [DisconnectReason::ForcedClose]);
    assert_eq!(io.stats().sockets, 0);
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
fn slow_clients_are_cut_off_and_volatile_events_go_first() {
    let (server, io) = start(SocketIo::builder().configure(|config| config.max_pending_bytes = 100_000));
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

#[test]
fn sockets_and_connections_are_freed() {
    let (server, io) = start(SocketIo::builder());
    let alive = Arc::new(());
    let held = alive.clone();
    io.of("/").on_connect(async move |socket| {
        let (held, me) = (held.clone(), socket.clone());
        // A handler that owns its own socket is a leak that is easy to write.
        socket.on("x", async move |_, (), _| drop((held.clone(), me.clone())));
    });
    for _ in 0..10 {
        let (client, _) = join(&server, "40");
        drop(client);
    }
    eventually("only the connection handler holds it", || Arc::strong_count(&alive) == 2);
}

#[test]
fn a_socket_is_called_at_its_times_until_it_ends() {
    let (server, io) = start(SocketIo::builder().connect_timeout(Duration::from_secs(3600)));
    let called = list::<(u32, bool)>();
    let keep = called.clone();
    io.of("/").on_connect(async move |socket| {
        let (start, kept) = (Instant::now(), keep.clone());
        socket.on("call", async move |socket, at: u32, ack| {
            let (at_most, kept) = (start + Duration::from_millis(at.into()), kept.clone());
            socket.call_at(at_most, move |_| {
                kept.lock().unwrap().push((at, Instant::now() >= at_most));
                assert_ne!(at, 40, "a panic is this call's alone");
            });
            ack.send(&()).unwrap();
        });
    });
    let ask = |client: &mut WebSocket, at: u32| {
        client.send(&format!(r#"420["call",{at}]"#));
        assert_eq!(client.text(), "430[]");
    };
    let (mut gone, _) = join(&server, "40");
    ask(&mut gone, 200);
    gone.send("41");
    let (mut client, _) = join(&server, "40");
    for at in [400, 0, 80, 40] {
        ask(&mut client, at);
    }
    eventually("all are called", || called.lock().unwrap().len() == 4);
    // On a slow machine, some of them may be due by the time that they are asked for.
    called.lock().unwrap().sort_unstable();
    assert_eq!(*called.lock().unwrap(), [(0, true), (40, true), (80, true), (400, true)]);
    eventually("nothing keeps it", || io.stats().sockets == 1);
}

#[test]
fn handlers_come_off_and_the_last_word_is_heard() {
    let (server, io) = start(SocketIo::builder());
    let heard = list::<&'static str>();
    let keep = heard.clone();
    io.of("/").on_connect(async move |socket| {
        socket.on("a", async |socket, (), _| socket.emit("a", &()).unwrap());
        socket.on("b", async |socket, (), _| socket.emit("b", &()).unwrap());
        socket.on("off", async |socket, (), _| socket.off("a"));
        let keep = keep.clone();
        // Whoever sees the end begin can still wait until it is complete.
        socket.on_disconnecting(async move |socket, _| {
            let keep = keep.clone();
            keep.lock().unwrap().push("going");
            socket.on_disconnect(async move |_, _| keep.lock().unwrap().push("gone"));
        });
    });
    let (mut client, _) = join(&server, "40");
    client.send(r#"42["a"]"#);
    assert_eq!(client.text(), r#"42["a"]"#);
    client.send(r#"42["off"]"#);
    client.send(r#"42["a"]"#);
    client.send(r#"42["b"]"#);
    assert_eq!(client.text(), r#"42["b"]"#);
    client.send("41");
    eventually("the end", || *heard.lock().unwrap() == ["going", "gone"]);
}
