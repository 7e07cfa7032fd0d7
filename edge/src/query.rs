//! The query string, parsed strictly: unknown parameters are errors.
//!
//! `request.uri().query()` is parsed into a [`Query`], which has its parameters by name. An unknown parameter is a 400 that names it and
//! the accepted ones, so that a typo such as `?chanel=news` does not silently select the default channel. Parameters that client libraries
//! add themselves ([`ADDED_BY_LIBRARIES`]) are ignored if a route does not use them.

use std::borrow::Cow;

use super::error::ApiError;

/// Parameters that client libraries add without their user's knowledge: jQuery's cache buster, and the cursor of polyfills of
/// `EventSource`.
pub const ADDED_BY_LIBRARIES: [&str; 2] = ["_", "lastEventId"];

/// How often a parameter may occur.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occurrence {
    /// At most once; twice is an error, since either value could be meant.
    Once,
    /// Up to this many times.
    UpTo(usize),
}

/// A parameter that a route supports.
#[derive(Clone, Copy, Debug)]
pub struct Parameter {
    /// Its name, before the `=`.
    pub name: &'static str,
    /// How often it may occur.
    pub occurrence: Occurrence,
}

impl Parameter {
    /// A parameter that may occur once.
    #[must_use]
    pub const fn once(name: &'static str) -> Self {
        Self { name, occurrence: Occurrence::Once }
    }

    /// A parameter that may be repeated, up to `most` times.
    #[must_use]
    pub const fn repeated(name: &'static str, most: usize) -> Self {
        Self { name, occurrence: Occurrence::UpTo(most) }
    }
}

/// The parameters of one request, decoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query<'a> {
    pairs: Vec<(&'static str, Cow<'a, str>)>,
}

impl<'a> Query<'a> {
    /// Parses a query string (without the `?`) in the format of forms: `name=value` separated by `&`, `%` escapes, `+` for a space (WHATWG
    /// URL §5.1). A name without `=` has the empty value; empty parts between two `&` are ignored.
    ///
    /// # Errors
    /// [`ApiError::Invalid`]: `unknown_parameter` for a name not in `accepted`, `repeated_parameter` for one that occurs
    /// too often, `bad_encoding` for a bad `%` escape or invalid UTF-8.
    pub fn read(query: &'a str, accepted: &[Parameter]) -> Result<Self, ApiError> {
        let (query, unknown) = Self::read_any(query, accepted)?;
        if unknown.is_empty() { Ok(query) } else { Err(not_accepted(&unknown, accepted)) }
    }

    /// As [`Query::read`], but unknown parameters are ignored, as a protocol of others may require.
    ///
    /// # Errors
    /// As [`Query::read`], without `unknown_parameter`.
    pub fn read_known(query: &'a str, accepted: &[Parameter]) -> Result<Self, ApiError> {
        Self::read_any(query, accepted).map(|(query, _)| query)
    }

    fn read_any(query: &'a str, accepted: &[Parameter]) -> Result<(Self, Vec<String>), ApiError> {
        let mut pairs: Vec<(&'static str, Cow<'a, str>)> = Vec::new();
        let mut unknown: Vec<String> = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = decode(name)?;
            let Some(parameter) = accepted.iter().find(|parameter| parameter.name == name) else {
                if !ADDED_BY_LIBRARIES.contains(&&*name) && unknown.len() < 8 {
                    unknown.push(shown(&name));
                }
                continue;
            };
            let value = decode(value)?;
            let seen = pairs.iter().filter(|(name, _)| *name == parameter.name).count();
            match parameter.occurrence {
                Occurrence::Once if seen == 1 => {
                    let message = format!("parameter `{}` may occur only once", parameter.name);
                    return Err(ApiError::Invalid { code: "repeated_parameter", message });
                }
                Occurrence::UpTo(most) if seen == most => {
                    let message = format!("parameter `{}` may occur at most {most} times", parameter.name);
                    return Err(ApiError::Invalid { code: "repeated_parameter", message });
                }
                _ => pairs.push((parameter.name, value)),
            }
        }
        Ok((Self { pairs }, unknown))
    }

    /// The value of a parameter; the first one if it is repeated.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// The values of a parameter, in order.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.pairs.iter().filter(move |(known, _)| *known == name).map(|(_, value)| value.as_ref())
    }
}

fn not_accepted(unknown: &[String], accepted: &[Parameter]) -> ApiError {
    let known = accepted.iter().map(|parameter| parameter.name).collect::<Vec<_>>().join(", ");
    let known = if known.is_empty() { "none".to_owned() } else { known };
    let (noun, unknown) = (if unknown.len() == 1 { "parameter" } else { "parameters" }, unknown.join(", "));
    ApiError::Invalid { code: "unknown_parameter", message: format!("unknown {noun} {unknown}; accepted: {known}") }
}

/// Untrusted text for an error message: quoted, without control characters, and short, even if each of its characters is escaped.
fn shown(text: &str) -> String {
    const MAX_SHOWN_BYTES: usize = 60;
    let mut short = String::new();
    for char in text.chars() {
        let before = short.len();
        short.extend(char.escape_debug());
        if short.len() > MAX_SHOWN_BYTES {
            short.truncate(before);
            short.push('…');
            break;
        }
    }
    format!("`{short}`")
}

/// Decodes `%` escapes and `+`.
fn decode(text: &str) -> Result<Cow<'_, str>, ApiError> {
    if !text.bytes().any(|byte| byte == b'%' || byte == b'+') {
        return Ok(Cow::Borrowed(text));
    }
    let bad = |what: &str| ApiError::invalid("bad_encoding", format!("the query string contains {what}"));
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let digit = |at: usize| rest.get(at).and_then(|&digit| char::from(digit).to_digit(16));
                let (Some(high), Some(low)) = (digit(0), digit(1)) else {
                    return Err(bad("a `%` without two hexadecimal digits"));
                };
                bytes.push((high * 16 + low) as u8);
                rest = &rest[2..];
            }
            byte => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).map(Cow::Owned).map_err(|_| bad("invalid UTF-8"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ACCEPTED: [Parameter; 2] = [Parameter::repeated("channel", 3), Parameter::once("since")];

    fn read(query: &str) -> Result<Vec<(String, String)>, (String, String)> {
        match Query::read(query, &ACCEPTED) {
            Ok(query) => Ok(query.pairs.iter().map(|(k, v)| ((*k).to_owned(), v.to_string())).collect()),
            Err(error) => Err((error.code().to_owned(), error.to_string())),
        }
    }

    #[test]
    fn what_is_understood() {
        for (query, expected) in [
            ("", vec![]),
            ("&&", vec![]),
            ("since", vec![("since", "")]),
            ("since=1-0", vec![("since", "1-0")]),
            ("since=a=b", vec![("since", "a=b")]),
            ("channel=a&channel=b", vec![("channel", "a"), ("channel", "b")]),
            ("since=a+b%20c%2B%e4%BD%A0", vec![("since", "a b c+你")]),
            ("%73ince=x", vec![("since", "x")]),
            ("since=%00", vec![("since", "\0")]),
            // Case 4.2: added by libraries.
            ("_=1717&since=1-0&_=1718&lastEventId=x", vec![("since", "1-0")]),
        ] {
            let expected = expected.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
            assert_eq!(read(query), Ok(expected), "{query}");
        }
    }

    #[test]
    fn what_is_refused() {
        let long = "x".repeat(300);
        for (query, code, part) in [
            ("chanel=a", "unknown_parameter", "unknown parameter `chanel`; accepted: channel, since"),
            ("a=1&b=2", "unknown_parameter", "unknown parameters `a`, `b`;"),
            ("=1", "unknown_parameter", "``"),
            ("a%0d%0ab=1", "unknown_parameter", "`a\\r\\nb`"),
            (long.as_str(), "unknown_parameter", "x…`"),
            ("since=1&since=2", "repeated_parameter", "`since` may occur only once"),
            ("channel=1&channel=2&channel=3&channel=4", "repeated_parameter", "at most 3 times"),
            ("since=%", "bad_encoding", "two hexadecimal digits"),
            ("since=%4", "bad_encoding", "two hexadecimal digits"),
            ("since=%zz", "bad_encoding", "two hexadecimal digits"),
            ("since=%+1", "bad_encoding", "two hexadecimal digits"),
            ("since=%ff", "bad_encoding", "invalid UTF-8"),
            ("since=%c3%28", "bad_encoding", "invalid UTF-8"),
        ] {
            let (told, message) = read(query).unwrap_err();
            assert_eq!(told, code, "{query}");
            assert!(message.contains(part), "{query}: {message}");
        }
    }

    #[test]
    fn an_error_message_is_short_whatever_the_names_are() {
        for name in ["\u{1f}".repeat(100), "🌊".repeat(100), "\u{10ffff}".repeat(100)] {
            let (_, message) = read(&vec![name; 20].join("&")).unwrap_err();
            assert!(message.len() < 700, "{message}");
        }
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_read_back(value in ".{0,40}") {
            let encoded: String = value.bytes().map(|byte| format!("%{byte:02x}")).collect();
            prop_assert_eq!(read(&format!("since={encoded}")), Ok(vec![("since".to_owned(), value)]));
        }

        #[test]
        fn any_text_is_parsed_or_rejected(query in ".{0,200}") {
            if let Err((_, message)) = read(&query) {
                prop_assert!(!message.contains(char::is_control) && message.len() < 700);
            }
        }
    }
}
