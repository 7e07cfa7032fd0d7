//! The arguments of a client's event, as the client wrote them.
//!
//! They stay JSON text: a chat message is written to the log without being decoded, so that numbers, duplicate keys and escapes are
//! unchanged.

use std::{borrow::Cow, fmt};

use bytes::Bytes;
use serde::{
    Deserializer as _,
    de::{Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;
use socketio::socket::packet::Payload;

use crate::{refusal::Refusal, reply::Outcome};

/// Maximum number of members of an object that are checked; no event has as many.
const MAX_MEMBERS: usize = 16;
/// Maximum number of characters of a client's text that an error repeats.
const MAX_SHOWN: usize = 64;

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

/// A string, borrowed where it has no escapes.
#[derive(serde::Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// A JSON string as text.
pub(crate) fn text(json: &str) -> Option<Cow<'_, str>> {
    serde_json::from_str::<Text<'_>>(json).ok().map(|text| text.0)
}

/// The members of the one object that an event takes, each to be read by its own method.
pub(crate) struct Fields<'a> {
    members: Vec<(Cow<'a, str>, &'a RawValue)>,
    shape: &'static str,
}

impl<'a> Fields<'a> {
    /// The members of the first argument, none if there is no argument. `shape` describes the accepted form in each error: an object with
    /// some of the members `known`.
    ///
    /// # Errors
    /// When it is not an object, or has an unknown member or a duplicate one.
    pub(crate) fn of(args: &Args<'a>, shape: &'static str, known: &[&str]) -> Outcome<Self> {
        let bad = |what: String| Refusal::new("bad_arguments", format!("{what}; {shape}"));
        let Some(given) = args.first.map(RawValue::get) else { return Ok(Self { members: Vec::new(), shape }) };
        if !given.starts_with('{') {
            return Err(bad(format!("the argument is {}, not an object", kind(given))));
        }
        let Members(members) = serde_json::from_str(given).map_err(|_| bad("a key is not valid Unicode".to_owned()))?;
        for (at, (name, _)) in members.iter().enumerate() {
            if !known.contains(&&**name) {
                let name: String = name.chars().take(MAX_SHOWN).collect();
                return Err(bad(format!("unknown field `{name}`")));
            }
            if members[..at].iter().any(|(other, _)| other == name) {
                return Err(bad(format!("`{name}` occurs twice")));
            }
        }
        Ok(Self { members, shape })
    }

    /// The JSON text of a member; absent if it is `null`.
    fn get(&self, name: &str) -> Option<&'a str> {
        let given = self.members.iter().find_map(|(known, value)| (known == name).then(|| value.get()));
        given.filter(|given| *given != "null")
    }

    fn bad(&self, name: &str, what: &str, given: &str) -> Refusal {
        Refusal::new("bad_arguments", format!("`{name}` is {what}, not {}; {}", kind(given), self.shape))
    }

    /// A member that is a string; `what` describes it.
    ///
    /// # Errors
    /// When it has another type.
    pub(crate) fn text(&self, name: &str, what: &str) -> Outcome<Option<Cow<'a, str>>> {
        let Some(given) = self.get(name) else { return Ok(None) };
        text(given).map(Some).ok_or_else(|| self.bad(name, what, given))
    }

    /// A required member that is a list of strings; `what` describes it.
    ///
    /// # Errors
    /// When it is missing or has another type.
    pub(crate) fn texts(&self, name: &str, what: &str) -> Outcome<Vec<String>> {
        let Some(given) = self.get(name) else {
            return Err(Refusal::new("bad_arguments", format!("`{name}` is missing; {}", self.shape)));
        };
        serde_json::from_str(given).map_err(|_| self.bad(name, what, given))
    }

    /// A member that is a number without sign or fraction.
    ///
    /// # Errors
    /// When it has another type.
    pub(crate) fn number(&self, name: &str) -> Outcome<Option<u64>> {
        let Some(given) = self.get(name) else { return Ok(None) };
        given.parse().map(Some).map_err(|_| self.bad(name, "a whole number", given))
    }
}

/// The type of a JSON text, in the terms of JSON.
fn kind(json: &str) -> &'static str {
    match json.bytes().next() {
        Some(b'"') => "a string",
        Some(b'{') => "an object",
        Some(b'[') => "a list",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ => "a number",
    }
}

/// The members of an object, in order.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> serde::Deserialize<'de> for Members<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct All;

        impl<'de> Visitor<'de> for All {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((Text(name), value)) = map.next_entry()? {
                    // No event has that many arguments, so they are rejected, whatever they are.
                    if members.len() < MAX_MEMBERS {
                        members.push((name, value));
                    }
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(All)
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
            let fields = Fields::of(&args, SHAPE, &["channels", "since"])?;
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
