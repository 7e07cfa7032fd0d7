//! The tokens of JSON text, and which of its objects are placeholders, without recursion: text may nest as deep as it is long.

use std::borrow::Cow;

pub(crate) const PLACEHOLDER: &str = "_placeholder";
pub(crate) const NUM: &str = "num";

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Array,
    Object,
}

#[derive(Clone, Copy)]
pub(crate) enum Token<'a> {
    Open(Kind),
    Close,
    /// Between the quotes, with its escapes.
    Text(&'a str),
    Number(&'a str),
    Bool(bool),
    Null,
}

/// The tokens of valid JSON, without commas and colons.
pub(crate) struct Tokens<'a> {
    json: &'a str,
    /// The place behind the last token.
    pub(crate) at: usize,
}

impl<'a> Tokens<'a> {
    pub(crate) fn new(json: &'a str) -> Self {
        Self { json, at: 0 }
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        loop {
            let rest = &self.json[self.at..];
            let (token, length) = match rest.bytes().next()? {
                b'{' => (Token::Open(Kind::Object), 1),
                b'[' => (Token::Open(Kind::Array), 1),
                b'}' | b']' => (Token::Close, 1),
                b'"' => {
                    let end = text_end(rest);
                    (Token::Text(&rest[1..end]), (end + 1).min(rest.len()))
                }
                b'-' | b'0'..=b'9' => {
                    let is_number = |byte: &u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
                    let length = rest.bytes().take_while(is_number).count();
                    (Token::Number(&rest[..length]), length)
                }
                b't' => (Token::Bool(true), 4),
                b'f' => (Token::Bool(false), 5),
                b'n' => (Token::Null, 4),
                _ => {
                    self.at += rest.chars().next().map_or(1, char::len_utf8);
                    continue;
                }
            };
            self.at = (self.at + length).min(self.json.len());
            return Some(token);
        }
    }
}

/// An open object that may turn out to be a placeholder. Small, since there may be one for every few bytes of text.
pub(crate) struct Candidate {
    key: Key,
    expects_key: bool,
    is_placeholder: bool,
    /// [`NO_NUMBER`] if it names none.
    number: u32,
}

const NO_NUMBER: u32 = u32::MAX;

/// The keys that matter.
#[derive(Clone, Copy)]
enum Key {
    Placeholder,
    Number,
    Other,
}

impl Candidate {
    pub(crate) fn new() -> Self {
        Self { key: Key::Other, expects_key: true, is_placeholder: false, number: NO_NUMBER }
    }

    /// Takes a key or a value of this object. Of equal keys the last wins, as in every JSON parser.
    pub(crate) fn take(&mut self, token: Token<'_>) {
        if self.expects_key {
            let Token::Text(key) = token else { return };
            self.expects_key = false;
            self.key = match &*unescaped(key) {
                PLACEHOLDER => Key::Placeholder,
                NUM => Key::Number,
                _ => Key::Other,
            };
            return;
        }
        self.expects_key = true;
        match (self.key, token) {
            (Key::Placeholder, token) => self.is_placeholder = matches!(token, Token::Bool(true)),
            (Key::Number, Token::Number(digits)) => self.number = digits.parse().unwrap_or(NO_NUMBER),
            (Key::Number, _) => self.number = NO_NUMBER,
            (Key::Other, _) => {}
        }
    }

    pub(crate) fn is_placeholder(&self) -> bool {
        self.is_placeholder
    }

    /// The number of the attachment that it names, if it is a placeholder.
    pub(crate) fn attachment(&self) -> Option<usize> {
        (self.is_placeholder && self.number != NO_NUMBER).then(|| usize::try_from(self.number).ok()).flatten()
    }
}

/// The place of the quote that ends the string which `text` begins with.
pub(crate) fn text_end(text: &str) -> usize {
    let mut is_escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => return at,
            _ => {}
        }
    }
    text.len()
}

/// The text that a string's escapes represent (RFC 8259 §7). An unpaired surrogate becomes U+FFFD.
pub(crate) fn unescaped(escaped: &str) -> Cow<'_, str> {
    if !escaped.contains('\\') {
        return escaped.into();
    }
    let mut text = String::with_capacity(escaped.len());
    let mut rest = escaped;
    while let Some(at) = rest.find('\\') {
        text.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let Some(kind) = rest.chars().next() else { break };
        rest = &rest[kind.len_utf8()..];
        match kind {
            'b' => text.push('\u{8}'),
            'f' => text.push('\u{c}'),
            'n' => text.push('\n'),
            'r' => text.push('\r'),
            't' => text.push('\t'),
            'u' => {
                let unit = |text: &str| text.get(..4).and_then(|digits| u16::from_str_radix(digits, 16).ok());
                let Some(first) = unit(rest) else { continue };
                rest = &rest[4..];
                let second = rest.strip_prefix("\\u").and_then(unit);
                let pair = [first, second.unwrap_or_default()];
                // One unit, or two that belong together.
                let char = match char::decode_utf16(pair).next() {
                    Some(Ok(char)) => char,
                    _ => char::REPLACEMENT_CHARACTER,
                };
                if char.len_utf16() == 2 {
                    rest = &rest[6..];
                }
                text.push(char);
            }
            other => text.push(other),
        }
    }
    text.push_str(rest);
    text.into()
}
