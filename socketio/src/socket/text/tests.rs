use super::*;
use proptest::prelude::*;

fn decoded(text: &'static str) -> Result<Decoded, ParseError> {
    decode(&text.into(), 10)
}

fn packet(kind: Kind, nsp: &'static str, id: Option<u64>, json: &'static str) -> Packet {
    Packet {
        kind,
        nsp: nsp.into(),
        id,
        payload: (!json.is_empty()).then(|| Payload::from_parts(json.into(), Vec::new())),
    }
}

#[test]
fn packets_round_trip() {
    for (text, packet) in [
        ("0", packet(Kind::Connect, "/", None, "")),
        (r#"0{"token":"123"}"#, packet(Kind::Connect, "/", None, r#"{"token":"123"}"#)),
        ("0/admin,", packet(Kind::Connect, "/admin", None, "")),
        (r#"0/admin,{"sid":"x"}"#, packet(Kind::Connect, "/admin", None, r#"{"sid":"x"}"#)),
        ("1", packet(Kind::Disconnect, "/", None, "")),
        ("1/admin,", packet(Kind::Disconnect, "/admin", None, "")),
        (r#"2["hello",1]"#, packet(Kind::Event, "/", None, r#"["hello",1]"#)),
        (r#"212["hello"]"#, packet(Kind::Event, "/", Some(12), r#"["hello"]"#)),
        (r#"2/admin,456["project:delete",123]"#, packet(Kind::Event, "/admin", Some(456), r#"["project:delete",123]"#)),
        (r#"2/日本,0["🚀"]"#, packet(Kind::Event, "/日本", Some(0), r#"["🚀"]"#)),
        ("2[1,2]", packet(Kind::Event, "/", None, "[1,2]")),
        ("3/admin,456[]", packet(Kind::Ack, "/admin", Some(456), "[]")),
        (r#"318446744073709551615["a"]"#, packet(Kind::Ack, "/", Some(u64::MAX), r#"["a"]"#)),
        (
            r#"4{"message":"Invalid namespace"}"#,
            packet(Kind::ConnectError, "/", None, r#"{"message":"Invalid namespace"}"#),
        ),
        (r#"4/x,"no""#, packet(Kind::ConnectError, "/x", None, r#""no""#)),
    ] {
        let (encoded, attachments) = encode(&packet);
        assert_eq!(encoded, text);
        assert!(attachments.is_empty());
        let decoded = decoded(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(decoded, Decoded { packet, attachments: 0 }, "{text}");
    }
}

#[test]
fn other_valid_forms_are_decoded() {
    for (text, packet) in [
        // Older clients leave the comma out where nothing follows.
        ("0/custom", packet(Kind::Connect, "/custom", None, "")),
        ("1/custom", packet(Kind::Disconnect, "/custom", None, "")),
        ("0/,", packet(Kind::Connect, "/", None, "")),
        ("0/", packet(Kind::Connect, "/", None, "")),
        // Clients of Socket.IO 2 put their query there.
        ("0/custom?a=b&c", packet(Kind::Connect, "/custom?a=b&c", None, "")),
        ("2 [ \"a\" ] ", packet(Kind::Event, "/", None, " [ \"a\" ] ")),
        ("2007[\"a\"]", packet(Kind::Event, "/", Some(7), "[\"a\"]")),
        // What only a reader of the argument could object to.
        ("2[\"a\",1e999]", packet(Kind::Event, "/", None, "[\"a\",1e999]")),
        ("2[\"a\",\"\\ud800\"]", packet(Kind::Event, "/", None, "[\"a\",\"\\ud800\"]")),
        (
            "2[\"a\",{\"_placeholder\":true,\"num\":5}]",
            packet(Kind::Event, "/", None, "[\"a\",{\"_placeholder\":true,\"num\":5}]"),
        ),
    ] {
        assert_eq!(decoded(text).unwrap().packet, packet, "{text}");
    }
}

#[test]
fn binary_packets_state_their_attachments() {
    for (text, attachments, json) in [
        (r#"51-["a",{"_placeholder":true,"num":0}]"#, 1, r#"["a",{"_placeholder":true,"num":0}]"#),
        (r#"510-["a"]"#, 10, r#"["a"]"#),
        (r#"51-/admin,456["a"]"#, 1, r#"["a"]"#),
        (r#"61-12[{"num":0,"_placeholder":true}]"#, 1, r#"[{"num":0,"_placeholder":true}]"#),
        (r#"52-["a",{"_placeholder":true,"num":1}]"#, 2, r#"["a",{"_placeholder":true,"num":1}]"#),
    ] {
        let decoded = decoded(text).unwrap();
        assert_eq!(decoded.attachments, attachments, "{text}");
        assert_eq!(decoded.packet.payload.unwrap().json(), json);
    }
    let payload = Payload::from_parts(r#"["a",{"_placeholder":true,"num":0}]"#.into(), vec![Bytes::from_static(b"x")]);
    let event = Packet::event("/admin".into(), Some(4), payload.clone());
    let (text, attachments) = encode(&event);
    assert_eq!(text, r#"51-/admin,4["a",{"_placeholder":true,"num":0}]"#);
    assert_eq!(attachments, ["x"]);
    let (text, _) = encode(&Packet::ack("/".into(), 4, payload));
    assert_eq!(text, r#"61-4["a",{"_placeholder":true,"num":0}]"#);
}

/// Everything that closes a connection.
#[test]
fn invalid_packets_are_rejected() {
    for text in [
        // Types
        "",
        "7",
        "9",
        " 0",
        "a",
        "é",
        "\u{1f680}2",
        "-",
        "{}",
        "[]",
        // Data of a connect
        "0[]",
        "0null",
        "0\"a\"",
        "0true",
        "0{",
        "0{}}",
        "0{} {}",
        "0/admin,[]",
        "0abc",
        "0/a,b",
        // Data of a disconnect
        "1{}",
        "1[]",
        "1\"a\"",
        "1/admin,{}",
        "1x",
        // Events
        "2",
        "2{}",
        "2[]",
        "2abc[\"a\"]",
        "2null",
        "2\"a\"",
        "2[",
        "2[\"a\"",
        "2[\"a\"]]",
        "2[\"a\",]",
        "2[null]",
        "2[true]",
        "2[[\"a\"]]",
        "2[{}]",
        "2/admin,",
        "2/admin",
        "21",
        "21[]",
        "2-1[\"a\"]",
        "21-[\"a\"]",
        "2[\"a\"] x",
        "2['a']",
        "2[\"a\u{0}\"]",
        "2[\"a\\x\"]",
        "2,[\"a\"]",
        "2admin,[\"a\"]",
        // Reserved names, however they are written
        "2[\"connect\"]",
        "2[\"connect_error\",1]",
        "2[\"disconnect\"]",
        "2[\"disconnecting\"]",
        "2[\"newListener\"]",
        "2[\"removeListener\"]",
        "2[\"\\u0063onnect\"]",
        "2/admin,1[\"connect\"]",
        "51-[\"disconnect\"]",
        // Acknowledgements
        "3",
        "31",
        "31{}",
        "31null",
        "31\"a\"",
        "31[",
        "318446744073709551616[]",
        "399999999999999999999999[]",
        // Refusals
        "4",
        "4[]",
        "4null",
        "41",
        "4/x,",
        // Numbers of attachments
        "5",
        "50-[\"a\"]",
        "500-[\"a\"]",
        "5-[\"a\"]",
        "5[\"a\"]",
        "511-[\"a\"]",
        "5-1-[\"a\"]",
        "51",
        "51[\"a\"]",
        "5a-[\"a\"]",
        "51.5-[\"a\"]",
        "5 1-[\"a\"]",
        "5+1-[\"a\"]",
        "51e0-[\"a\"]",
        "5１-[\"a\"]",
        "599999999999999999999999999-[\"a\"]",
        "60-[]",
        "6-[]",
        "611-1[]",
        // Data of a binary packet
        "51-",
        "51-[]",
        "51-{}",
        "61-",
        "61-{}",
        // Placeholders
        "51-[\"a\",{\"_placeholder\":true,\"num\":1}]",
        "51-[\"a\",{\"_placeholder\":true,\"num\":-1}]",
        "51-[\"a\",{\"_placeholder\":true,\"num\":\"0\"}]",
        "51-[\"a\",{\"_placeholder\":true}]",
        "61-1[[{\"a\":{\"_placeholder\":true,\"num\":0.5}}]]",
    ] {
        let result = decoded(text);
        assert!(result.is_err(), "{text:?} became {result:?}");
    }
}

#[test]
fn the_name_of_the_error() {
    use ParseError as E;
    assert!(matches!(decoded("8"), Err(E::Type)));
    assert!(matches!(decoded("50-[]"), Err(E::Attachments)));
    assert!(matches!(decoded("511-[]"), Err(E::TooManyAttachments(10))));
    assert!(matches!(decode(&"52-[\"a\"]".into(), 1), Err(E::TooManyAttachments(1))));
    assert!(matches!(decoded("299999999999999999999[\"a\"]"), Err(E::AckId)));
    assert!(matches!(decoded("2{}"), Err(E::Payload(_))));
    assert!(matches!(decoded("0[]"), Err(E::Shape(_))));
}

#[test]
fn nesting_is_limited() {
    let event = |depth: usize| {
        let depth = depth - 1;
        format!("2[\"a\",{}{}]", "[".repeat(depth), "]".repeat(depth)).into()
    };
    let deepest = decode(&event(MAX_NESTING), 10).unwrap();
    let payload = deepest.packet.payload.unwrap();
    payload.to_value().unwrap();
    payload.event_args::<crate::value::Value>().unwrap();
    // So is an event whose name contains an unpaired surrogate: nobody can listen for it, and its sender gets an answer.
    let odd = decode(&r#"27["\ud83d",1]"#.into(), 10).unwrap().packet;
    assert_eq!((odd.event_name().as_deref(), odd.id), (Some("\u{fffd}"), Some(7)));
    // Deeper ones are events too, so that their handlers can refuse them.
    for depth in [MAX_NESTING + 3, 400_000] {
        let payload = decode(&event(depth), 10).unwrap().packet.payload.unwrap();
        assert!(payload.event_args::<crate::value::Value>().is_err());
    }
    assert!(decode(&format!("2{}", "[".repeat(1_000_000)).into(), 10).is_err());
    assert!(matches!(decode(&format!("0{}", "{\"a\":".repeat(1_000)).into(), 10), Err(ParseError::Nesting)));
}

#[test]
fn decoding_copies_nothing() {
    let text = ByteString::from("2/admin,[\"a\"]");
    let packet = decode(&text, 10).unwrap().packet;
    assert_eq!(packet.nsp.as_ptr(), text[1..].as_ptr());
    assert_eq!(packet.payload.unwrap().json().as_ptr(), text[8..].as_ptr());
}

proptest! {
    #[test]
    fn decode_reverses_encode(
        kind in prop_oneof![Just(Kind::Event), Just(Kind::Ack)],
        nsp in "/[^,]{0,10}",
        id in any::<Option<u64>>(),
        name in "[a-z é\u{1f680}\"]{0,8}",
        args in prop::collection::vec(crate::value::tests::any_value(), 0..4),
    ) {
        prop_assume!(!crate::socket::packet::is_reserved(&name));
        let mut data = vec![crate::value::Value::String(name)];
        data.extend(args);
        let payload = Payload::from_value(&crate::value::Value::Array(data)).unwrap();
        let packet = Packet { kind, nsp: nsp.into(), id, payload: Some(payload) };
        let (text, attachments) = encode(&packet);
        let decoded = decode(&text, usize::MAX).unwrap();
        prop_assert_eq!(decoded.attachments, attachments.len());
        let json = decoded.packet.payload.unwrap().into_parts().0;
        prop_assert_eq!(Some(Payload::from_parts(json, attachments)), packet.payload);
        prop_assert_eq!(decoded.packet.nsp, packet.nsp);
        prop_assert_eq!(decoded.packet.id, packet.id);
    }

    #[test]
    fn any_text_is_a_packet_or_an_error(text: String, kind in 0..9_u8) {
        let _ = decode(&text.as_str().into(), 10);
        let _ = decode(&format!("{kind}{text}").into(), 10);
        let _ = decode(&format!("51-{text}").into(), 10);
        let _ = decode(&format!("{kind}/{text}").into(), 10);
    }
}
