//! An operation that was asked for: decided, made, and decided again if another process was faster.

use tokio::time::{Instant, timeout_at};

use super::{
    CORRECTED_AT, MAX_TRIES, Site, TIMEOUT, Tried, catch_up, correct, due, journal,
    known::{Condition, Known},
    making::{self, Making},
    overtaken, read_up_to,
};
use crate::{
    live::{
        bus::{BusError, redis::scripts},
        clock::Moment,
        log::{Change, Decision, Reserved, Staged},
    },
    pure::{
        Cursor,
        stream::{Append, Outcome, StreamOp, StreamRecord, StreamReply},
    },
};

/// What was decided.
struct Plan {
    changes: Vec<Change>,
    reply: StreamReply,
    conditions: Vec<Condition>,
    /// The log was read up to here before.
    read: Cursor,
}

/// Makes `op`, and waits until it is in the log of this process.
///
/// # Errors
/// As [`Bus::stream`](crate::live::bus::Bus::stream).
pub(in crate::live::bus::redis) async fn change(site: Site<'_>, op: &StreamOp) -> Result<StreamReply, BusError> {
    let mut deadline = Instant::now() + TIMEOUT;
    // An append that depends on nothing but the stream's being open is decided beside others.
    let is_plain = matches!(op, StreamOp::Append(append) if is_plain(append));
    let turn = timeout_at(deadline, site.shared.streams.turn(op.channel(), !is_plain)).await;
    let _turn = turn.map_err(|_| BusError::Unavailable("too many operations on this stream wait".to_owned()))?;
    let forked = if let StreamOp::Create(create) = op { create.fork.as_ref() } else { None };
    if let Some(fork) = forked {
        // The fork gets all that was acknowledged, by whichever process.
        catch_up(site, &fork.source).await?;
    }
    for tries in 1..=MAX_TRIES {
        match attempt(site, op, &mut deadline).await? {
            Tried::Done(reply) => return Ok(reply),
            Tried::Changed(last) => read_up_to(site.shared, last, deadline).await?,
        }
        if tries == CORRECTED_AT {
            correct(site, op.channel()).await?;
            if let Some(fork) = forked {
                correct(site, &fork.source).await?;
            }
        }
    }
    Err(overtaken())
}

fn is_plain(append: &Append) -> bool {
    append.producer.is_none() && append.seq.is_none() && !append.is_closing
}

async fn attempt(site: Site<'_>, op: &StreamOp, deadline: &mut Instant) -> Result<Tried<StreamReply>, BusError> {
    let Site { log, shared } = site;
    let now = shared.now();
    let (source, unchanged) = {
        let known = shared.streams.known.lock();
        // Before the source is looked at: it may be purged while it is copied.
        let source = match op {
            StreamOp::Create(create) => create.fork.as_ref().map(|fork| known.basically(&fork.source)),
            _ => None,
        };
        let unchanged: Vec<_> = [known.exactly(op.channel())].into_iter().chain(source.clone()).collect();
        (source, unchanged)
    };
    let mut reserved = Reserved::new(log.clone());
    if let StreamOp::Create(create) = op
        && create.fork.is_some()
    {
        match log.inherited(create, now) {
            Ok(inherited) => reserved.inherited = inherited,
            Err(refused) => return confirm(site, op, unchanged, Err(refused.into())).await,
        }
    }
    let read = *shared.progress.borrow();
    let (decided, conditions, unchanged) = {
        let known = shared.streams.known.lock();
        let decided = log.decide_stream(op, &mut reserved.inherited, &Staged::at(log.head()), now);
        let unchanged: Vec<_> = [known.exactly(op.channel())].into_iter().chain(source.clone()).collect();
        (decided, conditions(&known, op, source), unchanged)
    };
    match decided {
        Err(refused) => confirm(site, op, unchanged, Err(refused.into())).await,
        Ok(Decision::Repeated(reply)) => {
            let confirmed = confirm(site, op, unchanged, Ok(reply)).await?;
            log.renew_stream(op.channel(), shared.now());
            Ok(confirmed)
        }
        Ok(Decision::Expired(name)) => {
            due::settle(site, &name).await?;
            Ok(Tried::Changed(Cursor::ZERO))
        }
        // It was created, or deleted, in the meantime.
        Ok(Decision::Waits | Decision::Forks) => Ok(Tried::Changed(Cursor::ZERO)),
        Ok(Decision::New(changes, reply)) => {
            make(site, op, Plan { changes, reply, conditions, read }, &mut reserved, now, deadline).await
        }
    }
}

/// What a new operation depends on.
fn conditions(known: &Known, op: &StreamOp, source: Option<Condition>) -> Vec<Condition> {
    match op {
        StreamOp::Create(create) => [known.exactly(&create.channel)].into_iter().chain(source).collect(),
        StreamOp::Append(append) if append.producer.is_none() && append.seq.is_none() => {
            vec![known.basically(&append.channel)]
        }
        StreamOp::Append(append) => vec![known.strictly(&append.channel)],
        StreamOp::Delete(channel) => making::of_end(known, known.basically(channel)),
    }
}

/// What was found, if that was not by an old state of the streams.
async fn confirm(
    site: Site<'_>,
    op: &StreamOp,
    conditions: Vec<Condition>,
    found: Result<StreamReply, BusError>,
) -> Result<Tried<StreamReply>, BusError> {
    match making::check(site, op.channel(), &conditions).await? {
        Tried::Done(()) => found.map(Tried::Done),
        Tried::Changed(last) => Ok(Tried::Changed(last)),
    }
}

async fn make(
    site: Site<'_>,
    op: &StreamOp,
    plan: Plan,
    reserved: &mut Reserved,
    now: Moment,
    deadline: &mut Instant,
) -> Result<Tried<StreamReply>, BusError> {
    let Plan { mut changes, mut reply, conditions, read } = plan;
    let made = match op {
        StreamOp::Create(create) => {
            let Some(Change::Stream(_, inherited)) = changes.first_mut() else { return Err(overtaken()) };
            reserved.inherited = inherited.take().map(|inherited| *inherited);
            let token = format!("{:016x}", rand::random::<u64>());
            let copies = reserved.inherited.as_ref().map_or(0, |inherited| inherited.history.len());
            let source = create.fork.as_ref().map(|fork| &fork.source);
            if let Some(inherited) = &reserved.inherited {
                let key = scripts::journal_key(&create.channel, &token);
                let mut connection = site.shared.connection()?.connection;
                journal::begin(&mut connection, &key, &inherited.history)
                    .await
                    .map_err(|error| BusError::Unavailable(error.to_string()))?;
                // As long as that took.
                *deadline = Instant::now() + TIMEOUT;
            }
            making::make(site, &conditions, Making::Create { changes: &changes, token: &token, read, copies, source })
                .await?
        }
        StreamOp::Append(append) => {
            making::make(site, &conditions, Making::Append { channel: &append.channel, changes: &changes }).await?
        }
        StreamOp::Delete(channel) => {
            let Some(Change::Stream(record, _)) = changes.first() else { return Err(overtaken()) };
            making::make(site, &conditions, Making::End { channel, record, now }).await?
        }
    };
    let ids = match made {
        Tried::Done(ids) => ids,
        Tried::Changed(last) => return Ok(Tried::Changed(last)),
    };
    // What it inherits is copied again when the log creates it.
    if let Some(inherited) = reserved.inherited.take() {
        site.log.release(&inherited);
    }
    place(&mut reply, &changes, &ids);
    // If it is late, the operation is made all the same.
    if let Some(last) = ids.last()
        && read_up_to(site.shared, *last, *deadline).await.is_ok()
        && matches!(op, StreamOp::Append(append) if append.payloads.is_empty())
        && let Ok(info) = site.log.stream_info(op.channel(), false, site.shared.now())
        && info.created == reply.info.created
    {
        // A closing comes after appends that were not known when it was decided.
        reply.info = info;
    }
    Ok(Tried::Done(reply))
}

/// Says in the reply which ids Redis gave to what was decided.
fn place(reply: &mut StreamReply, changes: &[Change], ids: &[Cursor]) {
    debug_assert_eq!(reply.outcome, Outcome::Done);
    for (change, id) in changes.iter().zip(ids) {
        match change {
            Change::Message(_) => reply.info.tail = *id,
            Change::Stream(record, _) => match &**record {
                StreamRecord::Create(saved) => {
                    reply.info.created = *id;
                    // A fork begins, and ends, where its source does.
                    if saved.copies.is_none() {
                        (reply.info.start, reply.info.tail) = (*id, *id);
                    }
                }
                StreamRecord::Close { .. } => reply.info.end = Some(*id),
                _ => {}
            },
        }
    }
}
