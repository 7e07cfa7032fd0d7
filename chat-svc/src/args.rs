//! The arguments of a client's event, as the client wrote them.
//!
//! They stay JSON text: a chat message is written to the log without being decoded, so that numbers, duplicate keys and escapes are
//! unchanged.

use std::{borrow::Cow, fmt};

use bytes::Bytes;
use serde::{
    Deserializer as _,
    de::{Error as _, IgnoredAny, SeqAccess, Visitor},
};
use serde_json::value::RawValue;
use shared::pure::fields::{Fields, text};
use socketio::socket::packet::Payload;

use crate::reply::Outcome;

/// The first two arguments of an event; the chat has no event with more.
pub(crate) struct Args<'a> {
    first: Option<&'a RawValue>,
    second: Option<&'a RawValue>,
    attachments: &'a [Bytes],
}

impl<'a> Args<'a> {
    /// The arguments in the payload of an event.
    ///
    /// # Errors
    /// When the payload is not an array that begins with a name. The parser rejects such events.
    pub(crate) fn of(payload: &'a Payload) -> Result<Self, serde_json::Error> {
        let mut reader = serde_json::Deserializer::from_str(payload.json());
        let (first, second) = reader.deserialize_seq(FirstTwo)?;
        Ok(Self { first, second, attachments: payload.attachments() })
    }

    /// The JSON text of the first argument, and the attachments that it may refer to.
    pub(crate) fn first(&self) -> Option<(&'a str, &'a [Bytes])> {
        self.first.map(|first| (first.get(), self.attachments))
    }

    /// The JSON text of the second argument.
    pub(crate) fn second(&self) -> Option<&'a str> {
        self.second.map(RawValue::get)
    }

    /// The first argument, if it is a string without unpaired surrogates.
    pub(crate) fn text(&self) -> Option<Cow<'a, str>> {
        text(self.first?.get())
    }

    /// The first argument, if it is true or false.
    pub(crate) fn bool(&self) -> Option<bool> {
        self.first?.get().parse().ok()
    }
}

/// The members of the first argument, none if there is no argument. `shape` describes the accepted form in each error: an object with some
/// of the members `known`.
///
/// # Errors
/// When it is not an object, or has an unknown member or a duplicate one.
pub(crate) fn fields<'a>(args: &Args<'a>, shape: &'static str, known: &[&str]) -> Outcome<Fields<'a>> {
    match args.first.map(RawValue::get) {
        Some(given) => Ok(Fields::of("the argument", given, shape, known)?),
        None => Ok(Fields::none(shape)),
    }
}

/// Takes two items after the first, which is the name, and skips the rest.
struct FirstTwo;

impl<'de> Visitor<'de> for FirstTwo {
    type Value = (Option<&'de RawValue>, Option<&'de RawValue>);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of an event and its arguments")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        seq.next_element::<IgnoredAny>()?.ok_or_else(|| A::Error::invalid_length(0, &self))?;
        let both = (seq.next_element()?, seq.next_element()?);
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(both)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refusal::Refusal;

    #[test]
    fn arguments_stay_as_they_were_sent() {
        for (json, first, second) in [
            (r#"["e"]"#, None, None),
            (r#"["e",null]"#, Some("null"), None),
            (r#"["e",-0,"k"]"#, Some("-0"), Some(r#""k""#)),
            (r#"[7, {"a":1,"a":2} , 1e400 ,["x"],4]"#, Some(r#"{"a":1,"a":2}"#), Some("1e400")),
            (r#"["e","\ud83d"]"#, Some(r#""\ud83d""#), None),
        ] {
            let payload = Payload::from_parts(json.into(), Vec::new());
            let args = Args::of(&payload).unwrap();
            assert_eq!((args.first().map(|(json, _)| json), args.second()), (first, second), "{json}");
        }
    }

    #[test]
    fn parsing_of_texts_and_booleans() {
        for (json, text, is) in [
            (r#"["e","lobby"]"#, Some("lobby"), None),
            (r#"["e","\u00e9"]"#, Some("é"), None),
            (r#"["e","\ud83d"]"#, None, None),
            (r#"["e",true]"#, None, Some(true)),
            (r#"["e","true"]"#, Some("true"), None),
            (r#"["e",1]"#, None, None),
            (r#"["e"]"#, None, None),
        ] {
            let payload = Payload::from_parts(json.into(), Vec::new());
            let args = Args::of(&payload).unwrap();
            assert_eq!((args.text().as_deref(), args.bool()), (text, is), "{json}");
        }
    }
    /// Case 3.6: an error names the field and its type, in terms of JSON and not of Rust.
    #[test]
    fn errors_about_arguments_name_the_field() {
        const SHAPE: &str = "`e` takes one argument, {channels: [name, …], since?: cursor}";
        let read = |json: &str| {
            let payload = Payload::from_parts(format!("[\"e\"{json}]").into(), Vec::new());
            let args = Args::of(&payload).unwrap();
            let fields = fields(&args, SHAPE, &["channels", "since"])?;
            let channels = fields.texts("channels", "a list of channel names")?;
            Ok((channels, fields.text("since", "a cursor")?.map(Cow::into_owned)))
        };
        for (json, said) in [
            ("", "`channels` is missing; "),
            (r#","public.news""#, "the argument is a string, not an object; "),
            (r#",[["a"]]"#, "the argument is a list, not an object; "),
            (",null", "the argument is null, not an object; "),
            (",{}", "`channels` is missing; "),
            (r#",{"channels":"a"}"#, "`channels` is a list of channel names, not a string; "),
            (r#",{"channels":["a",1]}"#, "`channels` is a list of channel names, not a list; "),
            (r#",{"channels":["a"],"since":5}"#, "`since` is a cursor, not a number; "),
            (r#",{"channels":["a"],"sinc":"5-0"}"#, "unknown field `sinc`; "),
            (r#",{"channels":["a"],"channels":["b"]}"#, "`channels` occurs twice; "),
            (r#",{"\ud83d":1}"#, "a key is not valid Unicode; "),
        ] {
            let refusal: Refusal = read(json).unwrap_err();
            assert_eq!(refusal.code(), "bad_arguments");
            assert_eq!(refusal.message(), format!("{said}{SHAPE}"), "{json}");
        }
        let error = |json| read(json).map_err(|refusal: Refusal| refusal.message().to_owned());
        assert_eq!(error(r#",{"channels":["a"]}"#), Ok((vec!["a".to_owned()], None)));
        assert_eq!(error(r#",{"channels":["a"],"since":null}"#), Ok((vec!["a".to_owned()], None)));
        assert_eq!(error(r#",{"since":"5-0","channels":["a"]}"#), Ok((vec!["a".to_owned()], Some("5-0".to_owned()))));
        let many = format!(",{{{}}}", (0..1_000).map(|n| format!("\"{n}\":1")).collect::<Vec<_>>().join(","));
        assert!(error(&many).is_err_and(|message| message.len() < 200));
    }
}
