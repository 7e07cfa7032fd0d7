use std::collections::{BTreeMap, HashMap};

use super::*;
use proptest::prelude::*;
use serde_json::json;

fn bytes(bytes: &'static [u8]) -> Bytes {
    Bytes::from_static(bytes)
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Upload {
    name: String,
    content: Binary,
    parts: Vec<Binary>,
    note: Option<String>,
}

fn upload() -> Upload {
    Upload {
        name: "a".into(),
        content: bytes(b"\x00\xff").into(),
        parts: vec![bytes(b"").into(), bytes(b"b").into()],
        note: None,
    }
}

#[test]
fn bytes_become_placeholders() {
    let (json, attachments) = json::write(&upload()).unwrap();
    assert_eq!(
        json,
        r#"{"name":"a","content":{"_placeholder":true,"num":0},"parts":[{"_placeholder":true,"num":1},{"_placeholder":true,"num":2}],"note":null}"#
    );
    assert_eq!(attachments, [bytes(b"\x00\xff"), bytes(b""), bytes(b"b")]);
    let value = json::parse(&json, &attachments).unwrap();
    assert_eq!(value.get("content").unwrap().as_bytes(), Some(&attachments[0]));
    assert!(value.has_binary());
    assert_eq!(from_value::<Upload>(value).unwrap(), upload());
    assert_eq!(from_value::<Upload>(to_value(&upload()).unwrap()).unwrap(), upload());
}

#[test]
fn placeholders_become_attachments_at_any_depth() {
    let attachments = [bytes(b"zero"), bytes(b"one")];
    for (json, value) in [
        (r#"{"num":1,"_placeholder":true}"#, Value::Binary(bytes(b"one"))),
        (r#"{"_placeholder":true,"num":0,"more":[]}"#, Value::Binary(bytes(b"zero"))),
        (r#"{"\u005fplaceholder":true,"n\u0075m":0}"#, Value::Binary(bytes(b"zero"))),
        // An attachment that nothing names is left out, as by the official parser.
        ("[]", Value::Array(vec![])),
        // The last of equal keys counts.
        (r#"{"_placeholder":true,"num":7,"num":0}"#, Value::Binary(bytes(b"zero"))),
        (r#"{"_placeholder":true,"_placeholder":0}"#, json!({"_placeholder": 0}).into()),
        (r#"{"_placeholder":false,"num":0}"#, json!({"_placeholder": false, "num": 0}).into()),
        (r#"{"_placeholder":1,"num":0}"#, json!({"_placeholder": 1, "num": 0}).into()),
        (r#"{"_placeholder":"true"}"#, json!({"_placeholder": "true"}).into()),
    ] {
        assert_eq!(json::parse(json, &attachments).unwrap(), value, "{json}");
        json::check(json, attachments.len()).unwrap();
    }
}

/// A packet of 64 kB has space for a thousand placeholders. If all could name one attachment of 30 kB, its data would have 30 MB.
#[test]
fn no_attachment_has_two_placeholders() {
    for (json, attachments) in [
        (r#"[{"_placeholder":true,"num":0},{"_placeholder":true,"num":0}]"#, 1),
        (r#"[{"_placeholder":true,"num":1},{"_placeholder":true,"num":1}]"#, 2),
        (r#"{"a":{"_placeholder":true,"num":0},"_placeholder":true,"num":0}"#, 1),
    ] {
        assert!(json::check(json, attachments).is_err(), "{json}");
        assert!(json::parse(json, &vec![bytes(b"x"); attachments]).is_err(), "{json}");
    }
    json::check(r#"[{"_placeholder":true,"num":1},[{"a":{"_placeholder":true,"num":0}}]]"#, 2).unwrap();
}

#[test]
fn placeholders_that_name_nothing() {
    for json in [
        r#"{"_placeholder":true}"#,
        r#"{"_placeholder":true,"num":2}"#,
        r#"{"_placeholder":true,"num":-1}"#,
        r#"{"_placeholder":true,"num":0.5}"#,
        r#"{"_placeholder":true,"num":"0"}"#,
        r#"{"_placeholder":true,"num":null}"#,
        r#"{"_placeholder":true,"num":true}"#,
        r#"{"_placeholder":true,"num":[0]}"#,
        r#"{"_placeholder":true,"num":18446744073709551615}"#,
        r#"{"_placeholder":true,"num":1e400}"#,
        r#"[[{"a":{"_placeholder":true,"num":9}}]]"#,
        r#"{"_placeholder":true,"num":{"_placeholder":true,"num":0}}"#,
    ] {
        let attachments = [bytes(b"zero"), bytes(b"one")];
        assert!(json::parse(json, &attachments).is_err(), "{json}");
        assert!(json::check(json, 2).is_err(), "{json}");
    }
}

#[test]
fn without_attachments_nothing_is_a_placeholder() {
    let json = r#"{"_placeholder":true,"num":0}"#;
    let value = json::parse(json, &[]).unwrap();
    assert_eq!(value, json!({"_placeholder": true, "num": 0}).into());
}

#[test]
fn into_plain_json() {
    let value = to_value(&upload()).unwrap();
    assert_eq!(
        value.into_plain(),
        json!({"name": "a", "content": {"base64": "AP8="}, "parts": [{"base64": ""}, {"base64": "Yg=="}], "note": null})
    );
}

#[test]
fn numbers_keep_their_digits() {
    for number in [
        "0",
        "-1",
        "9007199254740993",
        "18446744073709551615",
        "-9223372036854775808",
        "0.1",
        "1.7976931348623157e308",
        "5e-324",
        "123456789.12345679",
    ] {
        let json = format!("[{number},{{\"_placeholder\":true,\"num\":0}}]");
        let value = json::parse(&json, &[Bytes::new()]).unwrap();
        let expected: serde_json::Number = serde_json::from_str(number).unwrap();
        assert_eq!(value.as_array().unwrap()[0], Value::Number(expected), "{number}");
        let (again, _) = json::write(&value).unwrap();
        assert_eq!(json::parse(&again, &[Bytes::new()]).unwrap(), value, "{number}");
    }
    assert!(json::parse("[1e400]", &[Bytes::new()]).is_err());
    assert_eq!(Value::from(f64::NAN), Value::Null);
    assert_eq!(to_value(&f64::INFINITY).unwrap(), Value::Null);
}

#[test]
fn a_string_is_no_buffer() {
    let error = serde_json::from_str::<Binary>(r#""abc""#).unwrap_err();
    assert!(error.to_string().contains("binary data"), "{error}");
    assert!(from_value::<Binary>("abc".into()).is_err());
    assert!(from_value::<String>(bytes(b"abc").into()).is_ok_and(|text| text == "abc"));
    // The array that serde_json writes for bytes round-trips, too.
    let json = serde_json::to_string(&Binary(bytes(b"ab"))).unwrap();
    assert_eq!(json, "[97,98]");
    assert_eq!(serde_json::from_str::<Binary>(&json).unwrap(), Binary(bytes(b"ab")));
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Shape {
    Unit,
    Newtype(Binary),
    Tuple(u8, Binary),
    Struct { content: Binary },
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type")]
enum Tagged {
    File { content: Binary },
    Text { content: String },
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Either {
    Bytes(Binary),
    Text(String),
}

/// Each shape of serde's data model, with bytes beside it so that it passes through [`Value`].
#[test]
fn any_type_passes_through() {
    #[track_caller]
    fn check<T: Serialize + DeserializeOwned + PartialEq + fmt::Debug>(data: T) {
        let pair = (data, Binary(bytes(b"x")));
        let value = to_value(&pair).unwrap();
        assert!(value.has_binary());
        assert_eq!(from_value::<(T, Binary)>(value).unwrap(), pair);
    }
    check(());
    check(true);
    check((-128_i8, 255_u8, u64::MAX, i64::MIN, 0.5_f32, 0.1_f64));
    check('é');
    check(String::from("\u{1f680}\0"));
    check(Some(5));
    check(None::<u8>);
    check(vec![Some(Binary(bytes(b"y"))), None]);
    check(HashMap::from([(5_u16, "a".to_owned()), (7, "b".to_owned())]));
    check(BTreeMap::from([(-5_i64, Binary(bytes(b"y")))]));
    check(BTreeMap::from([("key".to_owned(), (1, 2))]));
    check(vec![
        Shape::Unit,
        Shape::Newtype(bytes(b"a").into()),
        Shape::Tuple(1, bytes(b"b").into()),
        Shape::Struct { content: bytes(b"c").into() },
    ]);
    check(vec![Tagged::File { content: bytes(b"a").into() }, Tagged::Text { content: "a".into() }]);
    check(vec![Either::Bytes(bytes(b"a").into()), Either::Text("a".into())]);
    check(upload());
}

#[test]
fn values_of_the_wrong_shape() {
    assert!(from_value::<u8>(Value::from(256_u64)).is_err());
    assert!(from_value::<(u8, u8)>(json!([1, 2, 3]).into()).is_err());
    assert!(from_value::<Shape>(json!({"Unit": null, "Newtype": 1}).into()).is_err());
    assert!(from_value::<Shape>(json!(5).into()).is_err());
    assert!(from_value::<HashMap<u8, u8>>(json!({"x": 1}).into()).is_err());
    assert!(from_value::<Upload>(json!({"name": "a"}).into()).is_err());
}

#[test]
fn members_keep_their_order() {
    let json = r#"{"z":1,"a":{"y":2,"b":3},"0":4}"#;
    let (again, _) = json::write(&json::parse(json, &[]).unwrap()).unwrap();
    assert_eq!(again, json);
}

fn nested(depth: usize) -> String {
    format!("{}{}", "[".repeat(depth), "]".repeat(depth))
}

#[test]
fn nesting_is_bounded() {
    let deepest = nested(MAX_NESTING);
    assert!(json::is_shallow(&deepest));
    json::parse(&deepest, &[]).unwrap();
    let too_deep = nested(MAX_NESTING + 1);
    assert!(!json::is_shallow(&too_deep));
    json::parse(&too_deep, &[]).unwrap_err();
    // With attachments too, a packet is checked at any depth; the reader of the data limits the depth.
    let with_attachment = |depth| format!(r#"[{},{{"_placeholder":true,"num":0}}]"#, nested(depth));
    json::parse(&with_attachment(MAX_NESTING - 1), &[Bytes::new()]).unwrap();
    json::parse(&with_attachment(MAX_NESTING), &[Bytes::new()]).unwrap_err();
    json::check(&with_attachment(400_000), 1).unwrap();
    // Brackets in strings are text; siblings do not add up.
    assert!(json::is_shallow(&format!(r#"["{}\"{}"]"#, nested(500), "{".repeat(500))));
    assert!(json::is_shallow(&vec![nested(100); 100].join(",")));
    assert!(!json::is_shallow(&"[".repeat(1_000_000)));
}

#[test]
fn lone_surrogates_are_no_text() {
    assert!(json::parse(r#"["\ud800"]"#, &[]).is_err());
    assert_eq!(json::parse(r#"["\ud83d\ude80"]"#, &[]).unwrap(), json!(["\u{1f680}"]).into());
}

/// Any value, except one that looks like a placeholder: the two cannot be distinguished.
pub(crate) fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::String),
        any::<Vec<u8>>().prop_map(|bytes| Value::Binary(bytes.into())),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
            prop::collection::hash_map("[a-z\\PC]{0,5}", inner, 0..5)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn parse_reverses_write(value in any_value()) {
        let (json, attachments) = json::write(&value).unwrap();
        prop_assert_eq!(attachments.is_empty(), !value.has_binary());
        prop_assert!(json::check(&json, attachments.len()).is_ok());
        prop_assert_eq!(json::parse(&json, &attachments).unwrap(), value);
    }

    #[test]
    fn a_value_is_its_own_type(value in any_value()) {
        prop_assert_eq!(&from_value::<Value>(value.clone()).unwrap(), &value);
        prop_assert_eq!(to_value(&value).unwrap(), value);
    }

    #[test]
    fn check_and_parse_agree(json in r#"(\[|\]|\{|\}|,|:|"_placeholder"|"num"|true|0|1|2|"a"){0,12}"#, attachments in 1..3_usize) {
        let list = vec![Bytes::new(); attachments];
        prop_assert_eq!(json::check(&json, attachments).is_ok(), json::parse(&json, &list).is_ok());
    }
}
