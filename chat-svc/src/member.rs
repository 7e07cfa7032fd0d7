//! Somebody in the chat: who they are, what they read, where they speak. Lives with the socket.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use parking_lot::{Mutex, MutexGuard};
use serde::{Deserialize, Serialize};
use shared::{
    edge::{Access, limits::Slot},
    pure::ChannelName,
};
use socketio::{Outgoing, Socket, Source};

use crate::feed::{Feed, Plan};

/// Rooms and channels that one socket may read.
pub(crate) const MOST_CHANNELS: usize = 128;

/// See the module.
pub(crate) struct Member {
    /// What they may do.
    pub(crate) access: Access,
    /// Their connection, as it is counted.
    pub(crate) slot: Mutex<Slot>,
    state: Mutex<State>,
}

/// What changes of a member.
pub(crate) struct State {
    pub(crate) name: Arc<str>,
    /// The channels of the rooms that they are in; the last is the one that they speak in.
    pub(crate) rooms: Vec<ChannelName>,
    /// The channels that they subscribed to.
    pub(crate) subscriptions: Vec<ChannelName>,
    pub(crate) feed: Feed,
}

/// What of it others see and a session keeps.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Profile {
    pub(crate) name: Arc<str>,
    pub(crate) rooms: Vec<ChannelName>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) subscriptions: Vec<ChannelName>,
    #[serde(default)]
    pub(crate) plan: Plan,
}

impl Member {
    pub(crate) fn new(access: Access, slot: Slot, name: Arc<str>, feed: Feed) -> Arc<Self> {
        let state = State { name, rooms: Vec::new(), subscriptions: Vec::new(), feed };
        Arc::new(Self { access, slot: Mutex::new(slot), state: Mutex::new(state) })
    }

    /// Goes on as the one whose session this was.
    pub(crate) fn resumed(access: Access, slot: Slot, profile: Profile, feed: Feed) -> Arc<Self> {
        let Profile { name, rooms, subscriptions, .. } = profile;
        let state = State { name, rooms, subscriptions, feed };
        Arc::new(Self { access, slot: Mutex::new(slot), state: Mutex::new(state) })
    }

    /// What changes of them. Not to be held while sockets are spoken to.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Writes down with `socket` what others see and a session keeps.
    pub(crate) fn record(&self, socket: &Socket) {
        let profile = {
            let state = self.state();
            Profile {
                name: state.name.clone(),
                rooms: state.rooms.clone(),
                subscriptions: state.subscriptions.clone(),
                plan: state.feed.plan().clone(),
            }
        };
        // Names and cursors cannot but serialize.
        socket.set_data(serde_json::to_value(profile).unwrap_or_default());
    }
}

impl State {
    /// Reads `channel` no longer, unless a room or a subscription still wants it.
    pub(crate) fn release(&mut self, channel: &ChannelName) {
        if !self.rooms.contains(channel) && !self.subscriptions.contains(channel) {
            self.feed.remove(channel);
        }
    }

    /// Whether `more` channels that are not read yet are too many.
    pub(crate) fn is_full(&self, more: usize) -> bool {
        self.feed.channels() + more > MOST_CHANNELS
    }
}

/// What a member reads, as the connection pulls it.
pub(crate) struct Reading(pub(crate) Arc<Member>);

impl Source for Reading {
    fn poll_next(&mut self, cx: &mut Context<'_>, budget: usize) -> Poll<Vec<Outgoing>> {
        let pulled = match self.0.state().feed.poll_pull(cx, budget) {
            Poll::Ready(pulled) => pulled,
            Poll::Pending => return Poll::Pending,
        };
        pulled.count(self.0.slot.lock().figures());
        Poll::Ready(pulled.packets.into_iter().map(Outgoing::from).collect())
    }
}
