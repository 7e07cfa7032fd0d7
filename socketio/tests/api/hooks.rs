//! Hooks for requests and namespaces, and response headers.

use std::{sync::Mutex, time::Duration};

use actix_web::http::header::{HeaderName, HeaderValue};
use socketio::{Cors, Origins, SocketIo};

use crate::{WEBSOCKET, join, list, start};

const POLLING: &str = "/socket.io/?EIO=4&transport=polling";

/// Case 11.11: methods, headers and the age of a preflight are as they are set.
#[test]
fn cors_is_set() {
    let cors = Cors {
        methods: "GET,POST".into(),
        allowed_headers: Some("x-token".into()),
        exposed_headers: Some("x-server".into()),
        max_age: None,
    };
    let (server, _io) = start(SocketIo::builder().origins(Origins::any()).configure(|config| config.cors = Some(cors)));
    let ask = |method: &str| {
        server.http(&format!(
            "{method} {POLLING} HTTP/1.1\r\nHost: x\r\nOrigin: http://a.example\r\n\
             Access-Control-Request-Headers: x-other\r\nConnection: close\r\n\r\n"
        ))
    };
    let preflight = ask("OPTIONS");
    let names = ["allow-methods", "allow-headers", "expose-headers", "max-age"];
    let found = names.map(|name| preflight.header(&format!("access-control-{name}")));
    assert_eq!(found, [Some("GET,POST"), Some("x-token"), Some("x-server"), None]);
    assert_eq!(ask("GET").header("access-control-expose-headers"), Some("x-server"));
}

/// An application that adds its own CORS headers does not get others beside them; origins are checked all the same.
#[test]
fn cors_can_be_left_to_the_application() {
    let (server, _io) = start(SocketIo::builder().origins(Origins::list(["http://a.example"])).configure(|config| {
        config.cors = None;
    }));
    for (method, origin, status) in [
        ("GET", "http://a.example", 200),
        ("GET", "http://x", 200),
        ("GET", "http://b.example", 403),
        ("PUT", "http://a.example", 400),
        ("OPTIONS", "http://a.example", 204),
    ] {
        let answer = server.http(&format!(
            "{method} {POLLING} HTTP/1.1\r\nHost: x\r\nOrigin: {origin}\r\nAccess-Control-Request-Method: GET\r\n\
             Connection: close\r\n\r\n"
        ));
        assert_eq!(answer.status, status, "{method} {origin}");
        for name in ["vary", "access-control-allow-origin", "access-control-allow-credentials"] {
            assert_eq!(answer.header(name), None, "{method} {origin}: {name}");
        }
    }
}

/// Case 11.11: `addTrailingSlash: false` serves the path without its slash as well.
#[test]
fn the_path_may_go_without_its_slash() {
    let bare = POLLING.replace("/?", "?");
    for (slash, expected) in [(true, [200, 404]), (false, [200, 200])] {
        let (server, _io) = start(SocketIo::builder().configure(|config| config.add_trailing_slash = slash));
        assert_eq!([POLLING, &bare].map(|path| server.get(path).status), expected);
    }
}

/// Case 11.9: `close` can be awaited; then no connection is left.
#[test]
fn close_can_be_awaited() {
    let (server, io) = start(SocketIo::builder());
    let clients: Vec<_> = (0..3).map(|_| join(&server, "40").0).collect();
    server.open("/socket.io/");
    assert_eq!(io.stats().connections, 4);
    let wait = async { actix_web::rt::time::timeout(Duration::from_secs(10), io.close()).await };
    actix_web::rt::System::new().block_on(wait).unwrap();
    assert_eq!(io.stats().connections, 0);
    drop(clients);
}

/// Case 11.9: `new_namespace`, of those made by the application and those that clients ask for; each once.
#[test]
fn new_namespaces_are_reported() {
    let (server, io) = start(SocketIo::builder());
    let names = list::<String>();
    let seen = names.clone();
    io.on_new_namespace(move |namespace| seen.lock().unwrap().push(namespace.name().to_string()));
    io.of("/chat");
    io.of("/chat");
    io.of_matching(|name| name.starts_with("/t-"));
    let mut client = server.websocket(WEBSOCKET);
    client.text();
    client.send("40/t-1,");
    assert!(client.text().starts_with("40/t-1,"));
    assert_eq!(*names.lock().unwrap(), ["/chat", "/t-1"]);
}

/// Case 11.9: `connection_error` with code, message and request, by polling and WebSocket.
#[test]
fn refused_requests_are_reported() {
    let refusals = list::<String>();
    let seen = refusals.clone();
    let (server, _io) = start(SocketIo::builder().on_refused_request(move |refused| {
        let host = refused.headers.get("host").unwrap().to_str().unwrap();
        let line = format!("{:?} {} {} {host}", refused.code, refused.message, refused.method);
        seen.lock().unwrap().push(line);
    }));
    server.get(&format!("{POLLING}&sid=aaaaaaaaaaaaaaaaaaaa"));
    server.get("/socket.io/?EIO=4&transport=pigeon");
    server.http(&format!("GET {WEBSOCKET} HTTP/1.1\r\nHost: y\r\nUpgrade: websocket\r\n\r\n"));
    server.get(POLLING);
    let expected = ["Some(1) Session ID unknown GET x", "Some(0) Transport unknown GET x", "Some(3) Bad request GET y"];
    assert_eq!(*refusals.lock().unwrap(), expected);
}

/// Case 11.9: `initial_headers` and `headers`: those of each answer can be changed, and the first answer of a session is marked.
#[test]
fn headers_of_answers_can_be_changed() {
    let (server, _io) = start(SocketIo::builder().on_headers(|answer| {
        let name = if answer.is_initial { "x-first" } else { "x-later" };
        answer.headers.insert(HeaderName::from_static(name), HeaderValue::from_static("1"));
    }));
    let first = server.get(POLLING);
    assert_eq!((first.header("x-first"), first.header("x-later")), (Some("1"), None));
    let path = format!("{POLLING}&sid={}", crate::support::sid(&first.body));
    let later = server.post(&path, "40");
    assert_eq!((later.header("x-first"), later.header("x-later")), (None, Some("1")));
}

/// Case 11.9: what the application takes of the first request is there for `allow_request` and for the socket.
#[test]
fn data_of_the_request_is_kept() {
    struct Port(u16);
    let admitted: &'static Mutex<Vec<u16>> = Box::leak(Box::default());
    let (server, io) =
        start(SocketIo::builder().request_data(|request| Port(request.peer_addr().unwrap().port())).allow_request(
            async |handshake| {
                admitted.lock().unwrap().push(handshake.request_data::<Port>().unwrap().0);
                Ok(())
            },
        ));
    io.of("/").on("port", async |socket, (), ack| {
        assert!(socket.handshake().request_data::<String>().is_none());
        ack.send(&socket.handshake().request_data::<Port>().unwrap().0).unwrap();
    });
    let (mut client, _) = join(&server, "40");
    client.send(r#"420["port"]"#);
    let port = client.stream.local_addr().unwrap().port();
    assert_eq!(client.text(), format!("430[{port}]"));
    assert_eq!(*admitted.lock().unwrap(), [port]);
}
