//! The adapter for a single server, with recovery from memory.
//!
//! ```text
//! event ─▶ offset appended ─▶ kept (bounded) ─▶ delivered     ┐ under one lock, so that no two sockets
//! reconnect ─▶ socket in rooms, pulls what it missed from here ┘ see two events in different orders
//! ```
//!
//! A session stays here while the middlewares check its client, and is removed when the client has connected: whatever happens in between,
//! it keeps the deadline that it had since the disconnection.

mod memory;
mod store;
#[cfg(test)]
mod tests;

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use bytestring::ByteString;
use tokio::time::timeout;

use self::{
    memory::Memory,
    store::{Backlog, Store},
};
use super::{Adapter, AdapterError, Admit, BoxFuture, Broadcast, Enter, Local, Missed, Restored, Session};
use crate::{DisconnectReason, EncodedPacket, Namespace, Recovery, Selector, Socket, engine::SendError};

/// For a single server. With [`Config::recovery`](crate::Config::recovery) it stores the latest packets of each namespace in memory.
#[derive(Default)]
pub struct LocalAdapter {
    memory: Option<Arc<Memory>>,
}

impl LocalAdapter {
    /// An adapter that stores packets for recovery, if enabled.
    pub fn new(recovery: Option<Recovery>) -> Self {
        Self { memory: recovery.map(|recovery| Arc::new(Memory::new(recovery))) }
    }

    /// The approximate number of bytes of packets and sessions, limited by [`Recovery::max_total_bytes`].
    pub fn bytes(&self) -> usize {
        self.memory.as_ref().map_or(0, |memory| memory.bytes())
    }

    /// Uses the store of a namespace, if there is recovery.
    fn with<R>(
        &self,
        local: &Local,
        use_store: impl FnOnce(&mut Store, &Arc<Mutex<Store>>, &Recovery) -> R,
    ) -> Option<R> {
        self.memory.as_ref()?.with(local, use_store)
    }
}

/// The maximum wait for the end of an earlier socket, which runs on another thread.
const END_TIMEOUT: Duration = Duration::from_secs(5);

/// Ends the socket of this session, if it is on this server, and waits until the session is stored. A client that moves to another network
/// may reconnect before the server notices that its old connection is dead.
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
        if let Some(memory) = &self.memory {
            memory.sweep_on(namespace.workers());
        }
        let _ = self.with(namespace.local(), |store, _, _| store.is_open = true);
    }

    fn closed(&self, local: &Local) {
        if let Some(memory) = &self.memory {
            memory.close(local);
        }
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
            // A rejected packet belongs to its sender again, and must not be sent twice.
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
                // An unknown offset is not looked up among the connected sockets.
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
            // Looked up again: middlewares may have taken longer than packets or sessions are stored, and another connection of the client
            // may have been faster.
            let Some((session, next)) = store.find(pid, Some(&restored.offset), Instant::now()) else { return };
            if admit(Missed::pulled(Backlog::new(shared, store, &session, next))) {
                store.remove(pid);
            }
        });
    }
}

impl std::fmt::Debug for LocalAdapter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocalAdapter")
            .field("recovery", &self.memory.as_ref().map(|memory| memory.limits()))
            .finish_non_exhaustive()
    }
}
