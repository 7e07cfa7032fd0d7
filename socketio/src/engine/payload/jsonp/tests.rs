use super::*;
use proptest::prelude::*;

#[test]
fn a_payload_is_escaped_in_its_script() {
    for (j, payload, script) in [
        ("0", "4hello", r#"___eio[0]("4hello");"#),
        ("12", r#"4"\"#, r#"___eio[12]("4\"\\");"#),
        ("1", "\n\r\t\u{8}\u{1f}", r#"___eio[1]("\n\r\t\u0008\u001f");"#),
        ("1", "\u{2028}\u{2029}é\u{1f680}", "___eio[1](\"\\u2028\\u2029é\u{1f680}\");"),
        ("0](alert(1));//", "6", r#"___eio[01]("6");"#),
        ("", "6", r#"___eio[]("6");"#),
    ] {
        assert_eq!(wrap(j, payload), script);
    }
}

#[test]
fn a_form_is_decoded_to_its_payload() {
    for (form, payload) in [
        ("d=4hello", "4hello"),
        ("d=6%3A4hello", "6:4hello"),
        ("x=1&d=4a+b%20c&y", "4a b c"),
        ("d=%F0%9F%9A%80%e2%82%ac", "\u{1f680}€"),
        // A line feed; a backslash and an n; the same behind a backslash.
        (r"d=a%5Cnb", "a\nb"),
        (r"d=a%5C%5Cnb", r"a\nb"),
        (r"d=%5C%5C%5Cn", r"\\n"),
        (r"d=%5C", r"\"),
        (r"d=\n\\n", "\n\\n"),
        ("d=", ""),
        ("d=100%", "100%"),
        ("d=%zz%4", "%zz%4"),
        ("d=a&d=b", "a"),
    ] {
        let decoded = unwrap(form.as_bytes()).unwrap();
        assert_eq!(decoded, payload.as_bytes(), "{form}");
    }
}

#[test]
fn a_body_without_payload_is_rejected() {
    assert_eq!(unwrap(b""), Err(DecodeError::NoData));
    assert_eq!(unwrap(b"data=1&dd=2"), Err(DecodeError::NoData));
    assert_eq!(unwrap(b"d=%ff"), Err(DecodeError::Utf8));
}

proptest! {
    /// A script's string literal is JSON except for the line separators, so a JSON parser can read it.
    #[test]
    fn the_script_holds_the_payload(payload: String) {
        let script = wrap("3", &payload);
        let literal = script.strip_prefix("___eio[3](").unwrap().strip_suffix(");").unwrap();
        prop_assert_eq!(serde_json::from_str::<String>(literal).unwrap(), payload);
        let line_ends = ['\u{2028}', '\u{2029}', '\n', '\r'];
        prop_assert!(!script.contains(line_ends));
    }

    /// As a browser sends it: line feeds made visible, then a form.
    #[test]
    fn the_form_holds_the_payload(payload in r#"[a-z\\\n&=+%é€n]{0,20}"#) {
        prop_assume!(!payload.contains("\\\n"));
        let visible = payload.replace("\\n", "\\\\n").replace('\n', "\\n");
        let form: String = visible.bytes().map(|byte| format!("%{byte:02X}")).collect();
        prop_assert_eq!(unwrap(format!("d={form}").as_bytes()).unwrap(), payload.as_bytes());
    }

    #[test]
    fn any_form_is_read_or_refused(form: Vec<u8>) {
        let _ = unwrap(&form);
        let _ = unwrap(&[b"d=", &form[..]].concat());
    }
}
