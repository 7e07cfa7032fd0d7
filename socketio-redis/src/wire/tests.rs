//! Compared with the bytes of the official packages, in `vectors.txt`: `npm run vectors` in `e2e/cluster` generates it, with the real
//! adapter and emitter on Redis clients that only record what is published.

use std::{collections::HashMap, time::Duration};

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::json;
use socketio::{Binary, EncodedPacket, Room, adapter::Broadcast, value::to_value};

use super::{
    event, msgpack,
    request::{self, Request, Target, What},
    response, *,
};
use crate::channels::Channels;

const NSP: &str = "/chat";
/// More than any of these messages needs.
fn large() -> Budget {
    Budget::new(1 << 20)
}

fn decode_event(message: &[u8], nsp: &str) -> Result<Option<event::Event>, WireError> {
    event::decode(message, nsp, large())
}

fn decode_request(message: &[u8], nsp: &str) -> Result<Request, WireError> {
    request::decode(message, nsp, large())
}

fn decode_response(message: &[u8]) -> Result<response::Response, WireError> {
    response::decode(message, large())
}

fn read_msgpack(message: &[u8]) -> Result<Value, WireError> {
    msgpack::read(message, large())
}

/// Channel and bytes by name.
fn vectors() -> HashMap<&'static str, (&'static str, Vec<u8>)> {
    let lines = include_str!("vectors.txt").lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let mut parts = line.split(' ');
            let [name, channel, hex] = std::array::from_fn(|_| parts.next().unwrap());
            let digit = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
            (name, (channel, (0..hex.len()).step_by(2).map(digit).collect()))
        })
        .collect()
}

fn vector(name: &str) -> Vec<u8> {
    vectors().remove(name).unwrap_or_else(|| panic!("no vector {name}")).1
}

fn selector(rooms: &[&str], except: &[&str]) -> Selector {
    let list = |names: &[&str]| names.iter().map(|name| Room::from(*name)).collect();
    Selector { rooms: list(rooms), except: list(except) }
}

fn bytes(len: usize) -> Binary {
    Binary((0..len).map(|at| u8::try_from(at * 31 % 256).unwrap()).collect())
}

fn broadcast<T: serde::Serialize + ?Sized>(args: &T, to: Selector, volatile: bool) -> Broadcast {
    Broadcast { packet: EncodedPacket::event(NSP, "news", args).unwrap(), to, volatile, local: false }
}

/// All scalars of the vectors, and what nests.
fn scalars() -> socketio::Args {
    let json = json!([
        null, true, false, 0, 1, 127, 128, 255, 256, 65535, 65536, 4_294_967_295_u64, 4_294_967_296_u64, 9_007_199_254_740_991_u64,
        -1, -32, -33, -128, -129, -32768, -32769, -2_147_483_648_i64, -2_147_483_649_i64, -9_007_199_254_740_991_i64, 0.5, -1.25e-300,
        "", "a", "é", "时间", "🦀", "x".repeat(31), "x".repeat(32), "x".repeat(255), "x".repeat(256), [], {}, {"a": {"b": [1, [2, {"c": "d"}]]}}
    ]);
    serde_json::from_value::<Vec<Value>>(json).map(socketio::Args).unwrap()
}

#[test]
fn events_are_written_as_node_writes_them() {
    let wide: serde_json::Map<_, _> = (0..20).map(|n| (format!("k{n}"), n.into())).collect();
    let mut wide: Vec<_> = wide.into_iter().collect();
    wide.sort_by_key(|(_, n)| n.as_u64());
    let wide: socketio::value::Object = wide.into_iter().map(|(key, n)| (key, n.into())).collect();
    let all = Selector::default;
    let table = [
        ("event", broadcast(&(1, "two", json!({ "three": [3, null] })), all(), false)),
        ("event-no-arguments", broadcast(&(), all(), false)),
        ("event-scalars", broadcast(&scalars(), all(), false)),
        ("event-long", broadcast(&((0..70).collect::<Vec<_>>(), "y".repeat(70)), all(), false)),
        ("event-wide", broadcast(&Value::Object(wide), all(), false)),
        ("event-binary", broadcast(&(bytes(3), HashMap::from([("in", [bytes(0)])]), bytes(256)), all(), false)),
        ("event-room", broadcast(&1, selector(&["a#room"], &[]), false)),
        ("event-rooms", broadcast(&1, selector(&["a", "b"], &["c"]), false)),
        ("event-except", broadcast(&1, selector(&[], &["c"]), false)),
        ("event-volatile", broadcast(&1, all(), true)),
    ];
    let vectors = vectors();
    let channels = Channels::new("socket.io", NSP, "AAAAAA");
    for (name, broadcast) in table {
        let (channel, expected) = &vectors[name];
        let written = event::encode(&event::prefix("AAAAAA"), &broadcast).unwrap();
        assert_eq!(written, *expected, "{name}: {}", String::from_utf8_lossy(&written));
        assert_eq!(channels.events_for(&broadcast.to.rooms), *channel, "{name}");

        let read = decode_event(expected, NSP).unwrap().unwrap();
        assert_eq!((read.to, read.volatile), (broadcast.to, broadcast.volatile), "{name}");
        assert_eq!(read.packet.packet(), broadcast.packet.packet(), "{name}");
    }
}

#[test]
fn events_are_read_as_node_means_them() {
    for (name, to, volatile, json) in [
        ("event-undefined", selector(&[], &[]), false, r#"["news",null,{},[null]]"#),
        (
            "event-dates",
            selector(&[], &[]),
            false,
            r#"["news","2023-11-14T22:13:20.000Z","2023-11-14T22:13:20.123Z","1969-12-31T23:59:59.999Z","3084-12-12T12:41:28.832Z"]"#,
        ),
        ("event-number-rooms", selector(&["1", "b"], &["2"]), false, r#"["news",1]"#),
        ("event-compress", selector(&["a"], &[]), false, r#"["news",1]"#),
        ("emitter-event", selector(&[], &[]), false, r#"["news",1,{"_placeholder":true,"num":0}]"#),
        ("emitter-room", selector(&["a"], &[]), true, r#"["news"]"#),
        ("emitter-rooms", selector(&["a", "b"], &["c"]), false, r#"["news"]"#),
    ] {
        let read = decode_event(&vector(name), NSP).unwrap().unwrap();
        assert_eq!((read.to, read.volatile), (to, volatile), "{name}");
        assert_eq!(read.packet.packet().payload.as_ref().unwrap().json(), json, "{name}");
    }
    assert_eq!(
        decode_event(&vector("emitter-event"), NSP).unwrap().unwrap().packet.packet().attachments(),
        [bytes(2).0]
    );
    // By this a server knows its own, before anything is decoded.
    assert!(vector("event").starts_with(&event::prefix("AAAAAA")));
    assert!(!vector("emitter-event").starts_with(&event::prefix("AAAAAA")));
    assert!(decode_event(&vector("event"), "/").unwrap().is_none(), "of another namespace");
}

/// What emitters of other versions and languages send.
#[test]
fn old_emitters_are_understood() {
    let packet = json!({ "type": 2, "data": ["news", 1] });
    for (opts, to) in [
        (json!({ "rooms": ["a"], "flags": {} }), selector(&["a"], &[])),
        (json!({ "rooms": "", "flags": "" }), selector(&[], &[])),
        (json!({ "rooms": null, "except": null }), selector(&[], &[])),
        (json!({}), selector(&[], &[])),
        (json!(null), selector(&[], &[])),
    ] {
        let read = decode_event(&written(&json!(["emitter", packet, opts])), "/").unwrap().unwrap();
        assert_eq!((read.to, read.volatile), (to, false), "{opts}");
    }
    // No options at all, the type that only text has, and a name that is a number.
    for message in [
        json!(["emitter", packet]),
        json!([null, { "type": 5, "nsp": "/", "data": ["news"] }, {}]),
        json!(["x", {"type": 2, "data": [7]}, {}]),
    ] {
        assert!(decode_event(&written(&message), "/").unwrap().is_some(), "{message}");
    }
    // Dates, buffers and `undefined` of the encoder's second version.
    let mut old = b"\x93\xa1u\x82\xa4type\x02\xa4data\x94\xa1e".to_vec();
    old.extend(b"\xd7\x00\x00\x00\x01\x8b\xcf\xe5\x68\x00\xd4\x00\x00\xc7\x03\x00abc\x80");
    let read = decode_event(&old, "/").unwrap().unwrap();
    let payload = read.packet.packet().payload.clone().unwrap();
    assert_eq!(payload.json(), r#"["e","2023-11-14T22:13:20.000Z",null,{"_placeholder":true,"num":0}]"#);
    assert_eq!(payload.attachments(), [Bytes::from_static(b"abc")]);
}

fn written(value: &serde_json::Value) -> Vec<u8> {
    let mut out = rmp::encode::buffer::ByteBuf::new();
    msgpack::write(&mut out, &Value::from(value.clone()));
    out.into_vec()
}

#[test]
fn messages_that_clients_would_reject_are_not_forwarded() {
    let with = |data: serde_json::Value| written(&json!(["u", { "type": 2, "data": data, "nsp": "/" }, {}]));
    for message in [
        with(json!(["disconnect"])),
        with(json!([])),
        with(json!([{}])),
        with(json!({ "0": "e" })),
        with(json!("e")),
        written(&json!(["u", { "type": 3, "data": ["e"] }, {}])),
        written(&json!(["u", { "type": "2", "data": ["e"] }, {}])),
        written(&json!(["u", { "data": ["e"] }, {}])),
        written(&json!(["u", { "type": 2, "data": ["e"], "nsp": 7 }, {}])),
        written(&json!(["u"])),
        written(&json!({ "type": 2 })),
        b"".to_vec(),
        b"{}".to_vec(),
        b"\xc1".to_vec(),
        b"\xdd\xff\xff\xff\xff".to_vec(),
        b"\xdb\xff\xff\xff\xff".to_vec(),
        b"\xc6\xff\xff\xff\xffabc".to_vec(),
        b"\x91\xd6\x05abcd".to_vec(),
        b"\x91\xa1\xff".to_vec(),
        vec![0x91; 1_000_000],
        [b"\x91".repeat(200), b"\xc0".to_vec()].concat(),
        b"\x93\xa1u\x82\xa4type\x02\xa4data\x93\xa1e\xc4\x01x\x81\xac_placeholder\xc3\x80".to_vec(),
    ] {
        assert!(
            decode_event(&message, "/").is_err(),
            "{:?}",
            String::from_utf8_lossy(&message[..message.len().min(80)])
        );
    }
    // Without binary data beside it, it is but a name.
    let literal = with(json!(["e", { "_placeholder": true, "num": 0 }]));
    assert!(decode_event(&literal, "/").unwrap().is_some());
    // As deep as clients may nest, and no deeper.
    let nested = |depth: usize| (1..depth).fold(json!(["e"]), |inner, _| json!(["e", inner]));
    assert!(decode_event(&with(nested(127)), "/").unwrap().is_some());
    assert!(matches!(decode_event(&with(nested(128)), "/"), Err(WireError::Nesting)));
}

#[test]
fn requests_are_read_as_node_means_them() {
    let own = |what| Request { uid: Some("AAAAAA".into()), id: None, what };
    let asked = |what| Request { uid: Some("AAAAAA".into()), id: Some("QQQQQQ".into()), what };
    let emitted = |what| Request { uid: None, id: None, what };
    let many = |rooms: &[&str], except: &[&str]| Target::Many(selector(rooms, except));
    let rooms = |names: &[&str]| selector(names, &[]).rooms;
    let hello = |json: &str| What::ServerSideEmit(Payload::from_parts(json.into(), vec![]));
    for (name, expected) in [
        ("join", own(What::Join(many(&["a"], &[]), rooms(&["b", "c"])))),
        ("leave", own(What::Leave(many(&["a", "b"], &["d"]), rooms(&["c"])))),
        ("disconnect", own(What::Disconnect(many(&[], &[]), false))),
        ("disconnect-close", own(What::Disconnect(many(&["a"], &[]), true))),
        ("fetch", asked(What::Fetch(selector(&["a"], &["b"])))),
        ("all-rooms", asked(What::AllRooms)),
        ("server-side-emit", own(hello(r#"["hello",1,{"two":[3]}]"#))),
        ("server-side-emit-ack", asked(hello(r#"["hello","x"]"#))),
        ("emitter-join", emitted(What::Join(many(&["a"], &[]), rooms(&["b"])))),
        ("emitter-leave", emitted(What::Leave(many(&["a"], &["c"]), rooms(&["b"])))),
        ("emitter-disconnect", emitted(What::Disconnect(many(&["a"], &[]), true))),
        ("emitter-server-side-emit", Request { uid: Some("emitter".into()), ..own(hello(r#"["hello",1]"#)) }),
    ] {
        assert_eq!(decode_request(&vector(name), NSP).unwrap(), expected, "{name}");
    }
    let Request { what: What::Broadcast(Some(asking)), id, .. } =
        decode_request(&vector("broadcast-ack"), NSP).unwrap()
    else {
        panic!("no broadcast")
    };
    assert_eq!(asking.packet, *broadcast_question().packet.packet());
    assert_eq!(
        (asking.to, asking.timeout, id.as_deref()),
        (selector(&["a"], &[]), Some(Duration::from_secs(1)), Some("QQQQQQ"))
    );
    let elsewhere = decode_request(&vector("broadcast-ack"), "/").unwrap();
    assert_eq!(elsewhere.what, What::Broadcast(None));
    // Of adapters before version 6, and what they are asked.
    for (message, what) in [
        (json!({ "type": 0, "rooms": ["a"] }), What::Sockets(selector(&["a"], &[]))),
        (json!({ "type": 2, "sid": "S", "room": "a" }), What::Join(Target::One("S".into()), rooms(&["a"]))),
        (json!({ "type": 3, "sid": "S", "room": "a" }), What::Leave(Target::One("S".into()), rooms(&["a"]))),
        (json!({ "type": 4, "sid": "S", "close": true }), What::Disconnect(Target::One("S".into()), true)),
    ] {
        assert_eq!(decode_request(message.to_string().as_bytes(), "/").unwrap().what, what, "{message}");
        assert_eq!(decode_request(&written(&message), "/").unwrap().what, what, "{message} in msgpack");
    }
}

fn broadcast_question() -> Broadcast {
    let packet = EncodedPacket::event(NSP, "question", &(bytes(2), "x")).unwrap();
    Broadcast { packet, to: selector(&["a"], &[]), volatile: false, local: false }
}

#[test]
fn requests_are_written_as_node_writes_them() {
    let same = |name: &str, written: Vec<u8>| {
        let mut written: serde_json::Value = serde_json::from_slice(&written).unwrap();
        let expected: serde_json::Value = serde_json::from_slice(&vector(name)).unwrap();
        if expected.get("requestId").is_none() {
            // Node has no use for one here, and reads over it.
            written.as_object_mut().unwrap().remove("requestId");
        }
        assert_eq!(written, expected, "{name}");
    };
    let (uid, id) = ("AAAAAA", "QQQQQQ");
    let rooms = |names: &[&str]| selector(names, &[]).rooms;
    same("join", request::encode_join(uid, id, &selector(&["a"], &[]), &rooms(&["b", "c"])).unwrap());
    same("leave", request::encode_leave(uid, id, &selector(&["a", "b"], &["d"]), &rooms(&["c"])).unwrap());
    same("disconnect", request::encode_disconnect(uid, id, &Selector::default(), false).unwrap());
    same("disconnect-close", request::encode_disconnect(uid, id, &selector(&["a"], &[]), true).unwrap());
    same("fetch", request::encode_fetch(uid, id, &selector(&["a"], &["b"])).unwrap());
    same("all-rooms", request::encode_all_rooms(uid, id).unwrap());
    let event = |args: &dyn Fn() -> Payload| args();
    let hello = event(&|| Payload::event("hello", &(1, json!({ "two": [3] }))).unwrap());
    same("server-side-emit", request::encode_emit(uid, None, &hello).unwrap());
    same("server-side-emit-ack", request::encode_emit(uid, Some(id), &Payload::event("hello", &"x").unwrap()).unwrap());
    let binary = request::encode_emit(uid, None, &Payload::event("hello", &bytes(2)).unwrap()).unwrap();
    let expected = json!({ "uid": uid, "type": 6, "data": ["hello", { "type": "Buffer", "data": [0, 31] }] });
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&binary).unwrap(), expected);
    let question = request::encode_broadcast(uid, id, &broadcast_question(), Duration::from_secs(1)).unwrap();
    assert_eq!(read_msgpack(&question).unwrap(), read_msgpack(&vector("broadcast-ack")).unwrap());
}

#[test]
fn answers_both_ways() {
    let read = |name: &str| decode_response(&vector(name)).unwrap();
    let same = |name: &str, written: Vec<u8>| {
        let value = |bytes: &[u8]| super::read(bytes, large()).unwrap();
        assert_eq!(value(&written), value(&vector(name)), "{name}");
    };
    assert_eq!(read("answer-done").id, "QQQQQQ");
    same("answer-done", response::encode_done("QQQQQQ").unwrap());
    same("answer-sockets", response::encode_ids("QQQQQQ", &["SID".into()]).unwrap());
    assert_eq!(read("answer-rooms").rooms(), Some(vec!["SID".into(), "a".into()]));
    same("answer-rooms", response::encode_rooms("QQQQQQ", &["SID".into(), "a".into()]).unwrap());
    assert_eq!(read("answer-count").client_count(), Some(1));
    same("answer-count", response::encode_client_count("QQQQQQ", 1).unwrap());

    let sockets = read("answer-fetch").sockets().unwrap();
    let [socket] = &sockets[..] else { panic!("{sockets:?}") };
    assert_eq!((&*socket.id, &socket.rooms[..]), ("SID", &["SID".into(), "a".into()][..]));
    assert_eq!(socket.data.read::<serde_json::Value>().unwrap(), json!({ "name": "Zoë" }));
    assert_eq!((socket.address, socket.issued), (Some([127, 0, 0, 1].into()), 1_700_000_000_000));

    assert_eq!(read("answer-ack").ack(), Some(Payload::ack(&"yes").unwrap()));
    assert_eq!(read("answer-ack-binary").ack(), Some(Payload::ack(&bytes(3)).unwrap()));
    assert_eq!(read("answer-ack-nothing").ack(), Some(Payload::ack(&()).unwrap()));
    same("answer-ack", response::encode_ack("QQQQQQ", &Payload::ack(&("yes", "no")).unwrap()).unwrap());
    same("answer-ack-binary", response::encode_ack("QQQQQQ", &Payload::ack(&bytes(3)).unwrap()).unwrap());
    same("answer-ack-nothing", response::encode_ack("QQQQQQ", &Payload::ack(&()).unwrap()).unwrap());
    assert_eq!(read("answer-server-side-emit").data(), json!({ "load": 0.5 }));
    same("answer-server-side-emit", response::encode_server_ack("QQQQQQ", &json!({ "load": 0.5 })).unwrap());
    // An invalid answer is ignored.
    assert_eq!(read("answer-done").sockets(), None);
    assert_eq!(read("answer-count").ack(), None);
    assert_eq!(read("answer-ack").client_count(), None);
    for bad in [&b""[..], b"{", b"{}", b"[]", br#"{"requestId":7}"#, b"\xc0", b"\x81\xa9requestId\x07"] {
        assert!(decode_response(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn requests_that_make_no_sense() {
    for bad in [
        &b""[..],
        b"{",
        b"{}",
        b"[]",
        br#"{"type":"2"}"#,
        br#"{"type":8}"#,
        br#"{"type":1e300}"#,
        br#"{"type":2}"#,
        br#"{"type":6}"#,
        br#"{"type":6,"data":[]}"#,
        br#"{"type":6,"data":["connect"]}"#,
        br#"{"type":7}"#,
        br#"{"type":7,"packet":{"type":3,"data":["e"],"nsp":"/"}}"#,
        b"\x81\xa4type\xcd",
    ] {
        assert!(decode_request(bad, "/").is_err(), "{:?}", String::from_utf8_lossy(bad));
    }
}

/// A message that is small on the wire and large in memory, in both forms, with how many values it counts as.
#[test]
fn a_message_consists_of_so_many_values_and_no_more() {
    for (json, values) in [
        ("{}", 1),
        (r#"{"a":1}"#, 1 + 4 + 2),
        (r#"{"a":[]}"#, 1 + 4 + 2),
        (r#"{"a":[0,0,0],"b":{"c":null}}"#, 1 + 4 + 2 + 4 + 3 + 2 + 4 + 2),
        (&format!(r#"{{"a":[{}0]}}"#, "0,".repeat(9_999)), 1 + 4 + 2 + 4 + 10_000),
        (&format!(r#"{{"a":[{}{{}}]}}"#, r#"{"":0},"#.repeat(999)), 1 + 4 + 2 + 4 + 999 * 7 + 1),
    ] {
        let value: serde_json::Value = serde_json::from_str(json).unwrap();
        for message in [json.as_bytes(), &written(&value)] {
            let read = super::read(message, Budget::new(values)).unwrap();
            assert_eq!(serde_json::to_value(&read).unwrap(), value);
            let over = super::read(message, Budget::new(values - 1));
            assert!(matches!(over, Err(WireError::TooMany)), "{over:?}");
        }
    }
    // As large as a message may be by default: it would be more than a gigabyte.
    let numbers = 16 << 20;
    let mut message = vec![0xdd];
    message.extend(u32::to_be_bytes(numbers));
    message.resize(usize::try_from(numbers).unwrap(), 0);
    let default = crate::Config::default().max_message_values;
    for message in [message, [b"{\"a\":[", "0,".repeat(8 << 20).as_bytes(), b"0]}"].concat()] {
        assert!(matches!(super::read(&message, Budget::new(default)), Err(WireError::TooMany)));
    }
}

/// JSON is read as the rest of the server reads it.
#[test]
fn json_within_a_budget_is_the_same_json() {
    let text = r#"{"a":[null,true,-1,18446744073709551615,1.5,"\u00e9\n",{"b":{}}],"b":1,"b":2}"#;
    let read = super::read(text.as_bytes(), large()).unwrap();
    assert_eq!(read, serde_json::from_str::<Value>(text).unwrap());
    for bad in ["{", "{} {}", r#"{"a"}"#, &format!("{{\"a\":{}", "[".repeat(200))] {
        assert!(matches!(super::read(bad.as_bytes(), large()), Err(WireError::Json(_))), "{bad}");
    }
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_filter("JSON has no others", |n| n.is_finite()).prop_map(Value::from),
        ".{0,40}".prop_map(Value::from),
        proptest::collection::vec(any::<u8>(), 0..300).prop_map(|bytes| Bytes::from(bytes).into()),
    ];
    leaf.prop_recursive(5, 64, 8, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..20).prop_map(Value::Array),
            proptest::collection::vec((".{0,9}", inner), 0..20)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn values_read_back(value in any_value()) {
        let mut out = rmp::encode::buffer::ByteBuf::new();
        msgpack::write(&mut out, &value);
        prop_assert_eq!(read_msgpack(&out.into_vec()).unwrap(), value);
    }

    #[test]
    fn events_read_back(value in any_value(), rooms in proptest::collection::vec(".{0,9}", 0..4), volatile: bool) {
        let to = Selector { rooms: rooms.iter().map(|room| room.as_str().into()).collect(), except: vec!["x".into()] };
        let sent = broadcast(&to_value(&value).unwrap(), to, volatile);
        let read = decode_event(&event::encode(&event::prefix("me"), &sent).unwrap(), NSP).unwrap().unwrap();
        prop_assert_eq!((&read.to, read.volatile), (&sent.to, volatile));
        prop_assert_eq!(read.packet.packet(), sent.packet.packet());
    }

    /// Nothing that comes in makes any of it panic, however little is wrong with it.
    #[test]
    fn invalid_messages_are_rejected_without_panic(name in 0..30_usize, at in any::<prop::sample::Index>(), byte: u8, cut in any::<prop::sample::Index>()) {
        let vectors = vectors();
        let mut names: Vec<_> = vectors.keys().collect();
        names.sort();
        let mut message = vectors[names[name % names.len()]].1.clone();
        let at = at.index(message.len());
        message[at] = byte;
        if byte % 2 == 0 {
            message.truncate(cut.index(message.len()));
        }
        let _ = decode_event(&message, NSP);
        let _ = decode_request(&message, NSP);
        if let Ok(response) = decode_response(&message) {
            let _ = (response.sockets(), response.rooms(), response.client_count(), response.ack(), response.data());
        }
    }
}
