//! A conversation in the default parser: messages one behind the other, through the assembler.
//!
//! The input is split at 0xFF: pieces that begin with 0x00 are binary messages, the rest text. Each packet that comes out is
//! looked at in every way a server looks at it, written, and read again.

#![no_main]

use bytes::Bytes;
use bytestring::ByteString;
use libfuzzer_sys::fuzz_target;
use socketio::socket::assemble::{Assembler, Limits};
use socketio::socket::packet::{Kind, Packet};
use socketio::socket::{msgpack, text};
use socketio::value::Value;

fuzz_target!(|conversation: &[u8]| {
    let mut assembler = Assembler::new(Limits::default());
    for message in conversation.split(|&byte| byte == 0xff) {
        let packet = match message.strip_prefix(b"\0") {
            Some(bytes) => assembler.binary(Bytes::copy_from_slice(bytes)),
            None => match ByteString::try_from(message) {
                Ok(text) => assembler.text(&text),
                Err(_) => return,
            },
        };
        match packet {
            Ok(Some(packet)) => look_at(&packet),
            Ok(None) => assert!(assembler.is_waiting()),
            Err(_) => return,
        }
    }
});

fn look_at(packet: &Packet) {
    if packet.kind == Kind::Event {
        assert!(packet.event_name().is_some());
    }
    let (text, attachments) = text::encode(packet);
    let again = text::decode(&text, Limits::default().max_attachments).expect("what was written is read");
    assert_eq!(again.attachments, attachments.len());
    assert_eq!((again.packet.kind, &again.packet.nsp, again.packet.id), (packet.kind, &packet.nsp, packet.id));

    let Some(payload) = &packet.payload else { return };
    let _ = payload.event_args::<(Value, Option<String>, Option<Value>)>();
    let _ = payload.ack_args::<Value>();
    let with_offset = payload.with_string_arg("offset").to_value();
    let Ok(value) = payload.to_value() else {
        assert!(with_offset.is_err());
        return;
    };
    if let Value::Array(mut items) = value.clone() {
        items.push("offset".into());
        assert_eq!(with_offset.expect("as good as without"), Value::Array(items));
    }
    // Msgpack cannot say everything, but what it says it says right.
    let bytes = msgpack::encode(packet);
    if let Ok(again) = msgpack::decode(&bytes, Limits::default()) {
        assert_eq!(again.payload.expect("it had one").to_value().expect("and a good one"), value);
    }
    let _ = value.into_plain();
}
