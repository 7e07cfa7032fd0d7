//! How much one client may take: connections at a time, messages a second.
//!
//! A handler that is about to hold a connection open asks [`Limits::connect`] for a [`Slot`] and keeps it in the body of
//! its response; dropping the body, for whatever reason the connection ended, gives the place back. A handler that is
//! about to publish asks [`Limits::publish`]. Every refusal is counted.

mod channels;
mod rate;

#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    fmt,
    hash::{BuildHasher, RandomState},
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

pub use channels::NoChannel;
use channels::Openers;
use rate::{Over, Rate};
use shared::live::log::{Opener, Vacancy};

use super::{
    ApiError, Settings,
    address::counted,
    auth::Identity,
    metrics::{Metrics, Transport, TransportMetrics},
};

/// Parts of the table of addresses, each with a lock of its own, so that workers seldom meet.
const SHARDS: usize = 16;

/// Counts connections and rates against the settings. Clones share their counts.
#[derive(Clone)]
pub struct Limits(Arc<Inner>);

struct Inner {
    most: Option<usize>,
    most_per_address: Option<usize>,
    total: AtomicUsize,
    /// Only addresses that hold a connection are in it, so it is bounded by the connections.
    addresses: [Mutex<HashMap<IpAddr, usize>>; SHARDS],
    hasher: RandomState,
    connect: Option<Rate>,
    publish: Option<Rate>,
    openers: Openers,
    metrics: Arc<Metrics>,
}

/// Why there is no place for another connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The process holds as many as it may.
    #[error("this server has as many connections open as it may (TRIDENT_MAX_CONNECTIONS); try again later")]
    Total,
    /// The client's address does.
    #[error(
        "your address has as many connections open as it may (TRIDENT_MAX_CONNECTIONS_PER_ADDRESS); close one or try again later"
    )]
    Address,
    /// The client's address comes too often.
    #[error(
        "your address opens connections faster than it may ({limit} a second, TRIDENT_CONNECT_RATE); try again in \
         {retry_after} s"
    )]
    Rate {
        /// How many a second are let in.
        limit: u32,
        /// Seconds until the next one is.
        retry_after: u64,
    },
}

/// For transports that answer with an error; SSE answers 200, a `retry:` and the end instead.
impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Total => Self::unavailable("too_many_connections", refused),
            Refused::Address => Self::TooMany { message: refused.to_string(), retry_after: 2 },
            Refused::Rate { retry_after, .. } => Self::TooMany { message: refused.to_string(), retry_after },
        }
    }
}

/// A client's own limit is a matter of the client's, that of all is not.
impl From<NoChannel> for ApiError {
    fn from(refused: NoChannel) -> Self {
        match refused {
            NoChannel::Total | NoChannel::Reserved => Self::unavailable("too_many_channels", refused),
            NoChannel::Share { .. } => Self::TooMany { message: refused.to_string(), retry_after: 2 },
        }
    }
}

impl Limits {
    /// The limits that the settings name, nothing counted yet.
    #[must_use]
    pub fn new(settings: &Settings, metrics: Arc<Metrics>) -> Self {
        Self(Arc::new(Inner {
            most: settings.max_connections,
            most_per_address: settings.max_connections_per_address,
            total: AtomicUsize::new(0),
            addresses: std::array::from_fn(|_| Mutex::default()),
            hasher: RandomState::new(),
            connect: settings.connect_rate.and_then(Rate::per_second),
            publish: settings.publish_rate.and_then(Rate::per_second),
            openers: Openers::new(settings.max_channels, settings.max_channels_per_client),
            metrics,
        }))
    }

    /// A place for a connection from `address`, counted until the [`Slot`] is dropped.
    ///
    /// # Errors
    /// When there is none; counted.
    pub fn connect(&self, address: IpAddr, transport: Transport) -> Result<Slot, Refused> {
        let inner = &*self.0;
        let refusals = &inner.metrics.refusals;
        if let Some(rate) = &inner.connect
            && let Err(over) = rate.check(&Identity::Address(counted(address)), 1)
        {
            refusals.connect_rate.inc();
            let retry_after = if let Over::Now { retry_after } = over { retry_after } else { 1 };
            return Err(Refused::Rate { limit: rate.limit(), retry_after });
        }
        // Taken first and given back if it was one too many: two threads cannot both get the last place.
        if inner.total.fetch_add(1, Relaxed) >= inner.most.unwrap_or(usize::MAX) {
            inner.total.fetch_sub(1, Relaxed);
            refusals.connections.inc();
            return Err(Refused::Total);
        }
        let address = inner.most_per_address.map(|_| counted(address));
        if let (Some(address), Some(most)) = (address, inner.most_per_address) {
            let mut held = inner.shard(address);
            let count = held.entry(address).or_insert(0);
            if *count >= most {
                drop(held);
                inner.total.fetch_sub(1, Relaxed);
                refusals.connections_per_address.inc();
                return Err(Refused::Address);
            }
            *count += 1;
        }
        let figures = inner.metrics.transport(transport);
        figures.connections.inc();
        figures.opened.inc();
        Ok(Slot { limits: self.clone(), address, transport })
    }

    /// The count that channels opened by `identity` are to be added to, if it may open those that `vacancy` says are new.
    ///
    /// # Errors
    /// When it may not; counted.
    pub fn open_channels(&self, identity: &Identity, vacancy: Vacancy) -> Result<Arc<Opener>, NoChannel> {
        let refusals = &self.0.metrics.refusals;
        self.0.openers.open(identity, vacancy).inspect_err(|refused| {
            match refused {
                NoChannel::Share { .. } => &refusals.channels_per_client,
                NoChannel::Total | NoChannel::Reserved => &refusals.channels,
            }
            .inc();
        })
    }

    /// Connections held now.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.0.total.load(Relaxed)
    }

    /// Lets `messages` messages by `identity` through, or none of them.
    ///
    /// A second's worth may come at once; a batch of more than that never passes, and is told so.
    ///
    /// # Errors
    /// [`ApiError::TooMany`] with the seconds to wait, or [`ApiError::TooManyAtOnce`]; counted.
    pub fn publish(&self, identity: &Identity, messages: usize) -> Result<(), ApiError> {
        let Some(rate) = &self.0.publish else { return Ok(()) };
        let limit = rate.limit();
        rate.check(identity, messages).map_err(|over| {
            self.0.metrics.refusals.publish_rate.inc();
            match over {
                Over::Never => ApiError::TooManyAtOnce { messages, limit },
                Over::Now { retry_after } => {
                    let message = format!(
                        "too many messages: {messages} more would be over the {limit} a second that one token or address \
                         may publish (TRIDENT_PUBLISH_RATE); try again in {retry_after} s"
                    );
                    ApiError::TooMany { message, retry_after }
                }
            }
        })
    }
}

impl fmt::Debug for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limits").field("connections", &self.connections()).finish_non_exhaustive()
    }
}

impl Inner {
    fn shard(&self, address: IpAddr) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        let shard = self.hasher.hash_one(address) as usize % SHARDS;
        self.addresses[shard].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of one connection; dropping it gives the place back.
#[derive(Debug)]
pub struct Slot {
    limits: Limits,
    /// Counted only where there is a limit.
    address: Option<IpAddr>,
    transport: Transport,
}

impl Slot {
    /// The figures of the transport that the connection is counted under.
    #[must_use]
    pub fn figures(&self) -> &TransportMetrics {
        self.limits.0.metrics.transport(self.transport)
    }

    /// Counts the connection under another transport from now on, as when Socket.IO goes over from polling to WebSocket.
    pub fn change_transport(&mut self, transport: Transport) {
        let metrics = &self.limits.0.metrics;
        metrics.transport(self.transport).connections.dec();
        metrics.transport(transport).connections.inc();
        self.transport = transport;
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let inner = &*self.limits.0;
        if let Some(address) = self.address {
            let mut held = inner.shard(address);
            if let Some(count) = held.get_mut(&address) {
                *count -= 1;
                if *count == 0 {
                    held.remove(&address);
                }
            }
        }
        inner.total.fetch_sub(1, Relaxed);
        inner.metrics.transport(self.transport).connections.dec();
    }
}
