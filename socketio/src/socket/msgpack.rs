//! The msgpack parser (npm `socket.io-msgpack-parser`): each Socket.IO packet is one binary message, a map `{type, nsp, data, id?}`. Bytes
//! are part of the data, so there are no attachments and no binary packet types.
//!
//! Inside, data has one form whatever the parser, JSON text beside attachments; this file translates.
//! In:  binary message → [`decode`] → [`Packet`]. Out: [`Packet`] → [`encode`] → binary message.
//!
//! A peer's lengths are believed only as far as there are bytes: nothing is allocated for a length alone.

use bytes::Bytes;
use bytestring::ByteString;

use super::assemble::Limits;
use super::packet::{Kind, Packet, Payload};
use super::text::{ParseError, check_payload};

mod read;
mod transcode;
mod write;

/// The packet as the content of one binary message. All JSON has a form in msgpack: a number beyond 64-bit floats is infinity, an
/// unpaired surrogate U+FFFD.
#[must_use]
pub fn encode(packet: &Packet) -> Bytes {
    let data = packet.payload.as_ref();
    let members = 2 + u32::from(data.is_some()) + u32::from(packet.id.is_some());
    let mut out = write::Writer::with_capacity(packet.nsp.len() + 32 + data.map_or(0, Payload::len));
    out.map(members);
    out.string("type");
    out.unsigned(number(packet.kind).into());
    if let Some(data) = data {
        out.string("data");
        transcode::value(&mut out, data.json(), data.attachments());
    }
    if let Some(id) = packet.id {
        out.string("id");
        out.unsigned(id);
    }
    out.string("nsp");
    out.string(&packet.nsp);
    out.finish()
}

/// Reads the content of one binary message.
///
/// Members beside the four are skipped. `undefined` is null in arrays and absent at the top; dates become
/// ISO 8601 strings, as in JSON. Infinities and NaN become a number that is out of range of 64-bit floats: a handler that reads it answers with
/// an error, as for `1e400` in JSON.
///
/// # Errors
/// On anything but such a map, and wherever the default parser would refuse the same packet: data of the wrong shape, reserved event names,
/// nesting and sizes beyond the limits.
pub fn decode(message: &Bytes, limits: Limits) -> Result<Packet, ParseError> {
    if message.len() > limits.max_bytes {
        return Err(ParseError::TooLarge(limits.max_bytes));
    }
    let mut reader = read::Reader::new(message);
    let (mut kind, mut nsp, mut id, mut data) = (None, None, None, None);
    for _ in 0..reader.map()? {
        match reader.key()?.as_ref() {
            "type" => kind = Some(reader.unsigned()?.ok_or(ParseError::Type)?),
            "nsp" => nsp = Some(ByteString::from(reader.string()?)),
            "id" => id = reader.unsigned()?,
            "data" => data = reader.json(limits.max_attachments)?,
            _ => reader.skip()?,
        }
    }
    reader.end()?;
    let kind = match kind {
        Some(0) => Kind::Connect,
        Some(1) => Kind::Disconnect,
        Some(2) => Kind::Event,
        Some(3) => Kind::Ack,
        Some(4) => Kind::ConnectError,
        _ => return Err(ParseError::Type),
    };
    let payload = data.map(|(json, attachments)| Payload::from_parts(json.into(), attachments));
    let (json, attachments) =
        payload.as_ref().map_or(("", 0), |payload| (&payload.json()[..], payload.attachments().len()));
    check_payload(kind, json, attachments)?;
    Ok(Packet { kind, nsp: nsp.ok_or(ParseError::MsgPack("the namespace is missing"))?, id, payload })
}

fn number(kind: Kind) -> u8 {
    match kind {
        Kind::Connect => 0,
        Kind::Disconnect => 1,
        Kind::Event => 2,
        Kind::Ack => 3,
        Kind::ConnectError => 4,
    }
}

#[cfg(test)]
mod tests;
