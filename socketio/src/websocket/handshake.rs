//! The opening handshake (RFC 6455 §4.2).

use actix_http::{
    header::{self, HeaderMap, HeaderValue},
    ws::hash_key,
};
use base64::{Engine as _, prelude::BASE64_STANDARD};

/// The version of the protocol (RFC 6455 §4.1).
pub const VERSION: &str = "13";
/// The length of a key in bytes, before its encoding.
const KEY_BYTES: usize = 16;

/// Why a request for an upgrade is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// The client wants another version: to be answered with the supported one (RFC 6455 §4.2.2).
    #[error("Sec-WebSocket-Version must be {VERSION}")]
    Version,
    /// The key is missing, repeated or invalid.
    #[error("Sec-WebSocket-Key must occur once, with {KEY_BYTES} random bytes in base64")]
    Key,
}

/// The value of `Sec-WebSocket-Accept` for a request for an upgrade.
///
/// # Errors
/// When the request is not as RFC 6455 §4.2.1 requires. Method, HTTP version, `Upgrade` and `Connection` are up to the caller.
pub fn accept(headers: &HeaderMap) -> Result<HeaderValue, HandshakeError> {
    let mut versions = headers.get_all(header::SEC_WEBSOCKET_VERSION);
    if versions.next().is_none_or(|version| version != VERSION) || versions.next().is_some() {
        return Err(HandshakeError::Version);
    }
    let mut keys = headers.get_all(header::SEC_WEBSOCKET_KEY);
    let key = keys.next().filter(|_| keys.next().is_none()).ok_or(HandshakeError::Key)?.as_bytes();
    match BASE64_STANDARD.decode(key) {
        Ok(bytes) if bytes.len() == KEY_BYTES => {
            HeaderValue::from_bytes(&hash_key(key)).map_err(|_| HandshakeError::Key)
        }
        _ => Err(HandshakeError::Key),
    }
}

/// The subprotocols that the client offers, in its order of preference (RFC 6455 §4.1).
pub fn protocols(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let values = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).filter(|protocol| !protocol.is_empty())
}

#[cfg(test)]
mod tests {
    use actix_http::header::HeaderName;

    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        headers
    }

    /// The example of RFC 6455 §1.3.
    #[test]
    fn the_key_is_proven_to_have_been_read() {
        const KEY: (&str, &str) = ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
        const VERSION: (&str, &str) = ("sec-websocket-version", "13");
        let accepted = Ok(HeaderValue::from_static("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        for (fields, expected) in [
            (&[KEY, VERSION][..], accepted),
            (&[KEY], Err(HandshakeError::Version)),
            (&[KEY, ("sec-websocket-version", "8")], Err(HandshakeError::Version)),
            (&[KEY, VERSION, VERSION], Err(HandshakeError::Version)),
            (&[VERSION], Err(HandshakeError::Key)),
            (&[VERSION, KEY, KEY], Err(HandshakeError::Key)),
            (&[VERSION, ("sec-websocket-key", "short")], Err(HandshakeError::Key)),
            (&[VERSION, ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ!!")], Err(HandshakeError::Key)),
            (&[VERSION, ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZTE=")], Err(HandshakeError::Key)),
        ] {
            assert_eq!(accept(&headers(fields)), expected, "{fields:?}");
        }
    }

    #[test]
    fn offered_protocols_of_all_fields_in_order() {
        let offered = headers(&[("sec-websocket-protocol", "b, a ,"), ("sec-websocket-protocol", "c")]);
        assert_eq!(protocols(&offered).collect::<Vec<_>>(), ["b", "a", "c"]);
        assert_eq!(protocols(&headers(&[])).count(), 0);
    }
}
