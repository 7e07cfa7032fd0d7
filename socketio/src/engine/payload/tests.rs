use super::*;
use crate::engine::packet::tests::any_packet;
use proptest::prelude::*;

fn message(text: &'static str) -> Packet {
    Packet::Message(text.into())
}

fn buffer(bytes: &'static [u8]) -> Packet {
    Packet::Message(Data::Binary(Bytes::from_static(bytes)))
}

fn decode_text(body: &'static str, protocol: Protocol) -> Result<Vec<Packet>, DecodeError> {
    decode(Bytes::from_static(body.as_bytes()), protocol, false)
}

fn decode_binary(body: &'static [u8]) -> Result<Vec<Packet>, DecodeError> {
    decode(Bytes::from_static(body), Protocol::V3, true)
}

#[test]
fn payloads_of_protocol_4_round_trip() {
    for (packets, body) in [
        (vec![message("hello")], "4hello"),
        (vec![message("hello"), Packet::Ping("".into()), message("world")], "4hello\x1e2\x1e4world"),
        (vec![message("hello"), buffer(b"\x01\x02\x03\x04")], "4hello\x1ebAQIDBA=="),
        (vec![message("été\u{1f680}"), Packet::Noop], "4été\u{1f680}\x1e6"),
    ] {
        assert_eq!(encode(&packets, Protocol::V4, true), body.into());
        assert_eq!(decode_text(body, Protocol::V4), Ok(packets));
    }
}

#[test]
fn invalid_payloads_of_protocol_4_are_rejected() {
    for (body, error) in [
        ("", DecodeError::Empty),
        ("\x1e", DecodeError::Empty),
        ("4a\x1e", DecodeError::Empty),
        ("\x1e4a", DecodeError::Empty),
        ("4a\x1e\x1e4b", DecodeError::Empty),
        ("4a\x1e7", DecodeError::UnknownType('7')),
        ("4a\x1eb*", DecodeError::Base64),
        ("é", DecodeError::UnknownType('é')),
    ] {
        assert_eq!(decode_text(body, Protocol::V4), Err(error), "{body:?}");
    }
    let utf8 = decode(Bytes::from_static(b"4\xff"), Protocol::V4, false);
    assert_eq!(utf8, Err(DecodeError::Utf8));
    let binary = decode(Bytes::from_static(b"4a"), Protocol::V4, true);
    assert_eq!(binary, Err(DecodeError::BinaryPayload));
}

#[test]
fn text_payloads_of_protocol_3_round_trip() {
    for (packets, body) in [
        (vec![message("hello"), message("€")], "6:4hello2:4€"),
        // An astral character is two units of UTF-16 and four bytes.
        (vec![message("\u{1f680}"), Packet::Noop], "3:4\u{1f680}1:6"),
        (vec![buffer(b"\x01\x02\x03\x04"), message("a")], "10:b4AQIDBA==2:4a"),
        (vec![message("1:2"), Packet::Ping("probe".into())], "4:41:26:2probe"),
        (vec![], "0:"),
    ] {
        assert_eq!(encode(&packets, Protocol::V3, false), body.into());
        assert_eq!(decode_text(body, Protocol::V3), Ok(packets));
    }
}

#[test]
fn v3_text_refused() {
    for (body, error) in [
        ("", DecodeError::Length),
        (":", DecodeError::Length),
        ("1", DecodeError::Length),
        ("1:", DecodeError::Length),
        ("2:4", DecodeError::Length),
        ("-1:4", DecodeError::Length),
        ("+1:4", DecodeError::Length),
        ("1.0:4", DecodeError::Length),
        (" 1:4", DecodeError::Length),
        ("٣:4ab", DecodeError::Length),
        ("2:4a3", DecodeError::Length),
        ("99999999999999999999:4", DecodeError::Length),
        ("18446744073709551615:4", DecodeError::Length),
        // Ends within a character.
        ("2:4\u{1f680}", DecodeError::Length),
        ("1:9", DecodeError::UnknownType('9')),
        ("1:é", DecodeError::UnknownType('é')),
    ] {
        assert_eq!(decode_text(body, Protocol::V3), Err(error), "{body:?}");
    }
}

#[test]
fn binary_payloads_of_protocol_3_round_trip() {
    // The example of the protocol's text: "hello" as text, 01 02 03 04 as bytes.
    let packets = vec![message("hello"), buffer(b"\x01\x02\x03\x04")];
    let body = b"\x00\x06\xff4hello\x01\x05\xff\x04\x01\x02\x03\x04";
    let encoded = encode(&packets, Protocol::V3, true);
    assert_eq!(encoded, Data::Binary(Bytes::from_static(body)));
    assert_eq!(decode_binary(body), Ok(packets));

    // Here lengths count bytes.
    let packets = vec![message("€€€€"), buffer(b"")];
    let body = b"\x00\x01\x03\xff4\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\x01\x01\xff\x04";
    let encoded = encode(&packets, Protocol::V3, true);
    assert_eq!(encoded, Data::Binary(Bytes::from_static(body)));
    assert_eq!(decode_binary(body), Ok(packets));

    // Without a buffer a text payload says the same.
    let text = encode(&[message("hello")], Protocol::V3, true);
    assert_eq!(text, "6:4hello".into());
    assert_eq!(decode_binary(b""), Ok(vec![]));
}

#[test]
fn v3_binary_refused() {
    for (body, error) in [
        (&b"\x00"[..], DecodeError::Length),
        (b"\x00\xff", DecodeError::Length),
        (b"\xff", DecodeError::Length),
        (b"\x00\x01", DecodeError::Length),
        (b"\x00\x02\xff4", DecodeError::Length),
        (b"\x00\x0a\xff4", DecodeError::Length),
        (b"\x00\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\xff", DecodeError::Length),
        (b"\x00\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\xff4", DecodeError::Length),
        (b"\x00\x00\xff", DecodeError::Empty),
        (b"\x01\x00\xff", DecodeError::Empty),
        (b"\x02\x01\xff4", DecodeError::UnknownType('\x02')),
        (b"\x01\x01\xff2", DecodeError::UnknownType('2')),
        (b"\x00\x02\xff4\xff", DecodeError::Utf8),
    ] {
        assert_eq!(decode_binary(body), Err(error), "{body:?}");
    }
}

#[test]
fn packets_of_one_body_are_bounded() {
    let body = |packets: usize| Bytes::from(vec!["6"; packets].join("\x1e"));
    let most = decode(body(MAX_PACKETS), Protocol::V4, false);
    assert_eq!(most.map(|packets| packets.len()), Ok(MAX_PACKETS));
    let more = decode(body(MAX_PACKETS + 1), Protocol::V4, false);
    assert_eq!(more, Err(DecodeError::TooMany(MAX_PACKETS)));
    // Read one by one there is nothing to bound.
    let packets = Packets::new(body(MAX_PACKETS + 1), Protocol::V4, false).unwrap();
    assert_eq!(packets.count(), MAX_PACKETS + 1);
}

#[test]
fn an_error_ends_a_body() {
    let mut packets = Packets::new(Bytes::from_static(b"4a\x1e9\x1e4b"), Protocol::V4, false).unwrap();
    assert_eq!(packets.next(), Some(Ok(message("a"))));
    assert_eq!(packets.next(), Some(Err(DecodeError::UnknownType('9'))));
    assert_eq!(packets.next(), None);
}

proptest! {
    #[test]
    fn v4_round_trip(packets in prop::collection::vec(any_packet("\x1e"), 1..8)) {
        let body = encode(&packets, Protocol::V4, true);
        prop_assert_eq!(decode(body.into_bytes(), Protocol::V4, false), Ok(packets));
    }

    #[test]
    fn v3_round_trip(packets in prop::collection::vec(any_packet(""), 0..8), supports_binary: bool) {
        let body = encode(&packets, Protocol::V3, supports_binary);
        let is_binary = matches!(body, Data::Binary(_));
        prop_assert_eq!(decode(body.into_bytes(), Protocol::V3, is_binary), Ok(packets));
    }

    #[test]
    fn any_body_is_packets_or_an_error(body: Vec<u8>, text: String) {
        for (protocol, is_binary) in [(Protocol::V4, false), (Protocol::V3, false), (Protocol::V3, true)] {
            let _ = decode(body.clone().into(), protocol, is_binary);
            let _ = decode(text.clone().into(), protocol, is_binary);
        }
    }
}
