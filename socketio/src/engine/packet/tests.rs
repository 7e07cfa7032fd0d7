use super::*;
use proptest::prelude::*;

const BOTH: [Protocol; 2] = [Protocol::V3, Protocol::V4];

fn binary(bytes: &'static [u8]) -> Data {
    Data::Binary(Bytes::from_static(bytes))
}

#[test]
fn text_frames_round_trip() {
    for protocol in BOTH {
        for (packet, frame) in [
            (Packet::Open("{}".into()), "0{}"),
            (Packet::Close, "1"),
            (Packet::Ping("".into()), "2"),
            (Packet::Ping("probe".into()), "2probe"),
            (Packet::Pong("".into()), "3"),
            (Packet::Pong("probe".into()), "3probe"),
            (Packet::Message("".into()), "4"),
            (Packet::Message("hé\u{1f680}".into()), "4hé\u{1f680}"),
            (Packet::Upgrade, "5"),
            (Packet::Noop, "6"),
        ] {
            assert_eq!(packet.encode_frame(protocol), frame.into());
            assert_eq!(Packet::decode_frame(frame.into(), protocol), Ok(packet));
        }
    }
}

#[test]
fn binary_frames_round_trip() {
    let packet = Packet::Message(binary(b"\x01\x02\x03"));
    for (protocol, frame) in [(Protocol::V4, binary(b"\x01\x02\x03")), (Protocol::V3, binary(b"\x04\x01\x02\x03"))] {
        assert_eq!(packet.encode_frame(protocol), frame);
        assert_eq!(Packet::decode_frame(frame, protocol).as_ref(), Ok(&packet));
    }
    // Empty buffers are buffers.
    let empty = Packet::Message(binary(b""));
    assert_eq!(Packet::decode_frame(binary(b""), Protocol::V4), Ok(empty.clone()));
    assert_eq!(Packet::decode_frame(binary(b"\x04"), Protocol::V3), Ok(empty));
}

#[test]
fn base64_frames_round_trip() {
    let packet = Packet::Message(binary(b"\x01\x02\x03\x04"));
    assert_eq!(packet.encode_text(Protocol::V4), "bAQIDBA==");
    assert_eq!(packet.encode_text(Protocol::V3), "b4AQIDBA==");
    for (frame, protocol) in [
        ("bAQIDBA==", Protocol::V4),
        ("bAQIDBA", Protocol::V4),
        ("b4AQIDBA==", Protocol::V3),
        ("b4AQIDBA", Protocol::V3),
    ] {
        assert_eq!(Packet::decode_frame(frame.into(), protocol).as_ref(), Ok(&packet));
    }
}

#[test]
fn what_is_dropped() {
    for protocol in BOTH {
        for (frame, packet) in [("1bye", Packet::Close), ("5now", Packet::Upgrade), ("6 ", Packet::Noop)] {
            assert_eq!(Packet::decode_frame(frame.into(), protocol), Ok(packet));
        }
    }
}

#[test]
fn invalid_frames_are_rejected() {
    for protocol in BOTH {
        for (frame, error) in [
            ("", DecodeError::Empty),
            ("7", DecodeError::UnknownType('7')),
            ("9hello", DecodeError::UnknownType('9')),
            ("a", DecodeError::UnknownType('a')),
            ("é4", DecodeError::UnknownType('é')),
            ("\u{1f680}", DecodeError::UnknownType('\u{1f680}')),
            (" 4", DecodeError::UnknownType(' ')),
            ("\u{0}", DecodeError::UnknownType('\0')),
        ] {
            assert_eq!(Packet::decode_frame(frame.into(), protocol), Err(error));
        }
    }
    for (frame, protocol, error) in [
        ("b!", Protocol::V4, DecodeError::Base64),
        ("bA", Protocol::V4, DecodeError::Base64),
        ("bé", Protocol::V4, DecodeError::Base64),
        ("b", Protocol::V3, DecodeError::Empty),
        ("b2AAAA", Protocol::V3, DecodeError::UnknownType('2')),
        ("bé", Protocol::V3, DecodeError::UnknownType('é')),
    ] {
        assert_eq!(Packet::decode_frame(frame.into(), protocol), Err(error));
    }
    for (frame, error) in [
        (binary(b""), DecodeError::Empty),
        (binary(b"\x02probe"), DecodeError::UnknownType('\x02')),
        (binary(b"\xff"), DecodeError::UnknownType('\u{ff}')),
    ] {
        assert_eq!(Packet::decode_frame(frame, Protocol::V3), Err(error));
    }
}

#[test]
fn decoding_copies_nothing() {
    let body = ByteString::from("4hello");
    let Ok(Packet::Message(Data::Text(text))) = Packet::decode_frame(Data::Text(body.clone()), Protocol::V4) else {
        panic!("no message");
    };
    assert_eq!(text.as_ptr(), body[1..].as_ptr());
}

/// Any packet, however unusual its text; `forbidden` is a character that the texts of some payloads cannot contain.
pub(crate) fn any_packet(forbidden: &'static str) -> impl Strategy<Value = Packet> {
    let text =
        any::<String>().prop_map(move |text| ByteString::from(text.replace(|c| forbidden.contains(c), ""))).boxed();
    prop_oneof![
        text.clone().prop_map(Packet::Open),
        Just(Packet::Close),
        text.clone().prop_map(Packet::Ping),
        text.clone().prop_map(Packet::Pong),
        text.prop_map(|text| Packet::Message(Data::Text(text))),
        any::<Vec<u8>>().prop_map(|bytes| Packet::Message(Data::Binary(bytes.into()))),
        Just(Packet::Upgrade),
        Just(Packet::Noop),
    ]
}

proptest! {
    #[test]
    fn decode_reverses_encode(packet in any_packet(""), v3: bool) {
        let protocol = if v3 { Protocol::V3 } else { Protocol::V4 };
        let decoded = Packet::decode_frame(packet.encode_frame(protocol), protocol);
        prop_assert_eq!(decoded.as_ref(), Ok(&packet));
        let text = packet.encode_text(protocol);
        prop_assert_eq!(text.len(), packet.text_len(protocol));
        prop_assert_eq!(Packet::decode_frame(Data::Text(text), protocol), Ok(packet));
    }

    #[test]
    fn any_input_is_a_packet_or_an_error(text: String, bytes: Vec<u8>) {
        for protocol in BOTH {
            let _ = Packet::decode_frame(Data::Text(text.as_str().into()), protocol);
            let _ = Packet::decode_frame(Data::Text(format!("b{text}").into()), protocol);
            let _ = Packet::decode_frame(Data::Binary(bytes.clone().into()), protocol);
        }
    }
}
