//! Messages on their way to Redis: one after the other in the order in which they were handed in, as many together as have
//! gathered.

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

/// Messages in one pipeline.
const MOST_TOGETHER: usize = 256;
/// Bytes in one pipeline, about.
pub(crate) const MOST_BYTES: usize = 1 << 20;

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

/// How many bytes wait.
#[derive(Debug, Default)]
pub(crate) struct Waiting(AtomicUsize);

impl Waiting {
    /// Room for so many bytes, if there is as much. One message alone has room however large it is.
    pub(crate) fn take(self: &Arc<Self>, bytes: usize, limit: usize) -> Option<Room> {
        let before = self.0.fetch_add(bytes, Ordering::Relaxed);
        let room = Room { bytes, of: self.clone() };
        (before == 0 || before.saturating_add(bytes) <= limit).then_some(room)
    }
}

/// The room of one message among those that wait, until it waits no more.
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
            // The adapter is gone, and this with it in a moment.
            None => std::future::pending().await,
        }
        let mut bytes = batch.jobs[0].room.bytes;
        while batch.jobs.len() < MOST_TOGETHER
            && bytes < MOST_BYTES
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
                    log::debug!("Redis refuses a message: {error}");
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

/// What is under way. When the connection breaks, nobody knows what of it came through.
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

/// Whether after `error` the connection is of no use, or leads to a server that is of none.
fn is_fatal(error: &RedisError) -> bool {
    const OF_NO_USE: [&str; 5] = ["READONLY", "LOADING", "MASTERDOWN", "CLUSTERDOWN", "NOAUTH"];
    error.code().is_none_or(|code| OF_NO_USE.contains(&code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_bounded() {
        let waiting = Arc::<Waiting>::default();
        let first = waiting.take(60, 100).unwrap();
        let second = waiting.take(40, 100).unwrap();
        assert!(waiting.take(1, 100).is_none());
        drop(first);
        let third = waiting.take(60, 100).unwrap();
        assert!(waiting.take(1, 100).is_none());
        drop((second, third));
        // One that is larger than the bound goes alone.
        let large = waiting.take(1_000, 100).unwrap();
        assert!(waiting.take(1, 100).is_none());
        drop(large);
        assert_eq!(waiting.0.load(Ordering::Relaxed), 0);
    }
}
