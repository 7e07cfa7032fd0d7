use super::*;
use crate::value::Binary;
use serde::Deserialize;
use serde_json::json;

fn payload(json: &'static str) -> Payload {
    Payload::from_parts(json.into(), Vec::new())
}

fn event<T: Serialize>(args: T) -> String {
    Payload::event("e", &args).unwrap().json().to_string()
}

fn ack<T: Serialize>(args: T) -> String {
    Payload::ack(&args).unwrap().json().to_string()
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Point {
    x: i32,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Pair(i32, i32);

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Id(u64);

#[test]
fn arguments_are_written_as_json() {
    for (event, ack, expected) in [
        (event(()), ack(()), ""),
        (event("hello"), ack("hello"), r#""hello""#),
        (event(("hello",)), ack(("hello",)), r#""hello""#),
        (event(("a", 1, None::<u8>)), ack(("a", 1, None::<u8>)), r#""a",1,null"#),
        (event(vec![1, 2]), ack(vec![1, 2]), "[1,2]"),
        (event((vec![1, 2], 3)), ack((vec![1, 2], 3)), "[1,2],3"),
        (event(((1, 2),)), ack(((1, 2),)), "[1,2]"),
        (event(Point { x: 1 }), ack(Point { x: 1 }), r#"{"x":1}"#),
        (event(Pair(1, 2)), ack(Pair(1, 2)), "[1,2]"),
        (event(Id(7)), ack(Id(7)), "7"),
        (event(Some("a")), ack(Some("a")), r#""a""#),
        (event(None::<u8>), ack(None::<u8>), "null"),
        (event(json!([1])), ack(json!([1])), "[1]"),
        (event("\u{1f680}\n"), ack("\u{1f680}\n"), r#""🚀\n""#),
    ] {
        assert_eq!(ack, format!("[{expected}]"));
        let comma = if expected.is_empty() { "" } else { "," };
        assert_eq!(event, format!(r#"["e"{comma}{expected}]"#));
    }
    assert_eq!(Payload::event("a\"b", &()).unwrap().json(), r#"["a\"b"]"#);
}

/// Case 12.2: null is an argument, and only `()` is no argument.
#[test]
fn null_is_an_argument() {
    assert_eq!((event(Value::Null), ack(Value::Null)), (r#"["e",null]"#.into(), "[null]".into()));
    assert_eq!((event(json!(null)), ack(json!(null))), (r#"["e",null]"#.into(), "[null]".into()));
    assert_eq!(ack((Value::Null, json!(null))), "[null,null]");
    assert_eq!(ack(crate::SocketData::default()), "[null]");
    assert_eq!((event(()), ack(())), (r#"["e"]"#.into(), "[]".into()));
}

#[test]
fn binary_arguments_become_attachments() {
    let payload = Payload::event("e", &(Binary::from("a"), vec![Binary::from("b")])).unwrap();
    assert_eq!(payload.json(), r#"["e",{"_placeholder":true,"num":0},[{"_placeholder":true,"num":1}]]"#);
    assert_eq!(payload.attachments(), ["a", "b"]);
    assert_eq!(payload.len(), payload.json().len() + 2);
    let single = Payload::ack(&Binary::from("a")).unwrap();
    assert_eq!(single.json(), r#"[{"_placeholder":true,"num":0}]"#);
}

#[test]
fn values_that_fail_to_serialize() {
    struct Broken;

    impl Serialize for Broken {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("broken"))
        }
    }

    for error in [Payload::event("e", &Broken).unwrap_err(), Payload::ack(&(1, Broken)).unwrap_err()] {
        assert_eq!(error.to_string(), "broken");
    }
}

#[test]
fn arguments_are_read_as_types() {
    let three = payload(r#"["e","a",2,{"x":3}]"#);
    assert_eq!(three.event_args::<()>().unwrap(), ());
    assert_eq!(three.event_args::<String>().unwrap(), "a");
    assert_eq!(three.event_args::<(String,)>().unwrap(), ("a".into(),));
    assert_eq!(three.event_args::<(String, u8)>().unwrap(), ("a".into(), 2));
    let all = three.event_args::<(String, u8, Point)>().unwrap();
    assert_eq!(all, ("a".into(), 2, Point { x: 3 }));
    // More than came: absent, for those who can do without.
    let more = three.event_args::<(Value, Value, Value, Option<u8>)>().unwrap();
    assert_eq!(more.3, None);
    let error = three.event_args::<(Value, Value, Value, u8)>().unwrap_err();
    assert!(error.to_string().contains("missing"), "{error}");
    three.event_args::<u8>().unwrap_err();
    three.event_args::<(u8, u8)>().unwrap_err();

    let none = payload(r#"["e"]"#);
    assert_eq!(none.event_args::<()>().unwrap(), ());
    assert_eq!(none.event_args::<Option<u8>>().unwrap(), None);
    assert_eq!(none.event_args::<(Option<u8>, Option<u8>)>().unwrap(), (None, None));
    none.event_args::<u8>().unwrap_err();
    none.event_args::<Point>().unwrap_err();
    none.event_args::<Value>().unwrap_err();

    assert_eq!(payload("[7]").ack_args::<Id>().unwrap(), Id(7));
    assert_eq!(payload("[[1,2]]").ack_args::<Pair>().unwrap(), Pair(1, 2));
    assert_eq!(payload("[[1,2]]").ack_args::<Vec<u8>>().unwrap(), [1, 2]);
    assert_eq!(payload("[null]").ack_args::<Option<u8>>().unwrap(), None);
    assert_eq!(payload("[1, 2]").ack_args::<(u8, u8)>().unwrap(), (1, 2));
    let nested = payload(r#"[{"x":1}]"#).ack_args::<Option<Point>>().unwrap();
    assert_eq!(nested, Some(Point { x: 1 }));
}

#[test]
fn attachments_are_read_as_binary() {
    let sent = Payload::event("e", &("a", Binary::from("b"), Some(Binary::from("c")))).unwrap();
    let (text, binary, option) = sent.event_args::<(String, Binary, Option<Binary>)>().unwrap();
    assert_eq!(text, "a");
    assert_eq!((&binary[..], option.as_deref()), (&b"b"[..], Some(&b"c"[..])));
    assert_eq!(sent.event_args::<String>().unwrap(), "a");
    sent.event_args::<(String, u8)>().unwrap_err();
    let ack = Payload::ack(&Binary::from("b")).unwrap();
    assert_eq!(ack.ack_args::<Binary>().unwrap(), Binary::from("b"));
    // A string where a buffer belongs is a client's mistake.
    payload(r#"["e","abc"]"#).event_args::<Binary>().unwrap_err();
}

#[test]
fn the_first_argument_is_the_event_name() {
    for (json, name) in [
        (r#"["chat message",1]"#, Some("chat message")),
        (r#" [ "a" ] "#, Some("a")),
        (r#"["\u00e9\n"]"#, Some("é\n")),
        ("[1,2]", Some("1")),
        ("[-1]", Some("-1")),
        ("[1.5]", Some("1.5")),
        ("[1.0]", Some("1")),
        ("[]", None),
        ("{}", None),
        ("", None),
        ("[null]", None),
        ("[[]]", None),
    ] {
        assert_eq!(payload(json).event_name().as_deref(), name, "{json}");
    }
    // The common name is not copied.
    assert!(matches!(payload(r#"["a"]"#).event_name(), Some(Cow::Borrowed("a"))));
    let ack = Packet::ack("/".into(), 1, payload(r#"["a"]"#));
    assert_eq!(ack.event_name(), None);
}

#[test]
fn one_more_string() {
    for (json, expected) in [
        (r#"["foo",1]"#, r#"["foo",1,"Q83zPpi"]"#),
        (r#"["foo"]"#, r#"["foo","Q83zPpi"]"#),
        ("[\"foo\",[1]]\n ", r#"["foo",[1],"Q83zPpi"]"#),
        ("[ ]", r#"[ "Q83zPpi"]"#),
        ("{}", "{}"),
    ] {
        assert_eq!(payload(json).with_string_arg("Q83zPpi").json(), expected);
    }
    let quoted = payload(r#"["foo"]"#).with_string_arg("\"\u{1f680}\\");
    assert_eq!(quoted.json(), r#"["foo","\"🚀\\"]"#);
    let binary = Payload::event("e", &Binary::from("b")).unwrap().with_string_arg("x");
    assert_eq!(binary.event_args::<(Binary, String)>().unwrap(), (Binary::from("b"), "x".into()));
}

#[test]
fn a_payload_is_read_and_written_as_one_value() {
    let auth = Payload::plain(&json!({"token": "a"})).unwrap();
    assert_eq!(auth.json(), r#"{"token":"a"}"#);
    assert_eq!(auth.read::<serde_json::Value>().unwrap(), json!({"token": "a"}));
    let event = Payload::event("e", &Binary::from("b")).unwrap();
    let (name, binary) = event.read::<(String, Binary)>().unwrap();
    assert_eq!((name.as_str(), binary), ("e", Binary::from("b")));
    let again = Payload::from_value(&event.to_value().unwrap()).unwrap();
    assert_eq!(again, event);
}
