//! The body of a POST in protocol 4, and the same bytes as WebSocket frames and as a JSONP form.
//!
//! What is read must be written and read again unchanged.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use socketio::engine::packet::{Data, Packet, Protocol};
use socketio::engine::payload::{self, jsonp};

fuzz_target!(|body: &[u8]| {
    let body = Bytes::copy_from_slice(body);
    if let Ok(packets) = payload::decode(body.clone(), Protocol::V4, false) {
        let again = payload::encode(&packets, Protocol::V4, true).into_bytes();
        assert_eq!(payload::decode(again, Protocol::V4, false).as_ref(), Ok(&packets));
        for packet in packets {
            let frame = packet.encode_frame(Protocol::V4);
            assert_eq!(Packet::decode_frame(frame, Protocol::V4), Ok(packet));
        }
    }
    let _ = Packet::decode_frame(Data::Binary(body.clone()), Protocol::V4);
    if let Ok(text) = std::str::from_utf8(&body) {
        let script = jsonp::wrap(text, text);
        assert!(script.ends_with("\");"));
    }
    let _ = jsonp::unwrap(&body);
    let _ = jsonp::unwrap(&[b"d=", &body[..]].concat());
});
