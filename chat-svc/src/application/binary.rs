//! The arguments and the data in the answer of an application, in which `{"base64":"…"}` is a buffer. Everything else keeps its bytes.

use serde_json::value::RawValue;
use shared::pure::{self, payload};
use socketio::socket::packet::Payload;

use crate::wire::text;

/// The arguments of an ack.
///
/// # Errors
/// When `args` is not an array, or has a value that is not accepted.
pub(super) fn ack(args: Option<&RawValue>) -> Result<Payload, String> {
    list("`ack`", String::new(), args)
}

/// An event with its arguments.
///
/// # Errors
/// As [`ack`].
pub(super) fn event(name: &str, args: Option<&RawValue>) -> Result<Payload, String> {
    list("`args`", text(name), args)
}

/// The data of a message.
///
/// # Errors
/// When it has a value that is not accepted.
pub(super) fn data(data: &RawValue) -> Result<pure::Payload, String> {
    pure::Payload::from_plain_json(data.get().as_bytes()).map_err(|error| format!("`publish`: {error}"))
}

/// `first`, if there is one, and the arguments.
fn list(what: &str, first: String, args: Option<&RawValue>) -> Result<Payload, String> {
    let args: Vec<&RawValue> = match args {
        Some(args) => serde_json::from_str(args.get()).map_err(|_| format!("{what} is not a list of arguments"))?,
        None => Vec::new(),
    };
    let (rest, attachments) =
        payload::list(args.into_iter().map(RawValue::get)).map_err(|error| format!("{what}: {error}"))?;
    let comma = if first.is_empty() || rest.is_empty() { "" } else { "," };
    Ok(Payload::from_parts(format!("[{first}{comma}{rest}]").into(), attachments))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(json: &str) -> Box<RawValue> {
        RawValue::from_string(json.to_owned()).unwrap()
    }

    #[test]
    fn base64_alone_in_an_object_is_a_buffer_and_all_else_keeps_its_bytes() {
        let kept = r#"12345678901234567890123,-0,1.50,{"a":1,"a":2},"\u00e9""#;
        for (args, expected, buffers) in [
            ("[]".to_owned(), String::new(), 0),
            (r#"[{"z":1,"a":[2.5,null]},"base64"]"#.to_owned(), r#"{"z":1,"a":[2.5,null]},"base64""#.to_owned(), 0),
            (format!(r#"[{kept}, {{"base64":"AQID"}}]"#), format!(r#"{kept},{{"_placeholder":true,"num":0}}"#), 1),
        ] {
            let args = raw(&args);
            let (ack, event) = (ack(Some(&args)).unwrap(), event("e\"", Some(&args)).unwrap());
            assert_eq!((&**ack.json(), ack.attachments().len()), (&*format!("[{expected}]"), buffers));
            let comma = if expected.is_empty() { "" } else { "," };
            assert_eq!(&**event.json(), format!(r#"["e\""{comma}{expected}]"#));
        }
        let none = (ack(None).unwrap(), event("e", None).unwrap());
        assert_eq!((&**none.0.json(), &**none.1.json()), ("[]", r#"["e"]"#));
        let deepest = "[".repeat(100) + &"]".repeat(100);
        assert!(ack(Some(&raw(&format!("[{deepest}]")))).is_ok());
        for bad in ["{}", "7", "null", "[1e400]", r#"["\ud83d"]"#, &format!("[[{deepest}]]")] {
            assert!(ack(Some(&raw(bad))).unwrap_err().starts_with("`ack`"), "{bad}");
        }
        let image = r#"{"image":{"base64":"AQID"},"n":12345678901234567890123,"n":1}"#;
        let message = data(&raw(image)).unwrap();
        assert_eq!((message.attachments().len(), &*message.plain_json()), (1, image));
        for bad in [format!("[{deepest}]"), format!(r#"[{{"base64":""}},{deepest}]"#)] {
            assert!(data(&raw(&bad)).unwrap_err().contains("deeper"), "{bad}");
        }
    }
}
