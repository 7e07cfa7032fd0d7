//! Limits of one client: connections at a time, messages per second.
//!
//! A handler that is about to keep a connection open asks [`Limits::connect`] for a [`Slot`] and keeps it in the body of its response;
//! dropping the body, for whatever reason the connection ended, releases the slot. A handler that is about to publish asks
//! [`Limits::publish`]. Every rejection is counted.

mod api;
mod channels;
mod rate;
mod unstored;

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
    task::{Context, Poll},
    time::SystemTime,
};

use api::ApiAnswers;
pub use api::ApiSlot;
pub use channels::NoChannel;
use channels::Openers;
#[cfg(test)]
pub(crate) use rate::MAX_IDENTITIES;
use rate::{Rate, RateLimited};
use shared::{
    live::log::{Opener, Vacancy},
    pure::{ChannelName, Message, Pieces},
};
pub use unstored::Sending;

use super::{
    ApiError, Settings,
    address::counted,
    auth::Identity,
    connections::{Client, Connection, ConnectionId, Connections, End, EndReason, Registration},
    events::EventFeed,
    metrics::{Metrics, Transport, TransportMetrics},
};

/// The number of parts of the table of addresses, each with its own lock, so that workers rarely contend.
const SHARDS: usize = 16;

/// Counts connections and rates and compares them with the settings. Clones share their counters.
#[derive(Clone)]
pub struct Limits(Arc<Inner>);

struct Inner {
    most: Option<usize>,
    most_per_address: Option<usize>,
    total: AtomicUsize,
    /// Only addresses with a connection are in it, so the number of connections bounds it.
    addresses: [Mutex<HashMap<IpAddr, usize>>; SHARDS],
    hasher: RandomState,
    connect: Option<Rate>,
    publish: Option<Rate>,
    api: Option<Rate>,
    answers: ApiAnswers,
    sending: Sending,
    openers: Openers,
    connections: Connections,
    metrics: Arc<Metrics>,
}

/// Why another connection is not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The process has reached its limit.
    #[error("this server has reached its connection limit (TRIDENT_MAX_CONNECTIONS); retry later")]
    Total,
    /// The client's address has reached its limit.
    #[error(
        "your address has reached its connection limit (TRIDENT_MAX_CONNECTIONS_PER_ADDRESS); close one or retry later"
    )]
    Address,
    /// The client's address opens connections too fast.
    #[error(
        "your address opens too many connections (limit {limit} per second, TRIDENT_CONNECT_RATE); retry in \
         {retry_after} s"
    )]
    Rate {
        /// The maximum number per second.
        limit: u32,
        /// Seconds until the next one is admitted.
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

/// The limit of one client is the client's problem, that of all is the server's.
impl From<NoChannel> for ApiError {
    fn from(refused: NoChannel) -> Self {
        match refused {
            NoChannel::Total | NoChannel::Reserved => Self::unavailable("too_many_channels", refused),
            NoChannel::Share { .. } => Self::TooMany { message: refused.to_string(), retry_after: 2 },
        }
    }
}

impl Limits {
    /// The limits of the settings, without any counts yet.
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
            api: settings.backend.api_rate.and_then(Rate::per_second),
            answers: ApiAnswers::default(),
            sending: Sending::default(),
            openers: Openers::new(settings.max_channels, settings.max_channels_per_client),
            connections: Connections::recorded_by(EventFeed::new(&settings.backend.events)),
            metrics,
        }))
    }

    /// A slot for a connection from `address`, counted until the [`Slot`] is dropped.
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
            let retry_after = if let RateLimited::Now { retry_after } = over { retry_after } else { 1 };
            return Err(Refused::Rate { limit: rate.limit(), retry_after });
        }
        // Taken first and released if it was one too many: two threads cannot both get the last slot.
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
        Ok(Slot { limits: self.clone(), address, transport, registration: None })
    }

    /// The counter for channels opened by `identity`, if it may open those that `vacancy` reports as new.
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

    /// The registry of connections.
    #[must_use]
    pub fn registry(&self) -> &Connections {
        &self.0.connections
    }

    /// The long messages that clients are being sent.
    #[must_use]
    pub fn sending(&self) -> &Sending {
        &self.0.sending
    }

    /// The number of clients that a rate is known for.
    pub(crate) fn rated_clients(&self) -> usize {
        [&self.0.connect, &self.0.publish, &self.0.api].into_iter().flatten().map(Rate::buckets).sum()
    }

    /// The number of open connections.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.0.total.load(Relaxed)
    }

    /// Admits `messages` messages by `identity`, all or none.
    ///
    /// A second's worth may be sent in one burst; a larger batch is never admitted, and gets another error.
    ///
    /// # Errors
    /// [`ApiError::TooMany`] with the seconds to wait, or [`ApiError::TooManyAtOnce`]; counted.
    pub fn publish(&self, identity: &Identity, messages: usize) -> Result<(), ApiError> {
        self.publish_and_copy(identity, messages, 0)
    }

    /// As [`publish`](Self::publish), where the server adds copies of `copied` messages: all together count for a second's worth at most, so that
    /// they can be admitted.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub fn publish_and_copy(&self, identity: &Identity, messages: usize, copied: usize) -> Result<(), ApiError> {
        let Some(rate) = &self.0.publish else { return Ok(()) };
        let limit = rate.limit();
        let second = usize::try_from(limit).unwrap_or(usize::MAX);
        let messages = messages.max(messages.saturating_add(copied).min(second));
        rate.check(identity, messages).map_err(|over| {
            self.0.metrics.refusals.publish_rate.inc();
            match over {
                RateLimited::Never => ApiError::TooManyAtOnce { messages, limit },
                RateLimited::Now { retry_after } => {
                    let message = format!(
                        "too many messages: {messages} more would exceed the {limit} a second that one token or address \
                         may publish (TRIDENT_PUBLISH_RATE); retry in {retry_after} s"
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

/// The slot of one connection, released when it is dropped.
#[derive(Debug)]
pub struct Slot {
    limits: Limits,
    /// Set only if there is a limit.
    address: Option<IpAddr>,
    transport: Transport,
    /// Its entry in the registry.
    registration: Option<Registration>,
}

impl Slot {
    /// See [`Access::register`](super::Access::register).
    pub(super) fn register(&mut self, client: Client, channels: &[ChannelName]) -> &Arc<Connection> {
        let registry = &self.limits.0.connections;
        let registration = Registration::new(registry, ConnectionId::random(), client, self.transport, channels);
        self.registration.insert(registration).connection()
    }

    /// The connection reads these channels from now on.
    pub fn set_channels(&self, channels: &[ChannelName]) {
        if let Some(registration) = &self.registration {
            registration.set_channels(channels);
        }
    }

    /// The connection is about to end for this reason; the first one applies.
    pub fn ends_for(&self, reason: EndReason) {
        if let Some(connection) = self.connection() {
            connection.ends_for(reason);
        }
    }

    /// The connection is about to end since its time is over: if its token has expired, that is the reason.
    pub fn ends_in_time(&self) {
        if self.connection().is_some_and(|connection| connection.has_expired(SystemTime::now())) {
            self.ends_for(EndReason::Expired);
        }
    }

    /// The connection in the registry.
    #[must_use]
    pub fn connection(&self) -> Option<&Arc<Connection>> {
        self.registration.as_ref().map(Registration::connection)
    }

    /// Why the connection has to end, if it has to.
    #[must_use]
    pub fn end(&self) -> Option<End> {
        self.connection()?.end()
    }

    /// As [`Slot::end`]; the task is woken when the connection has to end.
    pub fn poll_end(&self, cx: &Context<'_>) -> Poll<End> {
        let Some(connection) = self.connection() else { return Poll::Pending };
        connection.wait(cx.waker());
        connection.end().map_or(Poll::Pending, Poll::Ready)
    }

    /// `pieces`, which are made of `messages` and sent on this connection: these messages count while they are sent.
    #[must_use]
    pub fn sending(&self, messages: Vec<Arc<Message>>, pieces: Pieces) -> Pieces {
        match self.connection() {
            Some(connection) if !messages.is_empty() => self.limits.0.sending.count(messages, connection, pieces),
            _ => pieces,
        }
    }

    /// The metrics of the connection's transport.
    #[must_use]
    pub fn figures(&self) -> &TransportMetrics {
        self.limits.0.metrics.transport(self.transport)
    }

    /// The transport that the connection counts for.
    #[must_use]
    pub fn transport(&self) -> Transport {
        self.transport
    }

    /// Counts the connection under another transport from now on, as when Socket.IO upgrades from polling to WebSocket.
    pub fn change_transport(&mut self, transport: Transport) {
        let metrics = &self.limits.0.metrics;
        metrics.transport(self.transport).connections.dec();
        metrics.transport(transport).connections.inc();
        self.transport = transport;
        if let Some(registration) = &self.registration {
            registration.set_transport(transport);
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let inner = &*self.limits.0;
        drop(self.registration.take());
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
