//! A Socket.IO packet encoded once, for however many sockets it goes to.

use std::sync::{Arc, OnceLock};

use bytestring::ByteString;
use serde::Serialize;

#[cfg(feature = "msgpack")]
use crate::socket::msgpack;
use crate::{
    engine::{Encoded, Form, Frames, Outgoing},
    socket::{
        packet::{Kind, Packet, Payload},
        text,
    },
};

/// A packet with its wire forms: JSON text with attachments, and msgpack when the first client asks for that. Cloning it costs a
/// reference count, and so does sending it.
///
/// ```
/// use socketio::EncodedPacket;
///
/// let packet = EncodedPacket::event("/", "news", &("headline", 1)).unwrap();
/// let for_everybody = packet.clone();
/// assert_eq!(packet.packet().payload.as_ref().unwrap().json(), r#"["news","headline",1]"#);
/// # drop(for_everybody);
/// ```
#[derive(Clone)]
pub struct EncodedPacket(Arc<Inner>);

struct Inner {
    packet: Packet,
    size: usize,
    text: OnceLock<Frames>,
    #[cfg(feature = "msgpack")]
    msgpack: OnceLock<Frames>,
}

impl EncodedPacket {
    /// An event for a namespace. A tuple is several arguments, `()` none, anything else one.
    ///
    /// # Errors
    /// If the arguments cannot be serialized.
    pub fn event<T: Serialize + ?Sized>(
        nsp: impl Into<ByteString>,
        event: &str,
        args: &T,
    ) -> Result<Self, serde_json::Error> {
        Ok(Self::from(Packet::event(nsp.into(), None, Payload::event(event, args)?)))
    }

    /// The packet itself.
    pub fn packet(&self) -> &Packet {
        &self.0.packet
    }

    /// The same event with `offset` as its last argument, as connection state recovery wants it.
    pub fn with_offset(&self, offset: &str) -> Self {
        self.0.with_offset(offset).into()
    }

    /// Whether a client that can be recovered would take the end of this event for an offset: official clients do so with any string,
    /// unless the event wants an answer.
    pub(crate) fn ends_in_string(&self) -> bool {
        self.0.ends_in_string()
    }

    /// The same event, asking for an answer by this number.
    pub fn with_ack_id(&self, id: u64) -> Self {
        let mut packet = self.0.packet.clone();
        packet.id = Some(id);
        Self::from(packet)
    }

    /// The name, if it is an event.
    pub fn event_name(&self) -> Option<std::borrow::Cow<'_, str>> {
        self.0.packet.event_name()
    }

    /// Size in bytes, as counted in limits.
    pub fn size(&self) -> usize {
        self.0.size
    }
}

impl From<Packet> for EncodedPacket {
    fn from(packet: Packet) -> Self {
        let size = packet.payload.as_ref().map_or(0, Payload::len) + packet.nsp.len() + 4;
        Self(Arc::new(Inner {
            packet,
            size,
            text: OnceLock::new(),
            #[cfg(feature = "msgpack")]
            msgpack: OnceLock::new(),
        }))
    }
}

impl Inner {
    fn with_offset(&self, offset: &str) -> Packet {
        let mut packet = self.packet.clone();
        packet.payload = packet.payload.map(|payload| payload.with_string_arg(offset));
        packet
    }

    fn ends_in_string(&self) -> bool {
        let Packet { kind: Kind::Event, id: None, payload: Some(payload), .. } = &self.packet else { return false };
        let arguments = payload.json().trim_end().strip_suffix(']').unwrap_or_default();
        arguments.trim_end().ends_with('"')
    }
}

impl Encoded for Inner {
    fn frames(&self, form: Form) -> &Frames {
        match form {
            Form::Text => self.text.get_or_init(|| {
                let (text, attachments) = text::encode(&self.packet);
                Frames::text(&text, attachments)
            }),
            #[cfg(feature = "msgpack")]
            Form::Msgpack => self.msgpack.get_or_init(|| Frames::binary(msgpack::encode(&self.packet))),
        }
    }

    fn len(&self) -> usize {
        self.size
    }

    fn with_offset(&self, offset: &str) -> Option<Arc<dyn Encoded>> {
        self.ends_in_string().then(|| EncodedPacket::from(self.with_offset(offset)).0 as Arc<dyn Encoded>)
    }

    fn wants_offset(&self) -> bool {
        self.ends_in_string()
    }
}

impl From<EncodedPacket> for Outgoing {
    fn from(packet: EncodedPacket) -> Self {
        Self::new(packet.0)
    }
}

impl From<&EncodedPacket> for Outgoing {
    fn from(packet: &EncodedPacket) -> Self {
        Self::new(packet.0.clone())
    }
}

impl std::fmt::Debug for EncodedPacket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.packet.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_that_ends_in_a_string_gets_an_offset() {
        let raw =
            |json: &str| EncodedPacket::from(Packet::event("/".into(), None, Payload::from_parts(json.into(), vec![])));
        for (packet, expected) in [
            (raw(r#"["e","bob"]"#), Some(r#"["e","bob","o"]"#)),
            // Of an event without arguments the name is the last string.
            (raw(r#"["e"]"#), Some(r#"["e","o"]"#)),
            (raw("[\"e\" , \"\" ]\n"), Some("[\"e\" , \"\" ,\"o\"]")),
            (raw(r#"["e",1]"#), None),
            (raw(r#"["e",["x"]]"#), None),
            (raw(r#"["e",{"x":"y"}]"#), None),
            (raw(r#"["e","x"]"#).with_ack_id(7), None),
            (EncodedPacket::from(Packet::ack("/".into(), 7, Payload::ack("x").unwrap())), None),
        ] {
            assert_eq!(packet.ends_in_string(), expected.is_some(), "{packet:?}");
            let message = Outgoing::from(&packet);
            let stamped = message.clone().with_offset("o");
            let Some(expected) = expected else {
                assert_eq!(stamped.frames(Form::Text).len(), message.frames(Form::Text).len());
                continue;
            };
            assert_eq!(packet.with_offset("o").packet().payload.as_ref().unwrap().json().trim(), expected);
            for form in [Form::Text, Form::Msgpack] {
                let expected = packet.with_offset("o");
                let frames = |outgoing: &Outgoing| outgoing.frames(form).packets().collect::<Vec<_>>();
                assert_eq!(frames(&stamped), frames(&Outgoing::from(expected)), "{packet:?}");
            }
        }
    }
}
