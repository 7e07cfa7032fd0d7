//! The data of a message: JSON as it was written, without white space, and binary parts, if any.
//!
//! The JSON is checked once, when it is published. Its bytes are then copied unchanged into each wire form: numbers keep every digit and
//! objects keep their order.

use bytes::Bytes;
use serde::Serialize;

mod buffers;
mod plain;
mod scan;

pub use buffers::list;
pub use plain::PlainJson;
pub use scan::MAX_DEPTH;
use scan::Values;

/// The data of a message: compact JSON, and the buffers that Socket.IO clients sent in it.
///
/// A buffer is represented in the JSON by `{"_placeholder":true,"num":<index>}`, as on Socket.IO's own wire
/// (Socket.IO protocol 5, "Binary event"); readers that support only JSON get `{"base64":"…"}` instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    json: Box<str>,
    attachments: Box<[Bytes]>,
}

/// The JSON of data that is one buffer.
const BYTES: &str = r#"{"_placeholder":true,"num":0}"#;

/// Why bytes are not accepted as data. The last three are the only JSON values that are rejected, with the same [code](Self::code) on every
/// transport (PROTOCOL.md, "Which JSON is accepted").
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    /// Not UTF-8, which is required for JSON on the wire (RFC 8259 §8.1).
    #[error("the body is not UTF-8: {0}")]
    Utf8(#[from] std::str::Utf8Error),
    /// Begins with U+FEFF, which senders of JSON must not add (RFC 8259 §8.1).
    #[error("the body begins with a byte order mark (BOM, U+FEFF), which JSON does not allow; remove it")]
    ByteOrderMark,
    /// Not JSON.
    #[error("the body is not JSON: {0}")]
    Json(String),
    /// An attachment without a placeholder or with several, or a placeholder without an attachment.
    #[error("each attachment has to have exactly one placeholder")]
    Placeholders,
    /// A number that exceeds a 64-bit float (RFC 8259 §6).
    #[error("a number such as 1e400, Infinity or NaN is out of range: it has to fit a 64-bit float")]
    NumberOutOfRange,
    /// An escape such as `\ud83d` without its other half (RFC 8259 §8.2).
    #[error("a string or key contains an unpaired surrogate such as \\ud83d, which is not a character")]
    LoneSurrogate,
    /// Nested deeper than [`MAX_DEPTH`].
    #[error("arrays and objects are nested deeper than {MAX_DEPTH}")]
    TooDeep,
}

impl PayloadError {
    /// The error's code, the same on every transport.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Utf8(_) | Self::ByteOrderMark | Self::Json(_) | Self::Placeholders => "bad_body",
            Self::NumberOutOfRange => "number_out_of_range",
            Self::LoneSurrogate => "lone_surrogate",
            Self::TooDeep => "too_deep",
        }
    }
}

impl Payload {
    /// Checks that `text` is one JSON value that every reader can represent, and removes the white space around its tokens.
    ///
    /// # Errors
    /// When it is not UTF-8, not JSON (RFC 8259), or one of the values that [`PayloadError`] names.
    pub fn from_json(text: &[u8]) -> Result<Self, PayloadError> {
        let json = scan::compact(std::str::from_utf8(text)?, Values::Portable)?;
        Ok(Self { json, attachments: Box::default() })
    }

    /// One value, or a list of values: each element of the outermost array may be as deep as [`from_json`](Self::from_json) allows a value to
    /// be.
    ///
    /// # Errors
    /// As [`from_json`](Self::from_json).
    pub fn list_from_json(text: &[u8]) -> Result<Self, PayloadError> {
        let json = scan::compact(std::str::from_utf8(text)?, Values::List)?;
        Ok(Self { json, attachments: Box::default() })
    }

    /// Data from a log: any JSON, since other rules may have applied when it was accepted, and what was accepted is delivered.
    ///
    /// # Errors
    /// When it is not UTF-8 or not JSON.
    pub fn from_log(json: &[u8], attachments: Vec<Bytes>) -> Result<Self, PayloadError> {
        let json = scan::compact(std::str::from_utf8(json)?, Values::Any)?;
        Ok(Self { json, attachments: attachments.into() })
    }

    /// Data that this program wrote itself: compact JSON, whose checksum was right when it was read.
    pub(crate) fn from_own_log(json: &str, attachments: Vec<Bytes>) -> Self {
        Self { json: json.into(), attachments: attachments.into() }
    }

    /// A text, as a JSON string.
    #[must_use]
    pub fn from_text(text: &str) -> Self {
        // Most texts need no escapes, and then the resulting length is known.
        let mut json = Vec::with_capacity(text.len() + 2);
        let written = serde_json::to_writer(&mut json, text).ok().and_then(|()| String::from_utf8(json).ok());
        match written {
            Some(json) => Self { json: json.into(), attachments: Box::default() },
            None => Self::from_value(&text),
        }
    }

    /// Bytes, without JSON around them: readers that support only JSON get `{"base64":"…"}`.
    #[must_use]
    pub fn from_bytes(bytes: Bytes) -> Self {
        Self { json: BYTES.into(), attachments: [bytes].into() }
    }

    /// The bytes of data [made of bytes](Self::from_bytes).
    #[must_use]
    pub fn bytes(&self) -> Option<&Bytes> {
        match &*self.attachments {
            [bytes] if &*self.json == BYTES => Some(bytes),
            _ => None,
        }
    }

    /// Anything that serde can write as JSON. A value that it cannot (such as a map whose keys are not strings) becomes `null`.
    #[must_use]
    pub fn from_value(value: &impl Serialize) -> Self {
        let json = serde_json::to_string(value).unwrap_or_else(|_| "null".into());
        Self { json: json.into(), attachments: Box::default() }
    }

    /// Compact JSON with placeholders and their buffers, as a Socket.IO parser produces them. Each buffer has exactly one placeholder: with
    /// several, the data would be larger than the bytes it is counted with.
    ///
    /// # Errors
    /// As [`from_json`](Self::from_json), and when placeholders and buffers do not match.
    pub fn with_attachments(json: &[u8], attachments: Vec<Bytes>) -> Result<Self, PayloadError> {
        let payload = Self { attachments: attachments.into(), ..Self::from_json(json)? };
        let mut numbers: Vec<usize> = parts(&payload.json)
            .filter_map(|part| match part {
                Part::Placeholder(number) => Some(number),
                Part::Text(_) => None,
            })
            .collect();
        numbers.sort_unstable();
        let is_matched = payload.attachments.is_empty() || numbers.iter().copied().eq(0..payload.attachments.len());
        if is_matched { Ok(payload) } else { Err(PayloadError::Placeholders) }
    }

    /// The JSON, with placeholders where there are attachments.
    #[must_use]
    pub fn placeholder_json(&self) -> &str {
        &self.json
    }

    /// The buffers of the placeholders, in the order of their numbers.
    #[must_use]
    pub fn attachments(&self) -> &[Bytes] {
        &self.attachments
    }

    /// The JSON for readers without binary: each buffer is written `{"base64":"…"}`.
    #[must_use]
    pub fn plain_json(&self) -> std::borrow::Cow<'_, str> {
        if self.attachments.is_empty() {
            return (&*self.json).into();
        }
        let mut plain = String::with_capacity(self.plain_len());
        self.append_plain(&mut plain);
        plain.into()
    }

    /// The bytes of memory that this uses.
    #[must_use]
    pub fn len(&self) -> usize {
        self.json.len() + self.attachments.iter().map(Bytes::len).sum::<usize>()
    }

    /// Always false: the shortest JSON is one digit.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        false
    }
}

/// The length of the JSON string literal at the beginning of `text`, including quotes.
fn string_end(text: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// A piece of compact JSON.
enum Part<'a> {
    Text(&'a str),
    /// The number of the attachment that a placeholder refers to.
    Placeholder(usize),
}

/// The parts of compact `json`. Placeholders are recognized outside of strings only, in the two orders of their two keys: a string that
/// looks like one is text.
fn parts(json: &str) -> impl Iterator<Item = Part<'_>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let (part, length) = part_at(json, at)?;
        at += length;
        Some(part)
    })
}

/// The part that begins at `at`, and its length. `None` at the end.
fn part_at(json: &str, at: usize) -> Option<(Part<'_>, usize)> {
    let rest = &json[at..];
    if let Some((number, length)) = placeholder(rest) {
        return Some((Part::Placeholder(number), length));
    }
    let length = match rest.bytes().next()? {
        b'"' => string_end(rest),
        // To the next byte that can start a string or a placeholder; both are ASCII, so this is a character boundary.
        first if first.is_ascii() => rest[1..].find(['"', '{']).map_or(rest.len(), |next| next + 1),
        _ => rest.len(),
    };
    Some((Part::Text(&rest[..length]), length))
}

/// The number and the length of the placeholder at the beginning of `json`.
fn placeholder(json: &str) -> Option<(usize, usize)> {
    let (rest, after) = if let Some(rest) = json.strip_prefix("{\"_placeholder\":true,\"num\":") {
        (rest, "}")
    } else {
        (json.strip_prefix("{\"num\":")?, ",\"_placeholder\":true}")
    };
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let tail = rest[digits..].strip_prefix(after)?;
    Some((rest[..digits].parse().ok()?, json.len() - tail.len()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn json(text: &str) -> Result<String, PayloadError> {
        Payload::from_json(text.as_bytes()).map(|payload| payload.placeholder_json().to_owned())
    }

    #[test]
    fn json_keeps_its_digits_and_its_order_and_loses_its_spaces() {
        for (given, kept) in [
            ("1", "1"),
            (
                " { \"b\" : 1.0 ,\n\"a\":[ 1e300, 12345678901234567890 ] } ",
                "{\"b\":1.0,\"a\":[1e300,12345678901234567890]}",
            ),
            ("\" a \\\" b \"", "\" a \\\" b \""),
            ("[\"\\\\\" , \" x \"]", "[\"\\\\\",\" x \"]"),
            ("\"时间:1\"", "\"时间:1\""),
        ] {
            assert_eq!(json(given).as_deref(), Ok(kept), "{given}");
        }
    }

    #[test]
    fn buffers_read_as_base64_where_binary_cannot_go() {
        let payload = Payload::with_attachments(
            br#"[{"_placeholder":true,"num":1},"{\"_placeholder\":true,\"num\":0}",{"a":{"num":0,"_placeholder":true}}]"#,
            vec![Bytes::from_static(b"abc"), Bytes::from_static(b"")],
        )
        .unwrap();
        assert_eq!(
            payload.plain_json(),
            r#"[{"base64":""},"{\"_placeholder\":true,\"num\":0}",{"a":{"base64":"YWJj"}}]"#
        );
        assert_eq!(Payload::from_text("x").plain_json(), "\"x\"");
    }

    #[test]
    fn each_buffer_has_exactly_one_placeholder() {
        let built = |json: &str, buffers| Payload::with_attachments(json.as_bytes(), vec![Bytes::new(); buffers]);
        let two = r#"[{"_placeholder":true,"num":0},{"num":1,"_placeholder":true}]"#;
        assert!(built(two, 2).is_ok());
        // Without buffers it is a normal object.
        assert!(built(two, 0).is_ok());
        for (json, buffers) in [
            (two, 1),
            (two, 3),
            ("[]", 1),
            (r#"[{"_placeholder":true,"num":0},{"_placeholder":true,"num":0}]"#, 1),
            (r#""{\"_placeholder\":true,\"num\":0}""#, 1),
        ] {
            assert_eq!(built(json, buffers), Err(PayloadError::Placeholders), "{json}");
        }
    }

    #[test]
    fn a_text_is_a_json_string_whatever_is_in_it() {
        for text in ["", "x", "\"", "\\", "a\nb\u{1}\u{7f}", "\u{2028}", "\u{1f600}", "</script>", &"\"".repeat(1_000)]
        {
            let payload = Payload::from_text(text);
            assert_eq!(payload, Payload::from_value(&text));
            assert_eq!(serde_json::from_str::<String>(payload.placeholder_json()).unwrap(), text);
        }
    }

    fn any_json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            "\\PC{0,12}|[ \\\\\"{}:,\t\n]{0,8}".prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
                proptest::collection::vec(("\\PC{0,6}", inner), 0..6)
                    .prop_map(|pairs| pairs.into_iter().collect::<serde_json::Map<_, _>>().into()),
            ]
        })
    }

    proptest! {
        #[test]
        fn pretty_becomes_compact(value in any_json()) {
            let pretty = serde_json::to_string_pretty(&value).unwrap();
            prop_assert_eq!(json(&pretty).unwrap(), serde_json::to_string(&value).unwrap());
        }
    }
}
