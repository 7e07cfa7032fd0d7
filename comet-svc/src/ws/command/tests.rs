use proptest::prelude::*;

use super::*;

/// The command in `text`: its id and its action, or the code of the error and whether the text was unreadable.
fn read(text: &str) -> (Option<String>, Result<Action, (String, bool)>) {
    let id = |id: Option<Box<RawValue>>| id.map(|id| id.get().to_owned());
    match Command::read(text) {
        Ok(command) => (id(command.id), Ok(command.action)),
        Err(CommandError { id: known, error, is_unreadable }) => {
            (id(known), Err((error.code().to_owned(), is_unreadable)))
        }
    }
}

fn names(names: &[&str]) -> Vec<ChannelName> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

#[test]
fn valid_commands_are_parsed() {
    let subscribe = |channels: &[&str], since| Action::Subscribe { channels: names(channels), since };
    let publish = |event: &str, data: &str, key: Option<&str>| {
        let payload = Payload::from_json(data.as_bytes()).unwrap();
        let draft = Draft::new("a".parse().unwrap(), payload).event(event.parse().unwrap());
        Action::Publish { draft, key: key.map(str::to_owned) }
    };
    for (text, id, action) in [
        (r#"{"subscribe":{"channels":["b","a","b"]},"id":1}"#, Some("1"), subscribe(&["b", "a"], None)),
        (r#" {"id":"x","subscribe":{"since":"earliest","channels":["a"]}} "#, Some("\"x\""), {
            subscribe(&["a"], Some(Since::Earliest))
        }),
        (r#"{"subscribe":{"channels":["a"],"since":"5-1"}}"#, None, {
            subscribe(&["a"], Some(Since::After(shared::pure::Cursor::new(5, 1))))
        }),
        (r#"{"subscribe":{"channels":["a"],"since":null},"id":null}"#, None, subscribe(&["a"], None)),
        (
            r#"{"unsubscribe":{"channels":["a"]},"id":-1.5}"#,
            Some("-1.5"),
            Action::Unsubscribe { channels: names(&["a"]) },
        ),
        (
            r#"{"publish":{"channel":"a","data":{"n":1.50}},"id":7}"#,
            Some("7"),
            publish("message", "{\"n\":1.50}", None),
        ),
        (r#"{"publish":{"channel":"a","data":null,"event":"e","key":"k"}}"#, None, publish("e", "null", Some("k"))),
    ] {
        assert_eq!(read(text), (id.map(str::to_owned), Ok(action)), "{text}");
    }
}

#[test]
fn rejected_commands_have_a_code_and_their_id() {
    let many = format!(r#"{{"subscribe":{{"channels":["a"{}]}},"id":1}}"#, ",\"a\"".repeat(MAX_CHANNELS));
    let long = format!(r#"{{"unsubscribe":{{"channels":["a"]}},"id":"{}"}}"#, "x".repeat(MAX_ID_BYTES));
    for (text, id, (code, is_unreadable)) in [
        ("", None, ("bad_json", true)),
        ("{", None, ("bad_json", true)),
        ("[]", None, ("bad_json", true)),
        ("5", None, ("bad_json", true)),
        (r#"{"\ud83d":1}"#, None, ("bad_json", true)),
        ("{}", None, ("bad_command", false)),
        (r#"{"id":1}"#, Some("1"), ("bad_command", false)),
        (r#"{"ping":{},"id":1}"#, Some("1"), ("bad_command", false)),
        (r#"{"subscribe":{"channels":["a"]},"publish":{},"id":1}"#, Some("1"), ("bad_command", false)),
        (r#"{"subscribe":{"channels":["a"]},"subscribe":{},"id":1}"#, Some("1"), ("bad_command", false)),
        (r#"{"subscribe":{"channels":["a"]},"id":[1]}"#, None, ("bad_command", false)),
        (&long, None, ("bad_command", false)),
        (r#"{"subscribe":"a","id":1}"#, Some("1"), ("bad_arguments", false)),
        (r#"{"subscribe":null,"id":1}"#, Some("1"), ("bad_arguments", false)),
        (r#"{"subscribe":{},"id":1}"#, Some("1"), ("bad_arguments", false)),
        (r#"{"subscribe":{"chanels":["a"]},"id":1}"#, Some("1"), ("bad_arguments", false)),
        (r#"{"subscribe":{"channels":[]},"id":1}"#, Some("1"), ("bad_channel", false)),
        (&many, Some("1"), ("bad_channel", false)),
        (r#"{"subscribe":{"channels":["a b"]},"id":1}"#, Some("1"), ("bad_channel", false)),
        (r#"{"subscribe":{"channels":["a"],"since":"x"},"id":1}"#, Some("1"), ("bad_cursor", false)),
        (r#"{"subscribe":{"channels":["a"],"since":5},"id":1}"#, Some("1"), ("bad_arguments", false)),
        (r#"{"unsubscribe":{"channels":["a"],"since":"5-1"},"id":1}"#, Some("1"), ("bad_arguments", false)),
        (r#"{"publish":{"data":1},"id":1}"#, Some("1"), ("bad_arguments", false)),
        (r#"{"publish":{"channel":"a"},"id":1}"#, Some("1"), ("bad_arguments", false)),
        (r#"{"publish":{"channel":"*","data":1},"id":1}"#, Some("1"), ("bad_channel", false)),
        (r#"{"publish":{"channel":"a","event":"gap","data":1},"id":1}"#, Some("1"), ("bad_event", false)),
        (r#"{"publish":{"channel":"chat.a","event":"typing","data":1},"id":1}"#, Some("1"), ("bad_event", false)),
        (r#"{"publish":{"channel":"a","data":1e400},"id":1}"#, Some("1"), ("number_out_of_range", false)),
        (r#"{"publish":{"channel":"a","data":"\ud83d"},"id":1}"#, Some("1"), ("lone_surrogate", false)),
        (r#"{"publish":{"channel":"a","data":1,"key":5},"id":1}"#, Some("1"), ("bad_arguments", false)),
    ] {
        assert_eq!(read(text), (id.map(str::to_owned), Err((code.to_owned(), is_unreadable))), "{text}");
    }
}

proptest! {
    /// Any text is a command or an error whose message is short.
    #[test]
    fn any_text_is_read_or_rejected(text in prop_oneof![
        ".{0,200}",
        "\\{\"(subscribe|unsubscribe|publish|id|x)\":(\\{\"(channels|channel|since|data)\":(\\[\"a\"\\]|\"a\"|1|null)\\}|1|\"x\"),?\\}",
    ]) {
        if let Err(CommandError { error, .. }) = Command::read(&text) {
            prop_assert!(error.to_string().len() < 700);
        }
    }
}
