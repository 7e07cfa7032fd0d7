use proptest::prelude::*;

use super::*;

fn strict(text: &str) -> Result<String, PayloadError> {
    compact(text, Values::Portable).map(Into::into)
}

fn nested(depth: usize) -> String {
    format!("{}{}", "[".repeat(depth), "]".repeat(depth))
}

/// Case 3.1: JSON that some reader cannot represent is rejected with a code; from a log it is still accepted as JSON.
#[test]
fn values_that_some_reader_cannot_represent_are_refused() {
    let too_deep = nested(MAX_DEPTH + 1);
    let long = "9".repeat(310);
    for (text, error) in [
        ("1e400", PayloadError::NumberOutOfRange),
        ("-1e400", PayloadError::NumberOutOfRange),
        ("[0,{\"a\":1.8e308}]", PayloadError::NumberOutOfRange),
        (&long, PayloadError::NumberOutOfRange),
        ("\"\\ud83d\"", PayloadError::LoneSurrogate),
        ("{\"delta\":\"\\ud83d\"}", PayloadError::LoneSurrogate),
        ("[\"\\udc00\"]", PayloadError::LoneSurrogate),
        ("{\"\\ud83d\":1}", PayloadError::LoneSurrogate),
        ("\"\\ud83d\\ud83d\"", PayloadError::LoneSurrogate),
        ("\"\\ud83d\\u0041\"", PayloadError::LoneSurrogate),
        ("\"\\ud83d\\n\"", PayloadError::LoneSurrogate),
        ("\"\\udc00\\ud83d\"", PayloadError::LoneSurrogate),
        (&too_deep, PayloadError::TooDeep),
        (&nested(140), PayloadError::TooDeep),
        (&"{\"a\":".repeat(101), PayloadError::TooDeep),
    ] {
        assert_eq!(strict(text), Err(error), "{text}");
        if !text.starts_with("{\"a\":{") {
            assert_eq!(compact(text, Values::Any).as_deref(), Ok(text));
        }
    }
}

#[test]
fn all_other_values_pass_as_they_were_sent() {
    for text in [
        "1",
        "-0",
        "-0.0",
        "1.50",
        "12345678901234567890",
        "1e308",
        "1.7976931348623157e308",
        "0e999999999999",
        "1e-400",
        "5e-324",
        "1E+2",
        &"9".repeat(308),
        &format!("0.{}1", "0".repeat(2_000)),
        "\"\\u0000\"",
        "\"\u{2028}\\u2028\"",
        "\"\\ud83d\\ude00\"",
        "\"\\uD83D\\uDE00\"",
        "{\"a\":1,\"a\":2}",
        "{\"\":{}}",
        "[[],{},[{}],\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"]",
        &nested(MAX_DEPTH),
        "\"时间:1 with spaces\"",
        "[true,false,null]",
    ] {
        assert_eq!(strict(text).as_deref(), Ok(text));
    }
}

#[test]
fn white_space_between_tokens_is_removed() {
    let spaced = " \t\r\n{ \"a b\" : [ 1 , \" \" , { } , [ ] ] ,\n\"c\" : true } \n";
    assert_eq!(strict(spaced).as_deref(), Ok("{\"a b\":[1,\" \",{},[]],\"c\":true}"));
    assert_eq!(strict(" 1").as_deref(), Ok("1"));
    assert_eq!(strict("1 ").as_deref(), Ok("1"));
}

#[test]
fn invalid_json_is_rejected_with_its_position() {
    for text in [
        "",
        " ",
        "{",
        "[",
        "\"",
        "nul",
        "nulll",
        "1 2",
        "'a'",
        "{a:1}",
        "[1,]",
        "[,1]",
        "[1 2]",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{1:2}",
        "[1}",
        "{\"a\":1]",
        "]",
        "\"a\nb\"",
        "\"a\u{1}\"",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\ud83d\\u1\"",
        "\"\\",
        "NaN",
        "Infinity",
        "01",
        "-",
        "1.",
        ".5",
        "1e",
        "1e+",
        "+1",
        "0x1",
        "\u{b}1",
        "\u{a0}1",
    ] {
        assert!(matches!(strict(text), Err(PayloadError::Json(_))), "{text:?}: {:?}", strict(text));
        assert!(compact(text, Values::Any).is_err(), "{text:?}");
    }
    for (text, message) in [
        ("{\"a\": 1,\n \"b\" 2}", "expected `:` at line 2 column 6, found `2`"),
        ("", "expected a value at line 1 column 1, found the end of the text"),
        ("{'a': 1}", "expected a key in double quotes at line 1 column 2, found `'`"),
        ("[\"时间\" x", "expected `,` or `]` at line 1 column 7, found `x`"),
    ] {
        assert_eq!(strict(text), Err(PayloadError::Json(message.to_owned())));
    }
    assert_eq!(strict("\u{feff}1"), Err(PayloadError::ByteOrderMark));
}

#[test]
fn depth_costs_no_stack() {
    let deep = nested(500_000);
    assert_eq!(strict(&deep), Err(PayloadError::TooDeep));
    assert_eq!(compact(&deep, Values::Any).map(|json| json.len()), Ok(deep.len()));
}

#[test]
fn the_end_of_plain_bytes_is_found_at_every_offset() {
    for length in 0..40 {
        for byte in [b'"', b'\\', b'\n', 0, 0x1f] {
            for after in [b'x', b'"', 0x1f, 0x80, 0xff] {
                let mut bytes = vec![0xe4_u8; length];
                bytes.push(byte);
                bytes.resize(length + 9, after);
                assert_eq!(plain_bytes(&bytes), length, "{byte} {after}");
            }
        }
        let plain = vec![b' '; length];
        assert_eq!(plain_bytes(&plain), length);
    }
}

/// Text that is nearly JSON.
fn near_json() -> impl Strategy<Value = String> {
    let token = prop_oneof![
        Just("{"),
        Just("}"),
        Just("["),
        Just("]"),
        Just(","),
        Just(":"),
        Just(" "),
        Just("\n"),
        Just("1"),
        Just("-0"),
        Just("1e9"),
        Just("0.5"),
        Just("1e400"),
        Just("\"a\""),
        Just("\"\\u00e4\""),
        Just("\"\\ud83d\""),
        Just("\"\""),
        Just("true"),
        Just("null"),
        Just("\"a\":"),
        Just("\"\\\\\"")
    ];
    proptest::collection::vec(token, 0..14).prop_map(|tokens| tokens.concat())
}

proptest! {
    /// The grammar is serde_json's, which accepts the three kinds of values too where it builds nothing of them.
    #[test]
    fn the_grammar_is_that_of_serde_json(text in near_json()) {
        let theirs = serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok();
        prop_assert_eq!(compact(&text, Values::Any).is_ok(), theirs, "{}", text);
        if let Ok(json) = compact(&text, Values::Portable) {
            prop_assert!(serde_json::from_str::<serde_json::Value>(&json).is_ok(), "{}", json);
        }
    }
}
