//! The binary parts of one argument of an event: from all attachments of a packet, those that this argument refers to.
//!
//! The text is scanned and never decoded, so numbers, duplicate keys and escapes stay as the client wrote them. Every placeholder is
//! rewritten in its usual form, whatever the order of its keys and whatever other members it has: clients check only the two keys
//! (Socket.IO protocol 5, "Packet encoding").

use std::borrow::Cow;

use bytes::Bytes;

/// An object that is being scanned.
struct Object {
    /// Its position in the output.
    start: usize,
    /// Attachments used before it.
    used: usize,
    expects_key: bool,
    member: Member,
    is_placeholder: bool,
    number: Option<usize>,
}

/// The member whose value comes next.
#[derive(Clone, Copy)]
enum Member {
    Placeholder,
    Number,
    Other,
}

impl Object {
    fn new(start: usize, used: usize) -> Self {
        Self { start, used, expects_key: true, member: Member::Other, is_placeholder: false, number: None }
    }

    /// A string: a key or a value.
    fn string(&mut self, literal: &str) {
        if !std::mem::take(&mut self.expects_key) {
            return self.value(literal);
        }
        let key = if literal.contains('\\') {
            serde_json::from_str::<Cow<'_, str>>(literal).unwrap_or_default()
        } else {
            literal.trim_matches('"').into()
        };
        self.member = match &*key {
            "_placeholder" => Member::Placeholder,
            "num" => Member::Number,
            _ => Member::Other,
        };
    }

    /// A value; its literal is sufficient.
    fn value(&mut self, literal: &str) {
        match self.member {
            Member::Placeholder => self.is_placeholder = literal == "true",
            Member::Number => self.number = literal.parse().ok(),
            Member::Other => {}
        }
    }
}

/// `json` with its placeholders renumbered from 0, and their attachments. `json` has to be valid, with at most one placeholder for each
/// attachment; one without attachment stays unchanged.
pub(super) fn renumber(json: &str, attachments: &[Bytes]) -> (String, Vec<Bytes>) {
    let mut out = String::with_capacity(json.len());
    let mut stack: Vec<Option<Object>> = Vec::new();
    // The numbers in `json` of the used attachments, in their new order.
    let mut used: Vec<usize> = Vec::new();
    let mut rest = json;
    while let Some(first) = rest.bytes().next() {
        let length = match first {
            b'"' => string_length(rest),
            b'{' | b'}' | b'[' | b']' | b',' | b':' => 1,
            _ => rest.find(['"', '{', '}', '[', ']', ',', ':']).unwrap_or(rest.len()),
        };
        let (token, after) = rest.split_at(length);
        rest = after;
        if let Some(Some(object)) = stack.last_mut() {
            match first {
                b'"' => object.string(token),
                b',' => object.expects_key = true,
                b'}' | b':' | b']' => {}
                _ if token.trim_ascii().is_empty() => {}
                _ => object.value(token.trim_ascii()),
            }
        }
        match first {
            b'{' => stack.push(Some(Object::new(out.len(), used.len()))),
            b'[' => stack.push(None),
            _ => {}
        }
        out.push_str(token);
        if matches!(first, b'}' | b']')
            && let Some(Some(object)) = stack.pop()
            && object.is_placeholder
            && let Some(number) = object.number.filter(|number| *number < attachments.len())
        {
            out.truncate(object.start);
            used.truncate(object.used);
            out.push_str(&format!(r#"{{"_placeholder":true,"num":{}}}"#, used.len()));
            used.push(number);
        }
    }
    let used = used.into_iter().map(|number| attachments[number].clone()).collect();
    (out, used)
}

/// The length of the string literal at the beginning of `text`, including quotes.
fn string_length(text: &str) -> usize {
    let mut is_escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Case 3.4: the rest of an argument with binary parts stays as it was sent.
    #[test]
    fn placeholders_are_renumbered_and_the_rest_stays() {
        let attachments: Vec<Bytes> = ["zero", "one", "two"].map(Bytes::from).into();
        for (json, expected, used) in [
            ("-0", "-0", &[][..]),
            (r#"{"a":-0,"a":2,"n":12345678901234567890}"#, r#"{"a":-0,"a":2,"n":12345678901234567890}"#, &[]),
            (r#"{"_placeholder":true,"num":2}"#, r#"{"_placeholder":true,"num":0}"#, &["two"]),
            (
                r#"[ {"num" : 1, "_placeholder" : true} , -0, {"_placeholder":true,"num":0}]"#,
                r#"[ {"_placeholder":true,"num":0} , -0, {"_placeholder":true,"num":1}]"#,
                &["one", "zero"],
            ),
            // Clients look at the two keys, at the last of equal ones, and at nothing else.
            (
                r#"{"\u005fplaceholder":true,"num":0,"x":{"_placeholder":true,"num":1},"num":2}"#,
                r#"{"_placeholder":true,"num":0}"#,
                &["two"],
            ),
            (r#"{"_placeholder":false,"num":0}"#, r#"{"_placeholder":false,"num":0}"#, &[]),
            (r#"{"_placeholder":true,"num":3}"#, r#"{"_placeholder":true,"num":3}"#, &[]),
            (r#"{"_placeholder":true,"num":"0"}"#, r#"{"_placeholder":true,"num":"0"}"#, &[]),
            (r#""{\"_placeholder\":true,\"num\":0}""#, r#""{\"_placeholder\":true,\"num\":0}""#, &[]),
            (
                r#"{"x":["_placeholder",true],"_placeholder":{"num":1},"y":"num"}"#,
                r#"{"x":["_placeholder",true],"_placeholder":{"num":1},"y":"num"}"#,
                &[],
            ),
            // A member of an inner array or object does not belong to the outer object.
            (r#"{"_placeholder":[true],"num":[0]}"#, r#"{"_placeholder":[true],"num":[0]}"#, &[]),
            (r#"{"a":[true,"num"],"num":0,"_placeholder":[]}"#, r#"{"a":[true,"num"],"num":0,"_placeholder":[]}"#, &[]),
        ] {
            let (text, found) = renumber(json, &attachments);
            assert_eq!(
                (text.as_str(), found),
                (expected, used.iter().map(|one| Bytes::from(*one)).collect()),
                "{json}"
            );
        }
    }
}
