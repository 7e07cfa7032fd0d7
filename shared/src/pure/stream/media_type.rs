//! The content type of a stream.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

/// Maximum length of a content type in bytes.
const MAX_BYTES: usize = 256;

/// A media type as it was written (RFC 9110 §8.3.1). Two are equal if type and subtype are, in any case: parameters do not count.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct MediaType(Arc<str>);

/// An invalid media type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a content type has the form type/subtype, such as application/json, and at most {MAX_BYTES} visible ASCII characters"
)]
pub struct MediaTypeError;

impl MediaType {
    /// The default content type: `application/octet-stream`.
    #[must_use]
    pub fn bytes() -> Self {
        Self("application/octet-stream".into())
    }

    /// The text as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Type and subtype.
    fn essence(&self) -> &str {
        self.0.split(';').next().unwrap_or_default().trim()
    }

    /// Whether the messages of such a stream are JSON.
    #[must_use]
    pub fn is_json(&self) -> bool {
        self.essence().eq_ignore_ascii_case("application/json")
    }

    /// Whether texts of this type are UTF-8: it has no `charset`, or one whose texts are valid UTF-8.
    #[must_use]
    pub fn is_utf8(&self) -> bool {
        let charset = self.0.split(';').skip(1).find_map(|parameter| {
            let (name, value) = parameter.split_once('=')?;
            name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"'))
        });
        let is_known =
            |charset: &str| ["utf-8", "utf8", "us-ascii"].iter().any(|known| known.eq_ignore_ascii_case(charset));
        charset.is_none_or(is_known)
    }

    /// Whether its data is text in an event stream, and not base64.
    #[must_use]
    pub fn is_text(&self) -> bool {
        self.is_json() || self.essence().get(..5).is_some_and(|kind| kind.eq_ignore_ascii_case("text/"))
    }
}

impl FromStr for MediaType {
    type Err = MediaTypeError;

    fn from_str(text: &str) -> Result<Self, MediaTypeError> {
        let text = text.trim();
        let is_visible = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        let essence = text.split(';').next().unwrap_or_default().trim();
        let is_token = |part: &str| !part.is_empty() && !part.contains([' ', ',', '/', '"']);
        let is_type = essence.split_once('/').is_some_and(|(kind, subtype)| is_token(kind) && is_token(subtype));
        if is_type && is_visible && text.len() <= MAX_BYTES { Ok(Self(text.into())) } else { Err(MediaTypeError) }
    }
}

impl TryFrom<String> for MediaType {
    type Error = MediaTypeError;

    fn try_from(text: String) -> Result<Self, MediaTypeError> {
        text.parse()
    }
}

impl From<MediaType> for String {
    fn from(media_type: MediaType) -> Self {
        media_type.as_str().to_owned()
    }
}

impl PartialEq for MediaType {
    fn eq(&self, other: &Self) -> bool {
        self.essence().eq_ignore_ascii_case(other.essence())
    }
}

impl Eq for MediaType {}

impl fmt::Display for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_and_case_do_not_count() {
        let json: MediaType = "application/json; charset=utf-8".parse().unwrap();
        assert_eq!(json, "Application/JSON".parse().unwrap());
        assert_eq!(json.as_str(), "application/json; charset=utf-8", "it is kept as it was written");
        assert!(json.is_json() && json.is_text());
        let text: MediaType = "TEXT/plain".parse().unwrap();
        assert!(text.is_text() && !text.is_json() && text != json);
        assert!(!MediaType::bytes().is_text());
    }

    #[test]
    fn a_text_is_utf8_unless_it_names_another_charset() {
        for (text, is_utf8) in [
            ("text/plain", true),
            ("text/plain; charset=utf-8", true),
            ("text/plain;format=flowed; Charset=\"UTF-8\"", true),
            ("text/plain; charset=US-ASCII", true),
            ("text/plain; charset=iso-8859-1", false),
            ("text/plain; charset=utf-16", false),
        ] {
            assert_eq!(text.parse::<MediaType>().unwrap().is_utf8(), is_utf8, "{text}");
        }
    }

    #[test]
    fn what_is_no_media_type_is_rejected() {
        let long = format!("text/{}", "x".repeat(252));
        for text in ["", "text", "/", "text/", "/plain", "a/b/c", "text/pl\rain", "té/xt", "a b/c", &long] {
            assert_eq!(text.parse::<MediaType>(), Err(MediaTypeError), "{text:?}");
        }
    }
}
