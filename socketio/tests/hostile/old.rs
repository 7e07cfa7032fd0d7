//! Engine.IO 3 with the clients of Socket.IO 2, JSONP, and the msgpack parser: the options.

use serde_json::Value;

use crate::raw::{Message, Response, WebSocket};
use crate::server::{Server, start, start_with};

fn server() -> Server {
    start_with(|config| {
        config.allow_eio3 = true;
        config.jsonp = true;
        config.msgpack = true;
    })
}

/// The packets of a text payload of protocol 3, whose lengths count UTF-16.
#[track_caller]
fn packets(response: &Response) -> Vec<String> {
    let units: Vec<u16> = response.text().encode_utf16().collect();
    let mut rest = &units[..];
    let mut packets = Vec::new();
    while !rest.is_empty() {
        let colon = rest.iter().position(|&unit| unit == u16::from(b':')).unwrap();
        let length: usize = String::from_utf16(&rest[..colon]).unwrap().parse().unwrap();
        packets.push(String::from_utf16(&rest[colon + 1..][..length]).unwrap());
        rest = &rest[colon + 1 + length..];
    }
    packets
}

#[track_caller]
fn open(server: &Server, query: &str) -> (String, Vec<String>) {
    let response = server.get(&format!("EIO=3&transport=polling{query}"));
    let mut packets = packets(&response);
    let open: Value = serde_json::from_str(packets.remove(0).strip_prefix('0').unwrap()).unwrap();
    let sid = open["sid"].as_str().unwrap().to_owned();
    (format!("/socket.io/?EIO=3&transport=polling{query}&sid={sid}"), packets)
}

#[test]
fn polling_of_protocol_3() {
    let server = server();
    let (path, mut welcome) = open(&server, "&b64=1");
    // Joined without having asked.
    if welcome.is_empty() {
        welcome = packets(&server.request("GET", &path, &[], b""));
    }
    assert_eq!(welcome[0], "40");
    let post =
        |body: &str| server.request("POST", &path, &[("Content-Type", "text/plain;charset=UTF-8")], body.as_bytes());
    assert_eq!(post("18:42[\"echo\",\"\u{1f680}é\"]").status, 400);
    let (path, _) = open(&server, "&b64=1");
    let post =
        |body: &str| server.request("POST", &path, &[("Content-Type", "text/plain;charset=UTF-8")], body.as_bytes());
    let poll = || {
        loop {
            let packets = packets(&server.request("GET", &path, &[], b""));
            let packets: Vec<_> = packets.into_iter().filter(|packet| packet != "40").collect();
            if !packets.is_empty() {
                return packets;
            }
        }
    };
    assert_eq!(post("16:42[\"echo\",\"\u{1f680}é\"]").text(), "ok");
    assert_eq!(poll(), ["42[\"echo\",\"\u{1f680}é\"]"]);
    // Here the client asks and the server answers.
    assert_eq!(post("1:2").text(), "ok");
    assert_eq!(poll(), ["3"]);
    let event = "451-[\"echo\",{\"_placeholder\":true,\"num\":0}]";
    assert_eq!(post(&format!("{}:{event}6:b4AQID", event.len())).text(), "ok");
    let mut answer = poll();
    if answer.len() == 1 {
        answer.extend(poll());
    }
    assert_eq!(answer, [event, "b4AQID"]);
}

/// Case 12.8: the first answer is the open packet alone; what the implicit connect to `/` brings comes with the next poll, and what waits
/// then comes in one payload, in order, a pong among it.
#[test]
fn the_open_packet_of_protocol_3_is_sent_alone() {
    let server = server();
    let (path, first) = open(&server, "&b64=1");
    assert_eq!(first, Vec::<String>::new());
    assert_eq!(server.request("POST", &path, &[], b"1:2").text(), "ok");
    assert_eq!(packets(&server.request("GET", &path, &[], b"")), ["40", "3"]);
}

/// Case 12.8: an unknown namespace is refused with an object, a refusal by a middleware with its data alone.
#[test]
fn refusals_of_protocol_3() {
    let server = server();
    let mut socket = WebSocket::connect(server.address, "/socket.io/?EIO=3&transport=websocket");
    assert!(socket.next_text().starts_with("0{"));
    socket.expect("40");
    socket.text("40/random,");
    socket.expect("44/random,{\"message\":\"Invalid namespace\"}");
    socket.text("40/picky,");
    socket.expect("44/picky,{\"code\":7}");
}

/// Case 12.1: `b64=1` in the handshake applies to the whole session; later requests need not repeat it.
#[test]
fn base64_is_settled_by_the_handshake() {
    let server = server();
    let (path, mut got) = open(&server, "&b64=1");
    let path = path.replace("&b64=1", "");
    let event = "451-[\"echo\",{\"_placeholder\":true,\"num\":0}]";
    let body = format!("{}:{event}6:b4AQID", event.len());
    assert_eq!(server.request("POST", &path, &[("Content-Type", "text/plain")], body.as_bytes()).text(), "ok");
    while got.last().is_none_or(|packet| packet != "b4AQID") {
        let answer = server.request("GET", &path, &[], b"");
        assert_eq!(answer.header("content-type"), Some("text/plain; charset=UTF-8"));
        got.extend(packets(&answer));
    }
    assert!(got.iter().any(|packet| packet == event), "{got:?}");
}

#[test]
fn binary_payloads_of_protocol_3() {
    let server = server();
    let (path, _) = open(&server, "");
    let event = b"451-[\"echo\",{\"_placeholder\":true,\"num\":0}]";
    let mut body = vec![0, 4, 2, 255];
    body.extend(event);
    body.extend(b"\x01\x04\xff\x04\x01\x02\x03");
    let answer = server.request("POST", &path, &[("Content-Type", "application/octet-stream")], &body);
    assert_eq!(answer.text(), "ok");
    let mut got = Vec::new();
    loop {
        let answer = server.request("GET", &path, &[], b"");
        assert_eq!(answer.status, 200);
        if answer.header("content-type") == Some("application/octet-stream") {
            got.extend(answer.body);
        } else if !answer.text().starts_with("2:40") {
            panic!("{answer:?}");
        }
        if got.ends_with(b"\x01\x04\xff\x04\x01\x02\x03") {
            break;
        }
    }
    assert!(got.windows(event.len()).any(|window| window == event), "{got:?}");
}

#[test]
fn websocket_of_protocol_3() {
    let server = server();
    let mut socket = WebSocket::connect(server.address, "/socket.io/?EIO=3&transport=websocket");
    let open: Value = serde_json::from_str(socket.next_text().strip_prefix('0').unwrap()).unwrap();
    socket.expect("40");
    socket.text("2");
    socket.expect("3");
    socket.text("42[\"echo\",1]");
    socket.expect("42[\"echo\",1]");
    socket.text("451-[\"echo\",{\"_placeholder\":true,\"num\":0}]");
    socket.binary(b"\x04abc");
    socket.expect("451-[\"echo\",{\"_placeholder\":true,\"num\":0}]");
    assert_eq!(socket.next(), Message::Binary(b"\x04abc".to_vec()));
    // The id is the namespace and the session, and in `/` the session alone, as the client makes it out for itself.
    let sid = open["sid"].as_str().unwrap();
    socket.text("42[\"id\"]");
    socket.expect(&format!("42[\"id\",\"{sid}\"]"));
    // Other namespaces are asked for, with their query in the name.
    socket.text("40/admin?token=a,");
    let joined = socket.next_text();
    assert!(joined.starts_with("40/admin"), "{joined}");
    socket.text("42/admin,[\"echo\",2]");
    socket.expect("42/admin,[\"echo\",2]");
    socket.text("42/admin,[\"id\"]");
    socket.expect(&format!("42/admin,[\"id\",\"/admin#{sid}\"]"));
    socket.text("40/nowhere,");
    let refusal = socket.next_text();
    assert!(refusal.starts_with("44/nowhere,"), "{refusal}");
}

#[test]
fn wrong_payloads_of_protocol_3() {
    let server = server();
    for body in ["", "x", "5:42", "-1:4", "1:9", "99999999999999999999:4", "2:4\u{1f680}"] {
        let (path, _) = open(&server, "&b64=1");
        server.request("POST", &path, &[], body.as_bytes());
        crate::raw::eventually(|| (server.request("GET", &path, &[], b"").status == 400).then_some(()));
    }
}

#[test]
fn jsonp_polling_works() {
    let server = server();
    let script = |response: &Response, j: u8| -> String {
        assert!(response.header("content-type").unwrap().starts_with("text/javascript"), "{response:?}");
        let literal = response.text().strip_prefix(&format!("___eio[{j}](")).unwrap().strip_suffix(");").unwrap();
        serde_json::from_str(literal).unwrap()
    };
    for protocol in [3, 4] {
        let response = server.get(&format!("EIO={protocol}&transport=polling&j=0"));
        let payload = script(&response, 0);
        let open: Value =
            serde_json::from_str(&payload[payload.find('{').unwrap()..payload.rfind("}").unwrap() + 1]).unwrap();
        let path = format!("/socket.io/?EIO={protocol}&transport=polling&j=1&sid={}", open["sid"].as_str().unwrap());
        let packet = "42[\"echo\",\"é\u{2028}\\\\n\"]";
        let body = if protocol == 4 {
            format!("40\x1e{packet}")
        } else {
            format!("{}:{packet}", packet.encode_utf16().count())
        };
        // As the official client escapes it.
        let form: String = body.replace("\\n", "\\\\n").bytes().map(|byte| format!("%{byte:02X}")).collect();
        let answer = server.request(
            "POST",
            &path,
            &[("Content-Type", "application/x-www-form-urlencoded")],
            format!("d={form}").as_bytes(),
        );
        assert_eq!(answer.text(), "ok");
        let mut got = String::new();
        while !got.contains("echo") {
            let response = server.request("GET", &path, &[], b"");
            assert!(!response.text().contains('\u{2028}'));
            got += &script(&response, 1);
        }
        assert!(got.ends_with(packet), "{got}");
    }
}

#[test]
fn options_that_are_off() {
    let server = start();
    server.get("EIO=3&transport=polling").assert_error(400, 5, "Unsupported protocol version");
    let response = server.get("EIO=4&transport=polling&j=0");
    assert!(!response.text().contains("___eio"), "{response:?}");
}

#[test]
fn msgpack_is_answered_and_invalid_packets_are_rejected() {
    let server = server();
    let mut socket = server.websocket();
    socket.binary(b"\x82\xa4type\x00\xa3nsp\xa1/");
    let Message::Binary(joined) = socket.next() else { panic!("no msgpack") };
    assert!(joined.windows(4).any(|window| window == b"\xa3sid"), "{joined:?}");
    // {type: 2, nsp: "/", data: ["echo", <bytes>, undefined]}
    socket.binary(b"\x83\xa4type\x02\xa3nsp\xa1/\xa4data\x93\xa4echo\xc4\x02ab\xd4\x00\x00");
    let Message::Binary(echo) = socket.next() else { panic!("no msgpack") };
    assert!(echo.windows(4).any(|window| window == b"\xc4\x02ab"), "{echo:?}");
    server.assert_no_end();
    // What is wrong in text is wrong here.
    for message in [
        &b"\x83\xa4type\x02\xa3nsp\xa1/\xa4data\x91\xa7connect"[..],
        b"\x83\xa4type\x02\xa3nsp\xa1/\xa4data\x90",
        b"\x83\xa4type\x05\xa3nsp\xa1/\xa4data\x91\xa4echo",
        b"\x83\xa4type\x02\xa3nsp\xa1/\xa4data\xdd\xff\xff\xff\xff",
        b"\xc1",
        b"",
    ] {
        let mut socket = server.websocket();
        socket.binary(b"\x82\xa4type\x00\xa3nsp\xa1/");
        assert!(matches!(socket.next(), Message::Binary(_)));
        socket.binary(message);
        socket.expect_end();
        assert_eq!(server.end(), "/ parse error", "{message:?}");
    }
    let mut socket = server.websocket();
    socket.binary(b"\x82\xa4type\x00\xa3nsp\xa1/");
    socket.next();
    socket.binary(&[b"\x83\xa4type\x02\xa3nsp\xa1/\xa4data\x92\xa4echo", &[0x91; 100_000][..]].concat());
    socket.expect_end();
    assert_eq!(server.end(), "/ parse error");
    // Others are served as ever.
    let mut socket = server.joined();
    socket.text("42[\"echo\",1]");
    socket.expect("42[\"echo\",1]");
}
