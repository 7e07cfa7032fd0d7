//! Admission of connections, the permit of a connection, and the beginning of its id.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use socketio::{DisconnectReason, SocketIo, Transport};

use crate::{
    WEBSOCKET, join, start,
    support::{eventually, sid},
};

const POLLING: &str = "/socket.io/?EIO=4&transport=polling";

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
    // It is asked behind the method, and before the version.
    assert!(server.post(path, "").body.starts_with(r#"{"code":2,"#));
    let version = path.replace("EIO=4", "EIO=9");
    assert!(server.get(&version).body.starts_with(r#"{"code":4,"#));
    assert!(server.get(&format!("{version}&key=good")).body.starts_with(r#"{"code":5,"#));
    // A WebSocket request gets the form of rejected upgrades.
    let answer = server.http(&format!(
        "GET {WEBSOCKET} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    ));
    assert_eq!((answer.status, answer.body.as_str()), (400, "no key"));
}

/// One of a few places; dropping it gives it back.
struct Place(Arc<AtomicUsize>, Transport);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[test]
fn a_permit_is_kept_from_the_first_request_to_the_end() {
    const PLACES: usize = 3;
    let taken = Arc::new(AtomicUsize::new(0));
    let count = taken.clone();
    let (server, io) = start(
        SocketIo::builder()
            .connect_timeout(Duration::from_millis(500))
            .ping_interval(Duration::from_millis(100))
            .ping_timeout(Duration::from_millis(100))
            .configure(|config| config.max_connections = 2)
            .allow_request(async move |handshake| {
                let place = Place(count.clone(), handshake.transport);
                if count.fetch_add(1, Ordering::Relaxed) < PLACES { Ok(place) } else { Err("no place".into()) }
            }),
    );
    io.of("/").on("which", async |socket, (), ack| {
        assert!(socket.connection().permit::<String>().is_none());
        ack.send(&format!("{:?}", socket.connection().permit::<Place>().unwrap().1)).unwrap();
    });
    let held = || taken.load(Ordering::Relaxed);

    let (mut client, _) = join(&server, "40");
    client.send(r#"420["which"]"#);
    assert_eq!(client.text(), r#"430["WebSocket"]"#);
    // Out of its namespace, it still is a connection.
    client.send("41");
    let silent = server.open("/socket.io/");
    assert_eq!(held(), 2);
    // Rejected for another reason after it was allowed, by the server or by the protocol: no permit is kept.
    assert_eq!(server.get(POLLING).body, r#"{"code":4,"message":"Server is full"}"#);
    assert_eq!(server.get(&POLLING.replace("EIO=4", "EIO=5")).status, 400);
    assert_eq!(held(), 2);
    // Each end gives its place back, also that of a session which never joined a namespace or polled.
    drop((client, silent));
    eventually("all places are free", || held() == 0 && io.stats().connections == 0);
    // The permit is gone with the connection even while the application still has the socket.
    let (tx, rx) = std::sync::mpsc::channel();
    io.of("/").on_disconnect(async move |socket, reason| drop(tx.send((socket, reason))));
    let (client, _) = join(&server, "40");
    drop(client);
    let (socket, reason) = rx.recv_timeout(Duration::from_secs(10)).unwrap();
    assert_eq!(reason, DisconnectReason::TransportClose);
    eventually("the place is free", || held() == 0);
    assert!(socket.connection().permit::<Place>().is_none());
}

#[test]
fn a_full_server_rejects_and_counts() {
    let (server, io) = start(SocketIo::builder().configure(|config| config.max_connections = 2));
    let first = server.websocket(WEBSOCKET);
    server.open("/socket.io/");
    let answer = server.get(POLLING);
    assert_eq!((answer.status, answer.body.as_str()), (403, r#"{"code":4,"message":"Server is full"}"#));
    let upgrade = server.http(&format!(
        "GET {WEBSOCKET} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    ));
    assert_eq!((upgrade.status, upgrade.body.as_str()), (400, "Server is full"));
    let stats = io.stats();
    assert_eq!((stats.refused_full, stats.refused_forbidden, stats.opened), (2, 2, 2));
    drop(first);
    eventually("there is a place", || io.stats().connections == 1);
    server.open("/socket.io/");
    assert_eq!(io.stats().refused_full, 2);
}

#[test]
fn many_at_once_get_no_more_places_than_there_are() {
    let (server, io) = start(SocketIo::builder().configure(|config| config.max_connections = 5));
    let opened = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..20).map(|_| scope.spawn(|| server.get(POLLING).status)).collect();
        clients.into_iter().filter_map(|client| client.join().ok()).filter(|status| *status == 200).count()
    });
    assert_eq!((opened, io.stats().connections, io.stats().refused_full), (5, 5, 15));
}

#[test]
fn the_id_begins_as_the_application_says() {
    let (server, _io) =
        start(SocketIo::builder().sid_prefix(|handshake| handshake.headers.get("x-session-key").map(Into::into)));
    let open = |key: &str| {
        let answer = server.http(&format!("GET {POLLING} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{key}\r\n"));
        assert_eq!(answer.status, 200);
        sid(&answer.body)
    };
    let (one, two) = (open("X-Session-Key: 0af3\r\n"), open("X-Session-Key: 0af3\r\n"));
    assert!(one.starts_with("0af3") && two.starts_with("0af3") && one != two);
    for key in ["", "X-Session-Key: 0af30\r\n", "X-Session-Key: {\"}\r\n", "X-Session-Key: \r\n"] {
        let sid = open(key);
        assert_eq!(sid.len(), 20, "{sid}");
        assert!(sid.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)), "{sid}");
        assert!(!sid.starts_with("0af30"), "{sid}");
    }
    // The session answers to its id, and the socket has another one.
    assert_eq!(server.post(&format!("{POLLING}&sid={one}"), "40").body, "ok");
    let consent = server.get(&format!("{POLLING}&sid={one}")).body;
    assert!(consent.starts_with("40{\"sid\":\"") && !consent.contains("0af3"), "{consent}");
}
