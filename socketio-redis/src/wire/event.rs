//! Events for sockets: msgpack, `[uid, {type, data, nsp}, {rooms, except, flags}]`.

use rmp::encode::buffer::ByteBuf;
use socketio::{
    EncodedPacket, Room, Selector, Value,
    adapter::Broadcast,
    socket::packet::{Packet, Payload},
};

use super::{
    Budget, WireError, event_payload, flag,
    msgpack::{self, write_array, write_map, write_str, write_uint},
    number, selector,
};

/// The type of an event, with binary data, too: msgpack needs no separate type.
const EVENT: u64 = 2;
/// The type with binary data, as old emitters send it.
const BINARY_EVENT: u64 = 5;

/// An event from another server, or an emitter.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) packet: EncodedPacket,
    pub(crate) to: Selector,
    pub(crate) volatile: bool,
}

/// The prefix of each event of the server `uid`.
pub(crate) fn prefix(uid: &str) -> Vec<u8> {
    let mut out = ByteBuf::new();
    write_array(&mut out, 3);
    write_str(&mut out, uid);
    out.into_vec()
}

/// Writes an event that begins with `prefix`.
pub(crate) fn encode(prefix: &[u8], broadcast: &Broadcast) -> Result<Vec<u8>, WireError> {
    let Broadcast { packet, to, volatile, .. } = broadcast;
    let mut out = Vec::with_capacity(prefix.len() + packet.size() + 64);
    out.extend_from_slice(prefix);
    let mut out = ByteBuf::from_vec(out);
    write_packet(&mut out, packet.packet())?;
    write_map(&mut out, 3);
    write_selector(&mut out, to);
    write_str(&mut out, "flags");
    write_map(&mut out, usize::from(*volatile));
    if *volatile {
        write_str(&mut out, "volatile");
        msgpack::write(&mut out, &true.into());
    }
    Ok(out.into_vec())
}

/// Writes a packet before it has an id.
pub(super) fn write_packet(out: &mut ByteBuf, packet: &Packet) -> Result<(), WireError> {
    let data = packet.payload.as_ref().map(Payload::to_value).transpose()?.ok_or(WireError::Shape("the data"))?;
    write_map(out, 3);
    write_str(out, "type");
    write_uint(out, EVENT);
    write_str(out, "data");
    msgpack::write(out, &data);
    write_str(out, "nsp");
    write_str(out, &packet.nsp);
    Ok(())
}

/// Writes the members `rooms` and `except`.
pub(super) fn write_selector(out: &mut ByteBuf, to: &Selector) {
    write_str(out, "rooms");
    write_rooms(out, &to.rooms);
    write_str(out, "except");
    write_rooms(out, &to.except);
}

fn write_rooms(out: &mut ByteBuf, rooms: &[Room]) {
    write_array(out, rooms.len());
    rooms.iter().for_each(|room| write_str(out, room));
}

/// Reads an event for the namespace `nsp`; `None` if it is for another one whose name produces the same channel.
pub(crate) fn decode(message: &[u8], nsp: &str, budget: Budget) -> Result<Option<Event>, WireError> {
    let message = msgpack::read(message, budget)?;
    // First the sender, which each sender precomputes: [`prefix`].
    let (packet, opts) = match message.as_array() {
        Some([_, packet, opts, ..]) => (packet, opts),
        Some([_, packet]) => (packet, &Value::Null),
        _ => return Err(WireError::Shape("the event")),
    };
    let Some(packet) = read_packet(Some(packet), nsp)? else { return Ok(None) };
    Ok(Some(Event { packet: packet.into(), to: selector(opts), volatile: flag(opts.get("flags"), "volatile") }))
}

/// Reads a packet, which has to be an event for the namespace `nsp`; the default is `/`.
pub(super) fn read_packet(packet: Option<&Value>, nsp: &str) -> Result<Option<Packet>, WireError> {
    let packet = packet.ok_or(WireError::Shape("the packet"))?;
    let of = match packet.get("nsp") {
        Some(Value::String(of)) => of,
        None | Some(Value::Null) => "/",
        Some(_) => return Err(WireError::Shape("the namespace")),
    };
    if of != nsp {
        return Ok(None);
    }
    match number(packet.get("type")) {
        Some(EVENT | BINARY_EVENT) => Ok(Some(Packet::event(nsp.into(), None, event_payload(packet.get("data"))?))),
        _ => Err(WireError::Shape("the packet's type")),
    }
}
