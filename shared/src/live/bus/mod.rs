//! What gives messages their order, and its guarantee.
//!
//! Publishing goes service → [`Bus`] → every process's [`Log`] → readers. There is one bus for a whole installation;
//! each process reads only its own log.

use std::{fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use super::{clock::Moment, degraded::Degradation, log::Log};
use crate::pure::{Cursor, Draft};

#[cfg(test)]
pub(crate) mod contract;
mod digest;
mod keys;
pub mod memory;
pub mod redis;

pub use memory::MemoryBus;
pub use redis::RedisBus;

/// A future of the bus's, for a trait that stays usable as `Arc<dyn Bus>`: one allocation for each publication.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What a publisher wants to be added: all of it or nothing, in this order.
#[derive(Clone, Debug)]
pub struct Publication {
    /// The messages.
    pub drafts: Vec<Draft>,
    /// Under which name the publisher may safely ask again.
    pub key: Option<IdempotencyKey>,
}

impl Publication {
    /// `drafts`, with no way to ask again.
    #[must_use]
    pub fn new(drafts: Vec<Draft>) -> Self {
        Self { drafts, key: None }
    }
}

/// The name of a publication within the publisher's own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IdempotencyKey {
    /// Whose key it is: two publishers may choose the same.
    pub scope: String,
    /// As the publisher gave it, at most 128 bytes.
    pub key: String,
}

/// What was published.
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

/// How many idempotency keys are remembered, and the memory that they take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyStats {
    /// Keys.
    pub keys: usize,
    /// Bytes.
    pub bytes: usize,
}

/// For how long a publication with the same [`IdempotencyKey`] gets the first answer again.
pub const REPEATABLE_FOR: Duration = Duration::from_secs(5 * 60);

/// Messages of one publication. On Redis each is up to six arguments of one command, of which it takes about a million.
pub const MAX_MESSAGES: usize = 150_000;
/// Bytes of one publication. Redis takes 512 MiB in one argument and 1 GiB in one command.
pub const MAX_BYTES: usize = 256 * 1024 * 1024;

/// Why a publication failed. Nothing was added, except with [`BusError::Unknown`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BusError {
    /// The bus cannot be reached; asking again later may help.
    #[error("the message bus cannot be reached, try again later: {0}")]
    Away(String),
    /// The connection to the bus broke, or its time was up, after the messages had been sent: they may have been added.
    #[error(
        "it is not known whether the messages were added: {0}; with an Idempotency-Key, sending the same request again gives \
         the answer and adds nothing twice"
    )]
    Unknown(String),
    /// More messages, or more bytes, than the bus takes in one piece.
    #[error("the bus takes at most {MAX_MESSAGES} messages and {MAX_BYTES} bytes in one request; send them in several")]
    TooLarge,
    /// The bus cannot take another key of this scope; trying again later, or without a key, will do.
    #[error(
        "too many idempotency keys are in use, and none is forgotten before its five minutes; try again in {} s, or \
         without a key",
        retry_after.as_secs() + 1
    )]
    Keys {
        /// After this time there is room.
        retry_after: Duration,
    },
    /// The key was used for something else.
    #[error(
        "this idempotency key was used within the last five minutes for other messages; send the same ones, or take a new key"
    )]
    Reused,
}

/// One order for all messages of an installation.
///
/// # Guarantee
/// `publish` answers with ids only when the messages have their places in the one order for good; then every log on
/// this bus has them, or comes to have them, in the order of their ids and each once. So a reader that asks a log for
/// what comes after a cursor, on whatever process, gets every message with a greater id on its channels that is still
/// held. An id that a publisher holds is never given to another message, and a later publication never gets a lower one.
///
/// What that prevents: were a message visible on one process before its place was final, a client could read `b`, then
/// reconnect to a process on which `a` took the place before `b`, and with `b` as its cursor never see `a`.
///
/// An error means that nothing was added, except for [`BusError::Unknown`]: then only an [`IdempotencyKey`] makes asking
/// again safe.
pub trait Bus: Send + Sync + fmt::Debug + 'static {
    /// This process's log of what was published.
    fn log(&self) -> &Arc<Log>;

    /// Adds the messages, all or none, next to each other, and answers with their ids in the same order.
    ///
    /// A key that was used in the last [`REPEATABLE_FOR`] for the same messages adds nothing and gets the ids of then; used
    /// for others it is [`BusError::Reused`].
    fn publish(&self, publication: Publication) -> Answer<'_, Result<Published, BusError>>;

    /// Waits, for a short time at most, until this process's log has come as far as `cursor`, if the bus has.
    ///
    /// To be called before a reader is opened on a cursor that another process may have given out.
    fn reach(&self, cursor: Cursor) -> Answer<'_, ()>;

    /// Waits until this process's log shows what there is, for as long as that takes: only then can it be told what a
    /// reader that begins now has missed.
    fn filled(&self) -> Answer<'_, ()>;

    /// Whether messages can be published and are coming in.
    ///
    /// # Errors
    /// What is wrong.
    fn ready(&self) -> Result<(), BusError>;

    /// Drops what is too old by the clock of the bus ([`Log::sweep`]): a slice of it, which takes about a millisecond. Whether
    /// there is more to do.
    ///
    /// To be called about once a second, until there is no more.
    fn sweep(&self) -> bool {
        self.log().sweep(Moment::now())
    }

    /// The idempotency keys that this process remembers.
    fn keys(&self) -> KeyStats {
        KeyStats::default()
    }

    /// What does not work as it should although messages are published and coming in.
    fn degraded(&self) -> Vec<Degradation> {
        Vec::new()
    }

    /// Takes or renews the lease `name` for the next `ttl`: of all processes on the bus this one alone holds it then. `None`: it does not.
    fn lease(&self, name: &'static str, ttl: Duration) -> Answer<'_, Option<Lease>>;

    /// Gives the lease `name` back before its time, if this process holds it. Who gets it within [`HANDED_ON_FOR`] goes on from `at`.
    fn release(&self, name: &'static str, at: Cursor) -> Answer<'_, ()>;
}

/// A lease that this process holds.
///
/// # Guarantee
/// What a holder reads in its log while it holds the lease, reckoned from before it asked, has an id that is not after [`Got::from`](Self::Got)
/// of the next holder. So holders that each go on from there never do the same twice, however late what they did takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lease {
    /// It has held it without a break.
    Kept,
    /// It has got it now.
    Got {
        /// Where the one before has left off, if it gave the lease back; otherwise the newest message of all there were.
        from: Cursor,
    },
}

/// For how long it is known where the holder of a lease left off that gave it back.
pub const HANDED_ON_FOR: Duration = Duration::from_secs(10);
