//! The answers to commands: `{"id":…,"ok":true,…}`, or `{"id":…,"ok":false,"error":{"code":…,"message":…}}`.

use bytes::Bytes;
use edge::ApiError;
use serde::Serialize;
use serde_json::value::RawValue;
use shared::pure::Cursor;
use socketio::websocket::encode;

/// An answer, without what its command did not ask for.
#[derive(Serialize)]
struct Answer<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a RawValue>,
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<Cursor>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Detail<'a>>,
}

#[derive(Serialize)]
struct Detail<'a> {
    code: &'a str,
    message: &'a str,
}

/// The frame with the answer to the command `id`: the cursor that it returns, if any, or why it failed.
pub(super) fn frame(id: Option<&RawValue>, result: &Result<Option<Cursor>, ApiError>) -> Bytes {
    encode::text(&json(id, result))
}

fn json(id: Option<&RawValue>, result: &Result<Option<Cursor>, ApiError>) -> String {
    let message = result.as_ref().err().map(ToString::to_string).unwrap_or_default();
    let error = result.as_ref().err().map(|error| Detail { code: error.code(), message: &message });
    let cursor = result.as_ref().ok().copied().flatten();
    // Texts and cursors always serialize.
    serde_json::to_string(&Answer { id, ok: error.is_none(), cursor, error }).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_repeat_the_id_of_their_command() {
        let id = |json: &str| RawValue::from_string(json.to_owned()).unwrap();
        let (one, text) = (id("1"), id("\"\\u0061\""));
        assert_eq!(json(Some(&one), &Ok(None)), r#"{"id":1,"ok":true}"#);
        assert_eq!(json(None, &Ok(None)), r#"{"ok":true}"#);
        let cursor = Ok(Some(Cursor::new(5, 1)));
        assert_eq!(json(Some(&text), &cursor), r#"{"id":"\u0061","ok":true,"cursor":"5-1"}"#);
        let failed = Err(ApiError::invalid("bad_cursor", "say \"5-1\""));
        let expected = r#"{"id":1,"ok":false,"error":{"code":"bad_cursor","message":"say \"5-1\""}}"#;
        assert_eq!(json(Some(&one), &failed), expected);
    }
}
