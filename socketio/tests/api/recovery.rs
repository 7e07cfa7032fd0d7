//! Connection state recovery.

use std::time::Duration;

use socketio::{Binary, Recovery, SocketIo};

use crate::{
    WEBSOCKET, join, start,
    support::{Frame, Running, WebSocket, eventually},
};

fn recovery() -> (Running, SocketIo) {
    let (server, io) = start(SocketIo::builder().recovery(Recovery::default()));
    io.of("/").on("join", async |socket, room: String, ack| {
        socket.join(room).unwrap();
        socket.set_data(&7).unwrap();
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

/// Case 2.5: clients that visit one dynamic namespace after the other leave nothing behind; while their sessions last, all namespaces together
/// stay within one bound.
#[test]
fn visitors_of_many_namespaces_leave_nothing() {
    const TOTAL: u64 = 100_000;
    let recovery = Recovery { max_total_bytes: TOTAL as usize, ..Recovery::default() };
    let (server, io) = start(SocketIo::builder().recovery(recovery));
    io.of_matching(|name| name.starts_with("/room-")).on_connect(async |socket| {
        for _ in 0..3 {
            drop(socket.namespace().emit("kept", &"x".repeat(1_000)));
        }
    });
    let mut client = server.websocket(WEBSOCKET);
    client.text();
    let visit = |client: &mut WebSocket, n: usize| {
        client.send(&format!("40/room-{n},"));
        assert!(client.text().starts_with(&format!("40/room-{n},")));
        for _ in 0..3 {
            assert!(client.text().starts_with(&format!("42/room-{n},[\"kept\"")));
        }
    };
    for n in 0..200 {
        visit(&mut client, n);
        client.send(&format!("41/room-{n},"));
        assert!(io.stats().recovery_bytes <= TOTAL);
    }
    eventually("all namespaces are gone", || io.namespaces().len() == 1);
    // What is left is of `/`, in which nothing was sent.
    eventually("all that they kept is freed", || io.stats().recovery_bytes < 2_000);
    // What one connection is in at a time is limited.
    let mut gone = 0;
    for first in (0..100).step_by(20) {
        let mut client = server.websocket(WEBSOCKET);
        client.text();
        (first..first + 20).for_each(|n| visit(&mut client, n));
        drop(client);
        gone += 20;
        eventually("the sessions are kept", || io.stats().sockets == 0);
        assert!(io.stats().recovery_bytes <= TOTAL, "{} bytes of {gone}", io.stats().recovery_bytes);
    }
    assert!(io.stats().recovery_bytes > TOTAL / 2 && io.stats().recovery_sessions > 0, "the bound is reached");
}

#[test]
fn recovery_delivers_everything_once() {
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
    let again: serde_json::Value = serde_json::from_str(&client.text()[2..]).unwrap();
    assert_eq!(again, consent);
    assert!(client.text().starts_with(r#"451-["e",2,{"_placeholder":true,"num":0},""#));
    assert_eq!(client.next(), Some(Frame::Binary(b"x".to_vec())));
    let third = client.text();
    assert!(third.starts_with(r#"42["e",3,""#), "{third}");
    client.send(r#"421["state"]"#);
    assert_eq!(client.text(), r#"431[true,["a"],7]"#);

    // Nobody gets it who does not know the secret.
    let (_other, came) = connect(&server, &auth.replace(pid, "another secret"));
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
fn with_repeated_disconnections_each_event_arrives_once_in_order() {
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
    loop {
        let text = client.text();
        if take(&text, &mut last) == EVENTS {
            break;
        }
        // Cut the line after every 40 events.
        if text.starts_with("42") && expected_is_multiple(&last) {
            drop(client);
            let auth = format!(r#"{{"pid":{},"offset":"{last}"}}"#, consent["pid"]);
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

/// Expired sessions and packets are dropped although nobody uses the adapter any more.
#[test]
fn expired_sessions_are_dropped_in_time() {
    let recovery = Recovery { max_disconnection: Duration::from_millis(50), ..Recovery::default() };
    let (server, io) = start(SocketIo::builder().recovery(recovery));
    io.of("/");
    let empty = io.stats().recovery_bytes;
    let (client, _) = join(&server, "40");
    drop(io.emit("e", &"x".repeat(1_000)));
    drop(client);
    eventually("the session is kept", || io.stats().sockets == 0);
    eventually("nothing is kept", || (io.stats().recovery_sessions, io.stats().recovery_bytes) == (0, empty));
}
