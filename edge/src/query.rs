//! The query string, read strictly: what is not understood is told, not ignored.
//!
//! `request.uri().query()` goes in, a [`Query`] comes out that knows its parameters by name. A parameter nobody asked
//! for is a 400 that names it and what is accepted, so that `?chanel=news` does not quietly mean "from everywhere".
//! Parameters that client libraries add by themselves ([`ADDED_BY_LIBRARIES`]) are ignored where a route does not read them.

use std::borrow::Cow;

use super::error::ApiError;

/// Parameters that client libraries add without their user's doing: jQuery's cache buster, and the cursor of polyfills of
/// `EventSource`.
pub const ADDED_BY_LIBRARIES: [&str; 2] = ["_", "lastEventId"];

/// How often a parameter may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    /// At most once; twice is an error, since either value could be meant.
    Once,
    /// Up to so many times.
    UpTo(usize),
}

/// A parameter that a route understands.
#[derive(Clone, Copy, Debug)]
pub struct Parameter {
    /// Its name, as it stands before the `=`.
    pub name: &'static str,
    /// How often it may come.
    pub times: Times,
}

impl Parameter {
    /// A parameter that comes at most once.
    #[must_use]
    pub const fn once(name: &'static str) -> Self {
        Self { name, times: Times::Once }
    }

    /// A parameter that may be repeated, up to `most` times.
    #[must_use]
    pub const fn repeated(name: &'static str, most: usize) -> Self {
        Self { name, times: Times::UpTo(most) }
    }
}

/// The parameters of one request, decoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query<'a> {
    pairs: Vec<(&'static str, Cow<'a, str>)>,
}

impl<'a> Query<'a> {
    /// Reads a query string (without the `?`) as forms write it: `name=value` with `&` between, `%` escapes, `+` for a
    /// space (WHATWG URL §5.1). A name without `=` has the empty value; nothing between two `&` is nothing.
    ///
    /// # Errors
    /// [`ApiError::Invalid`]: `unknown_parameter` for a name not in `accepted`, `repeated_parameter` for one that came
    /// too often, `bad_encoding` for a bad `%` escape or bytes that are no UTF-8.
    pub fn read(query: &'a str, accepted: &[Parameter]) -> Result<Self, ApiError> {
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
            match parameter.times {
                Times::Once if seen == 1 => {
                    let message = format!("parameter `{}` may be given once only", parameter.name);
                    return Err(ApiError::Invalid { code: "repeated_parameter", message });
                }
                Times::UpTo(most) if seen == most => {
                    let message = format!("parameter `{}` may be given {most} times at most", parameter.name);
                    return Err(ApiError::Invalid { code: "repeated_parameter", message });
                }
                _ => pairs.push((parameter.name, value)),
            }
        }
        if unknown.is_empty() { Ok(Self { pairs }) } else { Err(not_accepted(&unknown, accepted)) }
    }

    /// The value of a parameter that comes at most once; of a repeated one the first.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// The values of a parameter in the order they came in.
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

/// A stranger's text as it may stand in a message: quoted, without control characters, and short, also where each of its
/// characters takes several to be shown.
fn shown(text: &str) -> String {
    const MOST_BYTES: usize = 60;
    let mut short = String::new();
    for char in text.chars() {
        let before = short.len();
        short.extend(char.escape_debug());
        if short.len() > MOST_BYTES {
            short.truncate(before);
            short.push('…');
            break;
        }
    }
    format!("`{short}`")
}

/// Undoes `%` escapes and `+`.
fn decode(text: &str) -> Result<Cow<'_, str>, ApiError> {
    if !text.bytes().any(|byte| byte == b'%' || byte == b'+') {
        return Ok(Cow::Borrowed(text));
    }
    let bad = |what: &str| ApiError::invalid("bad_encoding", format!("the query string holds {what}"));
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let digit = |at: usize| rest.get(at).and_then(|&digit| char::from(digit).to_digit(16));
                let (Some(high), Some(low)) = (digit(0), digit(1)) else {
                    return Err(bad("a `%` that no two hexadecimal digits follow"));
                };
                bytes.push((high * 16 + low) as u8);
                rest = &rest[2..];
            }
            byte => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).map(Cow::Owned).map_err(|_| bad("bytes that are no UTF-8"))
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
            ("since=1&since=2", "repeated_parameter", "`since` may be given once"),
            ("channel=1&channel=2&channel=3&channel=4", "repeated_parameter", "3 times at most"),
            ("since=%", "bad_encoding", "two hexadecimal digits"),
            ("since=%4", "bad_encoding", "two hexadecimal digits"),
            ("since=%zz", "bad_encoding", "two hexadecimal digits"),
            ("since=%+1", "bad_encoding", "two hexadecimal digits"),
            ("since=%ff", "bad_encoding", "no UTF-8"),
            ("since=%c3%28", "bad_encoding", "no UTF-8"),
        ] {
            let (told, message) = read(query).unwrap_err();
            assert_eq!(told, code, "{query}");
            assert!(message.contains(part), "{query}: {message}");
        }
    }

    #[test]
    fn a_fault_is_told_shortly_whatever_the_names_are() {
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
        fn any_text_is_read_or_told(query in ".{0,200}") {
            if let Err((_, message)) = read(&query) {
                prop_assert!(!message.contains(char::is_control) && message.len() < 700);
            }
        }
    }
}
