//! The default parser: a Socket.IO packet as text, `<type>[<n>-][<nsp>,][<id>][json]`, and its attachments as binary
//! messages behind it.
//!
//! Out: [`Packet`] → [`encode`] → text and attachments, each the content of one Engine.IO message.
//! In: the content of a text message → [`decode`] → a packet and the number of attachments still due, which
//! [`Assembler`](super::assemble::Assembler) waits for.
//!
//! Specification: Socket.IO protocol 5, "Packet encoding".

use bytes::Bytes;
use bytestring::ByteString;

use super::args;
use super::packet::{Kind, Packet, Payload};
use crate::value::{MAX_NESTING, json};

/// Why a text is no Socket.IO packet, or a message does not fit the one before it. Each closes the connection with the reason "parse error".
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ParseError {
    /// The text begins with no packet type, or is empty.
    #[error("unknown packet type")]
    Type,
    /// A binary packet without the number of its attachments, or with 0 of them.
    #[error("illegal number of attachments")]
    Attachments,
    /// More attachments than allowed.
    #[error("more than {0} attachments")]
    TooManyAttachments(usize),
    /// An acknowledgement id beyond 64 bits.
    #[error("acknowledgement id out of range")]
    AckId,
    /// The data is not JSON, or not of the shape that this type of packet has.
    #[error("invalid payload: {0}")]
    Payload(#[from] serde_json::Error),
    /// Data where none belongs, or none where it belongs.
    #[error("invalid payload: {0}")]
    Shape(&'static str),
    /// Arrays and objects nest too deep.
    #[error("arrays and objects are nested deeper than {MAX_NESTING}")]
    Nesting,
    /// Text came while attachments were due.
    #[error("text while attachments are expected")]
    UnexpectedText,
    /// An attachment came that no packet asked for.
    #[error("unexpected binary data")]
    UnexpectedBinary,
    /// A packet and its attachments are larger than allowed.
    #[error("the packet exceeds {0} bytes")]
    TooLarge(usize),
    /// Not a packet of the msgpack parser.
    #[cfg(feature = "msgpack")]
    #[error("invalid msgpack: {0}")]
    MsgPack(&'static str),
}

/// The content of one text message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoded {
    /// The packet, its attachments not yet filled in.
    pub packet: Packet,
    /// How many binary messages must follow before it is complete; 0 for most.
    pub attachments: usize,
}

/// The packet as the content of one text message, and its attachments, each that of one binary message.
pub fn encode(packet: &Packet) -> (ByteString, Vec<Bytes>) {
    let json = packet.payload.as_ref().map_or("", |payload| payload.json());
    let mut out = String::with_capacity(packet.nsp.len() + json.len() + 24);
    let attachments = packet.attachments().len();
    out.push(match (packet.kind, attachments) {
        (Kind::Connect, _) => '0',
        (Kind::Disconnect, _) => '1',
        (Kind::Event, 0) => '2',
        (Kind::Ack, 0) => '3',
        (Kind::ConnectError, _) => '4',
        (Kind::Event, _) => '5',
        (Kind::Ack, _) => '6',
    });
    if attachments > 0 && matches!(packet.kind, Kind::Event | Kind::Ack) {
        out.push_str(&attachments.to_string());
        out.push('-');
    }
    if packet.nsp != "/" {
        out.push_str(&packet.nsp);
        out.push(',');
    }
    if let Some(id) = packet.id {
        out.push_str(&id.to_string());
    }
    out.push_str(json);
    (out.into(), packet.attachments().to_vec())
}

/// Reads the content of one text message. The packet shares its buffer.
///
/// # Errors
/// Every [`ParseError`] except for the order of messages and sizes, which the assembler checks.
pub fn decode(text: &ByteString, max_attachments: usize) -> Result<Decoded, ParseError> {
    let mut chars = text.chars();
    let (kind, binary) = match chars.next() {
        Some('0') => (Kind::Connect, false),
        Some('1') => (Kind::Disconnect, false),
        Some('2') => (Kind::Event, false),
        Some('3') => (Kind::Ack, false),
        Some('4') => (Kind::ConnectError, false),
        Some('5') => (Kind::Event, true),
        Some('6') => (Kind::Ack, true),
        _ => return Err(ParseError::Type),
    };
    let mut rest = chars.as_str();
    let mut attachments = 0;
    if binary {
        let (number, tail) = rest.split_once('-').ok_or(ParseError::Attachments)?;
        attachments = attachment_count(number, max_attachments)?;
        rest = tail;
    }
    let mut nsp = ByteString::from_static("/");
    if rest.starts_with('/') {
        let (name, tail) = rest.split_once(',').unwrap_or((rest, ""));
        if name != "/" {
            nsp = text.slice_ref(name);
        }
        rest = tail;
    }
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let id = match digits {
        0 => None,
        _ => Some(rest[..digits].parse().map_err(|_| ParseError::AckId)?),
    };
    let json = &rest[digits..];
    check_payload(kind, json, attachments)?;
    let payload = (!json.is_empty()).then(|| Payload::from_parts(text.slice_ref(json), Vec::new()));
    Ok(Decoded { packet: Packet { kind, nsp, id, payload }, attachments })
}

fn attachment_count(number: &str, max: usize) -> Result<usize, ParseError> {
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(ParseError::Attachments);
    }
    match number.parse() {
        Ok(0) => Err(ParseError::Attachments),
        Ok(count) if count <= max => Ok(count),
        // Also what is too large for a number at all.
        _ => Err(ParseError::TooManyAttachments(max)),
    }
}

/// Whether `json` (empty if there is no data) is valid data for such a packet.
pub(super) fn check_payload(kind: Kind, json: &str, attachments: usize) -> Result<(), ParseError> {
    // Of an event or its answer depth is for the handler to judge, which can say so: nothing here recurses over it.
    if !matches!(kind, Kind::Event | Kind::Ack) && !json::is_shallow(json) {
        return Err(ParseError::Nesting);
    }
    match (kind, json.is_empty()) {
        (Kind::Connect | Kind::Disconnect, true) => Ok(()),
        (Kind::Disconnect, false) => Err(ParseError::Shape("a disconnect cannot have data")),
        (_, true) => Err(ParseError::Shape("data is missing")),
        (Kind::Connect, false) => check_object(json, false),
        (Kind::ConnectError, false) => check_object(json, true),
        (Kind::Event, false) => Ok(args::check_event(json)?),
        (Kind::Ack, false) => Ok(args::check_array(json)?),
    }?;
    if attachments > 0 {
        json::check(json, attachments)?;
    }
    Ok(())
}

fn check_object(json: &str, or_string: bool) -> Result<(), ParseError> {
    serde_json::from_str::<serde::de::IgnoredAny>(json)?;
    match json.trim_start().bytes().next() {
        Some(b'{') => Ok(()),
        Some(b'"') if or_string => Ok(()),
        _ => Err(ParseError::Shape("an object is expected")),
    }
}

#[cfg(test)]
mod tests;
