//! From the queue of publications to Redis: everything queued is sent in one script, several scripts at a time.
//!
//! With few publishers each publication is sent alone, immediately; with many, the cost of the script is shared.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use redis::{RedisError, aio::MultiplexedConnection};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::{
    Connection, Shared, entry,
    error::{LinkError, is_fatal},
    scripts::{self, KEY, KEYS, SCOPE, STREAM, STREAMS},
    streams::Check,
};
use crate::{
    live::bus::{BusError, IDEMPOTENCY_TTL, IdempotencyKey, Publication, Published, digest::Digest, keys::Hash},
    pure::{Cursor, Draft},
};

/// The number of keys of the script before those of publications.
const FIXED_KEYS: usize = 3;
/// Why there is a warning.
const REJECTED: &str = "Redis rejects publications";
/// Maximum number of scripts in flight.
const MAX_SCRIPTS_IN_FLIGHT: usize = 4;
/// Maximum number of publications in one script, which blocks Redis while it runs.
const MAX_JOBS_PER_SCRIPT: usize = 128;
/// The approximate maximum number of messages in one script; a larger publication is the last one in it. Together with
/// [`MAX_MESSAGES`](crate::live::bus::MAX_MESSAGES) this is less than the million arguments of one command.
const MAX_MESSAGES_PER_SCRIPT: usize = 1_024;
/// The approximate size in bytes of one script; a larger publication is sent alone.
pub(super) const MAX_SCRIPT_BYTES: usize = 256 * 1024;

/// A publication, and the receiver of its ids.
pub(super) struct Job {
    pub(super) publication: Publication,
    /// The streams that it is published to, as the publisher knows them.
    pub(super) checks: Vec<Check>,
    pub(super) reply: oneshot::Sender<Result<Reply, BusError>>,
    /// Set before it is sent: from then on it is unknown whether it was added until Redis answers.
    pub(super) is_sent: Arc<AtomicBool>,
    pub(super) _permit: OwnedSemaphorePermit,
}

/// The answer to a publication.
pub(super) enum Reply {
    /// It was added, now or before.
    Published(Published),
    /// Nothing was added: a stream is not as the publisher knew it. What it did not know is in the log up to here.
    Changed(Cursor, Publication),
}

impl Job {
    pub(super) fn refuse(self, error: BusError) {
        // A publisher that has given up needs no answer.
        let _ = self.reply.send(Err(error));
    }

    fn bytes(&self) -> usize {
        self.publication.drafts.iter().map(|draft| draft.payload.len()).sum()
    }
}

/// Publishes until the connection breaks. Publications in flight are then dropped, which notifies their publishers.
pub(super) async fn run(
    connection: &Connection,
    jobs: &mut mpsc::UnboundedReceiver<Job>,
    shared: &Shared,
) -> Result<Infallible, LinkError> {
    let mut in_flight = FuturesUnordered::new();
    loop {
        tokio::select! {
            Some(sent) = in_flight.next() => {
                let (batch, answer): (Vec<Job>, Result<Vec<String>, RedisError>) = sent;
                answer_all(batch, answer, shared)?;
            }
            Some(job) = jobs.recv(), if in_flight.len() < MAX_SCRIPTS_IN_FLIGHT => {
                let batch = gather(job, jobs);
                if !batch.is_empty() {
                    in_flight.push(send(connection.clone(), batch, shared.key_bytes.load(Ordering::Relaxed)));
                }
            }
            // The bus has been dropped, and this task ends in a moment.
            else => std::future::pending().await,
        }
    }
}

/// `first` and the queued jobs that are sent together with it.
fn gather(first: Job, jobs: &mut mpsc::UnboundedReceiver<Job>) -> Vec<Job> {
    let (mut batch, mut bytes, mut messages) = (Vec::new(), 0, 0);
    let mut next = Some(first);
    while let Some(job) = next {
        // In this order: a publisher that gives up closes first and then checks the mark.
        job.is_sent.store(true, Ordering::SeqCst);
        // A publisher that gave up was answered that nothing was added.
        if !job.reply.is_closed() {
            bytes += job.bytes();
            messages += job.publication.drafts.len();
            batch.push(job);
        }
        let has_room =
            batch.len() < MAX_JOBS_PER_SCRIPT && bytes < MAX_SCRIPT_BYTES && messages < MAX_MESSAGES_PER_SCRIPT;
        next = if has_room { jobs.try_recv().ok() } else { None };
    }
    batch
}

async fn send(
    connection: Connection,
    batch: Vec<Job>,
    key_bytes: usize,
) -> (Vec<Job>, Result<Vec<String>, RedisError>) {
    let Connection { mut connection, scripts } = connection;
    let mut keys = vec![STREAM.to_owned(), KEYS.to_owned(), STREAMS.to_owned()];
    keys.extend(batch.iter().filter_map(|job| job.publication.key.as_ref()).flat_map(|one| [key(one), scope(one)]));
    let keyed = (keys.len() - FIXED_KEYS) / 2;
    let journals = batch.iter().flat_map(|job| &job.checks);
    keys.extend(journals.map(|check| scripts::journal_key(check.channel.as_str(), &check.token)));
    let mut call = scripts::call(&scripts.publish, &keys.iter().map(String::as_str).collect::<Vec<_>>());
    call.arg(u64::try_from(IDEMPOTENCY_TTL.as_millis()).unwrap_or(u64::MAX));
    call.arg(key_bytes).arg(keyed);
    // The numbers of the next key and the next journal: the first is 1.
    let (mut next_key, mut next_journal) = (FIXED_KEYS + 1, FIXED_KEYS + 2 * keyed + 1);
    for Job { publication, checks, .. } in &batch {
        let count = publication.drafts.len();
        if publication.key.is_some() {
            let original = publication.original.as_ref().unwrap_or(&publication.drafts);
            call.arg(next_key).arg(count).arg(checks.len()).arg(Digest::of(original).to_string());
            next_key += 2;
        } else {
            call.arg(0).arg(count).arg(checks.len());
        }
        for check in checks {
            call.arg(check.channel.as_str()).arg(check.base.to_string()).arg(next_journal);
            next_journal += 1;
        }
        publication.drafts.iter().for_each(|draft| entry::write(&mut call, draft));
    }
    let answer = scripts::run(&mut connection, &call).await;
    (batch, answer)
}

/// The answer to an earlier publication with this key.
///
/// # Errors
/// [`BusError::Reused`] if that was another one, [`BusError::Unavailable`] if Redis does not say.
pub(super) async fn find(
    connection: &mut MultiplexedConnection,
    name: &IdempotencyKey,
    drafts: &[Draft],
) -> Result<Option<Published>, BusError> {
    let unavailable = |error: RedisError| BusError::Unavailable(error.to_string());
    let given: Option<String> = redis::cmd("GET").arg(key(name)).query_async(connection).await.map_err(unavailable)?;
    let Some(given) = given else { return Ok(None) };
    let digest = Digest::of(drafts).to_string();
    let ids = given.strip_prefix(&*digest).ok_or(BusError::Reused)?;
    let ids = ids.split(' ').map(str::parse).collect::<Result<_, _>>();
    let ids = ids.map_err(|_| BusError::Unavailable("the stored answer is not valid".to_owned()))?;
    Ok(Some(Published { ids, is_repeat: true }))
}

/// The key of a publication's answer. The length separates scope and key, whatever they contain.
fn key(IdempotencyKey { scope, key }: &IdempotencyKey) -> String {
    format!("{KEY}{}:{scope}:{key}", scope.len())
}

/// The key of the counter of a scope's memory.
fn scope(key: &IdempotencyKey) -> String {
    format!("{SCOPE}{}", Hash::of(key).0)
}

/// Errors with which Redis rejects a command before any part of it has run.
const REFUSED_WHOLE: [&str; 14] = [
    "GONE",
    "READONLY",
    "LOADING",
    "MASTERDOWN",
    "CLUSTERDOWN",
    "MOVED",
    "NOAUTH",
    "NOPERM",
    "OOM",
    "MISCONF",
    "NOREPLICAS",
    "BUSY",
    "NOSCRIPT",
    "UNBLOCKED",
];

/// The error of an operation whose script failed.
pub(super) fn failure(error: &RedisError) -> BusError {
    let was_refused = error.code().is_some_and(|code| REFUSED_WHOLE.contains(&code));
    let failure = if was_refused { BusError::Unavailable } else { BusError::Unknown };
    failure(error.to_string())
}

fn answer_all(batch: Vec<Job>, answer: Result<Vec<String>, RedisError>, shared: &Shared) -> Result<(), LinkError> {
    let answers = match answer {
        Ok(answers) if answers.len() == batch.len() => answers,
        Ok(_) => return Err(LinkError::Answer("publishing")),
        Err(error) => {
            batch.into_iter().for_each(|job| job.refuse(failure(&error)));
            if is_fatal(&error) {
                return Err(error.into());
            }
            shared.warn(REJECTED, error);
            return Ok(());
        }
    };
    for (job, answer) in batch.into_iter().zip(answers) {
        if let Some(why) = answer.strip_prefix(['x', 'u']) {
            shared.warn(REJECTED, why);
        }
        if let Some(last) = answer.strip_prefix('c') {
            let last = last.parse().map_err(|_| LinkError::Answer("publishing"))?;
            let _ = job.reply.send(Ok(Reply::Changed(last, job.publication)));
            continue;
        }
        let published = published(&answer).ok_or(LinkError::Answer("publishing"))?;
        if let Some(last) = published.as_ref().ok().and_then(|published| published.ids.last()) {
            let mut given = shared.given.lock();
            *given = (*given).max(*last);
        }
        let _ = job.reply.send(published.map(Reply::Published));
    }
    Ok(())
}

/// Parses the script's result for a publication.
fn published(answer: &str) -> Option<Result<Published, BusError>> {
    let (is_repeat, ids) = match answer.split_at_checked(1)? {
        ("n", ids) => (false, ids),
        ("r", ids) => (true, ids),
        ("o", "") => return Some(Err(BusError::Reused)),
        ("k", wait) => return Some(Err(BusError::Keys { retry_after: Duration::from_millis(wait.parse().ok()?) })),
        ("x", why) => return Some(Err(BusError::Unavailable(format!("Redis rejects the publication: {why}")))),
        ("u", why) => return Some(Err(BusError::Unknown(format!("Redis rejects a part of the publication: {why}")))),
        _ => return None,
    };
    let ids = ids.split(' ').map(|id| id.parse::<Cursor>().ok()).collect::<Option<_>>()?;
    Some(Ok(Published { ids, is_repeat }))
}
