//! Calls of the script that makes operations.

use redis::{Cmd, RedisError};
use tokio::time::Instant;

use super::{
    CORRECTED_AT, MAX_TRIES, Site, TIMEOUT, Tried, correct,
    known::{Condition, Ending, Known, kind},
    overtaken, read_up_to,
};
use crate::{
    live::{
        bus::{
            BusError,
            redis::{
                Connection, entry, erase, publisher,
                scripts::{self, EDGE, PURGED, STREAM, STREAM_RECORDS, STREAM_USES, STREAMS},
            },
        },
        clock::Moment,
        log::Change,
    },
    pure::{
        ChannelName, Cursor,
        stream::{SavedStream, StreamRecord},
    },
};
/// An operation that was decided.
pub(super) enum Making<'a> {
    /// A creation that was decided about the log up to `read`, with the token of a journal that has so many copies of messages of the source.
    Create { changes: &'a [Change], token: &'a str, read: Cursor, copies: usize, source: Option<&'a ChannelName> },
    /// Appends, a closing, or both.
    Append { channel: &'a ChannelName, changes: &'a [Change] },
    /// A deletion, or the end of the lifetime.
    End { channel: &'a ChannelName, record: &'a StreamRecord, now: Moment },
    /// A use.
    Renew { channel: &'a ChannelName, record: &'a StreamRecord, time_ms: u64 },
}

/// What the end of a stream depends on, beside `condition`: those that it changes.
pub(super) fn of_end(known: &Known, condition: Condition) -> Vec<Condition> {
    let (Condition::Is { channel, .. } | Condition::Absent(channel)) = &condition;
    let Ending { forgotten, source, .. } = known.ending(channel);
    let others = forgotten.iter().chain(&source).map(|other| known.basically(other));
    [condition].into_iter().chain(others).collect()
}

/// Makes an operation, if the conditions are met; returns the ids of its entries in the log.
pub(super) async fn make(
    site: Site<'_>,
    conditions: &[Condition],
    making: Making<'_>,
) -> Result<Tried<Vec<Cursor>>, BusError> {
    refuse_if_rejected(site)?;
    let mut call = call_of(site, conditions, &making)?;
    let made = run(site, &mut call).await?;
    if let (Making::End { channel, .. }, Tried::Done(ids)) = (&making, &made)
        && let Some(id) = ids.first()
    {
        erase::later(site.shared.clone(), (*channel).clone(), *id);
    }
    Ok(made)
}

/// The call of the script that makes an operation.
fn call_of(site: Site<'_>, conditions: &[Condition], making: &Making<'_>) -> Result<Cmd, BusError> {
    let known = site.shared.streams.known.lock();
    let token_of = |channel| known.get(channel).map(|known| known.token.clone()).unwrap_or_default();
    match making {
        Making::Create { changes, token, read, copies, source } => {
            let Some((Change::Stream(record, _), entries)) = changes.split_first() else { return Err(overtaken()) };
            let mut call = begin(site, "create", record.channel(), token, conditions)?;
            call.arg(*token)
                .arg(record.encode())
                .arg(read.to_string())
                .arg(*copies)
                .arg(source.map_or("", |source| source.as_str()));
            write(&mut call, entries);
            Ok(call)
        }
        Making::Append { channel, changes } => {
            let mut call = begin(site, "append", channel, &token_of(channel), conditions)?;
            write(&mut call, changes);
            Ok(call)
        }
        Making::End { channel, record, now } => {
            let mut call = begin(site, "end", channel, &token_of(channel), conditions)?;
            let Ending { is_kept, forgotten, source } = known.ending(channel);
            let rest = site.log.saved_stream(channel, *now).filter(|_| is_kept).map(|saved| {
                let rest = SavedStream { is_deleted: true, messages: 0, copies: None, ..saved };
                StreamRecord::Saved(rest).encode()
            });
            call.arg(record.encode()).arg(rest.unwrap_or_default()).arg(forgotten.len());
            for name in &forgotten {
                call.arg(name.as_str());
            }
            call.arg(source.as_ref().map_or("", |source| source.as_str()));
            Ok(call)
        }
        Making::Renew { channel, record, time_ms } => {
            let mut call = begin(site, "renew", channel, &token_of(channel), conditions)?;
            call.arg(record.encode()).arg(*time_ms);
            Ok(call)
        }
    }
}

/// Whether the conditions are met.
pub(super) async fn check(
    site: Site<'_>,
    channel: &ChannelName,
    conditions: &[Condition],
) -> Result<Tried<()>, BusError> {
    let mut call = begin(site, "check", channel, "", conditions)?;
    Ok(match run(site, &mut call).await? {
        Tried::Done(_) => Tried::Done(()),
        Tried::Changed(last) => Tried::Changed(last),
    })
}

/// Adds the record of a purge of the stream of `channel`; returns its id and that of the newest message that it removes. `None` if there is no such
/// stream, or nothing to remove.
///
/// # Errors
/// As for any operation.
pub(in crate::live::bus::redis) async fn purge_stream(
    site: Site<'_>,
    channel: &ChannelName,
) -> Result<Option<(Cursor, Cursor)>, BusError> {
    let deadline = Instant::now() + TIMEOUT;
    for tries in 1..=MAX_TRIES {
        if tries == CORRECTED_AT {
            correct(site, channel).await?;
        }
        refuse_if_rejected(site)?;
        let (mut call, up_to) = {
            let known = site.shared.streams.known.lock();
            let Some(version) = known.get(channel).filter(|version| !version.is_deleted) else { return Ok(None) };
            let Some((saved, up_to)) = site.log.purged_stream(channel, site.shared.now()) else { return Ok(None) };
            let mut call = begin(site, "purge", channel, &version.token, &[known.basically(channel)])?;
            // What is not known yet stays in the journal, behind this.
            call.arg(up_to.to_string()).arg(version.last.to_string()).arg(StreamRecord::Saved(saved).encode());
            (call, up_to)
        };
        match run(site, &mut call).await? {
            Tried::Done(ids) => return Ok(ids.first().map(|id| (*id, up_to))),
            Tried::Changed(last) => read_up_to(site.shared, last, deadline).await?,
        }
    }
    Err(overtaken())
}

/// While Redis rejects commands, a part of an operation could be missing.
fn refuse_if_rejected(site: Site<'_>) -> Result<(), BusError> {
    let health = site.shared.health.lock();
    if health.refused.is_empty() {
        return Ok(());
    }
    Err(BusError::Unavailable(format!("Redis rejects {}", health.refused.join("; "))))
}

fn begin(
    site: Site<'_>,
    op: &str,
    channel: &ChannelName,
    token: &str,
    conditions: &[Condition],
) -> Result<Cmd, BusError> {
    let Connection { scripts, .. } = site.shared.connection()?;
    let journal = scripts::journal_key(channel, token);
    let keys = [STREAM, STREAMS, STREAM_RECORDS, STREAM_USES, &journal, EDGE, PURGED];
    let mut call = scripts::call(&scripts.stream, &keys);
    call.arg(op).arg(channel.as_str()).arg(conditions.len());
    conditions.iter().for_each(|condition| condition.write(&mut call));
    Ok(call)
}

fn write(call: &mut Cmd, entries: &[Change]) {
    call.arg(entries.len());
    for change in entries {
        match change {
            Change::Message(message) => entry::write(call, &message.draft),
            Change::Stream(record, _) => {
                call.arg(kind(record)).arg(record.encode());
            }
        }
    }
}

async fn run(site: Site<'_>, call: &mut Cmd) -> Result<Tried<Vec<Cursor>>, BusError> {
    let mut connection = site.shared.connection()?.connection;
    let answer: Result<Vec<String>, RedisError> = scripts::run(&mut connection, call).await;
    let answer = answer.map_err(|error| publisher::failure(&error))?;
    let invalid = || BusError::Unknown("invalid answer of Redis to an operation on a stream".to_owned());
    let (sign, ids) = answer.split_first().ok_or_else(invalid)?;
    let ids: Vec<Cursor> = ids.iter().map(|id| id.parse()).collect::<Result<_, _>>().map_err(|_| invalid())?;
    if sign == "!" {
        return Ok(Tried::Changed(*ids.first().ok_or_else(invalid)?));
    }
    if let Some(last) = ids.last() {
        let mut given = site.shared.given.lock();
        *given = (*given).max(*last);
    }
    Ok(Tried::Done(ids))
}
