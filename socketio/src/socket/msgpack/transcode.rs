//! JSON text and attachments straight into msgpack, without a tree between and without recursion.
//!
//! An array or map begins with its length, so the text is read twice: once to count, once to write. Every value has a form:
//! a number beyond 64-bit floats is infinity, as `JSON.parse` has it, and an unpaired surrogate is U+FFFD. Members with the
//! same key all go out; the reader keeps the last, as with JSON.

use bytes::Bytes;

use super::write::Writer;
use crate::value::json::{NUM, PLACEHOLDER, text_end, unescaped};

/// Writes `json`, whose placeholders stand for `attachments`.
pub(super) fn value(out: &mut Writer, json: &str, attachments: &[Bytes]) {
    let containers = count(json, !attachments.is_empty());
    let mut tokens = Tokens { json, at: 0 };
    let mut next = 0;
    let mut is_empty = true;
    while let Some(token) = tokens.next() {
        is_empty = false;
        match token {
            Token::Open(kind) => {
                let Some(container) = containers.get(next) else { break };
                next += 1;
                match (container.attachment, kind) {
                    (Some(number), _) => {
                        match usize::try_from(number).ok().and_then(|number| attachments.get(number)) {
                            Some(bytes) => out.binary(bytes),
                            None => out.null(),
                        }
                        (tokens.at, next) = (container.end, container.next);
                    }
                    (None, Kind::Array) => out.array(container.children),
                    (None, Kind::Object) => out.map(container.children / 2),
                }
            }
            Token::Close => {}
            Token::Text(escaped) => out.string(&unescaped(escaped)),
            Token::Number(digits) => out.number(digits),
            Token::Bool(value) => out.bool(value),
            Token::Null => out.null(),
        }
    }
    if is_empty {
        out.null();
    }
}

/// What has to be known of an array or object before it is written.
#[derive(Clone, Copy, Default)]
struct Container {
    /// Items of an array; keys and values of an object.
    children: u32,
    /// The attachment that it is the placeholder of.
    attachment: Option<u64>,
    /// The place after it in the text, and the number of the next container that is not inside of it.
    end: usize,
    next: usize,
}

/// The containers of `json` in the order in which they open.
fn count(json: &str, has_attachments: bool) -> Vec<Container> {
    /// One that is open: its place in the list, and what is known of it as a placeholder.
    struct Open<'a> {
        index: usize,
        kind: Kind,
        key: &'a str,
        is_placeholder: bool,
        number: Option<u64>,
    }
    let mut containers: Vec<Container> = Vec::new();
    let mut open: Vec<Open<'_>> = Vec::new();
    let mut tokens = Tokens { json, at: 0 };
    while let Some(token) = tokens.next() {
        if let Token::Close = token {
            let Some(closed) = open.pop() else { continue };
            let next = containers.len();
            let container = &mut containers[closed.index];
            (container.end, container.next) = (tokens.at, next);
            container.attachment = closed.number.filter(|_| closed.is_placeholder);
            continue;
        }
        if let Some(parent) = open.last_mut() {
            let children = &mut containers[parent.index].children;
            let is_key = parent.kind == Kind::Object && children.is_multiple_of(2);
            *children += 1;
            if has_attachments && parent.kind == Kind::Object {
                match token {
                    Token::Text(key) if is_key => parent.key = key,
                    Token::Bool(value) if parent.key == PLACEHOLDER => parent.is_placeholder = value,
                    Token::Number(digits) if parent.key == NUM => parent.number = digits.parse().ok(),
                    _ => {}
                }
            }
        }
        if let Token::Open(kind) = token {
            open.push(Open { index: containers.len(), kind, key: "", is_placeholder: false, number: None });
            containers.push(Container::default());
        }
    }
    containers
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Array,
    Object,
}

enum Token<'a> {
    Open(Kind),
    Close,
    /// Between the quotes, with its escapes.
    Text(&'a str),
    Number(&'a str),
    Bool(bool),
    Null,
}

/// The tokens of valid JSON but for commas and colons.
struct Tokens<'a> {
    json: &'a str,
    at: usize,
}

impl<'a> Tokens<'a> {
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
