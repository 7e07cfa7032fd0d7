//! What Node's server does, where this one once did otherwise.

use std::time::Duration;

use socketio::{AckError, DisconnectReason, SocketIo};

use crate::{WEBSOCKET, join, list, start, support::Frame};

/// Case 11.1: closing the connection from one namespace notifies the client in all of them, so that it does not reconnect.
#[test]
fn every_namespace_is_notified_that_the_connection_is_closed() {
    let (server, io) = start(SocketIo::builder());
    let reasons = list::<(String, DisconnectReason)>();
    for name in ["/", "/other"] {
        let keep = reasons.clone();
        io.of(name).on_disconnect(async move |socket, reason| {
            keep.lock().unwrap().push((socket.namespace().name().to_string(), reason));
        });
    }
    io.of("/").on("close", async |socket, (), _| socket.close_connection());
    let (mut client, _) = join(&server, "40");
    client.send("40/other,");
    assert!(client.text().starts_with("40/other,"));
    client.send(r#"42["close"]"#);
    assert_eq!((client.text(), client.text()), ("41".into(), "41/other,".into()));
    assert_eq!(client.closed(), None);
    let reason = DisconnectReason::ServerNamespaceDisconnect;
    assert_eq!(*reasons.lock().unwrap(), [("/".to_owned(), reason), ("/other".to_owned(), reason)]);
}

/// Case 11.2: rooms that a middleware joins are the socket's once it is connected, and nobody's if it is refused.
#[test]
fn rooms_of_a_middleware_are_kept() {
    let (server, io) = start(SocketIo::builder().configure(|config| config.max_rooms = 2));
    io.of("/").middleware(async |socket| {
        socket.join(["a", "b"]).unwrap();
        assert!(socket.join("c").is_err(), "the limit holds here, too");
        socket.leave("b");
        assert_eq!(socket.rooms(), ["a"]);
        match socket.handshake().query_value("fail") {
            Some(_) => Err("no".into()),
            None => Ok(()),
        }
    });
    io.of("/").on("rooms", async |socket, (), ack| ack.send(&socket.rooms()).unwrap());
    let mut refused = server.websocket(&format!("{WEBSOCKET}&fail=1"));
    refused.text();
    refused.send("40");
    assert_eq!(refused.text(), r#"44{"message":"no"}"#);
    assert!(io.of("/").rooms().is_empty());
    let (mut client, _) = join(&server, "40");
    client.send(r#"420["rooms"]"#);
    assert_eq!(client.text(), r#"430[["a"]]"#);
    drop(io.to("b").emit("to", "b"));
    drop(io.to("a").emit("to", "a"));
    assert_eq!(client.text(), r#"42["to","a"]"#);
}

/// Case 11.5: three buffers of 800 kB in one event, as Node takes them; a limit of one's own is a setting.
#[test]
fn large_buffers_of_one_event() {
    const BUFFER: usize = 800_000;
    let event =
        r#"453-["sizes",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1},{"_placeholder":true,"num":2}]"#;
    for (limit, is_taken) in [(0, true), (3 * BUFFER, false), (3 * BUFFER + 1_000, true)] {
        let (server, io) = start(SocketIo::builder().configure(|config| config.max_packet_bytes = limit));
        io.of("/").on("sizes", async |socket, (a, b, c): (socketio::Binary, socketio::Binary, socketio::Binary), _| {
            socket.emit("sizes", &(a.0.len(), b.0.len(), c.0.len())).unwrap();
        });
        let (mut client, _) = join(&server, "40");
        client.send(event);
        for _ in 0..3 {
            client.send_binary(&vec![7; BUFFER]);
        }
        if is_taken {
            assert_eq!(client.text(), format!(r#"42["sizes",{BUFFER},{BUFFER},{BUFFER}]"#));
        } else {
            assert!(matches!(client.next(), None | Some(Frame::Close(_))));
            assert_eq!(io.stats().parse_errors, 1);
        }
    }
}

/// Case 11.6: the time for an answer runs from the event's sending, whenever its future is first polled.
#[test]
fn the_time_for_an_answer_runs_from_the_sending() {
    let (server, io) = start(SocketIo::builder());
    io.of("/").on("begin", async |socket, (), _| {
        let answer = socket.emit_with_ack_timeout::<i32>(Duration::from_millis(1), "question", &());
        actix_web::rt::time::sleep(Duration::from_millis(5)).await;
        // The answer comes now: late, and before anybody looks.
        socket.emit_with_ack::<()>("answer it now", &()).await.unwrap();
        let is_timeout = matches!(answer.await, Err(AckError::Timeout));
        socket.emit("outcome", &is_timeout).unwrap();
    });
    let (mut client, _) = join(&server, "40");
    client.send(r#"42["begin"]"#);
    assert_eq!(client.text(), r#"420["question"]"#);
    assert_eq!(client.text(), r#"421["answer it now"]"#);
    client.send("430[7]");
    client.send("431[]");
    assert_eq!(client.text(), r#"42["outcome",true]"#);
}

/// Case 11.7: a client whose middleware panics is refused.
#[test]
fn a_panic_in_a_middleware_rejects_the_socket() {
    let (server, io) = start(SocketIo::builder());
    io.of("/now").middleware(async |_| panic!("on purpose"));
    io.of("/later").middleware(async |_| {
        actix_web::rt::task::yield_now().await;
        panic!("on purpose");
    });
    let (mut client, _) = join(&server, "40");
    for name in ["/now", "/later"] {
        client.send(&format!("40{name},"));
        assert_eq!(client.text(), format!(r#"44{name},{{"message":"Internal error"}}"#));
    }
    assert_eq!(io.stats().refused_namespace, 2);
}
