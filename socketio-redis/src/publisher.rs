//! Outgoing messages to Redis: in the order in which they were queued, in pipelines of all that have gathered.

use std::convert::Infallible;

use redis::{RedisError, RedisResult, aio::MultiplexedConnection};
use tokio::sync::mpsc;

use crate::{queue::Job, stats::Counters};

/// Maximum number of messages in one pipeline.
const MAX_PIPELINED: usize = 256;
/// The approximate maximum size in bytes of one pipeline.
pub(crate) const MAX_PIPELINE_BYTES: usize = 1 << 20;

/// Publishes until the connection breaks.
pub(crate) async fn run(
    mut connection: MultiplexedConnection,
    jobs: &mut mpsc::UnboundedReceiver<Job>,
    counters: &Counters,
) -> Result<Infallible, RedisError> {
    let mut batch = Batch { jobs: Vec::new(), counters };
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
                Ok(_) => job.end(counters, Ok(())),
                Err(error) => {
                    log::debug!("Redis rejects a message: {error}");
                    job.end(counters, Err(error.to_string()));
                    fatal = Some(error).filter(is_fatal).or(fatal);
                }
            }
        }
        if let Some(error) = fatal {
            return Err(error);
        }
    }
}

/// Messages in flight. When the connection breaks, it is unknown which of them were published.
struct Batch<'a> {
    jobs: Vec<Job>,
    counters: &'a Counters,
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        for job in self.jobs.drain(..) {
            job.end(self.counters, Err("the connection to Redis broke before it answered".into()));
        }
    }
}

/// Whether the connection cannot be used after `error`, or leads to a server that cannot be used.
fn is_fatal(error: &RedisError) -> bool {
    const OF_NO_USE: [&str; 5] = ["READONLY", "LOADING", "MASTERDOWN", "CLUSTERDOWN", "NOAUTH"];
    error.code().is_none_or(|code| OF_NO_USE.contains(&code))
}
