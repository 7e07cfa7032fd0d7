//! What a socket knows of the request that opened its connection.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use socketio::{Builder, SocketIo};

use crate::{
    start,
    support::{Answer, post, sid},
};

/// The handshake of a client that sends `headers`, as the server sees it.
fn handshake(builder: Builder, headers: &str, auth: &str) -> Value {
    let (server, io) = start(builder);
    io.of("/").on("handshake", async |socket, (), ack| ack.send(&socket.handshake_json()).unwrap());
    let path = "/socket.io/?EIO=4&transport=polling&a=b%20c&a=d";
    let opened = server.http(&format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n"));
    let sid = sid(&opened.body);
    let request = |body: &str| server.http(&post(&format!("{path}&sid={sid}"), "text/plain", body));
    assert_eq!(request(&format!("40{auth}\u{1e}420[\"handshake\"]")).body, "ok");
    let answer: Answer = server.get(&format!("{path}&sid={sid}"));
    let ack = answer
        .body
        .split('\u{1e}')
        .find_map(|packet| packet.strip_prefix("430["))
        .unwrap_or_else(|| panic!("{answer:?}"));
    serde_json::from_str(ack.strip_suffix(']').unwrap()).unwrap()
}

#[test]
fn as_node_has_it() {
    let before = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let handshake = handshake(
        SocketIo::builder().origins(socketio::Origins::any()),
        "Origin: http://a.example\r\nX-Twice: 1\r\nCookie: a=b\r\n",
        r#"{"token":"t"}"#,
    );
    let mut keys: Vec<&String> = handshake.as_object().unwrap().keys().collect();
    keys.sort();
    assert_eq!(keys, ["address", "auth", "headers", "issued", "query", "secure", "time", "url", "xdomain"]);
    assert_eq!(handshake["headers"]["cookie"], "a=b");
    assert_eq!(handshake["address"], "127.0.0.1");
    assert_eq!((&handshake["xdomain"], &handshake["secure"]), (&json!(true), &json!(false)));
    assert_eq!(handshake["url"], "/socket.io/?EIO=4&transport=polling&a=b%20c&a=d");
    assert_eq!((&handshake["query"]["EIO"], &handshake["query"]["transport"]), (&json!("4"), &json!("polling")));
    assert_eq!(handshake["auth"], json!({ "token": "t" }));
    let issued = Duration::from_millis(handshake["issued"].as_u64().unwrap());
    assert!(issued + Duration::from_millis(1) > before && issued < before + Duration::from_secs(60));
    let date = socketio::iso_date(SystemTime::UNIX_EPOCH + issued);
    assert_eq!(handshake["time"], date);
}

#[test]
fn an_application_may_keep_less_of_it() {
    let builder = SocketIo::builder().configure(|config| config.kept_headers = Some(vec!["x-one".into()]));
    let handshake = handshake(builder, "X-One: 1\r\nX-Two: 2\r\n", "");
    assert_eq!((&handshake["headers"], &handshake["auth"]), (&json!({ "x-one": "1" }), &json!({})));
}
