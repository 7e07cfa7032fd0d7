//! The adapter of one server alone, with recovery from its own memory.
//!
//! ```text
//! event ─▶ offset appended ─▶ kept (bounded) ─▶ delivered     ┐ under one lock, so that no two sockets
//! reconnect ─▶ socket in rooms, pulls what it missed from here ┘ see two events in different orders
//! ```
//!
//! A session stays here while its client is looked at by middlewares, and is taken out when the client is in: whatever happens in
//! between, it keeps the deadline that it has had since the disconnection.

mod store;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytestring::ByteString;
use tokio::time::timeout;

use self::store::{Backlog, Store, lock};
use super::{Adapter, AdapterError, Admit, BoxFuture, Broadcast, Enter, Local, Missed, Restored, Session};
use crate::{
    DisconnectReason, EncodedPacket, Namespace, Recovery, Selector, Socket,
    engine::{SendError, Sid},
};

/// Serves one server alone. With [`Config::recovery`](crate::Config::recovery) it keeps the latest packets of each namespace in memory.
#[derive(Default)]
pub struct LocalAdapter {
    recovery: Option<Recovery>,
    stores: Mutex<Stores>,
    /// Bytes of all stores.
    bytes: AtomicUsize,
    /// Sessions of all stores.
    sessions: AtomicUsize,
    /// Held by the one thread that makes room.
    shrinking: Mutex<()>,
}

#[derive(Default)]
struct Stores {
    by_name: HashMap<ByteString, Arc<Mutex<Store>>>,
    /// When expired sessions are next looked for.
    sweep: Option<Instant>,
}

impl LocalAdapter {
    /// An adapter that keeps packets for recovery, if wanted.
    pub fn new(recovery: Option<Recovery>) -> Self {
        Self { recovery, ..Self::default() }
    }

    /// About how many bytes of packets and sessions are kept, within [`Recovery::max_total_bytes`].
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    fn stores(&self) -> MutexGuard<'_, Stores> {
        self.stores.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn store(&self, nsp: &ByteString) -> Option<Arc<Mutex<Store>>> {
        let mut stores = self.stores();
        if let Some(store) = stores.by_name.get(nsp) {
            return Some(store.clone());
        }
        let store = Store::new(Sid::random().ok()?);
        self.bytes.fetch_add(store.bytes(), Ordering::Relaxed);
        let store = Arc::new(Mutex::new(store));
        stores.by_name.insert(nsp.clone(), store.clone());
        Some(store)
    }

    /// Uses the store of a namespace, if there is recovery, and then keeps the bounds.
    fn with<R>(
        &self,
        local: &Local,
        use_store: impl FnOnce(&mut Store, &Arc<Mutex<Store>>, &Recovery) -> R,
    ) -> Option<R> {
        let recovery = self.recovery.as_ref()?;
        let result = loop {
            let shared = self.store(local.name())?;
            let mut store = lock(&shared);
            if !store.is_removed {
                break self.change(&mut store, |store| use_store(store, &shared, recovery));
            }
        };
        self.keep_bounds(recovery);
        let counters = local.counters();
        counters.recovery_bytes.set(self.bytes() as u64);
        counters.recovery_sessions.set(self.sessions.load(Ordering::Relaxed) as u64);
        Some(result)
    }

    /// Changes a store and counts what that changes.
    fn change<R>(&self, store: &mut Store, change: impl FnOnce(&mut Store) -> R) -> R {
        let before = (store.bytes(), store.sessions());
        let result = change(store);
        let count = |counter: &AtomicUsize, before: usize, after: usize| {
            if after > before {
                counter.fetch_add(after - before, Ordering::Relaxed);
            } else {
                counter.fetch_sub(before - after, Ordering::Relaxed);
            }
        };
        count(&self.bytes, before.0, store.bytes());
        count(&self.sessions, before.1, store.sessions());
        result
    }

    fn keep_bounds(&self, recovery: &Recovery) {
        let now = Instant::now();
        let is_due = {
            let mut stores = self.stores();
            let is_due = stores.sweep.is_none_or(|at| at <= now);
            if is_due {
                stores.sweep = Some(now + recovery.max_disconnection / 4);
            }
            is_due
        };
        if is_due {
            self.for_all(|store| store.expire(recovery.max_disconnection, now));
        }
        if self.bytes() > recovery.max_total_bytes
            && let Ok(_alone) = self.shrinking.try_lock()
        {
            // A little below the bound, so that this is done once in a while and not for each packet.
            let mut sizes = Vec::new();
            self.for_all(|store| sizes.push(store.bytes()));
            let share = fair_share(sizes, recovery.max_total_bytes - recovery.max_total_bytes / 8);
            self.for_all(|store| store.trim(share));
        }
    }

    /// Changes every store, and drops those of namespaces that are gone and have no session.
    fn for_all(&self, mut change: impl FnMut(&mut Store)) {
        let all: Vec<_> = self.stores().by_name.iter().map(|(name, store)| (name.clone(), store.clone())).collect();
        for (name, shared) in all {
            let mut store = lock(&shared);
            if !store.is_removed {
                self.change(&mut store, &mut change);
            }
            let is_unused = !store.is_open && store.sessions() == 0;
            drop(store);
            if is_unused {
                self.remove_unused(&name);
            }
        }
    }

    fn remove_unused(&self, name: &ByteString) {
        let mut stores = self.stores();
        let Some(shared) = stores.by_name.get(name).cloned() else { return };
        let mut store = lock(&shared);
        if !store.is_open && store.sessions() == 0 {
            store.is_removed = true;
            self.bytes.fetch_sub(store.bytes(), Ordering::Relaxed);
            stores.by_name.remove(name);
            if stores.by_name.capacity() > 64 && stores.by_name.len() * 4 < stores.by_name.capacity() {
                stores.by_name.shrink_to_fit();
            }
        }
    }
}

/// The size to which the largest are cut so that all together have at most `total`: those that are smaller keep what they have.
fn fair_share(mut sizes: Vec<usize>, total: usize) -> usize {
    sizes.sort_unstable();
    let (mut left, mut count) = (total, sizes.len());
    for size in sizes {
        let share = left / count;
        if size > share {
            return share;
        }
        left -= size;
        count -= 1;
    }
    usize::MAX
}

/// How long the end of an earlier socket is waited for, which runs on a thread of its own.
const END_TIMEOUT: Duration = Duration::from_secs(5);

/// Ends the socket whose session this is, if it is here, and waits until that has kept the session: a client that comes back, as to
/// another network, may be faster than the news that its old connection is dead.
async fn take_over(local: &Local, pid: &str) {
    let Some(old) = local.find(|socket| socket.pid().is_some_and(|its| its == pid)) else { return };
    if old.is_connected() {
        let connection = old.connection().clone();
        old.end(DisconnectReason::TransportClose);
        connection.finish(DisconnectReason::TransportClose);
    }
    let _ = timeout(END_TIMEOUT, old.ended()).await;
}

impl Adapter for LocalAdapter {
    fn opened(&self, namespace: &Namespace) {
        let _ = self.with(namespace.local(), |store, _, _| store.is_open = true);
    }

    fn closed(&self, local: &Local) {
        // Only if there is one: a name that nobody asks for again is not to cost anything.
        let Some(shared) = self.stores().by_name.get(local.name()).cloned() else { return };
        lock(&shared).is_open = false;
        self.remove_unused(local.name());
        local.counters().recovery_bytes.set(self.bytes() as u64);
    }

    fn broadcast<'a>(&'a self, local: &'a Local, broadcast: Broadcast) -> BoxFuture<'a, Result<(), AdapterError>> {
        let Broadcast { packet, to, volatile, .. } = broadcast;
        let kept = self.with(local, |store, _, limits| {
            if volatile {
                local.deliver(&to, &store.guard(packet.clone()), true);
            } else {
                let packet = store.number(&packet);
                store.keep(packet.clone(), to.clone(), limits, Instant::now());
                local.deliver(&to, &packet, false);
            }
        });
        if kept.is_none() {
            local.deliver(&to, &packet, volatile);
        }
        Box::pin(std::future::ready(Ok(())))
    }

    fn send(&self, local: &Local, sid: &ByteString, packet: EncodedPacket, volatile: bool) -> Result<(), SendError> {
        let sent = self.with(local, |store, _, limits| {
            if volatile {
                return local.send(sid, &store.guard(packet.clone()), true);
            }
            let packet = store.number(&packet);
            let sent = local.send(sid, &packet, false);
            // What was refused is its sender's again, and must not come twice.
            if sent != Err(SendError::Full) {
                store.keep(packet, Selector::one(sid.clone()), limits, Instant::now());
            }
            sent
        });
        sent.unwrap_or_else(|| local.send(sid, &packet, volatile))
    }

    fn enter(&self, local: &Local, enter: Enter<'_>) {
        if self.with(local, |store, _, _| enter(Some(store.latest()))).is_none() {
            enter(None);
        }
    }

    fn persist_session(&self, local: &Local, session: Session, keep: Duration) {
        let _ = self.with(local, |store, _, _| store.insert(session, keep, Instant::now()));
    }

    fn restore_session<'a>(
        &'a self,
        local: &'a Local,
        pid: &'a str,
        offset: &'a str,
    ) -> BoxFuture<'a, Option<Restored>> {
        Box::pin(async move {
            let offset = Some(offset).filter(|offset| !offset.is_empty());
            let is_live = self.with(local, |store, _, _| {
                // Whoever brings an offset that says nothing here is not looked for among those who are connected.
                offset.is_none_or(|offset| store.is_offset(offset)) && !store.has_session(pid)
            })?;
            if is_live {
                take_over(local, pid).await;
            }
            let (session, _) = self.with(local, |store, _, _| store.find(pid, offset, Instant::now()))??;
            let offset = offset.or(session.start.as_deref()).unwrap_or_default().to_owned();
            Some(Restored { session, offset, missed: Vec::new() })
        })
    }

    fn resume(&self, local: &Local, _: &Socket, restored: Restored, admit: Admit<'_>) {
        let _ = self.with(local, |store, shared, _| {
            let pid = &restored.session.pid;
            // Looked for again: middlewares may have taken longer than packets or sessions are kept, and another connection of the client
            // may have come before.
            let Some((session, next)) = store.find(pid, Some(&restored.offset), Instant::now()) else { return };
            if admit(Missed::pulled(Backlog::new(shared, store, &session, next))) {
                store.remove(pid);
            }
        });
    }
}

impl std::fmt::Debug for LocalAdapter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocalAdapter").field("recovery", &self.recovery).finish_non_exhaustive()
    }
}
