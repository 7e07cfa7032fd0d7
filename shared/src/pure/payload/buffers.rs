//! Buffers that are written `{"base64":"…"}` by who cannot write binary.
//!
//! The text is scanned and never decoded, so numbers, duplicate keys and escapes stay as they were written.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;

use super::{Part, Payload, PayloadError, parts, plain::BEFORE, string_end};

impl Payload {
    /// Reads [plain JSON](Self::plain_json): an object whose only member is `base64`, with base64 as its text, is a buffer. Everything else
    /// is kept as it is written.
    ///
    /// # Errors
    /// As [`with_attachments`](Self::with_attachments): also when something looks like a placeholder beside a buffer.
    pub fn from_plain_json(text: &[u8]) -> Result<Self, PayloadError> {
        let plain = Self::from_json(text)?;
        let (json, attachments) = splice(&plain.json);
        if attachments.is_empty() { Ok(plain) } else { Self::with_attachments(json.as_bytes(), attachments) }
    }
}

/// Values, each of plain JSON, as one text with commas in between, and the buffers of its placeholders: what is between the brackets of a
/// list of arguments. Each value may be [as deep](super::MAX_DEPTH) as the data of a message.
///
/// # Errors
/// As [`Payload::from_plain_json`].
pub fn list<'a>(values: impl IntoIterator<Item = &'a str>) -> Result<(String, Vec<Bytes>), PayloadError> {
    let (mut json, mut attachments, mut placeholders) = (String::new(), Vec::new(), 0);
    for (at, value) in values.into_iter().enumerate() {
        let value = Payload::from_plain_json(value.as_bytes())?;
        if at > 0 {
            json.push(',');
        }
        for part in parts(&value.json) {
            match part {
                Part::Text(text) => json.push_str(text),
                Part::Placeholder(number) => {
                    push_placeholder(&mut json, attachments.len() + number);
                    placeholders += 1;
                }
            }
        }
        attachments.extend(value.attachments);
    }
    let is_matched = attachments.is_empty() || placeholders == attachments.len();
    if is_matched { Ok((json, attachments)) } else { Err(PayloadError::Placeholders) }
}

/// Compact `json` with placeholders for its buffers.
fn splice(json: &str) -> (String, Vec<Bytes>) {
    let (mut spliced, mut attachments) = (String::new(), Vec::new());
    let (mut at, mut kept_to) = (0, 0);
    while let Some(next) = json[at..].find(['"', '{']) {
        at += next;
        let rest = &json[at..];
        if rest.starts_with('"') {
            at += string_end(rest);
        } else if let Some((buffer, length)) = buffer(rest) {
            spliced.push_str(&json[kept_to..at]);
            push_placeholder(&mut spliced, attachments.len());
            attachments.push(buffer);
            at += length;
            kept_to = at;
        } else {
            at += 1;
        }
    }
    spliced.push_str(&json[kept_to..]);
    (spliced, attachments)
}

/// The buffer at the beginning of compact `json`, and the length of its object.
fn buffer(json: &str) -> Option<(Bytes, usize)> {
    let quote = BEFORE.len() - 1;
    let literal = json.strip_prefix(BEFORE).map(|_| &json[quote..quote + string_end(&json[quote..])])?;
    let length = quote + literal.len() + 1;
    if json.as_bytes().get(length - 1) != Some(&b'}') {
        return None;
    }
    // It may have escapes: PHP writes `\/`.
    let text: String = serde_json::from_str(literal).ok()?;
    Some((STANDARD.decode(text).ok()?.into(), length))
}

fn push_placeholder(json: &mut String, number: usize) {
    json.push_str("{\"_placeholder\":true,\"num\":");
    json.push_str(&number.to_string());
    json.push('}');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(json: &str) -> Result<(String, Vec<Bytes>), PayloadError> {
        let payload = Payload::from_plain_json(json.as_bytes())?;
        Ok((payload.placeholder_json().to_owned(), payload.attachments().to_vec()))
    }

    #[test]
    fn base64_alone_in_an_object_is_a_buffer_and_all_else_keeps_its_bytes() {
        let (abc, none) = (Bytes::from_static(b"\x01\x02\x03"), Bytes::new());
        for (json, expected, buffers) in [
            (r#"{ "base64" : "AQID" }"#, r#"{"_placeholder":true,"num":0}"#, &[&abc][..]),
            (
                r#"[12345678901234567890123,-0,1.50,{"a":1,"a":{"base64":""}},"\u00e9{\"base64\":\"AQID\"}",{"base64":"AQID"}]"#,
                r#"[12345678901234567890123,-0,1.50,{"a":1,"a":{"_placeholder":true,"num":0}},"\u00e9{\"base64\":\"AQID\"}",{"_placeholder":true,"num":1}]"#,
                &[&none, &abc],
            ),
            (r#"{"base64":"\/\u002F8="}"#, r#"{"_placeholder":true,"num":0}"#, &[&Bytes::from_static(b"\xff\xff")]),
            (r#"{"base64":"AQID","name":"x"}"#, r#"{"base64":"AQID","name":"x"}"#, &[]),
            (r#"[{"base64":"not it"},{"base64":7},"base64",{"base64":{"base64":1}}]"#, "same", &[]),
            (r#"{"_placeholder":true,"num":0}"#, "same", &[]),
            ("\"时间{\"", "same", &[]),
        ] {
            let expected = if expected == "same" { json } else { expected };
            let (spliced, attachments) = read(json).unwrap();
            assert_eq!((&*spliced, attachments.iter().collect::<Vec<_>>()), (expected, buffers.to_vec()), "{json}");
        }
        let deep = |depth: usize| format!("{}{}{}", "[".repeat(depth), r#"{"base64":""}"#, "]".repeat(depth));
        assert!(read(&deep(99)).is_ok());
        for (bad, error) in [
            (deep(100), PayloadError::TooDeep),
            (r#"[1e400,{"base64":""}]"#.to_owned(), PayloadError::NumberOutOfRange),
            (r#"["\ud83d",{"base64":""}]"#.to_owned(), PayloadError::LoneSurrogate),
            (r#"[{"_placeholder":true,"num":0},{"base64":""}]"#.to_owned(), PayloadError::Placeholders),
        ] {
            assert_eq!(read(&bad), Err(error), "{bad}");
        }
    }

    #[test]
    fn the_buffers_of_a_list_are_counted_through() {
        let deepest = "[".repeat(100) + &"]".repeat(100);
        let (json, attachments) = list([r#"[{"base64":"AA=="}]"#, &deepest, r#"{"base64":"AQ=="}"#, "1"]).unwrap();
        let expected = format!(r#"[{{"_placeholder":true,"num":0}}],{deepest},{{"_placeholder":true,"num":1}},1"#);
        assert_eq!((json, attachments), (expected, vec![Bytes::from_static(b"\0"), Bytes::from_static(b"\x01")]));
        assert_eq!(list([]), Ok((String::new(), Vec::new())));
        assert_eq!(list(["1", &format!("[{deepest}]")]), Err(PayloadError::TooDeep));
        // A reader would take it for another buffer.
        let lookalike = r#"{"num":0,"_placeholder":true}"#;
        assert_eq!(list([lookalike, r#"{"base64":""}"#]), Err(PayloadError::Placeholders));
    }

    proptest! {
        #[test]
        fn plain_json_is_read_back(buffers in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..9), 0..4)) {
            let json: Vec<_> = (0..buffers.len()).map(|n| format!(r#"{{"_placeholder":true,"num":{n}}}"#)).collect();
            let json = format!(r#"[{{"base64":"-"}},{{"a":[{}]}}]"#, json.join(","));
            let payload = Payload::with_attachments(json.as_bytes(), buffers.into_iter().map(Bytes::from).collect()).unwrap();
            prop_assert_eq!(Payload::from_plain_json(payload.plain_json().as_bytes()), Ok(payload));
        }
    }
}
