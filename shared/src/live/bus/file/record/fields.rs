//! The fields of messages and states: tag, length, bytes. A reader skips those whose tags it does not know.

use std::sync::Arc;

use bytes::Bytes;

use super::{Change, u64_at};
use crate::pure::{ChannelName, Draft, EventName, Payload};

mod tag {
    pub(super) const CHANNEL: u8 = 1;
    pub(super) const EVENT: u8 = 2;
    pub(super) const DATA: u8 = 3;
    pub(super) const FROM: u8 = 4;
    pub(super) const ATTACHMENT: u8 = 5;
    pub(super) const USER: u8 = 6;
    pub(super) const TABLE: u8 = 16;
    pub(super) const KEY: u8 = 17;
    pub(super) const VALUE: u8 = 18;
    pub(super) const UNTIL: u8 = 19;
}

/// Appends the fields of a message.
pub(super) fn write_draft(bytes: &mut Vec<u8>, draft: &Draft) {
    let Draft { channel, event, payload, from, user } = draft;
    field(bytes, tag::CHANNEL, channel.as_bytes());
    if !event.is_default() {
        field(bytes, tag::EVENT, event.as_bytes());
    }
    if let Some(from) = from {
        field(bytes, tag::FROM, from.as_bytes());
    }
    if let Some(user) = user {
        field(bytes, tag::USER, user.as_bytes());
    }
    field(bytes, tag::DATA, payload.placeholder_json().as_bytes());
    payload.attachments().iter().for_each(|attachment| field(bytes, tag::ATTACHMENT, attachment));
}

/// Appends the fields of a change of a state.
pub(super) fn write_change(bytes: &mut Vec<u8>, change: Change<'_>) {
    field(bytes, tag::TABLE, change.table.as_bytes());
    field(bytes, tag::KEY, change.key);
    if let Some(value) = change.value {
        field(bytes, tag::VALUE, value);
        field(bytes, tag::UNTIL, &change.until_ms.to_le_bytes());
    }
}

pub(super) fn field(bytes: &mut Vec<u8>, tag: u8, value: &[u8]) {
    bytes.push(tag);
    write_number(bytes, value.len() as u64);
    bytes.extend_from_slice(value);
}

/// Appends a number in seven bits a byte.
pub(in crate::live::bus::file) fn write_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(u8::try_from(number & 0x7f).unwrap_or_default() | 0x80);
        number >>= 7;
    }
    bytes.push(u8::try_from(number).unwrap_or_default());
}

/// Takes a number that [`write_number`] wrote from the beginning of `bytes`.
pub(in crate::live::bus::file) fn read_number(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

fn fields(mut bytes: &[u8]) -> impl Iterator<Item = Option<(u8, &[u8])>> {
    std::iter::from_fn(move || {
        let (&tag, rest) = bytes.split_first()?;
        let mut rest = rest;
        let value = read_number(&mut rest).and_then(|length| rest.split_at_checked(usize::try_from(length).ok()?));
        Some(match value {
            Some((value, rest)) => {
                bytes = rest;
                Some((tag, value))
            }
            None => {
                bytes = &[];
                None
            }
        })
    })
}

/// The message of these fields; `None` if they are none. The checksum proves that they are as they were written, so the data is not parsed
/// again.
pub(in crate::live::bus::file) fn draft(bytes: &[u8]) -> Option<Draft> {
    let (mut channel, mut event, mut data, mut from, mut user, mut attachments) =
        (None, None, None, None, None, Vec::new());
    for one in fields(bytes) {
        let (tag, value) = one?;
        match tag {
            tag::CHANNEL => channel = Some(std::str::from_utf8(value).ok()?.parse::<ChannelName>().ok()?),
            tag::EVENT => event = Some(EventName::from_log(std::str::from_utf8(value).ok()?).ok()?),
            tag::DATA => data = Some(std::str::from_utf8(value).ok()?),
            tag::FROM => from = Some(Arc::from(std::str::from_utf8(value).ok()?)),
            tag::USER => user = Some(Arc::from(std::str::from_utf8(value).ok()?)),
            tag::ATTACHMENT => attachments.push(Bytes::copy_from_slice(value)),
            _ => {}
        }
    }
    let payload = Payload::from_own_log(data?, attachments);
    Some(Draft { channel: channel?, event: event.unwrap_or_default(), payload, from, user })
}

/// The channel of a message with these fields.
pub(in crate::live::bus::file) fn channel(bytes: &[u8]) -> Option<ChannelName> {
    let name = fields(bytes).flatten().find(|(tag, _)| *tag == tag::CHANNEL)?.1;
    std::str::from_utf8(name).ok()?.parse().ok()
}

/// The change of these fields; `None` if they are none.
pub(in crate::live::bus::file) fn change(bytes: &[u8]) -> Option<Change<'_>> {
    let (mut table, mut key, mut value, mut until_ms) = (None, None, None, 0);
    for one in fields(bytes) {
        let (tag, bytes) = one?;
        match tag {
            tag::TABLE => table = Some(std::str::from_utf8(bytes).ok()?),
            tag::KEY => key = Some(bytes),
            tag::VALUE => value = Some(bytes),
            tag::UNTIL => until_ms = u64_at(bytes, 0),
            _ => {}
        }
    }
    Some(Change { table: table?, key: key?, value, until_ms })
}
