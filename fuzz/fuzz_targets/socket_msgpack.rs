//! One message of the msgpack parser. What is read must be written and read again unchanged.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use socketio::socket::assemble::Limits;
use socketio::socket::packet::Kind;
use socketio::socket::{msgpack, text};
use socketio::value::Value;

fuzz_target!(|message: &[u8]| {
    let Ok(packet) = msgpack::decode(&Bytes::copy_from_slice(message), Limits::default()) else {
        return;
    };
    if packet.kind == Kind::Event {
        assert!(packet.event_name().is_some());
    }
    if let Some(payload) = &packet.payload {
        let _ = payload.event_args::<(Value, Option<Value>)>();
    }
    let bytes = msgpack::encode(&packet);
    let again = msgpack::decode(&bytes, Limits::default()).expect("what was written is read");
    let value = |packet: &socketio::socket::packet::Packet| {
        packet.payload.as_ref().map(|payload| payload.to_value().expect("checked when it was read"))
    };
    assert_eq!(value(&again), value(&packet));
    assert_eq!((again.kind, &again.nsp, again.id), (packet.kind, &packet.nsp, packet.id));
    let _ = text::encode(&packet);
});
