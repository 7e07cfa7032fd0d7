//! Who is reached.

use std::time::{Duration, Instant};

use socketio::{Room, RoomEvent, SocketData, SocketIo};

use crate::{join, logged, start, support::eventually};

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
    type Case<'a> = (&'a str, Box<dyn Fn() + 'a>, [bool; 3]);
    let sends: [Case<'_>; 7] = [
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
    io.of("/").on_connect(async |socket| socket.set_data("somebody").unwrap());
    let (mut one, id) = join(&server, "40");
    let (mut two, _) = join(&server, "40");
    let system = actix_web::rt::System::new();
    let sockets = system.block_on(async {
        io.in_(&id).sockets_join(["x", "y"]).await.unwrap();
        io.in_("x").sockets_leave("y").await.unwrap();
        io.in_("x").fetch_sockets().await.unwrap()
    });
    assert_eq!(sockets.len(), 1);
    assert_eq!((sockets[0].id.as_ref(), &sockets[0].data), (id.as_str(), &SocketData::of("somebody").unwrap()));
    assert_eq!(sockets[0].rooms, [id.as_str(), "x"]);
    system.block_on(io.in_("x").disconnect_sockets(false)).unwrap();
    assert_eq!(one.text(), "41");
    // The connection stays open, and packets in flight are not an error.
    one.send(r#"42["late"]"#);
    one.send("40");
    assert!(one.text().starts_with("40"));
    system.block_on(io.of("/").broadcast().disconnect_sockets(true)).unwrap();
    assert_eq!(two.text(), "41");
    assert_eq!((two.closed(), one.text().as_str()), (None, "41"));
}

#[test]
fn too_many_rooms_are_refused_and_counted() {
    let (server, io) = start(SocketIo::builder().configure(|config| config.max_rooms = 2));
    io.of("/").on("join", async |socket, rooms: Vec<String>, ack| {
        let joined = socket.join(rooms).is_ok();
        ack.send(&(joined, socket.rooms().len())).unwrap();
    });
    let (mut client, _) = join(&server, "40");
    for (rooms, answer) in [
        (r#"["a"]"#, "430[true,1]"),
        (r#"["a","b"]"#, "430[true,2]"),
        (r#"["c"]"#, "430[false,2]"),
        (r#"["b"]"#, "430[true,2]"),
    ] {
        client.send(&format!(r#"420["join",{rooms}]"#));
        assert_eq!(client.text(), answer, "{rooms}");
    }
    assert_eq!(io.stats().rooms_refused, 1);
}

/// Clients choose how often that happens.
#[test]
fn what_is_refused_is_logged_at_most_once_a_second() {
    logged::collect();
    let began = Instant::now();
    // Other tests may have logged such lines already.
    let texts = ["rooms", "an event was not sent"].map(|text| (text, logged::count(text)));
    let (server, io) = start(SocketIo::builder().configure(|config| {
        config.max_rooms = 1;
        config.max_pending_bytes = 1_000;
    }));
    io.of("/").on("try", async |socket, (), ack| {
        let joined = socket.join(["a", "b"]).is_ok();
        drop(socket.namespace().to(socket.id()).emit("big", &"x".repeat(2_000)));
        ack.send(&joined).unwrap();
    });
    let (mut client, _) = join(&server, "40");
    for _ in 0..50 {
        client.send(r#"420["try"]"#);
        assert_eq!(client.text(), "430[false]");
    }
    let most = began.elapsed().as_secs() + 1;
    for (text, before) in texts {
        let lines = logged::count(text) - before;
        assert!(lines as u64 <= most, "{text}: {lines} lines");
    }
    assert_eq!((io.stats().rooms_refused, io.stats().outbox_full), (50, 50));
}

/// Case 11.9: changes of rooms are reported as by Node's adapter, in order, also those that a handler makes itself.
#[test]
fn changes_of_rooms_are_reported_in_order() {
    let (server, io) = start(SocketIo::builder());
    let (reports, reported) = std::sync::mpsc::channel();
    io.of("/").on_connect(async |socket| socket.join("a").unwrap());
    io.of("/").on("join", async |socket, rooms: Vec<String>, _| socket.join(rooms).unwrap());
    io.of("/").on("leave", async |socket, room: String, _| socket.leave(&room));
    io.of("/").on_room_event(move |namespace, event| {
        if let RoomEvent::Created { room } = event
            && room == "b"
        {
            namespace.in_("b").sockets_join("c");
        }
        reports.send(event.clone()).unwrap();
    });
    let (mut client, id) = join(&server, "40");
    client.send(r#"42["join",["a","b"]]"#);
    client.send(r#"42["leave","a"]"#);
    let next = || reported.recv_timeout(Duration::from_secs(10)).unwrap();
    let (room, socket) = (Room::from, Room::from(id.as_str()));
    let created = |name| RoomEvent::Created { room: room(name) };
    let joined = |name| RoomEvent::Joined { room: room(name), socket: socket.clone() };
    let left = |name| RoomEvent::Left { room: room(name), socket: socket.clone() };
    let deleted = |name| RoomEvent::Deleted { room: room(name) };
    assert_eq!([next(), next(), next(), next()], [created("a"), joined("a"), created("b"), joined("b")]);
    // The client's request and the handler's own change are made at the same time.
    let mut rest: Vec<_> = (0..4).map(|_| next()).collect();
    rest.sort_by_key(|event| matches!(event, RoomEvent::Created { .. } | RoomEvent::Joined { .. }));
    assert_eq!(rest, [left("a"), deleted("a"), created("c"), joined("c")]);
    let (second, _) = join(&server, "40");
    assert_eq!(next(), created("a"));
    assert!(matches!(next(), RoomEvent::Joined { room, .. } if room == "a"));
    drop(client);
    assert_eq!([next(), next(), next(), next()], [left("b"), deleted("b"), left("c"), deleted("c")]);
    drop(second);
    assert!(matches!(next(), RoomEvent::Left { room, .. } if room == "a"));
    assert_eq!(next(), deleted("a"));
}

/// Case 11.9: a socket learns that its connection has changed to WebSocket, and only then.
#[test]
fn an_upgrade_is_reported_to_the_sockets() {
    let (server, io) = start(SocketIo::builder());
    io.of("/").on_connect(async |socket| {
        socket.on_upgrade(async |socket| {
            let name = format!("{:?}", socket.connection().transport());
            socket.emit("upgraded", &name).unwrap();
        });
    });
    let sid = server.open("/socket.io/");
    let path = format!("/socket.io/?EIO=4&transport=polling&sid={sid}");
    assert_eq!(server.post(&path, "40").body, "ok");
    assert!(server.get(&path).body.starts_with("40{"));
    let mut socket = server.websocket(&format!("/socket.io/?EIO=4&transport=websocket&sid={sid}"));
    socket.send("2probe");
    assert_eq!(socket.text(), "3probe");
    socket.send("5");
    assert_eq!(socket.text(), r#"42["upgraded","WebSocket"]"#);
    let (mut direct, _) = join(&server, "40");
    direct.send("1");
}
