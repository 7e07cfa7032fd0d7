use super::*;
use crate::socket::packet::is_reserved;
use crate::value::{MAX_NESTING, Value};
use proptest::prelude::*;

fn decoded(message: &[u8]) -> Result<Packet, ParseError> {
    decode(&Bytes::copy_from_slice(message), Limits::default())
}

/// The map `{type: 2, nsp: "/", data: <data>}`.
fn event(data: &[u8]) -> Vec<u8> {
    [b"\x83\xa4type\x02\xa3nsp\xa1/\xa4data", data].concat()
}

/// The event `["e", <argument>]` as JSON text.
fn argument(bytes: &[u8]) -> Result<String, ParseError> {
    let packet = decoded(&event(&[b"\x92\xa1e", bytes].concat()))?;
    let json = packet.payload.unwrap().json().to_string();
    let argument = json.strip_prefix(r#"["e","#).unwrap();
    Ok(argument.strip_suffix(']').unwrap().to_owned())
}

#[test]
fn packets_round_trip() {
    let payload = |json: &'static str| Some(Payload::from_parts(json.into(), vec![]));
    for (packet, bytes) in [
        (Packet::new(Kind::Connect, "/".into()), &b"\x82\xa4type\x00\xa3nsp\xa1/"[..]),
        (
            Packet { payload: payload(r#"{"sid":"x"}"#), ..Packet::new(Kind::Connect, "/a".into()) },
            b"\x83\xa4type\x00\xa4data\x81\xa3sid\xa1x\xa3nsp\xa2/a",
        ),
        (
            Packet { payload: payload(r#"["e",1]"#), id: Some(300), ..Packet::new(Kind::Event, "/".into()) },
            b"\x84\xa4type\x02\xa4data\x92\xa1e\x01\xa2id\xcd\x01\x2c\xa3nsp\xa1/",
        ),
        (Packet::new(Kind::Disconnect, "/".into()), b"\x82\xa4type\x01\xa3nsp\xa1/"),
    ] {
        assert_eq!(encode(&packet), bytes);
        assert_eq!(decoded(bytes).unwrap(), packet);
    }
}

#[test]
fn bytes_are_part_of_the_data() {
    let payload = Payload::event("e", &(crate::value::Binary::from("ab"), "c")).unwrap();
    let packet = Packet::event("/".into(), None, payload);
    let bytes = encode(&packet);
    assert_eq!(bytes, &b"\x83\xa4type\x02\xa4data\x93\xa1e\xc4\x02ab\xa1c\xa3nsp\xa1/"[..]);
    assert_eq!(decode(&bytes, Limits::default()).unwrap(), packet);
}

#[test]
fn what_official_clients_add() {
    // {type, data: undefined, options: {compress: true}, id: undefined, attachments: undefined, nsp}
    let message = b"\x86\xa4type\x00\xa4data\xd4\x00\x00\xa7options\x81\xa8compress\xc3\xa2id\xd4\x00\x00\xabattachments\xd4\x00\x00\xa3nsp\xa1/";
    assert_eq!(decoded(message).unwrap(), Packet::new(Kind::Connect, "/".into()));
}

#[test]
fn msgpack_values_become_json() {
    for (bytes, json) in [
        (&b"\xc0"[..], "null"),
        (b"\xd4\x00\x00", "null"),
        (b"\x92\xd4\x00\x00\x01", "[null,1]"),
        (b"\xc2", "false"),
        (b"\xc3", "true"),
        (b"\x7f", "127"),
        (b"\xff", "-1"),
        (b"\xe0", "-32"),
        (b"\xcc\xff", "255"),
        (b"\xcd\xff\xff", "65535"),
        (b"\xce\xff\xff\xff\xff", "4294967295"),
        (b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff", "18446744073709551615"),
        (b"\xd0\x80", "-128"),
        (b"\xd1\x80\x00", "-32768"),
        (b"\xd2\x80\x00\x00\x00", "-2147483648"),
        (b"\xd3\x80\x00\x00\x00\x00\x00\x00\x00", "-9223372036854775808"),
        (b"\xd3\x00\x00\x00\x00\x00\x00\x00\x05", "5"),
        (b"\xca\x3f\x00\x00\x00", "0.5"),
        (b"\xcb\x3f\xb9\x99\x99\x99\x99\x99\x9a", "0.1"),
        (b"\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00", "1e999"),
        (b"\xcb\xff\xf0\x00\x00\x00\x00\x00\x00", "-1e999"),
        (b"\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00", "1e999"),
        (b"\xca\x7f\x80\x00\x00", "1e999"),
        (b"\xa0", r#""""#),
        (b"\xa5\xc3\xa9\"\\\n", r#""é\"\\\n""#),
        (b"\xd9\x01a", r#""a""#),
        (b"\xda\x00\x01a", r#""a""#),
        (b"\xdb\x00\x00\x00\x01a", r#""a""#),
        (b"\xc4\x01a", r#"{"_placeholder":true,"num":0}"#),
        (b"\xc5\x00\x01a", r#"{"_placeholder":true,"num":0}"#),
        (b"\xc6\x00\x00\x00\x01a", r#"{"_placeholder":true,"num":0}"#),
        // Array buffers
        (b"\xc7\x01\x00a", r#"{"_placeholder":true,"num":0}"#),
        (b"\xc8\x00\x01\x00a", r#"{"_placeholder":true,"num":0}"#),
        (b"\xc9\x00\x00\x00\x01\x00a", r#"{"_placeholder":true,"num":0}"#),
        (b"\x90", "[]"),
        (b"\xdc\x00\x01\x01", "[1]"),
        (b"\xdd\x00\x00\x00\x01\x01", "[1]"),
        (b"\x80", "{}"),
        (b"\x82\xa1a\x01\xa1b\x02", r#"{"a":1,"b":2}"#),
        (b"\xde\x00\x01\xa1a\x01", r#"{"a":1}"#),
        (b"\xdf\x00\x00\x00\x01\xa1a\x01", r#"{"a":1}"#),
        (b"\x82\x05\x01\xff\x02", r#"{"5":1,"-1":2}"#),
        (b"\x81\xa3num\x00", r#"{"num":0}"#),
    ] {
        assert_eq!(argument(bytes).unwrap(), json, "{bytes:02x?}");
    }
}

#[test]
fn timestamps_become_iso_dates() {
    for (milliseconds, json) in [
        (0, r#""1970-01-01T00:00:00.000Z""#),
        (-1, r#""1969-12-31T23:59:59.999Z""#),
        (951_782_400_000, r#""2000-02-29T00:00:00.000Z""#),
        (1_763_800_000_123, r#""2025-11-22T08:26:40.123Z""#),
        (4_107_542_399_999, r#""2100-02-28T23:59:59.999Z""#),
        (4_107_542_400_000, r#""2100-03-01T00:00:00.000Z""#),
        (253_402_300_799_999, r#""9999-12-31T23:59:59.999Z""#),
        (253_402_300_800_000, r#""+010000-01-01T00:00:00.000Z""#),
        (-62_167_219_200_000, r#""0000-01-01T00:00:00.000Z""#),
        (-62_167_219_200_001, r#""-000001-12-31T23:59:59.999Z""#),
        (8_640_000_000_000_000, r#""+275760-09-13T00:00:00.000Z""#),
        (-8_640_000_000_000_000, r#""-271821-04-20T00:00:00.000Z""#),
        (8_640_000_000_000_001, "null"),
        (i64::MIN, "null"),
    ] {
        let bytes = [b"\xd7\x00", &i64::to_be_bytes(milliseconds)[..]].concat();
        assert_eq!(argument(&bytes).unwrap(), json, "{milliseconds}");
    }
}

#[test]
fn invalid_arguments_are_rejected() {
    for bytes in [
        &b""[..],
        b"\xc1",
        b"\x91",
        b"\xa2a",
        b"\xa1\xff",
        b"\xc4\x02a",
        b"\xcb\x00",
        // Lengths of things that are not there
        b"\xdb\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\xdd\xff\xff\xff\xff\x01",
        b"\xdf\xff\xff\xff\xff\xa1a\x01",
        b"\xc9\xff\xff\xff\xff\x00",
        // Extensions of others
        b"\xd4\x01\x00",
        b"\xd5\x00\x00\x00",
        b"\xd6\xff\x00\x00\x00\x00",
        b"\xd7\xff\x00\x00\x00\x00\x00\x00\x00\x00",
        b"\xc7\x01\x01a",
        // Keys
        b"\x81\xc0\x01",
        b"\x81\x90\x01",
        b"\x81\xa1\xff\x01",
        b"\x82\xac_placeholder\xc3\xa3num\x00",
        // More than the packet
        b"\x01\x01",
    ] {
        assert!(argument(bytes).is_err(), "{bytes:02x?}");
    }
}

#[test]
fn invalid_packets_are_rejected() {
    for message in [
        &b""[..],
        b"\x01",
        b"\x90",
        b"\x80",
        b"\xa1a",
        // Type missing, of the wrong kind, unknown; the binary types do not exist here.
        b"\x81\xa3nsp\xa1/",
        b"\x82\xa4type\xa10\xa3nsp\xa1/",
        b"\x82\xa4type\xc0\xa3nsp\xa1/",
        b"\x82\xa4type\xff\xa3nsp\xa1/",
        b"\x82\xa4type\x07\xa3nsp\xa1/",
        b"\x83\xa4type\x05\xa3nsp\xa1/\xa4data\x91\xa1e",
        b"\x83\xa4type\x06\xa3nsp\xa1/\xa4data\x90",
        // Namespace missing or of the wrong kind
        b"\x81\xa4type\x00",
        b"\x82\xa4type\x00\xa3nsp\x01",
        b"\x82\xa4type\x00\xa3nsp\xd4\x00\x00",
        // Data of the wrong kind
        b"\x83\xa4type\x00\xa3nsp\xa1/\xa4data\x90",
        b"\x83\xa4type\x01\xa3nsp\xa1/\xa4data\x90",
        b"\x82\xa4type\x02\xa3nsp\xa1/",
        b"\x83\xa4type\x03\xa3nsp\xa1/\xa4data\x80",
        b"\x83\xa4type\x04\xa3nsp\xa1/\xa4data\xc0",
        // Acknowledgement ids of the wrong kind
        b"\x84\xa4type\x03\xa3nsp\xa1/\xa4data\x90\xa2id\xa11",
        b"\x84\xa4type\x03\xa3nsp\xa1/\xa4data\x90\xa2id\xff",
        b"\x84\xa4type\x03\xa3nsp\xa1/\xa4data\x90\xa2id\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00",
    ] {
        assert!(decoded(message).is_err(), "{message:02x?}");
    }
    for data in [
        &b"\x90"[..],
        b"\x80",
        b"\xc0",
        b"\xa1e",
        b"\x91\xc0",
        b"\x91\x91\xa1e",
        b"\x91\xc4\x01a",
        b"\x91\xa7connect",
        b"\x92\xaadisconnect\x01",
    ] {
        assert!(decoded(&event(data)).is_err(), "{data:02x?}");
    }
}

#[test]
fn nesting_is_limited_where_packets_are_decoded() {
    let nested = |depth: usize| [&b"\x91".repeat(depth - 1)[..], b"\x90"].concat();
    // Of an event depth is for the handler to judge; of a client's first packet it is bounded.
    for depth in [MAX_NESTING, 400_000] {
        assert_eq!(argument(&nested(depth)).unwrap(), format!("{}{}", "[".repeat(depth), "]".repeat(depth)));
    }
    assert!(argument(&b"\x91".repeat(900_000)).is_err(), "it ends too soon");
    assert!(argument(&b"\x81\xa1a".repeat(300_000)).is_err(), "it ends too soon");
    let auth = [&b"\x83\xa4type\x00\xa3nsp\xa1/\xa4data"[..], &b"\x81\xa1a".repeat(MAX_NESTING + 1), b"\xc0"].concat();
    assert!(matches!(decoded(&auth), Err(ParseError::Nesting)));

    let buffers = |count: u8| [&[0x90 | count][..], &b"\xc4\x00".repeat(count.into())].concat();
    argument(&buffers(10)).unwrap();
    assert!(matches!(argument(&buffers(11)), Err(ParseError::TooManyAttachments(10))));

    let large = Bytes::from(event(&[0x91; 100]));
    let limits = Limits { max_bytes: 99, ..Limits::default() };
    assert!(matches!(decode(&large, limits), Err(ParseError::TooLarge(99))));
}

/// A skipped member may contain anything, but no more bytes than the message has.
#[test]
fn unknown_members_are_skipped() {
    let skipped = |bytes: &[u8]| decoded(&[b"\x83\xa4type\x01\xa3nsp\xa1/\xa1x", bytes].concat());
    skipped(&[&b"\x91".repeat(1_000)[..], b"\x01"].concat()).unwrap();
    skipped(b"\x82\xa1a\x92\x01\x02\xa1b\x80").unwrap();
    skipped(b"\xdd\xff\xff\xff\xff").unwrap_err();
    skipped(b"\xdf\xff\xff\xff\xff").unwrap_err();
    skipped(b"").unwrap_err();
}

proptest! {
    #[test]
    fn decode_reverses_encode(
        nsp: String,
        id: Option<u64>,
        name in "[a-z é\u{1f680}\"]{0,8}",
        args in prop::collection::vec(crate::value::tests::any_value(), 0..4),
    ) {
        prop_assume!(!is_reserved(&name));
        let mut data = vec![Value::String(name)];
        data.extend(args);
        let data = Value::Array(data);
        let packet = Packet { id, ..Packet::event(nsp.into(), id, Payload::from_value(&data).unwrap()) };
        let limits = Limits { max_attachments: usize::MAX, ..Limits::default() };
        let decoded = decode(&encode(&packet), limits).unwrap();
        prop_assert_eq!(decoded.payload.as_ref().unwrap().to_value().unwrap(), data);
        prop_assert_eq!(decoded.id, packet.id);
        prop_assert_eq!(decoded.nsp, packet.nsp);
    }

    #[test]
    fn any_message_is_a_packet_or_an_error(message: Vec<u8>) {
        let _ = decoded(&message);
        let _ = decoded(&event(&message));
        let _ = argument(&message);
    }
}

/// The argument of `["e", <argument>]` in msgpack.
fn encoded(argument: &str, attachments: Vec<Bytes>) -> Vec<u8> {
    let payload = Payload::from_parts(format!("[\"e\",{argument}]").into(), attachments);
    let bytes = encode(&Packet::event("/".into(), None, payload));
    let data = bytes.strip_prefix(b"\x83\xa4type\x02\xa4data\x92\xa1e").unwrap();
    data.strip_suffix(b"\xa3nsp\xa1/").unwrap().to_vec()
}

/// Case 3.1: every JSON value has a form, the one that `JSON.parse` would make of it.
#[test]
fn every_json_value_has_a_form() {
    let float = |number: f64| [&b"\xcb"[..], &number.to_be_bytes()].concat();
    for (json, bytes) in [
        ("1e400", float(f64::INFINITY)),
        ("-1e400", float(f64::NEG_INFINITY)),
        ("1e308", float(1e308)),
        ("-0", float(-0.0)),
        ("-0.0", float(-0.0)),
        ("0", b"\x00".to_vec()),
        ("-1", b"\xff".to_vec()),
        ("9007199254740993", b"\xcf\x00\x20\x00\x00\x00\x00\x00\x01".to_vec()),
        ("18446744073709551616", float(18_446_744_073_709_551_616.0)),
        ("123456789012345678901234567890", float(123_456_789_012_345_678_901_234_567_890.0)),
        ("\"\\ud83d\"", [&b"\xa3"[..], "\u{fffd}".as_bytes()].concat()),
        ("\"\\ud83dx\"", [&b"\xa4"[..], "\u{fffd}x".as_bytes()].concat()),
        ("\"\\udc00\\ud83d\"", [&b"\xa6"[..], "\u{fffd}\u{fffd}".as_bytes()].concat()),
        ("\"\\ud83d\\ude00\"", [&b"\xa4"[..], "\u{1f600}".as_bytes()].concat()),
        ("{\"\\ud83d\":1}", [&b"\x81\xa3"[..], "\u{fffd}".as_bytes(), b"\x01"].concat()),
        ("\"\\u0000\u{2028}\\n\\\"\\/\"", [&b"\xa7\x00"[..], "\u{2028}".as_bytes(), b"\n\"/"].concat()),
        ("{\"a\":1,\"a\":2}", b"\x82\xa1a\x01\xa1a\x02".to_vec()),
        (" { \"a\" : [ true , false , null , { } , [ ] ] } ", b"\x81\xa1a\x95\xc3\xc2\xc0\x80\x90".to_vec()),
    ] {
        assert_eq!(encoded(json, vec![]), bytes, "{json}");
    }
    let deep = encoded(&format!("{}{}", "[".repeat(300_000), "]".repeat(300_000)), vec![]);
    assert_eq!((deep.len(), deep[0], deep[299_999]), (300_000, 0x91, 0x90));
}

#[test]
fn placeholders_are_their_attachments() {
    let attachments = || vec![Bytes::from_static(b"a"), Bytes::from_static(b"bc")];
    for (json, bytes) in [
        (
            "[{\"_placeholder\":true,\"num\":1},{\"num\":0,\"_placeholder\":true},1]",
            &b"\x93\xc4\x02bc\xc4\x01a\x01"[..],
        ),
        ("[{\"_placeholder\":true,\"num\":0,\"more\":[[1],{}]},[2]]", b"\x92\xc4\x01a\x91\x02"),
        ("{\"_placeholder\":false,\"num\":0}", b"\x82\xac_placeholder\xc2\xa3num\x00"),
        ("{\"_placeholder\":true,\"num\":7}", b"\xc0"),
    ] {
        assert_eq!(encoded(json, attachments()), bytes, "{json}");
    }
    assert_eq!(encoded("{\"_placeholder\":true,\"num\":0}", vec![]), b"\x82\xac_placeholder\xc3\xa3num\x00");
}
