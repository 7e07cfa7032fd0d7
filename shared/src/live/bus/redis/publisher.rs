//! From the queue of publications to Redis: what has gathered goes in one script, several of them under way at a time.
//!
//! With few publishers each publication goes by itself, at once; with many, the script's own cost is shared.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use redis::RedisError;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::{
    Line, Shared, entry,
    link::{LinkError, is_fatal},
    scripts::{self, KEY, KEYS, SCOPE, STREAM},
};
use crate::{
    live::bus::{BusError, IdempotencyKey, Publication, Published, REPEATABLE_FOR, digest::Digest, keys::Hash},
    pure::Cursor,
};

/// Scripts under way at a time.
const MOST_UNDER_WAY: usize = 4;
/// Publications in one script, which nothing else in Redis can interrupt.
const MOST_TOGETHER: usize = 128;
/// Messages in one script, about; a larger publication goes last in it. With [`MAX_MESSAGES`](crate::live::bus::MAX_MESSAGES)
/// that is less than the million arguments that Redis takes in one command.
const MOST_MESSAGES: usize = 1_024;
/// Bytes in one script, about; a larger publication goes by itself.
pub(super) const MOST_BYTES: usize = 256 * 1024;

/// A publication, and who waits for its ids.
pub(super) struct Job {
    pub(super) publication: Publication,
    pub(super) answer: oneshot::Sender<Result<Published, BusError>>,
    /// Set before it is sent: from then on nobody knows whether it was added until Redis says so.
    pub(super) is_sent: Arc<AtomicBool>,
    pub(super) _permit: OwnedSemaphorePermit,
}

impl Job {
    pub(super) fn refuse(self, error: BusError) {
        // Who does not wait any more needs no answer.
        let _ = self.answer.send(Err(error));
    }

    fn bytes(&self) -> usize {
        self.publication.drafts.iter().map(|draft| draft.payload.len()).sum()
    }
}

/// Publishes until the connection breaks. Publications under way then are dropped, which tells who waits for them.
pub(super) async fn run(
    line: &Line,
    jobs: &mut mpsc::UnboundedReceiver<Job>,
    shared: &Shared,
) -> Result<Infallible, LinkError> {
    let mut under_way = FuturesUnordered::new();
    loop {
        tokio::select! {
            Some(sent) = under_way.next() => {
                let (batch, answer): (Vec<Job>, Result<Vec<String>, RedisError>) = sent;
                answer_all(batch, answer, shared)?;
            }
            Some(job) = jobs.recv(), if under_way.len() < MOST_UNDER_WAY => {
                let batch = gather(job, jobs);
                if !batch.is_empty() {
                    under_way.push(send(line.clone(), batch, shared.key_bytes.load(Ordering::Relaxed)));
                }
            }
            // The bus is gone, and this with it in a moment.
            else => std::future::pending().await,
        }
    }
}

/// `first` and what waits behind it, as far as it goes together.
fn gather(first: Job, jobs: &mut mpsc::UnboundedReceiver<Job>) -> Vec<Job> {
    let (mut batch, mut bytes, mut messages) = (Vec::new(), 0, 0);
    let mut next = Some(first);
    while let Some(job) = next {
        // In this order: whoever gives up closes first and looks at the mark then.
        job.is_sent.store(true, Ordering::SeqCst);
        // Whoever gave up was told that nothing was added.
        if !job.answer.is_closed() {
            bytes += job.bytes();
            messages += job.publication.drafts.len();
            batch.push(job);
        }
        let has_room = batch.len() < MOST_TOGETHER && bytes < MOST_BYTES && messages < MOST_MESSAGES;
        next = if has_room { jobs.try_recv().ok() } else { None };
    }
    batch
}

async fn send(line: Line, batch: Vec<Job>, key_bytes: usize) -> (Vec<Job>, Result<Vec<String>, RedisError>) {
    let Line { mut connection, scripts } = line;
    let mut keys = vec![STREAM.to_owned(), KEYS.to_owned()];
    keys.extend(batch.iter().filter_map(|job| job.publication.key.as_ref()).flat_map(|one| [key(one), scope(one)]));
    let mut call = scripts::call(&scripts.publish, &keys.iter().map(String::as_str).collect::<Vec<_>>());
    call.arg(u64::try_from(REPEATABLE_FOR.as_millis()).unwrap_or(u64::MAX));
    call.arg(key_bytes);
    let mut keyed = 1;
    for Job { publication, .. } in &batch {
        if publication.key.is_some() {
            keyed += 2;
            call.arg(keyed).arg(publication.drafts.len()).arg(Digest::of(&publication.drafts).to_string());
        } else {
            call.arg(0).arg(publication.drafts.len());
        }
        publication.drafts.iter().for_each(|draft| entry::write(&mut call, draft));
    }
    let answer = scripts::run(&mut connection, &call).await;
    (batch, answer)
}

/// Where a publication is remembered. The length keeps scope and key apart, whatever they hold.
fn key(IdempotencyKey { scope, key }: &IdempotencyKey) -> String {
    format!("{KEY}{}:{scope}:{key}", scope.len())
}

/// Where it is counted what the keys of a scope take.
fn scope(key: &IdempotencyKey) -> String {
    format!("{SCOPE}{}", Hash::of(key).0)
}

/// Errors of Redis with which it refuses a command before anything of it has run.
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

fn answer_all(batch: Vec<Job>, answer: Result<Vec<String>, RedisError>, shared: &Shared) -> Result<(), LinkError> {
    let answers = match answer {
        Ok(answers) if answers.len() == batch.len() => answers,
        Ok(_) => return Err(LinkError::Answer("publishing")),
        Err(error) => {
            let was_refused = error.code().is_some_and(|code| REFUSED_WHOLE.contains(&code));
            let refusal = if was_refused { BusError::Away } else { BusError::Unknown };
            batch.into_iter().for_each(|job| job.refuse(refusal(error.to_string())));
            if is_fatal(&error) {
                return Err(error.into());
            }
            shared.warn(&format!("Redis refuses publications: {error}"));
            return Ok(());
        }
    };
    for (job, answer) in batch.into_iter().zip(answers) {
        if let Some(why) = answer.strip_prefix(['x', 'u']) {
            shared.warn(&format!("Redis refuses publications: {why}"));
        }
        let published = published(&answer).ok_or(LinkError::Answer("publishing"))?;
        if let Some(last) = published.as_ref().ok().and_then(|published| published.ids.last()) {
            let mut given = shared.given.lock();
            *given = (*given).max(*last);
        }
        let _ = job.answer.send(published);
    }
    Ok(())
}

/// Reads what the script says of a publication.
fn published(answer: &str) -> Option<Result<Published, BusError>> {
    let (is_repeat, ids) = match answer.split_at_checked(1)? {
        ("n", ids) => (false, ids),
        ("r", ids) => (true, ids),
        ("o", "") => return Some(Err(BusError::Reused)),
        ("k", wait) => return Some(Err(BusError::Keys { retry_after: Duration::from_millis(wait.parse().ok()?) })),
        ("x", why) => return Some(Err(BusError::Away(format!("Redis refuses it: {why}")))),
        ("u", why) => return Some(Err(BusError::Unknown(format!("Redis refuses a part of it: {why}")))),
        _ => return None,
    };
    let ids = ids.split(' ').map(|id| id.parse::<Cursor>().ok()).collect::<Option<_>>()?;
    Some(Ok(Published { ids, is_repeat }))
}
