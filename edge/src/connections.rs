//! The connections of a process: who reads which channels, over which transport, since when, and a way to end each of them from outside.
//!
//! A handler that opens a connection has a [`Slot`](super::limits::Slot) for it, and registers the connection with the slot
//! ([`Access::register`](super::Access::register)), which removes it when it is dropped. A connection of Socket.IO has a slot, too, and a
//! [`Registration`] for each of its sockets: each is a client of its own. Whoever owns the slot or the registration checks [`Connection::end`] before it sends, and registers its waker with
//! [`Connection::wait`] before it waits. A client of long polls has no connection between two of them: [`pollers`] keeps one for it.
//!
//! Nothing here is on the path of a message, except for the check, which is one atomic load.

mod channels;
mod id;
mod pollers;
mod reason;
mod recording;
mod registration;

#[cfg(test)]
pub(crate) mod tests;

use std::{
    borrow::Borrow,
    cmp::Ordering as Order,
    collections::BTreeSet,
    net::IpAddr,
    ops::Bound,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering},
    },
    task::Waker,
    time::{Duration, Instant, SystemTime},
};

use arc_swap::ArcSwap;
use atomic_waker::AtomicWaker;
use parking_lot::Mutex;
use shared::{live::clock::wall_clock, pure::ChannelName};

#[cfg(test)]
pub(crate) use self::pollers::MAX_IDLE_BYTES;
pub use self::{
    channels::ChannelSet,
    id::{ConnectionId, InvalidConnectionId},
    pollers::Polling,
    reason::{End, EndReason},
    registration::Registration,
};
use self::{channels::ChannelSets, pollers::Pollers};
use super::{
    auth::{Revocations, TokenOwner},
    events::EventFeed,
    metrics::Transport,
};

/// The number of parts of the registry, each with its own lock. A part has the ids that begin with the same four bits, so that the parts
/// one after the other are in the order of ids.
const PARTS: usize = 16;
/// Connections that are visited while a part is locked.
const SLICE: usize = 512;

/// A token that expires within this time has expired.
const EXPIRED_WITHIN: Duration = Duration::from_secs(1);

/// The approximate maximum size of the channels and users of a page.
const MAX_PAGE_BYTES: usize = 1024 * 1024;

/// Whose connection it is.
#[derive(Clone, Debug)]
pub(super) struct Client {
    /// The owner of its token, if it has one.
    pub(super) owner: Option<Arc<TokenOwner>>,
    /// Its address.
    pub(super) address: IpAddr,
}

/// A connection.
#[derive(Debug)]
pub struct Connection {
    id: ConnectionId,
    transport: AtomicU8,
    /// 0, or the number of an [`End`].
    end: AtomicU8,
    /// 0, or the number of an [`EndReason`].
    reason: AtomicU8,
    /// Whether the event feed has its beginning, and is to have its end.
    is_recorded: AtomicBool,
    /// Seconds since the Unix epoch.
    since: u32,
    address: IpAddr,
    owner: Option<Arc<TokenOwner>>,
    channels: ArcSwap<ChannelSet>,
    waker: AtomicWaker,
}

impl Connection {
    /// Its id, which has the form of the id of a Socket.IO socket.
    #[must_use]
    pub fn id(&self) -> ConnectionId {
        self.id
    }

    /// The user of its token.
    #[must_use]
    pub fn user(&self) -> Option<&Arc<str>> {
        self.owner.as_ref()?.subject.as_ref()
    }

    /// Whether its token is revoked at `now`.
    #[must_use]
    pub fn is_revoked(&self, revocations: &Revocations, now: SystemTime) -> bool {
        self.owner.as_ref().is_some_and(|owner| revocations.cover(owner, now))
    }

    /// Whether its token has expired at `now`, or is about to: clocks are read at different moments.
    #[must_use]
    pub fn has_expired(&self, now: SystemTime) -> bool {
        self.owner.as_ref().is_some_and(|owner| owner.expires_at <= now + EXPIRED_WITHIN)
    }

    /// How it reads.
    #[must_use]
    pub fn transport(&self) -> Transport {
        Transport::ALL.get(usize::from(self.transport.load(Ordering::Relaxed))).copied().unwrap_or(Transport::Sse)
    }

    pub(super) fn set_transport(&self, transport: Transport) {
        self.transport.store(transport as u8, Ordering::Relaxed);
    }

    /// The channels that it reads.
    #[must_use]
    pub fn channels(&self) -> Arc<ChannelSet> {
        self.channels.load_full()
    }

    /// The address of its client.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// When it began: milliseconds since the Unix epoch, of a whole second.
    #[must_use]
    pub fn since(&self) -> u64 {
        u64::from(self.since) * 1_000
    }

    /// Why it has to end, if it has to.
    #[must_use]
    pub fn end(&self) -> Option<End> {
        match self.end.load(Ordering::Acquire) {
            0 => None,
            1 => Some(End::Disconnected),
            2 => Some(End::Revoked),
            _ => Some(End::Behind),
        }
    }

    /// Has `waker` called when the connection has to end; it replaces the one of before. Check [`Connection::end`] afterwards.
    pub fn wait(&self, waker: &Waker) {
        self.waker.register(waker);
    }

    /// Ends the connection. Returns whether it had not been ended yet.
    pub fn end_for(&self, end: End) -> bool {
        let code = match end {
            End::Disconnected => 1,
            End::Revoked => 2,
            End::Behind => 3,
        };
        let is_first = self.end.compare_exchange(0, code, Ordering::AcqRel, Ordering::Acquire).is_ok();
        self.waker.wake();
        is_first
    }
}

/// A connection in the registry, by its id.
#[derive(Debug)]
struct Entry(Arc<Connection>);

impl Borrow<ConnectionId> for Entry {
    fn borrow(&self) -> &ConnectionId {
        &self.0.id
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.0.id == other.0.id
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Order> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Order {
        self.0.id.cmp(&other.0.id)
    }
}

/// The connections of a process. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Connections(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    parts: [Mutex<BTreeSet<Entry>>; PARTS],
    count: AtomicUsize,
    sets: ChannelSets,
    pollers: Pollers,
    events: EventFeed,
}

/// A page of connections.
#[derive(Debug, Default)]
pub struct Page {
    /// In the order of their ids.
    pub connections: Vec<Arc<Connection>>,
    /// The id after which the next page begins, unless this is the last one.
    pub next: Option<ConnectionId>,
}

impl Connections {
    /// Adds a connection of this client with these channels. [`Connections::remove`] removes it.
    pub(super) fn add(
        &self,
        id: ConnectionId,
        client: Client,
        transport: Transport,
        channels: &[ChannelName],
    ) -> Arc<Connection> {
        let connection = Arc::new(Connection {
            id,
            transport: AtomicU8::new(transport as u8),
            end: AtomicU8::new(0),
            reason: AtomicU8::new(0),
            is_recorded: AtomicBool::new(false),
            since: u32::try_from(wall_clock() / 1_000).unwrap_or(u32::MAX),
            address: client.address,
            owner: client.owner,
            channels: ArcSwap::new(self.0.sets.get(channels)),
            waker: AtomicWaker::new(),
        });
        let mut part = self.0.parts[id.part()].lock();
        match part.replace(Entry(connection.clone())) {
            Some(Entry(before)) => self.record_end(&before, EndReason::Replaced),
            None => {
                self.0.count.fetch_add(1, Ordering::Relaxed);
            }
        }
        self.record_begin(&connection);
        drop(part);
        connection
    }

    /// Removes a connection, unless another one has its id by now, as when a client resumes its session.
    pub(super) fn remove(&self, connection: &Arc<Connection>) {
        let mut part = self.0.parts[connection.id.part()].lock();
        if part.get(&connection.id).is_some_and(|entry| Arc::ptr_eq(&entry.0, connection)) {
            part.remove(&connection.id);
            self.0.count.fetch_sub(1, Ordering::Relaxed);
            self.record_end(connection, connection.end_reason());
        }
    }

    /// The connection of a client that polls these channels, for up to `wait` this time: the one of its earlier polls, if the last of them
    /// began less than its `wait` and [a while](pollers::GRACE) ago.
    #[must_use]
    pub(super) fn poll(&self, client: Client, channels: &[ChannelName], wait: Duration) -> Polling {
        pollers::poll(self, client, channels, wait)
    }

    /// Removes the connections of clients that have stopped polling. Call it about once a second.
    pub fn sweep(&self, now: Instant) {
        pollers::sweep(self, now);
    }

    /// The number of connections.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.count.load(Ordering::Relaxed)
    }

    /// Bytes of connections whose clients are between two polls.
    #[must_use]
    pub fn idle_poller_bytes(&self) -> usize {
        self.0.pollers.idle_bytes()
    }

    /// The connection with this id, unless it has been ended.
    #[must_use]
    pub fn get(&self, id: ConnectionId) -> Option<Arc<Connection>> {
        let found = self.0.parts[id.part()].lock().get(&id).map(|entry| entry.0.clone());
        found.filter(|connection| connection.end().is_none())
    }

    /// Up to `limit` connections after `after` that `is_wanted` selects, and have not been ended, in the order of their ids: fewer if their
    /// channels are long.
    pub async fn page(
        &self,
        after: Option<ConnectionId>,
        limit: usize,
        is_wanted: impl Fn(&Connection) -> bool,
    ) -> Page {
        let (mut page, mut bytes) = (Page::default(), 0);
        let mut from = after;
        while let Some(slice) = self.slice(&mut from) {
            for connection in slice {
                if connection.end().is_some() || !is_wanted(&connection) {
                    continue;
                }
                if page.connections.len() == limit || bytes >= MAX_PAGE_BYTES {
                    page.next = page.connections.last().map(|last| last.id);
                    return page;
                }
                bytes += connection.channels().footprint() + connection.user().map_or(0, |user| user.len());
                page.connections.push(connection);
            }
            tokio::task::yield_now().await;
        }
        page
    }

    /// Calls `visit` for each connection that has not been ended.
    fn each(&self, mut visit: impl FnMut(&Arc<Connection>)) {
        let mut from = None;
        while let Some(slice) = self.slice(&mut from) {
            slice.iter().filter(|connection| connection.end().is_none()).for_each(&mut visit);
        }
    }

    /// As [`Connections::each`], in slices: between them, others use the thread.
    pub async fn visit(&self, mut visit: impl FnMut(&Arc<Connection>)) {
        let mut from = None;
        while let Some(slice) = self.slice(&mut from) {
            slice.iter().filter(|connection| connection.end().is_none()).for_each(&mut visit);
            drop(slice);
            tokio::task::yield_now().await;
        }
    }

    /// Ends all connections that `is_meant` selects; returns their number.
    pub async fn end_all(&self, end: End, is_meant: impl Fn(&Connection) -> bool) -> usize {
        let mut ended = 0;
        // The wakers are called outside of the locks.
        self.visit(|connection| ended += usize::from(is_meant(connection) && connection.end_for(end))).await;
        ended
    }

    /// Wakes the tasks of the connections of `transport`: what they check has changed for all of them.
    pub(super) fn wake(&self, transport: Transport) {
        self.each(|connection| {
            if connection.transport() == transport {
                connection.waker.wake();
            }
        });
    }

    /// Some connections after `from`, which advances; `None` at the end. A slice may be empty.
    fn slice(&self, from: &mut Option<ConnectionId>) -> Option<Vec<Arc<Connection>>> {
        let part = from.map_or(0, ConnectionId::part);
        let begin = from.map_or(Bound::Unbounded, Bound::Excluded);
        for at in part..PARTS {
            let entries = self.0.parts[at].lock();
            let found: Vec<_> = entries
                .range::<ConnectionId, _>((begin, Bound::Unbounded))
                .take(SLICE)
                .map(|entry| entry.0.clone())
                .collect();
            drop(entries);
            if let Some(last) = found.last() {
                *from = Some(last.id);
                return Some(found);
            }
        }
        None
    }
}
