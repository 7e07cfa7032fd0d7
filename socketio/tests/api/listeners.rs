//! Handlers as they are put on and taken off, and arguments that do not fit them.

use std::time::Instant;

use socketio::{SocketIo, TryArgs};

use crate::{join, list, logged, start, support::eventually};

/// Case 3.5: a client that asked for an ack learns immediately that its arguments have the wrong type.
#[test]
fn arguments_of_the_wrong_type_are_rejected_by_the_ack() {
    let (server, io) = start(SocketIo::builder());
    io.of("/").on("add", async |_, (a, b): (i32, i32), ack| ack.send(&(a + b)).unwrap());
    io.of("/").on("either", async |_, (): (), ack| ack.send("none").unwrap());
    io.of("/").on("either", async |_, n: i32, ack| ack.send(&n).unwrap());
    io.of("/").on("try", async |_, TryArgs(args): TryArgs<(i32, i32)>, ack| match args {
        Ok((a, b)) => ack.send(&(a + b)).unwrap(),
        Err(error) => ack.send(&error.to_string()).unwrap(),
    });
    io.of("/").on_connect(async |socket| {
        socket.middleware(async |_, event| match &*event.name() {
            "panic" => panic!("on purpose"),
            "no" => Err(socketio::ConnectError::new("not you").with_data(7)),
            _ => Ok(()),
        });
    });
    let (mut client, _) = join(&server, "40");
    for (sent, expected) in [
        (
            r#"420["add","x",1]"#,
            r#"430[{"ok":false,"error":{"code":"bad_arguments","message":"invalid type: string \"x\", expected i32 at line 1 column 3"}}]"#,
        ),
        (r#"421["add",1]"#, r#"431[{"ok":false,"error":{"code":"bad_arguments","message":"an argument is missing"}}]"#),
        (r#"422["add",1,2]"#, "432[3]"),
        // One handler that takes the event is enough.
        (r#"423["either","x"]"#, r#"433["none"]"#),
        (r#"424["try",1,2]"#, "434[3]"),
        (r#"425["try",1]"#, r#"435["an argument is missing"]"#),
        (r#"426["no"]"#, r#"436[{"ok":false,"error":{"code":"refused","message":"not you","data":7}}]"#),
        (r#"427["panic"]"#, r#"437[{"ok":false,"error":{"code":"refused","message":"Internal error"}}]"#),
    ] {
        client.send(sent);
        assert_eq!(client.text(), expected);
    }
    // Without the wish for an ack there is nothing to answer.
    client.send(r#"42["add"]"#);
    client.send(r#"428["add",2,2]"#);
    assert_eq!(client.text(), "438[4]");
    assert_eq!(io.stats().bad_arguments, 4);
}

/// Case 3.5: clients choose how often that happens, and not how often it is logged: at most once a second, with the number of those before.
#[test]
fn arguments_of_the_wrong_type_are_logged_at_most_once_a_second() {
    logged::collect();
    let (server, io) = start(SocketIo::builder());
    io.of("/").on("misfit", async |_, n: i32, ack| ack.send(&n).unwrap());
    let (mut client, _) = join(&server, "40");
    let began = Instant::now();
    let mut sent = 0;
    // Another test may have taken the first second.
    while sent == 0 || logged::count("misfit") == 0 {
        assert!(began.elapsed().as_secs() < 10, "no line");
        for _ in 0..50 {
            client.send(r#"420["misfit","x"]"#);
            assert!(client.text().contains("bad_arguments"));
        }
        sent += 50;
    }
    let most = began.elapsed().as_secs() + 1;
    assert!(logged::count("misfit") as u64 <= most, "{} lines", logged::count("misfit"));
    assert_eq!(io.stats().bad_arguments, sent);
}

/// Case 11.9: `once`, `off` of one handler, `prependAny`, and the lists of listeners.
#[test]
fn handlers_are_added_and_removed_one_by_one() {
    let (server, io) = start(SocketIo::builder());
    io.of("/").on_connect(async |socket| {
        socket.once("e", async |socket, (), _| socket.emit("once", &()).unwrap());
        let first = socket.add_listener("e", async |socket, (), _| socket.emit("first", &()).unwrap());
        let second = socket.add_listener("e", async |socket, (), _| socket.emit("second", &()).unwrap());
        let late = socket.on_any(async |socket, event, _| socket.emit("late", event.name().as_ref()).unwrap());
        let early = socket.prepend_any(async |socket, event, _| socket.emit("early", event.name().as_ref()).unwrap());
        assert_eq!(socket.listeners("e")[1..], [first, second]);
        assert_eq!(socket.listeners_any(), [early, late]);
        assert_eq!(socket.event_names(), ["e"]);
        socket.on("thin", async move |socket, (), ack| {
            let gone = [socket.remove_listener(first), socket.remove_listener(late), socket.remove_listener(first)];
            ack.send(&(gone, socket.listeners("e").len(), socket.listeners_any().len())).unwrap();
        });
        socket.on("off", async |socket, (), ack| {
            socket.off("e");
            socket.off_any();
            ack.send(&socket.event_names()).unwrap();
        });
    });
    let (mut client, _) = join(&server, "40");
    client.send(r#"42["e"]"#);
    for expected in [r#"["early","e"]"#, r#"["late","e"]"#, r#"["once"]"#, r#"["first"]"#, r#"["second"]"#] {
        assert_eq!(client.text(), format!("42{expected}"));
    }
    client.send(r#"420["thin"]"#);
    for expected in [r#"42["early","thin"]"#, r#"42["late","thin"]"#, "430[[true,true,false],1,1]"] {
        assert_eq!(client.text(), expected);
    }
    client.send(r#"42["e"]"#);
    assert_eq!((client.text(), client.text()), (r#"42["early","e"]"#.into(), r#"42["second"]"#.into()));
    client.send(r#"421["off"]"#);
    assert_eq!((client.text(), client.text()), (r#"42["early","off"]"#.into(), r#"431[["thin","off"]]"#.into()));
}

/// Case 11.9: `onAnyOutgoing` is called for every event, to one socket or several, in order.
#[test]
fn outgoing_events_reach_their_listeners() {
    let (server, io) = start(SocketIo::builder());
    let seen = list::<String>();
    let keep = seen.clone();
    io.of("/").on_connect(async move |socket| {
        for (name, prepend) in [("b", false), ("a", true)] {
            let keep = keep.clone();
            let watch = async move |_, event: socketio::Event| {
                keep.lock().unwrap().push(format!("{name}{}", event.payload().json()));
            };
            if prepend {
                socket.prepend_any_outgoing(watch)
            } else {
                socket.on_any_outgoing(watch)
            };
        }
        assert_eq!(socket.listeners_any_outgoing().len(), 2);
    });
    io.of("/").on("go", async |socket, (), ack| {
        socket.emit("one", &1).unwrap();
        drop(socket.namespace().emit("all", &2));
        drop(socket.emit_with_ack::<i32>("asked", &3));
        ack.send(&()).unwrap();
    });
    io.of("/").on("stop", async |socket, (), ack| {
        socket.off_any_outgoing();
        socket.emit("unseen", &()).unwrap();
        ack.send(&()).unwrap();
    });
    let (mut client, _) = join(&server, "40");
    client.send(r#"420["go"]"#);
    eventually("all have been seen", || seen.lock().unwrap().len() == 6);
    client.send(r#"421["stop"]"#);
    while client.text() != "431[]" {}
    let expected =
        [r#"a["one",1]"#, r#"b["one",1]"#, r#"a["all",2]"#, r#"b["all",2]"#, r#"a["asked",3]"#, r#"b["asked",3]"#];
    assert_eq!(*seen.lock().unwrap(), expected);
}
