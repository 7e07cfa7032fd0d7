//! The body of a POST in protocol 3, as text and as bytes, and the same bytes as WebSocket frames.
//!
//! What is read must be written and read again unchanged.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use socketio::engine::packet::{Data, Packet, Protocol};
use socketio::engine::payload;

fuzz_target!(|body: &[u8]| {
    let body = Bytes::copy_from_slice(body);
    for is_binary in [false, true] {
        let Ok(packets) = payload::decode(body.clone(), Protocol::V3, is_binary) else {
            continue;
        };
        for supports_binary in [false, true] {
            let again = payload::encode(&packets, Protocol::V3, supports_binary);
            let is_binary = matches!(again, Data::Binary(_));
            assert_eq!(payload::decode(again.into_bytes(), Protocol::V3, is_binary).as_ref(), Ok(&packets));
        }
        for packet in packets {
            let frame = packet.encode_frame(Protocol::V3);
            assert_eq!(Packet::decode_frame(frame, Protocol::V3), Ok(packet));
        }
    }
    let _ = Packet::decode_frame(Data::Binary(body), Protocol::V3);
});
