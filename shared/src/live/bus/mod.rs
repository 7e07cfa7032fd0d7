//! The bus: gives messages their order, and what it guarantees.
//!
//! Publishing goes service → [`Bus`] → every process's [`Log`] → readers. There is one bus for a whole installation;
//! each process reads only its own log.

use std::{
    fmt,
    future::{Future, ready},
    pin::Pin,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use tokio::sync::mpsc;

use super::{clock::Moment, degraded::Degradation, log::Log};
use crate::pure::{
    ChannelName, Cursor, Draft,
    stream::{StreamError, StreamInfo, StreamOp, StreamReply},
};

mod answers;
#[cfg(test)]
pub(crate) mod contract;
mod digest;
pub mod file;
mod keys;
pub mod memory;
pub mod peers;
pub mod redis;
mod states;
mod stats;

pub use file::FileBus;
pub use memory::MemoryBus;
pub use peers::{ANSWER_WITHIN, Question, Record, Replies, Stored};
pub use redis::RedisBus;
pub use states::{Entry, EntryChange, Merge, StateTable, StoredState};
pub use stats::{DiskStats, KeyStats, SYNC_BUCKETS};

/// A future of the bus, for a trait that can be used as `Arc<dyn Bus>`: one allocation for each publication.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The messages of one publication: all are added or none, in this order.
#[derive(Clone, Debug)]
pub struct Publication {
    /// The messages.
    pub drafts: Vec<Draft>,
    /// The name under which the publisher may safely retry.
    pub key: Option<IdempotencyKey>,
    /// What the publisher sent, if the application has changed it: a repetition is recognized by this.
    pub original: Option<Vec<Draft>>,
    /// Small states that change together with the messages: all of it is stored, or nothing. They outlive the process, such as a recovery session,
    /// and replace those with the same table and key. All states are read at each start and written again with each segment: a few megabytes
    /// at most, that change rarely. Only a bus with a log on disk stores them; another one ignores them.
    pub states: Vec<StoredState>,
}

impl Publication {
    /// `drafts` without a key, which cannot be retried safely.
    #[must_use]
    pub fn new(drafts: Vec<Draft>) -> Self {
        Self { drafts, key: None, original: None, states: Vec::new() }
    }

    /// The same with a key.
    #[must_use]
    pub fn with_key(self, key: Option<IdempotencyKey>) -> Self {
        Self { key, ..self }
    }

    /// Changes of small states, without messages.
    #[must_use]
    pub fn of_states(states: Vec<StoredState>) -> Self {
        Self { states, ..Self::new(Vec::new()) }
    }
}

/// The name of a publication, unique within its scope.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IdempotencyKey {
    /// The owner of the key: two publishers may choose the same.
    pub scope: String,
    /// The publisher's key, at most 128 bytes.
    pub key: String,
}

/// The result of a publication.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Published {
    /// The ids of the messages, in the order of the drafts.
    pub ids: Vec<Cursor>,
    /// Whether this is the answer to an earlier publication with the same [`IdempotencyKey`], and nothing was added.
    pub is_repeat: bool,
}

/// The ids.
impl std::ops::Deref for Published {
    type Target = [Cursor];

    fn deref(&self) -> &[Cursor] {
        &self.ids
    }
}

/// How long a publication with the same [`IdempotencyKey`] gets the first answer again.
pub const IDEMPOTENCY_TTL: Duration = Duration::from_secs(5 * 60);

/// Maximum number of messages of one publication. On Redis each is up to seven arguments of one command, which can have about a million.
pub const MAX_MESSAGES: usize = 140_000;
/// Maximum size of one publication in bytes. Redis accepts 512 MiB in one argument and 1 GiB in one command.
pub const MAX_BYTES: usize = 256 * 1024 * 1024;

/// The message of a bus without entries.
const NO_ENTRIES: &str = "this bus stores no entries";
/// The message of a bus without streams.
const NO_STREAMS: &str = "this bus has no streams";

/// Why a publication failed. Nothing was added, except with [`BusError::Unknown`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BusError {
    /// The bus cannot be reached; a later retry may succeed.
    #[error("the message bus is unavailable, retry later: {0}")]
    Unavailable(String),
    /// The connection to the bus broke, or timed out, after the messages had been sent: they may have been added.
    #[error(
        "it is unknown whether the messages were added: {0}; with an Idempotency-Key, a retry of the same request returns \
         the answer and adds nothing twice"
    )]
    Unknown(String),
    /// The disk of the log is full. Readers continue, and publishing does when there is space.
    #[error("the disk is full, nothing was added; retry when there is space: {0}")]
    DiskFull(String),
    /// There is no space for another [state](Publication::states).
    #[error("{0}")]
    StatesFull(String),
    /// The directory of the log cannot be used.
    #[error("{0}")]
    Directory(String),
    /// More messages, or more bytes, than the bus accepts in one publication.
    #[error("the bus accepts at most {MAX_MESSAGES} messages and {MAX_BYTES} bytes in one request; split it")]
    TooLarge,
    /// The bus cannot store another key of this scope; retry later, or without a key.
    #[error(
        "too many idempotency keys are in use, and each is kept for five minutes; retry in {} s, or \
         without a key",
        retry_after.as_secs() + 1
    )]
    Keys {
        /// After this time there is space.
        retry_after: Duration,
    },
    /// This bus cannot do what was asked.
    #[error("{0}")]
    Unsupported(String),
    /// A stream does not accept the operation or the messages.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// The key was used for other messages.
    #[error("this idempotency key was used for other messages within the last five minutes; use a new key")]
    Reused,
}

/// One order for all messages of an installation.
///
/// # Guarantee
/// `publish` returns ids only when the messages have their final positions in the order; then every log on
/// this bus has them, or will have them, in the order of their ids and each once. So a reader that reads a log
/// after a cursor, on any process, gets every stored message with a greater id on its channels.
/// An id that a publisher received is never given to another message, and a later publication never gets a lower one.
///
/// What this prevents: if a message were visible on one process before its position was final, a client could read `b`,
/// reconnect to a process on which `a` took the position before `b`, and with `b` as its cursor never receive `a`.
///
/// An error means that nothing was added, except for [`BusError::Unknown`]: then only an [`IdempotencyKey`] makes a retry
/// safe.
pub trait Bus: Send + Sync + fmt::Debug + 'static {
    /// This process's log of what was published.
    fn log(&self) -> &Arc<Log>;

    /// Adds the messages, all or none, next to each other, and returns their ids in the same order.
    ///
    /// With a key that was used within the last [`IDEMPOTENCY_TTL`] for the same messages, adds nothing and returns the ids of the first
    /// time. With a key that was used for others, returns [`BusError::Reused`].
    fn publish(&self, publication: Publication) -> Answer<'_, Result<Published, BusError>>;

    /// The answer to an earlier publication with this key, if there is one: what [`publish`](Self::publish) would return for `drafts`.
    fn find<'a>(
        &'a self,
        key: &'a IdempotencyKey,
        drafts: &'a [Draft],
    ) -> Answer<'a, Result<Option<Published>, BusError>>;

    /// Waits, for a short time at most, until this process's log has reached `cursor`, if the bus has.
    ///
    /// Call it before a reader is opened at a cursor that another process may have issued.
    fn wait_for(&self, cursor: Cursor) -> Answer<'_, ()>;

    /// Waits until this process's log is loaded, for as long as that takes: before, it is unknown what a new reader has missed.
    fn filled(&self) -> Answer<'_, ()>;

    /// Whether messages can be published and are being received.
    ///
    /// # Errors
    /// The reason, if not.
    fn ready(&self) -> Result<(), BusError>;

    /// Drops messages that are too old by the clock of the bus ([`Log::sweep`]): one slice of them, which takes about a millisecond.
    /// Returns whether there is more to do.
    ///
    /// Call it about once a second, until there is no more.
    fn sweep(&self) -> bool {
        self.log().sweep(Moment::now())
    }

    /// Removes the messages that `channel` stores, on every process; returns the id up to which they are removed. Readers that have not
    /// received all of them get a gap.
    ///
    /// # Errors
    /// When they could not be removed, or it is unknown whether they were. It can be repeated.
    fn purge(&self, channel: ChannelName) -> Answer<'_, Result<Cursor, BusError>>;

    /// Creates a stream, appends to it, closes it, or deletes it. What the operation depends on is checked where the bus makes its order.
    ///
    /// # Errors
    /// [`BusError::Stream`] when it is rejected; otherwise as [`publish`](Self::publish).
    fn stream(&self, op: StreamOp) -> Answer<'_, Result<StreamReply, BusError>> {
        drop(op);
        Box::pin(ready(Err(BusError::Unsupported(NO_STREAMS.to_owned()))))
    }

    /// What readers know of the stream of `channel`. With `renews`, it counts as used.
    ///
    /// # Errors
    /// As [`stream`](Self::stream).
    fn stream_info(&self, channel: &ChannelName, renews: bool) -> Result<StreamInfo, BusError> {
        let _ = (channel, renews);
        Err(BusError::Unsupported(NO_STREAMS.to_owned()))
    }

    /// Waits until this process's log has all of the stream of `channel` that any process acknowledged before: then it does not exist if it is unknown.
    ///
    /// # Errors
    /// When the log does not get there in time, or it is not known how far that is.
    fn catch_up<'a>(&'a self, channel: &'a ChannelName) -> Answer<'a, Result<(), BusError>> {
        let _ = channel;
        Box::pin(ready(Ok(())))
    }

    /// The name of this process among all on the bus, if there can be others.
    fn process(&self) -> Option<&str> {
        None
    }

    /// Asks all other processes on the bus.
    fn ask(&self, question: Bytes) -> Answer<'_, Replies> {
        self.ask_until(question, |_| false)
    }

    /// As [`Bus::ask`], and does not wait for more once `is_enough` holds for an answer.
    fn ask_until(&self, question: Bytes, is_enough: fn(&[u8]) -> bool) -> Answer<'_, Replies> {
        let _ = (question, is_enough);
        Box::pin(ready(Replies::default()))
    }

    /// The questions of other processes, which whoever takes this has to answer; `None` if there are no others, or it is taken.
    fn questions(&self) -> Option<mpsc::Receiver<Question>> {
        None
    }

    /// The names of other processes that are not heard any more and have not said that they end; `None` if there are no others, or it is taken.
    fn gone(&self) -> Option<mpsc::UnboundedReceiver<String>> {
        None
    }

    /// The time of day by the clock that all processes share, by which records end.
    fn time(&self) -> SystemTime {
        SystemTime::now()
    }

    /// Stores records for processes that start later. Those that run are not notified.
    ///
    /// # Errors
    /// When they could not be stored, or it is unknown whether they were. It does no harm to store a record twice.
    fn store(&self, records: Vec<Record>) -> Answer<'_, Result<(), BusError>> {
        drop(records);
        Box::pin(ready(Ok(())))
    }

    /// All that is stored: at the start, and again after this process may have missed something. `None` if the bus stores nothing, or it is taken.
    fn stored(&self) -> Option<mpsc::UnboundedReceiver<Stored>> {
        None
    }

    /// Stores a small state, as a [publication](Publication::states) of it alone does. Resolves when it is as durable as a message would be, or as
    /// its table says.
    ///
    /// # Errors
    /// As [`publish`](Self::publish), and [`BusError::StatesFull`] when there is no space for another one.
    fn store_state(&self, state: StoredState) -> Answer<'_, Result<(), BusError>> {
        Box::pin(async move { self.publish(Publication::of_states(vec![state])).await.map(drop) })
    }

    /// The states of `table` that are [stored](Publication::states) and have not expired, in the order of their keys. Earlier processes stored some
    /// of them. Each has a value.
    fn states(&self, _table: StateTable) -> Vec<StoredState> {
        Vec::new()
    }

    /// The idempotency keys that this process stores.
    fn keys(&self) -> KeyStats {
        KeyStats::default()
    }

    /// Bytes of publications that wait to be stored.
    fn publishing_bytes(&self) -> usize {
        0
    }

    /// Problems of the bus while messages are still published and received.
    fn degraded(&self) -> Vec<Degradation> {
        Vec::new()
    }

    /// Resolves with the reason when the bus cannot go on and the process has to end.
    fn failed(&self) -> Answer<'_, String> {
        Box::pin(std::future::pending())
    }

    /// Completes what was published and releases the bus. Call it at the end of the process; later publications are rejected.
    fn close(&self) -> Answer<'_, ()> {
        Box::pin(std::future::ready(()))
    }

    /// The disk that the bus writes to; `None` if it has none.
    fn disk(&self) -> Option<DiskStats> {
        None
    }

    /// Acquires or renews the lease `name` for the next `ttl`: then no other process on the bus has it. `None` if another process has it.
    fn lease(&self, name: &'static str, ttl: Duration) -> Answer<'_, Option<Lease>>;

    /// What the last holder of the lease `name` has stored under it; `None` if nothing.
    ///
    /// # Errors
    /// When it cannot be read.
    fn read_state(&self, name: &'static str) -> Answer<'_, Result<Option<Bytes>, BusError>>;

    /// Stores `state` under the lease `name`, which this process has, as durably as the bus stores messages. It replaces what was there.
    ///
    /// # Errors
    /// When it could not be stored, or another process has the lease by now.
    fn write_state(&self, name: &'static str, state: Bytes) -> Answer<'_, Result<(), BusError>>;

    /// The small entries that holders of the lease `name` have stored, in no order.
    ///
    /// # Errors
    /// When they cannot be read.
    fn read_entries(&self, name: &'static str) -> Answer<'_, Result<Vec<Entry>, BusError>> {
        let _ = name;
        Box::pin(ready(Err(BusError::Unsupported(NO_ENTRIES.to_owned()))))
    }

    /// Changes small entries under the lease `name`, which this process has, all or none: `None` removes one. As durable as messages are.
    ///
    /// # Errors
    /// When they could not be stored, it is unknown whether they were, or another process has the lease by now.
    fn write_entries(&self, name: &'static str, changes: Vec<EntryChange>) -> Answer<'_, Result<(), BusError>> {
        let _ = (name, changes);
        Box::pin(ready(Err(BusError::Unsupported(NO_ENTRIES.to_owned()))))
    }

    /// How many bytes the entries of all leases can have. Each counts its key, its value, and at most 128 bytes.
    fn entry_space(&self) -> usize {
        usize::MAX
    }

    /// Releases the lease `name` early, if this process has it. A process that acquires it within [`LEASE_HANDOFF_TTL`] continues from `at`.
    fn release(&self, name: &'static str, at: Cursor) -> Answer<'_, ()>;
}

/// A lease of this process.
///
/// # Guarantee
/// Whatever a holder reads in its log during its lease, measured from before the request, has an id that is not after [`Got::from`](Self::Got)
/// of the next holder. Holders that continue from there therefore never repeat each other's work, however late it takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lease {
    /// The lease was renewed without interruption.
    Kept,
    /// The lease is new.
    Got {
        /// Where the previous holder stopped, if it released the lease; otherwise the newest message at that time.
        from: Cursor,
    },
}

/// How long the position is stored at which a holder released a lease.
pub const LEASE_HANDOFF_TTL: Duration = Duration::from_secs(10);
