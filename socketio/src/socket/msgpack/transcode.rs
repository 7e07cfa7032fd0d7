//! JSON text and attachments straight into msgpack, without a tree between and without recursion.
//!
//! An array or map begins with its length, so the text is read twice: once to count, once to write. Every value has a form:
//! a number beyond 64-bit floats is infinity, as `JSON.parse` has it, and an unpaired surrogate is U+FFFD. Members with the
//! same key all go out; the reader keeps the last, as with JSON.

use bytes::Bytes;

use super::write::Writer;
use crate::value::tokens::{Candidate, Kind, Token, Tokens, unescaped};

/// Writes `json` with `attachments` in the place of its placeholders.
pub(super) fn value(out: &mut Writer, json: &str, attachments: &[Bytes]) {
    let containers = count(json, !attachments.is_empty());
    let mut tokens = Tokens::new(json);
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
                        match attachments.get(number) {
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
    attachment: Option<usize>,
    /// The place after it in the text, and the number of the next container that is not inside of it.
    end: usize,
    next: usize,
}

/// The containers of `json` in the order in which they open.
fn count(json: &str, has_attachments: bool) -> Vec<Container> {
    /// One that is open: its place in the list, and if it may be a placeholder, what is known of it as such.
    struct Open {
        index: usize,
        candidate: Option<Candidate>,
    }
    let mut containers: Vec<Container> = Vec::new();
    let mut open: Vec<Open> = Vec::new();
    let mut tokens = Tokens::new(json);
    while let Some(token) = tokens.next() {
        if let Token::Close = token {
            let Some(closed) = open.pop() else { continue };
            let next = containers.len();
            let container = &mut containers[closed.index];
            (container.end, container.next) = (tokens.at, next);
            container.attachment = closed.candidate.and_then(|candidate| candidate.attachment());
            continue;
        }
        if let Some(parent) = open.last_mut() {
            containers[parent.index].children += 1;
            if let Some(candidate) = &mut parent.candidate {
                candidate.take(token);
            }
        }
        if let Token::Open(kind) = token {
            let candidate = (has_attachments && kind == Kind::Object).then(Candidate::new);
            open.push(Open { index: containers.len(), candidate });
            containers.push(Container::default());
        }
    }
    containers
}
