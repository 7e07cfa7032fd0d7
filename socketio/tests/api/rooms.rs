//! Who is reached.

use socketio::{SocketData, SocketIo};

use crate::{join, start, support::eventually};

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
