//! Clients of long polls: their polls are one connection, by credential, address and channels.
//!
//! It lasts while a poll waits, and otherwise until the last poll began its `wait` and [`GRACE`] ago. What clients that come no more leave
//! behind is bounded in bytes: beyond, a connection ends with its poll. So it does if its client would have more than it leaves free for others.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, RandomState},
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Wake, Waker},
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use shared::pure::ChannelName;
use tokio::sync::Notify;

use super::{ChannelSet, Client, Connection, ConnectionId, Connections, End, EndReason};
use crate::{address, metrics::Transport};

/// How long a client has for its next poll, in addition to the `wait` of the last one.
pub(super) const GRACE: Duration = Duration::from_secs(10);
/// Bytes of connections between two polls.
pub(crate) const MAX_IDLE_BYTES: usize = 16 * 1024 * 1024;
/// The memory of such a connection in addition to its channels: itself, its places in the tables, its waker.
const OVERHEAD: usize = 320;
/// The number of parts of the table, each with its own lock.
const PARTS: usize = 16;

/// The clients that poll.
#[derive(Debug, Default)]
pub(super) struct Pollers {
    hasher: RandomState,
    parts: [Mutex<HashMap<Key, Poller>>; PARTS],
    idle_bytes: AtomicUsize,
    /// Those of each client, in as many parts.
    idle_of: [Mutex<HashMap<u64, usize>>; PARTS],
}

impl Pollers {
    pub(super) fn idle_bytes(&self) -> usize {
        self.idle_bytes.load(Ordering::Relaxed)
    }

    /// Counts what `client` leaves behind. Returns whether there is room for it.
    fn leave(&self, client: u64, bytes: usize) -> bool {
        let mut clients = self.idle_of(client).lock();
        let own = clients.get(&client).copied().unwrap_or_default() + bytes;
        // Added first and subtracted if it was too much: two threads cannot both get the last bytes.
        let all = self.idle_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let has_room = own <= MAX_IDLE_BYTES.saturating_sub(all);
        if has_room {
            clients.insert(client, own);
        } else {
            self.idle_bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
        has_room
    }

    /// `client` is back, or gone.
    fn take(&self, client: u64, bytes: usize) {
        let mut clients = self.idle_of(client).lock();
        self.idle_bytes.fetch_sub(bytes, Ordering::Relaxed);
        if let Some(own) = clients.get_mut(&client) {
            *own -= bytes;
            if *own == 0 {
                clients.remove(&client);
            }
        }
    }

    fn idle_of(&self, client: u64) -> &Mutex<HashMap<u64, usize>> {
        &self.idle_of[usize::try_from(client % PARTS as u64).unwrap_or_default()]
    }

    /// Whom the limits of connections like this count for: a user, a token, or an address.
    fn client(&self, connection: &Connection) -> u64 {
        match (connection.user(), &connection.owner) {
            (Some(user), _) => self.hasher.hash_one(user),
            (None, Some(owner)) => self.hasher.hash_one(owner.fingerprint),
            (None, None) => self.hasher.hash_one(address::counted(connection.address)),
        }
    }

    fn part(&self, key: &Key) -> &Mutex<HashMap<Key, Poller>> {
        &self.parts[usize::try_from(self.hasher.hash_one(key) % PARTS as u64).unwrap_or_default()]
    }
}

/// What the polls of one client have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    /// The fingerprint of the token; 0 without one.
    token: u128,
    address: IpAddr,
    /// The address of the set of channels, which the connection in the table keeps alive.
    channels: usize,
}

#[derive(Debug)]
struct Poller {
    connection: Arc<Connection>,
    ended: Arc<Ended>,
    /// Polls that wait now.
    polls: usize,
    /// When it ends if there are none.
    until: Instant,
}

impl Poller {
    fn footprint(&self) -> usize {
        OVERHEAD + self.connection.channels().footprint()
    }
}

/// Notifies all polls of a client that they have to end.
#[derive(Debug, Default)]
struct Ended {
    notify: Notify,
    /// Of the workers on which polls are parked.
    parked: Mutex<Vec<Waker>>,
}

impl Wake for Ended {
    fn wake(self: Arc<Self>) {
        self.notify.notify_waiters();
        let parked = std::mem::take(&mut *self.parked.lock());
        parked.into_iter().for_each(Waker::wake);
    }
}

/// A poll of a client. The client's connection lasts at least as long.
#[derive(Debug)]
pub struct Polling {
    connections: Connections,
    key: Key,
    connection: Arc<Connection>,
    ended: Arc<Ended>,
    /// Keeps the address in `key` from being used for another set.
    _channels: Arc<ChannelSet>,
}

impl Polling {
    /// The connection of the client.
    #[must_use]
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Has `waker` called when the connection has to end, for a poll that is parked. Check the [connection](Self::connection) afterwards.
    pub fn wait(&self, waker: &Waker) {
        let mut parked = self.ended.parked.lock();
        if !parked.iter().any(|known| known.will_wake(waker)) {
            parked.push(waker.clone());
        }
    }

    /// Waits until the connection has to end.
    pub async fn ended(&self) -> End {
        loop {
            // Before the check, so that no notification is missed in between.
            let notified = self.ended.notify.notified();
            if let Some(end) = self.connection.end() {
                return end;
            }
            notified.await;
        }
    }
}

impl Drop for Polling {
    fn drop(&mut self) {
        let pollers = &self.connections.0.pollers;
        let mut part = pollers.part(&self.key).lock();
        // After the connection was ended, another one may be in its place.
        let Some(poller) = part.get_mut(&self.key).filter(|poller| Arc::ptr_eq(&poller.connection, &self.connection))
        else {
            return;
        };
        poller.polls -= 1;
        if poller.polls > 0 {
            return;
        }
        let bytes = poller.footprint();
        let is_over = poller.until <= Instant::now() || self.connection.end().is_some();
        if is_over || !pollers.leave(pollers.client(&self.connection), bytes) {
            part.remove(&self.key);
            drop(part);
            self.connections.remove(&self.connection);
        }
    }
}

/// See [`Connections::poll`].
pub(super) fn poll(connections: &Connections, client: Client, channels: &[ChannelName], wait: Duration) -> Polling {
    let pollers = &connections.0.pollers;
    let set = connections.0.sets.get(channels);
    let token = client.owner.as_ref().map_or(0, |owner| owner.fingerprint);
    let key = Key { token, address: client.address, channels: Arc::as_ptr(&set) as usize };
    let until = Instant::now() + wait + GRACE;
    let mut part = pollers.part(&key).lock();
    if let Some(known) = part.get_mut(&key)
        && known.connection.end().is_none()
    {
        if known.polls == 0 {
            pollers.take(pollers.client(&known.connection), known.footprint());
        }
        known.polls += 1;
        known.until = known.until.max(until);
        let (connection, ended) = (known.connection.clone(), known.ended.clone());
        drop(part);
        return Polling { connections: connections.clone(), key, connection, ended, _channels: set };
    }
    let connection = connections.add(ConnectionId::random(), client, Transport::LongPoll, &set);
    let ended = Arc::<Ended>::default();
    connection.wait(&Waker::from(ended.clone()));
    let poller = Poller { connection: connection.clone(), ended: ended.clone(), polls: 1, until };
    let before = part.insert(key, poller);
    drop(part);
    if let Some(before) = before {
        discard(connections, &before);
    }
    Polling { connections: connections.clone(), key, connection, ended, _channels: set }
}

/// Updates the counts for a poller that was removed from the table.
fn discard(connections: &Connections, poller: &Poller) {
    if poller.polls == 0 {
        let pollers = &connections.0.pollers;
        pollers.take(pollers.client(&poller.connection), poller.footprint());
    }
    connections.remove(&poller.connection);
}

/// See [`Connections::sweep`].
pub(super) fn sweep(connections: &Connections, now: Instant) {
    for part in &connections.0.pollers.parts {
        let is_over = |poller: &Poller| poller.polls == 0 && (poller.until <= now || poller.connection.end().is_some());
        let gone: Vec<_> = part.lock().extract_if(|_, poller| is_over(poller)).collect();
        for (_, poller) in &gone {
            poller.connection.ends_for(EndReason::Timeout);
            discard(connections, poller);
        }
    }
}
