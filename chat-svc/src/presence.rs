//! Who is in a room: told to the room when it changes, at most once a second.

use std::{collections::HashSet, sync::Arc, time::Duration};

use parking_lot::Mutex;
use serde::Serialize;
use shared::{edge::Edge, pure::ChannelName};
use socketio::{Namespace, SocketInfo};
use tokio::time::MissedTickBehavior;

use crate::{member::Profile, reply::Present, wire::CHANNEL_OF_ROOM};

/// A room of more is told their number alone.
const MOST_NAMES: usize = 100;
const PERIOD: Duration = Duration::from_secs(1);

/// The rooms in which something has changed since they were last told.
#[derive(Clone, Default)]
pub(crate) struct Presence(Arc<Mutex<HashSet<ChannelName>>>);

impl Presence {
    /// Somebody came into the room of this channel, or left it, or has another name.
    pub(crate) fn changed<'a>(&self, rooms: impl IntoIterator<Item = &'a ChannelName>) {
        self.0.lock().extend(rooms.into_iter().cloned());
    }

    /// Tells rooms of their changes, for as long as the process lives.
    pub(crate) async fn tell(self, namespace: Namespace, edge: Edge) {
        #[derive(Serialize)]
        struct Told<'a> {
            room: &'a str,
            #[serde(flatten)]
            present: Present,
        }
        let mut tick = tokio::time::interval(PERIOD);
        // After a tick that came late the next keeps its distance: a room is told once a second at most.
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !edge.drain.is_draining() {
            tick.tick().await;
            let rooms = std::mem::take(&mut *self.0.lock());
            for channel in rooms {
                let room = channel.strip_prefix(CHANNEL_OF_ROOM).unwrap_or(&channel);
                let told = Told { room, present: present(&namespace, &channel).await };
                if let Err(error) = namespace.to(channel.as_str()).emit("presence", &told).await {
                    log::warn!("presence of {room} was not told everywhere: {error}");
                }
            }
        }
    }
}

/// Who is in the room of `channel`, on all servers.
pub(crate) async fn present(namespace: &Namespace, channel: &ChannelName) -> Present {
    let sockets = namespace.in_(channel.as_str()).fetch_sockets().await.unwrap_or_else(|error| {
        log::warn!("other servers were not asked who is in {channel}: {error}");
        namespace.local().sockets(&socketio::Selector::one(channel.as_str()))
    });
    let name = |socket: SocketInfo| socket.data.read::<Profile>().unwrap_or_default().name;
    let count = sockets.len();
    let members = (count <= MOST_NAMES).then(|| {
        let mut names: Vec<_> = sockets.into_iter().map(name).collect();
        names.sort_unstable();
        names
    });
    Present { count, members }
}
