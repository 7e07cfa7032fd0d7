//! The members of a JSON object that a client sends, each read by its own method, with errors that name the member and its type.
//!
//! Values stay JSON text, so that numbers, duplicate keys and escapes are unchanged where they are only passed on.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

/// Maximum number of members of an object that are kept; no object that is accepted has as many.
const MAX_MEMBERS: usize = 16;
/// Maximum number of characters of a client's text that an error repeats.
const MAX_SHOWN: usize = 64;

/// The members of an object.
#[derive(Debug)]
pub struct Fields<'a> {
    members: Vec<(Cow<'a, str>, &'a RawValue)>,
    shape: &'static str,
}

/// What is wrong, and which form is accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}; {shape}")]
pub struct FieldError {
    what: String,
    shape: &'static str,
}

impl<'a> Fields<'a> {
    /// No members: for an object that was not sent.
    #[must_use]
    pub fn none(shape: &'static str) -> Self {
        Self { members: Vec::new(), shape }
    }

    /// The members of `json`, which is valid JSON and is called `subject` in errors. `shape` describes the accepted form in each error: an
    /// object with some of the members `known`.
    ///
    /// # Errors
    /// When it is not an object, or has an unknown member or a duplicate one.
    pub fn of(subject: &str, json: &'a str, shape: &'static str, known: &[&str]) -> Result<Self, FieldError> {
        let fields = Self::any(subject, json, shape)?;
        fields.require_known(known)?;
        Ok(fields)
    }

    /// As [`of`](Self::of), with any members.
    ///
    /// # Errors
    /// When it is not an object.
    pub fn any(subject: &str, json: &'a str, shape: &'static str) -> Result<Self, FieldError> {
        let none = Self::none(shape);
        if !json.trim_ascii_start().starts_with('{') {
            return Err(none.error(format!("{subject} is {}, not an object", kind(json))));
        }
        match serde_json::from_str(json) {
            Ok(Members(members)) => Ok(Self { members, shape }),
            Err(_) => Err(none.error("a key is not valid Unicode".to_owned())),
        }
    }

    /// Checks that all members are among `known`, each once.
    ///
    /// # Errors
    /// The first one that is not.
    pub fn require_known(&self, known: &[&str]) -> Result<(), FieldError> {
        for (at, (name, _)) in self.members.iter().enumerate() {
            if !known.contains(&&**name) {
                let name: String = name.chars().take(MAX_SHOWN).collect();
                return Err(self.error(format!("unknown field `{name}`")));
            }
            if self.members[..at].iter().any(|(other, _)| other == name) {
                return Err(self.error(format!("`{name}` occurs twice")));
            }
        }
        Ok(())
    }

    /// The JSON text of a member; absent if it is `null`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&'a str> {
        self.raw(name).filter(|given| *given != "null")
    }

    /// The JSON text of a member, `null` too.
    #[must_use]
    pub fn raw(&self, name: &str) -> Option<&'a str> {
        self.members.iter().find_map(|(known, value)| (known == name).then(|| value.get()))
    }

    /// A member that is a string; `what` describes it.
    ///
    /// # Errors
    /// When it has another type.
    pub fn text(&self, name: &str, what: &str) -> Result<Option<Cow<'a, str>>, FieldError> {
        let Some(given) = self.get(name) else { return Ok(None) };
        text(given).map(Some).ok_or_else(|| self.bad(name, what, given))
    }

    /// A required member that is a list of strings; `what` describes it.
    ///
    /// # Errors
    /// When it is missing or has another type.
    pub fn texts(&self, name: &str, what: &str) -> Result<Vec<String>, FieldError> {
        let given = self.get(name).ok_or_else(|| self.missing(name))?;
        serde_json::from_str(given).map_err(|_| self.bad(name, what, given))
    }

    /// A member that is a number without sign or fraction.
    ///
    /// # Errors
    /// When it has another type.
    pub fn number(&self, name: &str) -> Result<Option<u64>, FieldError> {
        let Some(given) = self.get(name) else { return Ok(None) };
        given.parse().map(Some).map_err(|_| self.bad(name, "a whole number", given))
    }

    /// The error for a required member that is missing.
    #[must_use]
    pub fn missing(&self, name: &str) -> FieldError {
        self.error(format!("`{name}` is missing"))
    }

    fn bad(&self, name: &str, what: &str, given: &str) -> FieldError {
        self.error(format!("`{name}` is {what}, not {}", kind(given)))
    }

    fn error(&self, what: String) -> FieldError {
        FieldError { what, shape: self.shape }
    }
}

/// A string, borrowed where it has no escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// A JSON string as text; `None` if it is not one, or has an unpaired surrogate.
#[must_use]
pub fn text(json: &str) -> Option<Cow<'_, str>> {
    serde_json::from_str::<Text<'_>>(json).ok().map(|text| text.0)
}

/// The type of a JSON text, in the terms of JSON.
fn kind(json: &str) -> &'static str {
    match json.trim_ascii_start().bytes().next() {
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

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct All;

        impl<'de> Visitor<'de> for All {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((Text(name), value)) = map.next_entry()? {
                    // No accepted object has that many, so it is rejected, whatever they are.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_member_and_its_type() {
        const SHAPE: &str = "{channels: [name, …], since?: cursor}";
        let read = |json: &'static str| {
            let fields = Fields::of("`subscribe`", json, SHAPE, &["channels", "since", "limit"])?;
            let channels = fields.texts("channels", "a list of channel names")?;
            Ok((channels, fields.text("since", "a cursor")?.map(Cow::into_owned), fields.number("limit")?))
        };
        for (json, said) in [
            (r#""public.news""#, "`subscribe` is a string, not an object"),
            ("null", "`subscribe` is null, not an object"),
            (" [1]", "`subscribe` is a list, not an object"),
            ("{}", "`channels` is missing"),
            (r#"{"channels":null}"#, "`channels` is missing"),
            (r#"{"channels":"a"}"#, "`channels` is a list of channel names, not a string"),
            (r#"{"channels":[],"since":5}"#, "`since` is a cursor, not a number"),
            (r#"{"channels":[],"limit":-1}"#, "`limit` is a whole number, not a number"),
            (r#"{"sinc":"5-0"}"#, "unknown field `sinc`"),
            (r#"{"channels":[],"channels":[]}"#, "`channels` occurs twice"),
            (r#"{"\ud83d":1}"#, "a key is not valid Unicode"),
        ] {
            let error: FieldError = read(json).unwrap_err();
            assert_eq!(error.to_string(), format!("{said}; {SHAPE}"), "{json}");
        }
        let all = read(r#" {"channels":["a"],"since":"\u0035-0","limit":7}"#);
        assert_eq!(all, Ok((vec!["a".to_owned()], Some("5-0".to_owned()), Some(7))));
    }

    #[test]
    fn values_stay_as_they_were_sent() {
        let fields = Fields::any("it", r#"{"a":{"x":1,"x":1e400},"b":null,"a":2}"#, "").unwrap();
        assert!(fields.require_known(&["a", "b"]).is_err_and(|error| error.to_string() == "`a` occurs twice; "));
        assert_eq!((fields.get("a"), fields.get("b")), (Some(r#"{"x":1,"x":1e400}"#), None));
        assert_eq!((fields.raw("b"), fields.raw("c")), (Some("null"), None));
    }
}
