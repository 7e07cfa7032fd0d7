//! A message as an entry of the stream, and back: `channel`, `event`, `data`, and `from`, `user` and `attachments` if there are any.
//!
//! The field names are the same in nearly all entries, so that Redis stores them once for each node of the stream. All attachments share
//! one field, each prefixed with its length (four bytes, little-endian), so that the number of fields is bounded whatever a client sends.
//! An entry with the field `break` is not a message: it records that messages before it may be lost. One with the field `purge` is a record,
//! too: the messages of the channel that it names are removed, up to the one with the id in its field `up_to`. One with the field `stream` is a
//! [`StreamRecord`], whose position is the id of the entry; that of a creation has the token of the journal in the field `journal`.

use std::hash::{DefaultHasher, Hash, Hasher};

use bytes::{Bytes, BytesMut};
use redis::{Cmd, Value};

use crate::pure::{ChannelName, Cursor, Draft, EventName, Payload, stream::StreamRecord};

/// An entry of the stream.
#[derive(Debug)]
pub(super) enum What {
    /// A message.
    Message(Draft),
    /// Messages before this position may be lost.
    Break,
    /// The messages of a channel up to a position are removed.
    Purge(ChannelName, Cursor),
    /// A change of a stream; with the token of its journal if it is created.
    Stream(Box<StreamRecord>, Option<String>),
    /// An invalid entry, with the problem.
    Strange(String),
}

/// An entry.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) id: Cursor,
    pub(super) what: What,
    /// Distinguishes its content from that of others.
    pub(super) digest: u64,
}

/// Writes `draft` as arguments of `call`, in the order that the publishing script expects.
pub(super) fn write(call: &mut Cmd, draft: &Draft) {
    let attachments = draft.payload.attachments();
    let kind =
        u8::from(draft.from.is_some()) + 2 * u8::from(!attachments.is_empty()) + 4 * u8::from(draft.user.is_some());
    call.arg(kind).arg(draft.channel.as_str()).arg(draft.event.as_str()).arg(draft.payload.placeholder_json());
    for name in [&draft.from, &draft.user].into_iter().flatten() {
        call.arg(&**name);
    }
    if !attachments.is_empty() {
        call.arg(&join(attachments)[..]);
    }
}

/// Writes the fields of `draft` as arguments of `call`, as the script stores them.
pub(super) fn fields(call: &mut Cmd, draft: &Draft) {
    call.arg("channel").arg(draft.channel.as_str()).arg("event").arg(draft.event.as_str());
    call.arg("data").arg(draft.payload.placeholder_json());
    for (field, name) in [("from", &draft.from), ("user", &draft.user)] {
        if let Some(name) = name {
            call.arg(field).arg(&**name);
        }
    }
    let attachments = draft.payload.attachments();
    if !attachments.is_empty() {
        call.arg("attachments").arg(&join(attachments)[..]);
    }
}

fn join(attachments: &[Bytes]) -> BytesMut {
    let mut joined = BytesMut::with_capacity(attachments.iter().map(|attachment| 4 + attachment.len()).sum());
    for attachment in attachments {
        let length = u32::try_from(attachment.len()).unwrap_or(u32::MAX);
        joined.extend_from_slice(&length.to_le_bytes());
        joined.extend_from_slice(attachment);
    }
    joined
}

fn split(mut joined: Bytes) -> Option<Vec<Bytes>> {
    let mut attachments = Vec::new();
    while !joined.is_empty() {
        let length = u32::from_le_bytes(joined.get(..4)?.try_into().ok()?);
        let end = usize::try_from(length).ok()?.checked_add(4).filter(|end| *end <= joined.len())?;
        attachments.push(joined.split_to(end).slice(4..));
    }
    Some(attachments)
}

/// Parses `[id, [field, value, …]]`, as Redis answers it; `None` if it does not have this form.
pub(super) fn read(value: Value) -> Option<Entry> {
    let Value::Array(entry) = value else { return None };
    let [Value::BulkString(id), Value::Array(fields)] = <[Value; 2]>::try_from(entry).ok()? else { return None };
    let id = std::str::from_utf8(&id).ok()?.parse().ok()?;
    let digest = digest(&fields);
    let what = what(fields, id).unwrap_or_else(What::Strange);
    Some(Entry { id, what, digest })
}

/// Distinguishes the contents of entries, within one process.
pub(super) fn digest(fields: &[Value]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for field in fields {
        if let Value::BulkString(bytes) = field {
            bytes.hash(&mut hasher);
        }
    }
    hasher.finish()
}

fn what(fields: Vec<Value>, id: Cursor) -> Result<What, String> {
    let (mut channel, mut event, mut data, mut from, mut user, mut attachments) = (None, None, None, None, None, None);
    let (mut purged, mut up_to) = (None, None);
    let (mut record, mut journal) = (None, None);
    let mut fields = fields.into_iter();
    while let (Some(name), Some(value)) = (fields.next(), fields.next()) {
        let (Value::BulkString(name), Value::BulkString(value)) = (name, value) else {
            return Err("a field is not text".into());
        };
        match &name[..] {
            b"channel" => channel = Some(text(value)?.parse().map_err(wrong)?),
            b"event" => event = Some(EventName::from_log(&text(value)?).map_err(wrong)?),
            b"data" => data = Some(value),
            b"from" => from = Some(text(value)?.into()),
            b"user" => user = Some(text(value)?.into()),
            b"attachments" => attachments = Some(split(value.into()).ok_or("the attachments have the wrong length")?),
            b"break" => return Ok(What::Break),
            b"purge" => purged = Some(text(value)?.parse().map_err(wrong)?),
            b"up_to" => up_to = Some(text(value)?.parse().map_err(wrong)?),
            b"stream" => record = Some(StreamRecord::decode(&value).ok_or("not a record of a stream")?),
            b"journal" => journal = Some(text(value)?),
            // Of a later version.
            _ => {}
        }
    }
    if let (Some(channel), Some(up_to)) = (purged, up_to) {
        return Ok(What::Purge(channel, up_to));
    }
    if let Some(record) = record {
        return Ok(What::Stream(Box::new(record.placed_at(id)), journal));
    }
    let data = data.ok_or("no field `data`")?;
    let payload = Payload::from_log(&data, attachments.unwrap_or_default()).map_err(wrong)?;
    let channel = channel.ok_or("no field `channel`")?;
    Ok(What::Message(Draft { channel, event: event.unwrap_or_default(), payload, from, user }))
}

fn text(bytes: Vec<u8>) -> Result<String, String> {
    String::from_utf8(bytes).map_err(wrong)
}

fn wrong(error: impl std::fmt::Display) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The fields that the script makes of what is written.
    fn sent(draft: &Draft) -> Vec<Value> {
        let mut call = Cmd::new();
        write(&mut call, draft);
        let args = call.args_iter().map(|arg| match arg {
            redis::Arg::Simple(bytes) => bytes.to_vec(),
            _ => unreachable!("only values"),
        });
        let args: Vec<_> = args.collect();
        let more: &[&str] = match &args[0][..] {
            b"0" => &[],
            b"1" => &["from"],
            b"2" => &["attachments"],
            b"3" => &["from", "attachments"],
            b"4" => &["user"],
            b"5" => &["from", "user"],
            b"6" => &["user", "attachments"],
            b"7" => &["from", "user", "attachments"],
            kind => panic!("{kind:?}"),
        };
        let names = ["channel", "event", "data"].iter().chain(more);
        assert_eq!(names.clone().count(), args.len() - 1);
        names
            .zip(&args[1..])
            .flat_map(|(name, value)| [name.as_bytes().to_vec(), value.clone()])
            .map(Value::BulkString)
            .collect()
    }

    fn entry(fields: Vec<Value>) -> Entry {
        read(Value::Array(vec![Value::BulkString(b"1763800000000-7".to_vec()), Value::Array(fields)])).unwrap()
    }

    fn bulk(texts: &[&str]) -> Vec<Value> {
        texts.iter().map(|text| Value::BulkString(text.as_bytes().to_vec())).collect()
    }

    #[test]
    fn what_is_written_reads_back() {
        let binary = Payload::with_attachments(
            br#"[{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#,
            vec![Bytes::from_static(b"\x00\xff\r\n"), Bytes::new()],
        );
        let plain = Draft::new("chat.lobby".parse().unwrap(), Payload::from_text("时间\r\n"));
        let drafts = [
            plain.clone(),
            plain.clone().event("chat message".parse().unwrap()),
            Draft { from: Some("Zoë".into()), ..plain.clone() },
            Draft { payload: binary.clone().unwrap(), ..plain.clone() },
            Draft { payload: binary.unwrap(), from: Some("Zoë".into()), ..plain },
        ];
        let by_user = |draft: &Draft| draft.clone().by(Some("ann@example.com".into()));
        for draft in drafts.iter().cloned().chain(drafts.iter().map(by_user)) {
            let fields = sent(&draft);
            let entry = entry(fields.clone());
            assert_eq!((entry.id, entry.digest), (Cursor::new(1_763_800_000_000, 7), digest(&fields)));
            let What::Message(read) = entry.what else { panic!("{entry:?}") };
            assert_eq!(read, draft);
        }
    }

    #[test]
    fn what_others_wrote_is_taken_if_it_can_be() {
        let by_hand = entry(bulk(&["data", " [1, 2] ", "channel", "news", "colour", "red"]));
        let What::Message(draft) = by_hand.what else { panic!("{by_hand:?}") };
        assert_eq!((draft.payload.placeholder_json(), &*draft.event), ("[1,2]", "message"));
        assert!(matches!(entry(bulk(&["break", "1"])).what, What::Break));
        let purge = entry(bulk(&["purge", "news", "up_to", "1763800000000-3"])).what;
        let What::Purge(channel, up_to) = purge else { panic!("{purge:?}") };
        assert_eq!((&*channel, up_to), ("news", Cursor::new(1_763_800_000_000, 3)));
        for strange in [
            &["channel", "news"][..],
            &["purge", "news"],
            &["purge", "news", "up_to", "soon"],
            &["data", "1"],
            &["channel", "no spaces", "data", "1"],
            &["channel", "news", "data", "nul"],
            &["channel", "news", "data", "1", "event", "connect"],
            &["channel", "news", "data", "1", "attachments", "\u{5}\0\0\0abc"],
            &["channel", "news", "data", "1", "attachments", "abc"],
        ] {
            let entry = entry(bulk(strange));
            assert!(matches!(entry.what, What::Strange(_)), "{strange:?}: {entry:?}");
        }
        assert!(read(Value::Nil).is_none());
    }
}
