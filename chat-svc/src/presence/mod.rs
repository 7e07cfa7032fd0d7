//! Presence: who is in a room. The room is notified of changes, at most once a second.
//!
//! ```text
//! members ─▶ Presence ─▶ table ─▶ every second ─▶ `presence` to the clients of this replica
//! other replicas ─▶ notice ─▶ ┘              └──▶ notice ─▶ other replicas
//! ```
//!
//! Each replica counts its own members and sends the others its part of a room; clients see the sum. Notices use the cluster's server
//! events, which are lost while Redis is unavailable. They are numbered, so that a replica that missed one asks for the whole state again.
//! A single server uses the same table and notifies nobody.

mod notice;
mod table;

use std::{sync::Arc, time::Instant};

use edge::Edge;
use parking_lot::Mutex;
use serde::Serialize;
use shared::{pure::ChannelName, throttle};
use socketio::{Namespace, ServerEvent};
use tokio::time::MissedTickBehavior;

pub(crate) use self::notice::Replica;
use self::{
    notice::{EVENT, Notice, What},
    table::{PERIOD, Table},
};
use crate::{reply::Present, wire::CHANNEL_OF_ROOM};

/// See the module. Clones are one and the same.
#[derive(Clone)]
pub(crate) struct Presence {
    table: Arc<Mutex<Table>>,
    me: Replica,
    /// There may be other replicas.
    is_shared: bool,
}

impl Presence {
    pub(crate) fn new(me: Replica, is_shared: bool) -> Self {
        Self { table: Arc::default(), me, is_shared }
    }

    /// A member with this name has joined these rooms.
    pub(crate) fn enter<'a>(&self, rooms: impl IntoIterator<Item = &'a ChannelName>, name: &Arc<str>) {
        let mut table = self.table.lock();
        rooms.into_iter().for_each(|room| table.enter(room, name));
    }

    /// A member with this name has left these rooms.
    pub(crate) fn leave<'a>(&self, rooms: impl IntoIterator<Item = &'a ChannelName>, name: &str) {
        let mut table = self.table.lock();
        rooms.into_iter().for_each(|room| table.leave(room, name));
    }

    /// A member of these rooms has changed their name.
    pub(crate) fn rename<'a>(&self, rooms: impl IntoIterator<Item = &'a ChannelName>, old: &str, new: &Arc<str>) {
        let mut table = self.table.lock();
        rooms.into_iter().for_each(|room| table.rename(room, old, new));
    }

    /// The members of a room, on all replicas.
    pub(crate) fn present(&self, room: &ChannelName) -> Present {
        self.table.lock().present(room)
    }

    /// The number of known replicas, including this one.
    pub(crate) fn replicas(&self) -> usize {
        self.table.lock().replicas()
    }

    /// Notifies clients and other replicas, until the process ends.
    pub(crate) async fn run(self, namespace: Namespace, edge: Edge) {
        if self.is_shared {
            let hearing = self.clone();
            namespace.on_server_event(move |event| {
                if event.name() == EVENT {
                    hearing.hear(event);
                }
            });
        }
        let mut tick = tokio::time::interval(PERIOD);
        // After a late tick the interval starts again: a room is notified at most once a second.
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !edge.drain.is_draining() {
            tick.tick().await;
            let due = self.table.lock().tick(Instant::now());
            for (channel, present) in due.notify {
                notify_clients(&namespace, &channel, present).await;
            }
            if self.is_shared {
                for what in due.send {
                    self.send(&namespace, what).await;
                }
            }
        }
        if self.is_shared {
            self.send(&namespace, What::Bye).await;
        }
    }

    fn hear(&self, event: &ServerEvent) {
        match event.args() {
            Ok(notice) => self.table.lock().hear(notice, self.me, Instant::now()),
            Err(error) => log::debug!("invalid presence notice of another server: {error}"),
        }
    }

    async fn send(&self, namespace: &Namespace, what: What) {
        let notice = Notice { from: self.me, what };
        if let Err(error) = namespace.server_side_emit(EVENT, &notice).await {
            log::debug!("presence was not sent to other servers: {error}");
        }
    }
}

/// Notifies the clients of this replica who is in their room.
async fn notify_clients(namespace: &Namespace, channel: &ChannelName, present: Present) {
    #[derive(Serialize)]
    struct PresenceEvent<'a> {
        room: &'a str,
        #[serde(flatten)]
        present: Present,
    }
    let room = channel.strip_prefix(CHANNEL_OF_ROOM).unwrap_or(channel);
    let sent = namespace.to(channel.as_str()).local().emit("presence", &PresenceEvent { room, present }).await;
    if let Err(error) = sent {
        throttle::log(log::Level::Warn, "chat: presence was not sent", format_args!("{room}: {error}"));
    }
}
