//! Frames of the server, which are never masked (RFC 6455 §5.1).

use actix_http::ws::{CloseCode, CloseReason, Codec, Message};
use bytes::{BufMut as _, Bytes, BytesMut};
use tokio_util::codec::Encoder as _;

/// A ping without data.
pub const PING: Bytes = Bytes::from_static(b"\x89\0");
/// Maximum size of the header of a server's frame in bytes.
const MAX_HEADER: usize = 10;
/// The final frame of a text message (RFC 6455 §5.2).
const FINAL_TEXT: u8 = 0x81;
/// Maximum length in bytes of the reason in a close frame (RFC 6455 §5.5).
const MAX_REASON: usize = 123;

/// The header of a text frame with `length` bytes, which follow it.
pub fn text_header(length: usize, out: &mut BytesMut) {
    out.put_u8(FINAL_TEXT);
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short @ ..=125), _) => out.put_u8(short),
        (_, Ok(medium)) => {
            out.put_u8(126);
            out.put_u16(medium);
        }
        _ => {
            out.put_u8(127);
            out.put_u64(length as u64);
        }
    }
}

/// A text frame.
#[must_use]
pub fn text(text: &str) -> Bytes {
    let mut out = BytesMut::with_capacity(MAX_HEADER + text.len());
    text_header(text.len(), &mut out);
    out.put_slice(text.as_bytes());
    out.freeze()
}

/// The answer to a ping (RFC 6455 §5.5.3).
#[must_use]
pub fn pong(data: Bytes) -> Bytes {
    control(Message::Pong(data))
}

/// A close frame (RFC 6455 §5.5.1), without a body if there is no reason. A text that is too long is cut.
#[must_use]
pub fn close(reason: Option<CloseReason>) -> Bytes {
    control(Message::Close(reason.map(|CloseReason { code, description }| CloseReason {
        code,
        description: description.map(|mut text| {
            text.truncate(text.floor_char_boundary(MAX_REASON));
            text
        }),
    })))
}

/// A close frame with a code and a reason for people.
#[must_use]
pub fn close_with(code: u16, reason: &str) -> Bytes {
    close(Some(CloseReason { code: CloseCode::from(code), description: Some(reason.to_owned()) }))
}

fn control(message: Message) -> Bytes {
    let mut out = BytesMut::new();
    // The server's own control frames are always well formed.
    let _ = Codec::new().encode(message, &mut out);
    out.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_have_their_shortest_form() {
        for (length, header) in [
            (0, &b"\x81\x00"[..]),
            (125, b"\x81\x7d"),
            (126, b"\x81\x7e\x00\x7e"),
            (65_535, b"\x81\x7e\xff\xff"),
            (65_536, b"\x81\x7f\0\0\0\0\0\x01\0\0"),
        ] {
            let mut out = BytesMut::new();
            text_header(length, &mut out);
            assert_eq!(out, header, "{length}");
            let frame = text(&"x".repeat(length));
            assert_eq!((frame.len(), &frame[..header.len()]), (header.len() + length, header));
        }
    }

    #[test]
    fn control_frames_are_encoded() {
        assert_eq!(pong(Bytes::from_static(b"hi")), &b"\x8a\x02hi"[..]);
        assert_eq!(close(None), &b"\x88\0"[..]);
        assert_eq!(close_with(4401, "token"), &b"\x88\x07\x11\x31token"[..]);
        let long = close_with(1008, &"é".repeat(100));
        assert_eq!((long.len(), long[1]), (2 + 2 + 122, 124), "cut between two characters");
    }
}
