//! Rooms over the replicas, and recovery from the log: a client that was cut off comes back with an offset, and the offset is
//! a cursor.
//!
//! Messages are not kept here a second time. What is kept is who was there ([`Sessions`]), by the secret that the client has
//! for its session. All that concerns many sockets at once is left to another adapter: this process's own, or Redis.

use std::{fmt, sync::Arc, time::Duration};

use bytestring::ByteString;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use shared::live::{bus::Bus, log::Opener};
use socketio::{
    AckSink, EncodedPacket, Namespace, Responses, Room, Selector, ServerEvent, Socket, SocketData,
    adapter::{
        Adapter, AdapterError, Admit, BoxFuture, Broadcast, Local, Missed, Restored, SendError, Session, SocketInfo,
    },
    socket::packet::Payload,
};
use tokio::time::{sleep, timeout};

use crate::{
    feed::{Feed, Offset},
    sessions::{Holder, Sessions, Taken},
    wire::NAMESPACE,
};

/// How long a client that comes back waits for a log that is being filled.
const FILLED_WITHIN: Duration = Duration::from_secs(5);
/// How long a client that comes back waits until the replica of its earlier socket has been told.
const TOLD_WITHIN: Duration = Duration::from_millis(500);
/// The pause between looks at it.
const PAUSE: Duration = Duration::from_millis(20);
/// The server event that ends a socket whose session has gone on to another replica.
const SUPERSEDED: &str = "trident:superseded";

/// The feed that a recovered socket resumes. Kept with the socket until the chat takes it.
pub(crate) struct Resumed(pub(crate) Mutex<Option<Feed>>);

/// That a recovered socket may open the channels of its session again, and for whom they count.
pub(crate) struct Reopening(pub(crate) Arc<Opener>);

/// See the module.
pub(crate) struct LogAdapter {
    bus: Arc<dyn Bus>,
    sessions: Sessions,
    inner: Arc<dyn Adapter>,
}

/// That a session has another socket now. All servers of the cluster hear it, so it says nothing by which one could come back to the
/// session.
#[derive(Serialize, Deserialize)]
struct Superseded {
    /// The socket that has the session no more, and goes by the same id as the one that has.
    sid: ByteString,
    /// Who had it.
    holder: Holder,
}

impl LogAdapter {
    /// Recovers `sessions` from the log of `bus`; `inner` reaches many sockets.
    pub(crate) fn new(bus: Arc<dyn Bus>, sessions: Sessions, inner: Arc<dyn Adapter>) -> Self {
        Self { bus, sessions, inner }
    }

    /// The feed of a session after an offset, if the session can still be resumed there.
    fn feed(&self, taken: &Taken, offset: Option<Offset>, opener: Option<Arc<Opener>>) -> Option<Feed> {
        Feed::resume(self.bus.log(), taken.kept.profile.plan.clone(), offset, opener)
    }
}

/// An offset as a client sent it: `None` inside where it has received nothing with an offset, `None` where it is none of ours.
fn read_offset(offset: &str) -> Option<Option<Offset>> {
    if offset.is_empty() { Some(None) } else { offset.parse().ok().map(Some) }
}

/// Listens to other replicas, whose clients have come back to sessions that have a socket here.
pub(crate) fn hear(sessions: &Sessions, local: &Local, event: &ServerEvent) {
    if event.name() == SUPERSEDED
        && let Ok(Superseded { sid, holder }) = event.args()
        && let Some(socket) = local.socket(&sid)
        && let Some(pid) = socket.pid()
    {
        sessions.superseded(pid, holder);
    }
}

impl Adapter for LogAdapter {
    /// A session that was taken and not let in. The chat saves those of its members itself.
    fn release_session(&self, _: &Local, restored: Restored) {
        let session = restored.session;
        if let Ok(taken) = session.data.read::<Taken>() {
            self.sessions.give_back(&session.pid, &taken);
        }
    }

    fn restore_session<'a>(
        &'a self,
        local: &'a Local,
        pid: &'a str,
        offset: &'a str,
    ) -> BoxFuture<'a, Option<Restored>> {
        Box::pin(async move {
            if local.name() != NAMESPACE {
                return None;
            }
            let place = read_offset(offset)?;
            // A replica that has just started does not know yet what came after it.
            let filled = async {
                while !self.bus.log().is_filled() {
                    sleep(PAUSE).await;
                }
            };
            timeout(FILLED_WITHIN, filled).await.ok()?;
            if let Some(place) = place {
                self.bus.reach(place.cursor()).await;
            }
            let taken = self.sessions.take(pid).await?;
            if let (None, Some(beginning)) = (place, taken.kept.profile.plan.beginning()) {
                self.bus.reach(beginning).await;
            }
            if let Some(holder) = taken.elsewhere {
                let told = Superseded { sid: taken.kept.sid.clone(), holder };
                let told = Payload::event(SUPERSEDED, &told).ok()?;
                // If it is not told now, it finds out when it saves the session next.
                match timeout(TOLD_WITHIN, self.inner.server_side_emit(local, told)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => log::debug!("the replica of an earlier socket was not told: {error}"),
                    Err(_) => log::debug!("the replica of an earlier socket was not told in time"),
                }
            }
            // What is lost is told by coming back as somebody new: the application then knows that it has to look.
            if self.feed(&taken, place, None).is_none_or(|feed| feed.is_gap()) {
                self.sessions.forget(&pid.into(), &taken);
                return None;
            }
            let session = Session {
                sid: taken.kept.sid.clone(),
                pid: pid.into(),
                rooms: taken.kept.profile.rooms.iter().map(|room| room.as_str().into()).collect(),
                data: SocketData::of(&taken).ok()?,
                start: None,
            };
            Some(Restored { session, offset: offset.to_owned(), missed: Vec::new() })
        })
    }

    fn resume(&self, _: &Local, socket: &Socket, restored: Restored, admit: Admit<'_>) {
        // Without it the client has as many channels open as one client may: it starts anew, in the first room alone.
        let Some(reopening) = socket.remove::<Reopening>() else { return };
        let (Some(offset), Ok(taken)) = (read_offset(&restored.offset), restored.session.data.read::<Taken>()) else {
            return;
        };
        // Looked at again: messages may have been dropped while the middlewares ran.
        let Some(feed) = self.feed(&taken, offset, Some(reopening.0.clone())).filter(|feed| !feed.is_gap()) else {
            return;
        };
        socket.insert(Resumed(Mutex::new(Some(feed))));
        // What was missed is read by the socket's source, as its transport takes it.
        admit(Missed::default());
    }

    fn broadcast<'a>(&'a self, local: &'a Local, broadcast: Broadcast) -> BoxFuture<'a, Result<(), AdapterError>> {
        self.inner.broadcast(local, broadcast)
    }

    fn send(&self, local: &Local, sid: &ByteString, packet: EncodedPacket, volatile: bool) -> Result<(), SendError> {
        self.inner.send(local, sid, packet, volatile)
    }

    fn broadcast_with_ack<'a>(
        &'a self,
        local: &'a Local,
        broadcast: Broadcast,
        timeout: Duration,
        acks: AckSink,
    ) -> BoxFuture<'a, Result<usize, AdapterError>> {
        self.inner.broadcast_with_ack(local, broadcast, timeout, acks)
    }

    fn fetch_sockets<'a>(
        &'a self,
        local: &'a Local,
        to: Selector,
    ) -> BoxFuture<'a, Result<Vec<SocketInfo>, AdapterError>> {
        self.inner.fetch_sockets(local, to)
    }

    fn join_sockets<'a>(
        &'a self,
        local: &'a Local,
        to: Selector,
        rooms: Vec<Room>,
    ) -> BoxFuture<'a, Result<(), AdapterError>> {
        self.inner.join_sockets(local, to, rooms)
    }

    fn leave_sockets<'a>(
        &'a self,
        local: &'a Local,
        to: Selector,
        rooms: Vec<Room>,
    ) -> BoxFuture<'a, Result<(), AdapterError>> {
        self.inner.leave_sockets(local, to, rooms)
    }

    fn disconnect_sockets<'a>(
        &'a self,
        local: &'a Local,
        to: Selector,
        close: bool,
    ) -> BoxFuture<'a, Result<(), AdapterError>> {
        self.inner.disconnect_sockets(local, to, close)
    }

    fn server_side_emit<'a>(&'a self, local: &'a Local, event: Payload) -> BoxFuture<'a, Result<(), AdapterError>> {
        self.inner.server_side_emit(local, event)
    }

    fn server_side_emit_with_ack<'a>(
        &'a self,
        local: &'a Local,
        event: Payload,
    ) -> BoxFuture<'a, Result<Responses<serde_json::Value>, AdapterError>> {
        self.inner.server_side_emit_with_ack(local, event)
    }

    fn opened(&self, namespace: &Namespace) {
        self.inner.opened(namespace);
    }

    fn closed(&self, local: &Local) {
        self.inner.closed(local);
    }

    fn server_count<'a>(&'a self, local: &'a Local) -> BoxFuture<'a, Result<usize, AdapterError>> {
        self.inner.server_count(local)
    }

    fn joined(&self, local: &Local, sid: &ByteString, rooms: &[Room]) {
        self.inner.joined(local, sid, rooms);
    }

    fn left(&self, local: &Local, sid: &ByteString, rooms: &[Room]) {
        self.inner.left(local, sid, rooms);
    }

    fn new_sid(&self, local: &Local) -> Option<ByteString> {
        self.inner.new_sid(local)
    }
}

impl fmt::Debug for LogAdapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogAdapter").field("bus", &self.bus).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
