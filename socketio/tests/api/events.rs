//! Received and sent events, and middlewares.

use std::{sync::atomic::AtomicUsize, sync::atomic::Ordering, time::Duration};

use serde::{Deserialize, Serialize};
use socketio::{Args, Binary, ConnectError, EncodedPacket, Outgoing, Socket, SocketIo};

use crate::{
    WEBSOCKET, join, list, start,
    support::{self, Frame},
};

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
    assert!(client.text().starts_with(r#"435[{"ok":false,"error":{"code":"bad_arguments""#));
    assert_eq!(client.text(), "437[4]");
    assert_eq!(io.stats().bad_arguments, 1);
}

/// Case 11.8: volatile events that the handler of the connection emits reach a client that has just connected, also those behind each
/// other and those emitted while the CONNECT packet has its write to itself.
#[test]
fn volatile_events_right_after_connect_are_sent() {
    let (server, io) = start(SocketIo::builder());
    io.of("/").on_connect(async |socket| {
        for n in 0..4 {
            socket.emit_volatile("now", &n).unwrap();
            socket.emit_volatile("again", &n).unwrap();
            actix_web::rt::task::yield_now().await;
        }
    });
    let (mut client, _) = join(&server, "40");
    for n in 0..4 {
        assert_eq!(client.text(), format!(r#"42["now",{n}]"#));
        assert_eq!(client.text(), format!(r#"42["again",{n}]"#));
    }
    assert_eq!(io.stats().volatile_dropped, 0);
}

/// As in Node, one handler more is one more, and the namespace's come before the socket's own.
#[test]
fn every_handler_of_an_event_is_called() {
    let (server, io) = start(SocketIo::builder());
    io.of("/").on("e", async |socket, n: i32, _| socket.emit("namespace", &n).unwrap());
    io.of("/").on_connect(async |socket| {
        socket.on("e", async |socket, n: i32, _| socket.emit("first", &n).unwrap());
        socket.on("e", async |socket, n: i32, _| socket.emit("second", &n).unwrap());
    });
    let (mut client, _) = join(&server, "40");
    client.send(r#"42["e",1]"#);
    for expected in [r#"42["namespace",1]"#, r#"42["first",1]"#, r#"42["second",1]"#] {
        assert_eq!(client.text(), expected);
    }
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

/// Packets with their attachments stay together, however many sockets send at the same time and whatever the transport does.
#[test]
fn buffers_stay_behind_their_events() {
    const THREADS: u8 = 4;
    const EVENTS: u8 = 100;
    let (server, io) = start(SocketIo::builder());
    let (mut client, _) = join(&server, "40");
    let speakers: Vec<_> = (0..THREADS)
        .map(|speaker| {
            let io = io.clone();
            std::thread::spawn(move || {
                for n in 0..EVENTS {
                    let buffer = |half: u8| Binary(bytes::Bytes::copy_from_slice(&[speaker, n, half]));
                    drop(io.emit("b", &(speaker, n, buffer(0), buffer(1))));
                    drop(io.emit("t", &speaker));
                }
            })
        })
        .collect();
    let mut next = [0; THREADS as usize];
    for _ in 0..2 * usize::from(THREADS) * usize::from(EVENTS) {
        let text = client.text();
        if let Some(event) = text.strip_prefix(r#"452-["b","#) {
            let mut numbers = event.split(',').map(|number| number.parse::<u8>().unwrap_or_default());
            let (speaker, n) = (numbers.next().unwrap(), numbers.next().unwrap());
            for half in 0..2 {
                assert_eq!(client.next(), Some(Frame::Binary(vec![speaker, n, half])), "{text}");
            }
            assert_eq!(n, next[usize::from(speaker)], "in order");
            next[usize::from(speaker)] += 1;
        } else {
            assert!(text.starts_with(r#"42["t","#), "{text}");
        }
    }
    assert_eq!(next, [EVENTS; THREADS as usize]);
    speakers.into_iter().for_each(|speaker| speaker.join().unwrap());
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
fn handles_are_send_and_sync() {
    fn is<T: Send + Sync + Clone + 'static>() {}
    is::<SocketIo>();
    is::<Socket>();
    is::<EncodedPacket>();
    is::<Outgoing>();
    is::<socketio::Namespace>();
}
