//! Publications that wait for the writer.

use std::{collections::VecDeque, mem, time::Duration};

use parking_lot::{Condvar, Mutex};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::{
    live::{
        bus::{BusError, Published, StoredState, answers::Claim},
        log::Reserved,
    },
    pure::{
        ChannelName, Cursor, Draft,
        stream::{StreamOp, StreamReply},
    },
};

/// Maximum number of bytes that the writer takes at once, unless one publication is larger.
const MAX_BYTES: usize = 4 << 20;

/// Where the answer to a publication goes.
pub(super) type Reply = oneshot::Sender<Result<Published, BusError>>;

/// One publication.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) drafts: Vec<Draft>,
    /// Small states that change with them.
    pub(super) states: Vec<StoredState>,
    pub(super) claim: Option<Claim>,
    /// What is asked of a stream instead.
    pub(super) stream: Option<StreamJob>,
    /// Its data in bytes.
    pub(super) bytes: usize,
    pub(super) reply: Reply,
    /// Its part of the memory of all that wait.
    pub(super) _permit: Option<OwnedSemaphorePermit>,
}

/// What is asked of a stream.
#[derive(Debug)]
pub(super) struct StreamJob {
    pub(super) ask: Ask,
    /// What a fork begins with.
    pub(super) reserved: Reserved,
    /// Up to here, the channel of a new stream has no messages on disk.
    pub(super) unused_up_to: Cursor,
    /// Where the answer goes, before that to the job: `None` if the source of a fork has to be looked at again.
    pub(super) reply: Option<oneshot::Sender<Option<StreamReply>>>,
}

/// See [`StreamJob`].
#[derive(Debug)]
pub(super) enum Ask {
    Op(StreamOp),
    /// Its end or its use is to be stored, if that is due.
    Due(ChannelName),
}

impl Job {
    /// A job without anything to do.
    pub(super) fn new(reply: Reply) -> Self {
        Self { drafts: Vec::new(), states: Vec::new(), claim: None, stream: None, bytes: 0, reply, _permit: None }
    }
}

/// What the writer has to do.
#[derive(Debug, Default)]
pub(super) struct Work {
    pub(super) jobs: Vec<Job>,
    /// The state of the disk is to be checked.
    pub(super) is_check: bool,
    /// Nothing comes any more.
    pub(super) is_last: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    jobs: VecDeque<Job>,
    is_check: bool,
    is_closed: bool,
    /// Whether the writer waits.
    is_idle: bool,
}

impl Queue {
    /// Adds a publication; `false` if the queue is closed.
    pub(super) fn push(&self, job: Job) -> bool {
        let mut state = self.state.lock();
        if state.is_closed {
            return false;
        }
        state.jobs.push_back(job);
        // A busy writer looks by itself.
        let is_idle = mem::take(&mut state.is_idle);
        drop(state);
        if is_idle {
            self.changed.notify_one();
        }
        true
    }

    /// Has the writer check the state of the disk.
    pub(super) fn check(&self) {
        self.state.lock().is_check = true;
        self.changed.notify_one();
    }

    /// The writer ends after what is in the queue; later publications are refused.
    pub(super) fn close(&self) {
        self.state.lock().is_closed = true;
        self.changed.notify_one();
    }

    /// Waits for work, for `most` at most.
    pub(super) fn take(&self, most: Option<Duration>) -> Work {
        let mut state = self.state.lock();
        while state.jobs.is_empty() && !state.is_check && !state.is_closed {
            state.is_idle = true;
            match most {
                None => self.changed.wait(&mut state),
                Some(most) => {
                    if self.changed.wait_for(&mut state, most).timed_out() {
                        break;
                    }
                }
            }
        }
        state.is_idle = false;
        let (mut jobs, mut bytes) = (Vec::new(), 0);
        while let Some(job) = state.jobs.pop_front_if(|job| bytes == 0 || bytes + job.bytes <= MAX_BYTES) {
            bytes += job.bytes.max(1);
            jobs.push(job);
        }
        if state.jobs.is_empty() && state.jobs.capacity() > 1_024 {
            state.jobs.shrink_to_fit();
        }
        let is_last = state.is_closed && state.jobs.is_empty();
        Work { jobs, is_check: mem::take(&mut state.is_check), is_last }
    }
}
