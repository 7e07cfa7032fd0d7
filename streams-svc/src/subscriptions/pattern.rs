//! Patterns of stream paths: `*` is a segment, `**` is any number of segments, none included.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// The longest pattern in bytes.
const MAX_BYTES: usize = 256;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PathPattern(String);

/// A text is not a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a pattern has 1 to {MAX_BYTES} characters: segments between slashes, each of `A-Z a-z 0-9 _ - . ~`, `*` for any segment, or `**` for any \
     number of segments"
)]
pub struct PatternError;

impl PathPattern {
    fn segments(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }

    /// Whether the pattern selects the stream of this path.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        // Which beginnings of the pattern match the beginning of the path that was looked at, so that many `**` cost no more than few.
        let pattern: Vec<&str> = self.segments().collect();
        let mut reached = vec![false; pattern.len() + 1];
        reached[0] = true;
        skip_empty(&pattern, &mut reached);
        for segment in path.split('/') {
            let mut next = vec![false; pattern.len() + 1];
            for (at, wanted) in pattern.iter().enumerate().filter(|(at, _)| reached[*at]) {
                match *wanted {
                    "**" => next[at] = true,
                    "*" => next[at + 1] = true,
                    literal => next[at + 1] |= literal == segment,
                }
            }
            skip_empty(&pattern, &mut next);
            reached = next;
        }
        reached[pattern.len()]
    }

    /// What the paths of all streams begin with that it selects.
    #[must_use]
    pub fn prefix(&self) -> &str {
        let literal = self.0.find('*').map_or(&*self.0, |star| &self.0[..star]);
        // `a/**` selects `a`.
        literal.strip_suffix('/').unwrap_or(literal)
    }
}

/// `**` matches no segment, too.
fn skip_empty(pattern: &[&str], reached: &mut [bool]) {
    for (at, wanted) in pattern.iter().enumerate() {
        reached[at + 1] |= reached[at] && *wanted == "**";
    }
}

impl FromStr for PathPattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let is_plain = |segment: &str| {
            let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'~');
            matches!(segment, "*" | "**") || (!segment.is_empty() && segment.bytes().all(is_name))
        };
        let text = text.trim_matches('/');
        let is_pattern = text.len() <= MAX_BYTES && text.split('/').all(is_plain);
        if is_pattern { Ok(Self(text.to_owned())) } else { Err(PatternError) }
    }
}

impl TryFrom<String> for PathPattern {
    type Error = PatternError;

    fn try_from(text: String) -> Result<Self, PatternError> {
        text.parse()
    }
}

impl From<PathPattern> for String {
    fn from(PathPattern(text): PathPattern) -> Self {
        text
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, path: &str) -> bool {
        pattern.parse::<PathPattern>().unwrap().matches(path)
    }

    #[test]
    fn a_star_is_a_segment_and_two_are_any_number() {
        for (pattern, path) in [
            ("events/*", "events/a"),
            ("/events/*/", "events/a"),
            ("events/a", "events/a"),
            ("*/b", "a/b"),
            ("**", "a"),
            ("**", "a/b/c"),
            ("a/**", "a"),
            ("a/**", "a/b/c"),
            ("a/**/d", "a/d"),
            ("a/**/d", "a/b/c/d"),
            ("**/d/**", "d"),
            ("**/*/**", "a/b"),
        ] {
            assert!(matches(pattern, path), "{pattern} {path}");
        }
        for (pattern, path) in [
            ("events/*", "events"),
            ("events/*", "events/a/b"),
            ("events/*", "event/a"),
            ("*", "a/b"),
            ("a/**/d", "a/b/c"),
            ("a/**", "b/a"),
            ("**/*/*/**", "a"),
        ] {
            assert!(!matches(pattern, path), "{pattern} {path}");
        }
        for bad in ["", "/", "a//b", "a*", "***", "a/{b}", "ü", "$events", &"x".repeat(257)] {
            assert!(bad.parse::<PathPattern>().is_err(), "{bad}");
        }
    }

    /// Many `**` are no way to make the server try every division of a path.
    #[test]
    fn many_stars_cost_no_more_than_few() {
        let (pattern, path) = (["**/x"; 50].join("/"), ["x"; 49].join("/"));
        assert!(!matches(&pattern, &path));
    }

    #[test]
    fn what_a_pattern_selects_begins_with_its_prefix() {
        for (pattern, prefix) in [("a/b", "a/b"), ("a/*", "a"), ("a/b/**", "a/b"), ("**", ""), ("*/a", "")] {
            assert_eq!(pattern.parse::<PathPattern>().unwrap().prefix(), prefix);
        }
    }
}
