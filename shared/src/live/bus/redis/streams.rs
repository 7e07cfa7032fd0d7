//! Streams in Redis.
//!
//! An operation is decided by a process, against its log, and made by a [script](scripts::Scripts::stream), which first compares what the
//! decision depended on with what Redis has: if another process was faster, nothing is changed, the process reads on, and decides again. What was
//! made is in the log as [records](crate::pure::stream::StreamRecord) and messages, which every process applies when it reads them, as it does
//! with messages. The one that asked answers when it has read them.
//!
//! The log is trimmed, so each stream has a journal beside it with the same entries, from which a process [loads](load) what is not in the log any
//! more. [`change`] makes operations, [`due`] those that nobody asks for. What is answered without an operation is [compared](catch_up) with the index. See `docs/decisions/0127-streams-on-redis.md`.

use std::{collections::HashMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{
    sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock},
    time::{Instant, timeout_at},
};

use super::Shared;
use crate::{
    live::{bus::BusError, log::Log},
    pure::{ChannelName, Cursor},
};

mod catch_up;
mod change;
mod due;
mod index;
mod journal;
mod known;
mod load;
mod making;

pub(super) use catch_up::catch_up;
pub(super) use change::change;
pub(super) use due::{run, settle};
pub(super) use index::correct;
use known::Condition;
pub(super) use known::{Check, Known};
pub(super) use load::{Loaded, load};
pub(super) use making::purge_stream;

/// How often an operation is decided again because of others.
pub(super) const MAX_TRIES: usize = 32;
/// After so many decisions, what this process knows is compared with what Redis has.
pub(super) const CORRECTED_AT: usize = 3;
/// More queues than this are looked through for those that nobody uses.
const MANY_QUEUES: usize = 64;

/// The streams, as far as this process has read them, and who changes them.
#[derive(Debug, Default)]
pub(super) struct Streams {
    /// Locked while the log applies operations: what is decided under the lock is decided about what this says.
    pub(super) known: Mutex<Known>,
    queues: Mutex<HashMap<ChannelName, Arc<RwLock<()>>>>,
}

/// The turn of an operation of this process on a stream.
enum Turn {
    /// Beside others that depend on the same.
    Shared(#[expect(dead_code, reason = "held")] OwnedRwLockReadGuard<()>),
    /// Alone.
    Alone(#[expect(dead_code, reason = "held")] OwnedRwLockWriteGuard<()>),
}

impl Streams {
    /// The turn of an operation on the stream of `channel`. Turns come in the order in which they are asked for, so the operations of a client are
    /// decided one after the other, each when those before it have been applied; between processes the script decides.
    async fn turn(&self, channel: &ChannelName, is_alone: bool) -> Turn {
        let queue = {
            let mut queues = self.queues.lock();
            if queues.len() > MANY_QUEUES && !queues.contains_key(channel) {
                queues.retain(|_, queue| Arc::strong_count(queue) > 1);
            }
            queues.entry(channel.clone()).or_default().clone()
        };
        match is_alone {
            true => Turn::Alone(queue.write_owned().await),
            false => Turn::Shared(queue.read_owned().await),
        }
    }
}

/// The result of a try.
enum Tried<T> {
    Done(T),
    /// A stream is not as this process knew it; what it did not know is in the log up to here.
    Changed(Cursor),
}

/// Waits until this process has read the log up to `id`.
///
/// # Errors
/// When it does not get there in time.
pub(super) async fn read_up_to(shared: &Shared, id: Cursor, deadline: Instant) -> Result<(), BusError> {
    let mut progress = shared.progress.subscribe();
    if *progress.borrow_and_update() >= id {
        return Ok(());
    }
    shared.hurried.notify_one();
    let reached = timeout_at(deadline, progress.wait_for(|head| *head >= id)).await;
    // This process owns the sender, so it is not dropped before the answer.
    reached
        .map(drop)
        .map_err(|_| BusError::Unavailable("this process reads Redis more slowly than others write".to_owned()))
}

/// The error of an operation that others were always faster than.
pub(super) fn overtaken() -> BusError {
    BusError::Unavailable("the stream was changed by others all the time".to_owned())
}

/// Whether the streams of a publication are as they were found.
///
/// # Errors
/// When Redis does not say.
pub(super) async fn are_current(site: Site<'_>, checks: &[Check]) -> Result<bool, BusError> {
    let Some(first) = checks.first() else { return Ok(true) };
    let conditions: Vec<_> = checks.iter().map(Condition::of).collect();
    match making::check(site, &first.channel, &conditions).await? {
        Tried::Done(()) => Ok(true),
        Tried::Changed(last) => read_up_to(site.shared, last, Instant::now() + TIMEOUT).await.map(|()| false),
    }
}

/// What an operation needs.
#[derive(Clone, Copy)]
pub(super) struct Site<'a> {
    pub(super) log: &'a Arc<Log>,
    pub(super) shared: &'a Arc<Shared>,
}

/// How long an operation may take.
pub(super) const TIMEOUT: Duration = super::PUBLISH_TIMEOUT;
