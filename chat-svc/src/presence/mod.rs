//! Who is in a room: told to the room when it changes, at most once a second.
//!
//! ```text
//! members ─▶ Presence ─▶ table ─▶ every second ─▶ `presence` to the clients of this replica
//! other replicas ─▶ notice ─▶ ┘              └──▶ notice ─▶ other replicas
//! ```
//!
//! Each replica keeps count of its own members and tells the others its part of a room; what is shown is the sum. Notices go
//! by the cluster's own way for servers to talk, which loses what is said while Redis is away: they are numbered, so that who
//! has missed one asks for all again. Alone, there is nobody to tell, and the same table serves.

mod notice;
mod table;

use std::{sync::Arc, time::Instant};

use edge::Edge;
use parking_lot::Mutex;
use serde::Serialize;
use shared::pure::ChannelName;
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

    /// Somebody of this name came into these rooms.
    pub(crate) fn enter<'a>(&self, rooms: impl IntoIterator<Item = &'a ChannelName>, name: &Arc<str>) {
        let mut table = self.table.lock();
        rooms.into_iter().for_each(|room| table.enter(room, name));
    }

    /// Somebody of this name, who was in these rooms, left them.
    pub(crate) fn leave<'a>(&self, rooms: impl IntoIterator<Item = &'a ChannelName>, name: &str) {
        let mut table = self.table.lock();
        rooms.into_iter().for_each(|room| table.leave(room, name));
    }

    /// Somebody in these rooms has another name.
    pub(crate) fn rename<'a>(&self, rooms: impl IntoIterator<Item = &'a ChannelName>, old: &str, new: &Arc<str>) {
        let mut table = self.table.lock();
        rooms.into_iter().for_each(|room| table.rename(room, old, new));
    }

    /// Who is in a room, on all replicas.
    pub(crate) fn present(&self, room: &ChannelName) -> Present {
        self.table.lock().present(room)
    }

    /// How many replicas there are as far as is known, this one included.
    pub(crate) fn replicas(&self) -> usize {
        self.table.lock().replicas()
    }

    /// Tells clients and other replicas, until the process ends.
    pub(crate) async fn tell(self, namespace: Namespace, edge: Edge) {
        if self.is_shared {
            let hearing = self.clone();
            namespace.on_server_event(move |event| {
                if event.name() == EVENT {
                    hearing.hear(event);
                }
            });
        }
        let mut tick = tokio::time::interval(PERIOD);
        // After a tick that came late the next keeps its distance: a room is told once a second at most.
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !edge.drain.is_draining() {
            tick.tick().await;
            let due = self.table.lock().tick(Instant::now());
            for (channel, present) in due.tell {
                tell(&namespace, &channel, present).await;
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
            Err(error) => log::debug!("another server said something of presence that is none: {error}"),
        }
    }

    async fn send(&self, namespace: &Namespace, what: What) {
        let notice = Notice { from: self.me, what };
        if let Err(error) = namespace.server_side_emit(EVENT, &notice).await {
            log::debug!("the other servers were not told who is here: {error}");
        }
    }
}

/// Tells the clients of this replica who is in a room of theirs.
async fn tell(namespace: &Namespace, channel: &ChannelName, present: Present) {
    #[derive(Serialize)]
    struct Told<'a> {
        room: &'a str,
        #[serde(flatten)]
        present: Present,
    }
    let room = channel.strip_prefix(CHANNEL_OF_ROOM).unwrap_or(channel);
    let sent = namespace.to(channel.as_str()).local().emit("presence", &Told { room, present }).await;
    if let Err(error) = sent {
        log::warn!("presence of {room} was not told: {error}");
    }
}
