//! Reads the streams that Redis has: for a process that starts, or has missed a part of the log.

use std::{collections::HashMap, pin::Pin};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use redis::{Value, aio::MultiplexedConnection, pipe};

use super::known::{Known, Version};
use crate::{
    live::{
        bus::redis::{
            entry::{self, Entry, What},
            error::LinkError,
            page::{FIRST_PAGE, next_page},
            scripts::{self, STREAM_RECORDS, STREAM_USES, STREAMS},
        },
        log::Stored,
    },
    pure::{
        ChannelName, Cursor, Message,
        stream::{SavedStream, StreamRecord, StreamState},
    },
};

/// Streams that are read at a time.
const AT_ONCE: usize = 16;

/// All streams.
pub(in crate::live::bus::redis) struct Loaded {
    pub(in crate::live::bus::redis) streams: Vec<Stored>,
    pub(in crate::live::bus::redis) known: Known,
    /// The newest entry of the log that is part of any.
    pub(in crate::live::bus::redis) newest: Cursor,
}

type Reading = Pin<Box<dyn Future<Output = Result<Option<(Stored, Version)>, LinkError>> + Send>>;

/// Reads all streams. Each is as it was at some moment: [`Known::is_loaded`] says which entries of the log are part of it.
///
/// # Errors
/// When the connection breaks.
pub(in crate::live::bus::redis) async fn load(connection: &MultiplexedConnection) -> Result<Loaded, LinkError> {
    let (mut streams, mut known, mut newest) = (Vec::new(), HashMap::new(), Cursor::ZERO);
    let mut cursor = "0".to_owned();
    loop {
        let mut scan = redis::cmd("HSCAN");
        scan.arg(STREAMS).arg(&cursor).arg("COUNT").arg(256);
        let (next, found): (String, Vec<String>) = scan.query_async(&mut connection.clone()).await?;
        let found: HashMap<_, _> = found.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect();
        let found: Vec<_> = found
            .into_iter()
            .filter_map(|(name, index)| Some((name.parse::<ChannelName>().ok()?, index)))
            // A scan may answer twice with one.
            .filter(|(name, _)| !known.contains_key(name))
            .collect();
        let read =
            found.into_iter().map(|(name, index)| -> Reading { Box::pin(read(connection.clone(), name, index)) });
        let read: Vec<_> = stream::iter(read).buffer_unordered(AT_ONCE).try_collect().await?;
        for (stored, version) in read.into_iter().flatten() {
            newest = newest.max(version.loaded);
            known.insert(stored.saved.channel.clone(), version);
            streams.push(stored);
        }
        if next == "0" {
            return Ok(Loaded { streams, known: Known::of(known), newest });
        }
        cursor = next;
    }
}

/// Reads a stream with this text in the index; `None` if it has been deleted.
async fn read(
    mut connection: MultiplexedConnection,
    name: ChannelName,
    index: String,
) -> Result<Option<(Stored, Version)>, LinkError> {
    let mut index = Some(index);
    while let Some(text) = index {
        let Some(before) = version(&text) else {
            log::error!("the stream {name} in Redis is not valid and is skipped: `{text}` in the index");
            return Ok(None);
        };
        let (record, used, entries, after) = read_once(&mut connection, &name, &before.token).await?;
        index = after;
        // It was purged, closed, deleted or created again while it was read.
        if index
            .as_deref()
            .and_then(version)
            .is_none_or(|after| (after.base, &after.token) != (before.base, &before.token))
        {
            continue;
        }
        let assembled = assemble(before, record.as_deref(), used.as_deref(), entries);
        if assembled.is_none() {
            log::error!("the stream {name} in Redis is not valid and is skipped");
        }
        return Ok(assembled);
    }
    Ok(None)
}

type Found = (Option<Vec<u8>>, Option<String>, Vec<Value>, Option<String>);

/// Reads the record of a stream, its use and its journal, and then its text in the index.
async fn read_once(
    connection: &mut MultiplexedConnection,
    name: &ChannelName,
    token: &str,
) -> Result<Found, LinkError> {
    let journal = scripts::journal_key(name, token);
    let mut pipeline = pipe();
    pipeline.cmd("HGET").arg(STREAM_RECORDS).arg(name.as_str());
    pipeline.cmd("HGET").arg(STREAM_USES).arg(name.as_str());
    pipeline.cmd("XRANGE").arg(&journal).arg("-").arg("+").arg("COUNT").arg(FIRST_PAGE);
    pipeline.cmd("HGET").arg(STREAMS).arg(name.as_str());
    let (record, used, mut entries, mut after): (_, _, Vec<Value>, Option<String>) =
        pipeline.query_async(connection).await?;
    let (mut page, mut count) = (FIRST_PAGE, entries.len());
    while count == page {
        let Some(last) = entries.last().and_then(id) else { return Err(LinkError::Answer("XRANGE")) };
        let bytes = entries[entries.len() - count..].iter().map(size).sum();
        page = next_page(page, count, bytes);
        let mut pipeline = pipe();
        pipeline.cmd("XRANGE").arg(&journal).arg(format!("({last}")).arg("+").arg("COUNT").arg(page);
        pipeline.cmd("HGET").arg(STREAMS).arg(name.as_str());
        let (more, index): (Vec<Value>, Option<String>) = pipeline.query_async(connection).await?;
        (count, after) = (more.len(), index);
        entries.extend(more);
    }
    Ok((record, used, entries, after))
}

/// The id of an entry.
fn id(entry: &Value) -> Option<String> {
    let Value::Array(parts) = entry else { return None };
    let Some(Value::BulkString(id)) = parts.first() else { return None };
    String::from_utf8(id.clone()).ok()
}

/// About how many bytes an answer takes.
fn size(value: &Value) -> usize {
    match value {
        Value::BulkString(bytes) => bytes.len(),
        Value::Array(values) => values.iter().map(size).sum(),
        _ => 8,
    }
}

/// What the index says of a stream.
pub(super) fn version(text: &str) -> Option<Version> {
    let mut parts = text.split(' ');
    let mut next = || parts.next();
    let (base, accepted, last) = (next()?.parse().ok()?, next()?.parse().ok()?, next()?.parse().ok()?);
    let (token, is_deleted) = (next()?.to_owned(), next() == Some("d"));
    Some(Version { base, accepted, last, token, is_deleted, source: None, forks: 0, loaded: last })
}

/// The stream of a record, what the journal has after it, and when it was last used.
fn assemble(
    mut version: Version,
    record: Option<&[u8]>,
    used: Option<&str>,
    entries: Vec<Value>,
) -> Option<(Stored, Version)> {
    let record = record?;
    let space = record.iter().position(|byte| *byte == b' ')?;
    let at: Cursor = std::str::from_utf8(&record[..space]).ok()?.parse().ok()?;
    let (StreamRecord::Create(saved) | StreamRecord::Saved(saved)) =
        StreamRecord::decode(&record[space + 1..])?.placed_at(at)
    else {
        return None;
    };
    version.source = saved.state.fork().map(|fork| fork.source.clone());
    // Both clocks are the time of day.
    let mut state = StreamState::restore(&saved.state, |ms| ms);
    let mut messages = HashMap::new();
    for value in entries {
        let Entry { id, what, .. } = entry::read(value)?;
        version.loaded = version.loaded.max(id);
        version.last = version.last.max(id);
        match what {
            What::Message(draft) => {
                if id > at {
                    state.advance(id, id.ms);
                }
                messages.insert(id, Message::new(id, draft));
            }
            What::Stream(record, _) if id > at => match *record {
                StreamRecord::Append { producer, seq, time_ms, .. } => {
                    version.accepted = version.accepted.max(id);
                    state.accept(producer.as_ref(), seq.as_deref(), time_ms);
                }
                StreamRecord::Close { at, by, .. } => state.close(at, by),
                _ => {}
            },
            _ => {}
        }
    }
    if let Some(used) = used {
        state.renew(used.parse().ok()?);
    }
    let saved = SavedStream {
        state: state.save(|ms| ms),
        is_deleted: version.is_deleted,
        messages: saved.messages.max(messages.len() as u64),
        ..saved
    };
    Some((Stored { saved, messages, damaged: Cursor::ZERO }, version))
}
