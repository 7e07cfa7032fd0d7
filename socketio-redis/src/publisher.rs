//! Outgoing messages to Redis: in the order in which they were queued, in pipelines of all that have gathered.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use redis::{RedisError, RedisResult, aio::MultiplexedConnection};
use tokio::sync::{mpsc, oneshot};

use crate::{cluster::Cluster, link::LinkError};

/// Maximum number of messages in one pipeline.
const MAX_PIPELINED: usize = 256;
/// The approximate maximum size in bytes of one pipeline.
pub(crate) const MAX_PIPELINE_BYTES: usize = 1 << 20;

/// A message to be published.
pub(crate) struct Job {
    pub(crate) channel: String,
    pub(crate) message: Vec<u8>,
    pub(crate) answer: Option<oneshot::Sender<Result<(), String>>>,
    pub(crate) room: Room,
}

impl Job {
    pub(crate) fn end(self, cluster: &Cluster, result: Result<(), String>) {
        let counter = if result.is_ok() { &cluster.counters.published } else { &cluster.counters.failed };
        counter.inc();
        if let Some(answer) = self.answer {
            let _ = answer.send(result);
        }
    }
}

/// The number of bytes in the queue.
#[derive(Debug, Default)]
pub(crate) struct Waiting(AtomicUsize);

impl Waiting {
    /// Reserves this many bytes, if available. A single message always fits, however large it is.
    pub(crate) fn take(self: &Arc<Self>, bytes: usize, limit: usize) -> Option<Room> {
        let before = self.0.fetch_add(bytes, Ordering::Relaxed);
        let room = Room { bytes, of: self.clone() };
        (before == 0 || before.saturating_add(bytes) <= limit).then_some(room)
    }
}

/// The space of one message in the queue, until it has been sent.
#[derive(Debug)]
pub(crate) struct Room {
    bytes: usize,
    of: Arc<Waiting>,
}

impl Drop for Room {
    fn drop(&mut self) {
        self.of.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Publishes until the connection breaks.
pub(crate) async fn run(
    mut connection: MultiplexedConnection,
    jobs: &mut mpsc::UnboundedReceiver<Job>,
    cluster: &Cluster,
) -> Result<Infallible, LinkError> {
    let mut batch = Batch { jobs: Vec::new(), cluster };
    loop {
        match jobs.recv().await {
            Some(job) => batch.jobs.push(job),
            // The adapter has been dropped, and this task ends in a moment.
            None => std::future::pending().await,
        }
        let mut bytes = batch.jobs[0].room.bytes;
        while batch.jobs.len() < MAX_PIPELINED
            && bytes < MAX_PIPELINE_BYTES
            && let Ok(job) = jobs.try_recv()
        {
            bytes += job.room.bytes;
            batch.jobs.push(job);
        }
        let mut pipeline = redis::Pipeline::with_capacity(batch.jobs.len());
        for job in &batch.jobs {
            pipeline.cmd("PUBLISH").arg(&job.channel).arg(&job.message);
        }
        let answers: Vec<RedisResult<usize>> = pipeline.ignore_errors().query_async(&mut connection).await?;
        let mut fatal = None;
        for (job, answer) in batch.jobs.drain(..).zip(answers) {
            match answer {
                Ok(_) => job.end(cluster, Ok(())),
                Err(error) => {
                    log::debug!("Redis rejects a message: {error}");
                    job.end(cluster, Err(error.to_string()));
                    fatal = Some(error).filter(is_fatal).or(fatal);
                }
            }
        }
        if let Some(error) = fatal {
            return Err(error.into());
        }
    }
}

/// Messages in flight. When the connection breaks, it is unknown which of them were published.
struct Batch<'a> {
    jobs: Vec<Job>,
    cluster: &'a Cluster,
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        for job in self.jobs.drain(..) {
            job.end(self.cluster, Err("the connection to Redis broke before it answered".into()));
        }
    }
}

/// Whether the connection cannot be used after `error`, or leads to a server that cannot be used.
fn is_fatal(error: &RedisError) -> bool {
    const OF_NO_USE: [&str; 5] = ["READONLY", "LOADING", "MASTERDOWN", "CLUSTERDOWN", "NOAUTH"];
    error.code().is_none_or(|code| OF_NO_USE.contains(&code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_queue_is_bounded() {
        let waiting = Arc::<Waiting>::default();
        let first = waiting.take(60, 100).unwrap();
        let second = waiting.take(40, 100).unwrap();
        assert!(waiting.take(1, 100).is_none());
        drop(first);
        let third = waiting.take(60, 100).unwrap();
        assert!(waiting.take(1, 100).is_none());
        drop((second, third));
        // A message larger than the limit is sent alone.
        let large = waiting.take(1_000, 100).unwrap();
        assert!(waiting.take(1, 100).is_none());
        drop(large);
        assert_eq!(waiting.0.load(Ordering::Relaxed), 0);
    }
}
