//! Buffers in the answer of an application: `{"base64":"…"}` is one.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use shared::pure;
use socketio::{Args, Value, socket::packet::Payload};

/// Reads a JSON array as arguments of an event or an ack.
///
/// # Errors
/// When it is not an array, or has a value that cannot be represented.
pub(super) fn args(what: &str, json: &str) -> Result<Args, String> {
    match value(what, json)? {
        Value::Array(items) => Ok(Args(items)),
        _ => Err(format!("{what} is not a list of arguments")),
    }
}

/// Reads JSON as the data of a message.
///
/// # Errors
/// When it has a value that cannot be represented.
pub(super) fn data(what: &str, json: &str) -> Result<pure::Payload, String> {
    let bad = |error: pure::PayloadError| format!("{what}: {error}");
    if !json.contains("\"base64\"") {
        return pure::Payload::from_json(json.as_bytes()).map_err(bad);
    }
    let payload = Payload::from_value(&value(what, json)?).map_err(|error| format!("{what}: {error}"))?;
    let (json, attachments) = payload.into_parts();
    pure::Payload::with_attachments(json.as_bytes(), attachments).map_err(bad)
}

fn value(what: &str, json: &str) -> Result<Value, String> {
    let value = Payload::from_parts(json.into(), Vec::new()).to_value().map_err(|error| format!("{what}: {error}"))?;
    Ok(if json.contains("\"base64\"") { with_buffers(value) } else { value })
}

/// The value with a buffer in the place of each object whose only member is `base64`. A text that is not base64 stays as it is.
fn with_buffers(value: Value) -> Value {
    match value {
        Value::Object(object) => {
            if let (1, Some(Value::String(text))) = (object.len(), object.get("base64"))
                && let Ok(bytes) = STANDARD.decode(text)
            {
                return Value::Binary(bytes.into());
            }
            Value::Object(object.into_iter().map(|(name, value)| (name, with_buffers(value))).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(with_buffers).collect()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_alone_in_an_object_is_a_buffer() {
        for (json, expected, buffers) in [
            (r#"[]"#, "[]", 0),
            (r#"[{"z":1,"a":[2.5,null]},"base64"]"#, r#"[{"z":1,"a":[2.5,null]},"base64"]"#, 0),
            (r#"[{"base64":"AQID"}]"#, r#"[{"_placeholder":true,"num":0}]"#, 1),
            (r#"[{"file":{"base64":""}}]"#, r#"[{"file":{"_placeholder":true,"num":0}}]"#, 1),
            (r#"[{"base64":"AQID","name":"x"}]"#, r#"[{"base64":"AQID","name":"x"}]"#, 0),
            (r#"[{"base64":"not it"},{"base64":7}]"#, r#"[{"base64":"not it"},{"base64":7}]"#, 0),
        ] {
            let payload = Payload::ack(&args("`ack`", json).unwrap()).unwrap();
            assert_eq!(
                (payload.json().to_string().as_str(), payload.attachments().len()),
                (expected, buffers),
                "{json}"
            );
        }
        for bad in ["{}", "7", "null", "[1e400]"] {
            assert!(args("`ack`", bad).unwrap_err().starts_with("`ack`"), "{bad}");
        }
        let data = data("`data`", r#"{"image":{"base64":"AQID"},"n":1}"#).unwrap();
        assert_eq!((data.attachments().len(), &*data.plain_json()), (1, r#"{"image":{"base64":"AQID"},"n":1}"#));
    }
}
