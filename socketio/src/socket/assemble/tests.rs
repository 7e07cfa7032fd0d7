use super::*;

const ONE: &str = r#"51-["a",{"_placeholder":true,"num":0}]"#;
const TWO: &str = r#"52-["a",{"_placeholder":true,"num":1},{"_placeholder":true,"num":0}]"#;

fn bytes(bytes: &'static [u8]) -> Bytes {
    Bytes::from_static(bytes)
}

#[test]
fn a_text_is_a_packet() {
    let mut assembler = Assembler::default();
    let packet = assembler.text(&"2[\"a\"]".into()).unwrap().unwrap();
    assert_eq!(packet.payload.unwrap().json(), "[\"a\"]");
    assert!(!assembler.is_waiting());
}

#[test]
fn a_packet_is_complete_with_its_last_attachment() {
    let mut assembler = Assembler::default();
    // Twice, since nothing of the first may be left.
    for _ in 0..2 {
        assert_eq!(assembler.text(&TWO.into()).unwrap(), None);
        assert!(assembler.is_waiting());
        assert_eq!(assembler.binary(bytes(b"zero")).unwrap(), None);
        assert!(assembler.is_waiting());
        let packet = assembler.binary(bytes(b"one")).unwrap().unwrap();
        assert!(!assembler.is_waiting());
        assert_eq!(packet.attachments(), ["zero", "one"]);
        let payload = packet.payload.unwrap();
        let (first, second) = payload.event_args::<(crate::value::Binary, crate::value::Binary)>().unwrap();
        assert_eq!((&first[..], &second[..]), (&b"one"[..], &b"zero"[..]));
    }
}

#[test]
fn text_while_attachments_are_due() {
    for text in ["2[\"a\"]", ONE, "1", ""] {
        let mut assembler = Assembler::default();
        assembler.text(&ONE.into()).unwrap();
        let error = assembler.text(&text.into()).unwrap_err();
        assert!(matches!(error, ParseError::UnexpectedText), "{text}");
    }
}

#[test]
fn binary_without_a_packet_is_rejected() {
    let mut assembler = Assembler::default();
    let error = assembler.binary(bytes(b"x")).unwrap_err();
    assert!(matches!(error, ParseError::UnexpectedBinary));
    assembler.text(&ONE.into()).unwrap();
    assembler.binary(bytes(b"x")).unwrap().unwrap();
    let error = assembler.binary(bytes(b"x")).unwrap_err();
    assert!(matches!(error, ParseError::UnexpectedBinary));
}

#[test]
fn bad_placeholders_are_rejected_before_anything_is_stored() {
    let mut assembler = Assembler::default();
    let text = r#"51-["a",{"_placeholder":true,"num":1}]"#;
    assert!(matches!(assembler.text(&text.into()), Err(ParseError::Payload(_))));
    assert!(!assembler.is_waiting());
}

#[test]
fn attachments_and_bytes_are_limited() {
    let limits = Limits { max_attachments: 1, max_bytes: ONE.len() + 3 };
    let mut assembler = Assembler::new(limits);
    assert!(matches!(assembler.text(&"52-[\"a\"]".into()), Err(ParseError::TooManyAttachments(1))));
    assembler.text(&ONE.into()).unwrap();
    assembler.binary(bytes(b"abc")).unwrap().unwrap();
    assembler.text(&ONE.into()).unwrap();
    assert!(matches!(assembler.binary(bytes(b"abcd")), Err(ParseError::TooLarge(_))));
    let long = format!("2[\"{}\"]", "a".repeat(ONE.len()));
    assert!(matches!(assembler.text(&long.into()), Err(ParseError::TooLarge(_))));
}

#[test]
fn none_of_eleven_is_waited_for() {
    let mut assembler = Assembler::default();
    assert!(assembler.text(&r#"511-["a"]"#.into()).is_err());
    assert!(!assembler.is_waiting());
    assert!(assembler.text(&r#"510-["a"]"#.into()).unwrap().is_none());
    for _ in 0..9 {
        assert!(assembler.binary(Bytes::new()).unwrap().is_none());
    }
    assert_eq!(assembler.binary(Bytes::new()).unwrap().unwrap().attachments().len(), 10);
}
