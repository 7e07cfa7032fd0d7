//! Our codecs beside the official ones: `tests/vectors/generate.js` wrote down what those make of some hundred packets.

use bytes::Bytes;
use bytestring::ByteString;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::assemble::{Assembler, Limits};
use super::packet::{Kind, Packet, Payload};
use super::{msgpack, text};
use crate::engine::packet::{Data, Packet as Frame, Protocol};
use crate::engine::payload;
use crate::value::{Object, Value};

const VECTORS: &str = include_str!("../../tests/vectors/vectors.json");

#[derive(Deserialize)]
struct Vectors {
    engine: Vec<EngineVector>,
    socket: Vec<SocketVector>,
    hostile: Vec<HostileVector>,
}

#[derive(Deserialize)]
struct EngineVector {
    packets: Vec<EnginePacket>,
    frames4: Vec<Json>,
    frames3: Vec<Json>,
    payload4: Json,
    payload3: Json,
    payload3base64: Json,
}

#[derive(Deserialize)]
struct EnginePacket {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    data: Json,
}

#[derive(Deserialize)]
struct SocketVector {
    packet: SocketPacket,
    text: Vec<Json>,
    msgpack: String,
}

#[derive(Deserialize, Debug)]
struct SocketPacket {
    #[serde(rename = "type")]
    kind: u8,
    nsp: String,
    id: Option<u64>,
    data: Option<Json>,
}

#[derive(Deserialize)]
struct HostileVector {
    text: String,
    packet: Option<SocketPacket>,
    due: Option<usize>,
    error: Option<String>,
}

fn vectors() -> Vectors {
    serde_json::from_str(VECTORS).unwrap()
}

fn unhex(hex: &str) -> Bytes {
    (0..hex.len() / 2).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap()).collect()
}

fn data(json: &Json) -> Data {
    match json {
        Json::String(text) => Data::Text(text.as_str().into()),
        _ => Data::Binary(unhex(json["$bytes"].as_str().unwrap())),
    }
}

fn engine_packet(packet: &EnginePacket) -> Frame {
    let text = || ByteString::from(packet.data.as_str().unwrap());
    match packet.kind.as_str() {
        "open" => Frame::Open(text()),
        "close" => Frame::Close,
        "ping" => Frame::Ping(text()),
        "pong" => Frame::Pong(text()),
        "message" => Frame::Message(data(&packet.data)),
        "upgrade" => Frame::Upgrade,
        "noop" => Frame::Noop,
        other => panic!("{other}"),
    }
}

#[test]
fn engine_packets_and_payloads() {
    for vector in vectors().engine {
        let packets: Vec<_> = vector.packets.iter().map(engine_packet).collect();
        for (protocol, frames) in [(Protocol::V4, &vector.frames4), (Protocol::V3, &vector.frames3)] {
            for (packet, frame) in packets.iter().zip(frames) {
                assert_eq!(packet.encode_frame(protocol), data(frame));
                assert_eq!(Frame::decode_frame(data(frame), protocol).as_ref(), Ok(packet));
            }
        }
        for (protocol, supports_binary, expected) in [
            (Protocol::V4, true, &vector.payload4),
            (Protocol::V3, true, &vector.payload3),
            (Protocol::V3, false, &vector.payload3base64),
        ] {
            let expected = data(expected);
            let encoded = payload::encode(&packets, protocol, supports_binary);
            assert_eq!(encoded, expected);
            let is_binary = matches!(expected, Data::Binary(_));
            let decoded = payload::decode(expected.into_bytes(), protocol, is_binary);
            assert_eq!(decoded.as_ref(), Ok(&packets));
        }
    }
}

/// Our value as the generator writes it.
fn plain(value: &Value) -> Json {
    match value {
        Value::Binary(bytes) => {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            json!({ "$bytes": hex })
        }
        Value::Array(items) => items.iter().map(plain).collect(),
        Value::Object(members) => {
            Json::Object(members.iter().map(|(key, value)| (key.clone(), plain(value))).collect())
        }
        Value::Number(number) => json!(number.as_f64()),
        other => serde_json::to_value(other).unwrap(),
    }
}

/// JavaScript has one type of numbers, and so has the comparison.
fn as_floats(json: &Json) -> Json {
    match json {
        Json::Number(number) => json!(number.as_f64()),
        Json::Array(items) => items.iter().map(as_floats).collect(),
        Json::Object(members) => {
            Json::Object(members.iter().map(|(key, value)| (key.clone(), as_floats(value))).collect())
        }
        other => other.clone(),
    }
}

/// What the generator means, as our value.
fn value(json: &Json) -> Value {
    match json {
        Json::Object(members) if members.len() == 1 && members.contains_key("$bytes") => {
            Value::Binary(unhex(json["$bytes"].as_str().unwrap()))
        }
        Json::Array(items) => Value::Array(items.iter().map(value).collect()),
        Json::Object(members) => {
            Value::Object(members.iter().map(|(key, member)| (key.clone(), value(member))).collect::<Object>())
        }
        other => other.clone().into(),
    }
}

fn packet(packet: &SocketPacket) -> Packet {
    Packet {
        kind: kind(packet.kind),
        nsp: packet.nsp.as_str().into(),
        id: packet.id,
        payload: packet.data.as_ref().map(|data| Payload::from_value(&value(data)).unwrap()),
    }
}

fn kind(number: u8) -> Kind {
    match number {
        0 => Kind::Connect,
        1 => Kind::Disconnect,
        2 | 5 => Kind::Event,
        3 | 6 => Kind::Ack,
        4 => Kind::ConnectError,
        other => panic!("{other}"),
    }
}

#[track_caller]
fn assert_same(packet: &Packet, expected: &SocketPacket, context: &str) {
    assert_eq!(packet.kind, kind(expected.kind), "{context}");
    assert_eq!(packet.nsp, expected.nsp, "{context}");
    assert_eq!(packet.id, expected.id, "{context}");
    let data = packet.payload.as_ref().map(|payload| plain(&payload.to_value().unwrap()));
    assert_eq!(data, expected.data.as_ref().map(as_floats), "{context}");
}

fn assemble(messages: &[Data]) -> Packet {
    let mut assembler = Assembler::new(Limits::default());
    let mut packets = messages.iter().filter_map(|message| match message {
        Data::Text(text) => assembler.text(text).unwrap(),
        Data::Binary(bytes) => assembler.binary(bytes.clone()).unwrap(),
    });
    let packet = packets.next().unwrap();
    assert_eq!(packets.next(), None);
    packet
}

#[test]
fn socket_packets_as_text() {
    for vector in vectors().socket {
        let official: Vec<Data> = vector.text.iter().map(data).collect();
        assert_same(&assemble(&official), &vector.packet, &format!("{official:?}"));

        let (head, attachments) = text::encode(&packet(&vector.packet));
        let ours: Vec<Data> =
            std::iter::once(Data::Text(head)).chain(attachments.into_iter().map(Data::Binary)).collect();
        assert_eq!(ours.len(), official.len());
        assert_same(&assemble(&ours), &vector.packet, &format!("{ours:?}"));
    }
}

#[test]
fn socket_packets_as_msgpack() {
    for vector in vectors().socket {
        let official = unhex(&vector.msgpack);
        let decoded = msgpack::decode(&official, Limits::default()).unwrap();
        assert_same(&decoded, &vector.packet, &vector.msgpack);

        let ours = msgpack::encode(&packet(&vector.packet));
        let decoded = msgpack::decode(&ours, Limits::default()).unwrap();
        assert_same(&decoded, &vector.packet, &vector.msgpack);
    }
}

/// Where JavaScript's leniency is nothing to keep: the empty text, whose type is 0 there, and an event, an acknowledgement
/// or a refusal whose data is missing.
fn refused_by_us_alone(text: &str, packet: &SocketPacket) -> bool {
    text.is_empty() || (packet.data.is_none() && packet.kind >= 2)
}

#[test]
fn hostile_packets_match_the_vectors() {
    let (mut accepted, mut refused) = (0, 0);
    for vector in vectors().hostile {
        let decoded = text::decode(&vector.text.as_str().into(), 10);
        match (&vector.packet, vector.due, &vector.error) {
            (Some(expected), ..) if refused_by_us_alone(&vector.text, expected) => {
                assert!(decoded.is_err(), "{:?}", vector.text);
            }
            (Some(expected), ..) => {
                let decoded = decoded.unwrap_or_else(|error| panic!("{:?}: {error}", vector.text));
                assert_eq!(decoded.attachments, 0, "{:?}", vector.text);
                assert_same(&decoded.packet, expected, &vector.text);
                accepted += 1;
            }
            (_, Some(due), _) => {
                // A placeholder without attachment is rejected here immediately, there when the last attachment has arrived.
                if let Ok(decoded) = decoded {
                    assert_eq!(decoded.attachments, due, "{:?}", vector.text);
                }
            }
            _ => {
                assert!(decoded.is_err(), "{:?}", vector.text);
                refused += 1;
            }
        }
    }
    assert!(accepted > 100 && refused > 500, "{accepted} {refused}");
}
