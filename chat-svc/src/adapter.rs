//! Rooms over all replicas, and recovery from the log: a client that reconnects sends an offset, and the offset is a cursor.
//!
//! Messages are not stored a second time. Only sessions are stored ([`Sessions`]), by the secret that the client has for its session.
//! Operations on many sockets are left to another adapter: that of this process, or Redis.

use std::{fmt, future::poll_fn, sync::Arc, time::Duration};

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
    sessions::{Holder, ResumedSession, Sessions},
    wire::NAMESPACE,
};

/// How long a reconnecting client waits for a log that is being loaded.
const FILLED_WITHIN: Duration = Duration::from_secs(5);
/// How long a reconnecting client waits until the replica of its earlier socket has been notified.
const NOTIFY_TIMEOUT: Duration = Duration::from_millis(500);
/// How long a reconnecting client waits until the disk shows whether messages are lost.
const GAP_WITHIN: Duration = Duration::from_secs(5);
/// The interval at which the log is checked.
const PAUSE: Duration = Duration::from_millis(20);
/// The server event that ends a socket whose session continues on another replica.
const SUPERSEDED: &str = "trident:superseded";

/// The feed that a recovered socket resumes. Stored with the socket until the chat takes it.
pub(crate) struct Resumed(pub(crate) Mutex<Option<Feed>>);

/// Permission for a recovered socket to open the channels of its session again, and the client that they count for.
pub(crate) struct Reopening(pub(crate) Arc<Opener>);

/// See the module.
pub(crate) struct LogAdapter {
    bus: Arc<dyn Bus>,
    sessions: Sessions,
    inner: Arc<dyn Adapter>,
}

/// A session has another socket now. All servers of the cluster receive this, so it contains nothing that allows a client to resume the
/// session.
#[derive(Serialize, Deserialize)]
struct Superseded {
    /// The socket that had the session; the one that has it now uses the same id.
    sid: ByteString,
    /// The previous holder.
    holder: Holder,
}

impl LogAdapter {
    /// Recovers `sessions` from the log of `bus`; `inner` handles operations on many sockets.
    pub(crate) fn new(bus: Arc<dyn Bus>, sessions: Sessions, inner: Arc<dyn Adapter>) -> Self {
        Self { bus, sessions, inner }
    }

    /// The feed of a session after an offset, if the session can still be resumed there.
    fn feed(&self, taken: &ResumedSession, offset: Option<Offset>, opener: Option<Arc<Opener>>) -> Option<Feed> {
        Feed::resume(self.bus.log(), taken.kept.profile.plan.clone(), offset, opener)
    }
}

/// An offset as a client sent it: `Some(None)` if the client has received no message with an offset, `None` if it is not one of this
/// server's offsets.
fn read_offset(offset: &str) -> Option<Option<Offset>> {
    if offset.is_empty() { Some(None) } else { offset.parse().ok().map(Some) }
}

/// Receives notifications of other replicas that a session with a socket here has been resumed there.
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
    /// A session that was acquired without its socket being admitted. The chat saves sessions of its members itself.
    fn release_session(&self, _: &Local, restored: Restored) {
        let session = restored.session;
        if let Ok(taken) = session.data.read::<ResumedSession>() {
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
            // A replica that has just started does not know yet which messages follow.
            let filled = async {
                while !self.bus.log().is_filled() {
                    sleep(PAUSE).await;
                }
            };
            timeout(FILLED_WITHIN, filled).await.ok()?;
            if let Some(place) = place {
                self.bus.wait_for(place.cursor()).await;
            }
            let taken = self.sessions.acquire(pid).await?;
            if let (None, Some(beginning)) = (place, taken.kept.profile.plan.beginning()) {
                self.bus.wait_for(beginning).await;
            }
            if let Some(holder) = taken.elsewhere {
                let notice = Superseded { sid: taken.kept.sid.clone(), holder };
                let notice = Payload::event(SUPERSEDED, &notice).ok()?;
                // If it is not notified now, it finds out when it saves the session the next time.
                match timeout(NOTIFY_TIMEOUT, self.inner.server_side_emit(local, notice)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => log::debug!("the replica of an earlier socket was not notified: {error}"),
                    Err(_) => log::debug!("the replica of an earlier socket was not notified in time"),
                }
            }
            // Lost messages are reported by starting a new session: the application then knows that it has to load its state.
            let is_gap = match self.feed(&taken, place, None) {
                Some(mut feed) => timeout(GAP_WITHIN, poll_fn(|cx| feed.poll_gap(cx))).await.unwrap_or(true),
                None => true,
            };
            if is_gap {
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
        // Without it, the client has reached its limit of open channels: it starts anew, in the first room only.
        let Some(reopening) = socket.remove::<Reopening>() else { return };
        let (Some(offset), Ok(taken)) = (read_offset(&restored.offset), restored.session.data.read::<ResumedSession>())
        else {
            return;
        };
        // Checked again: messages may have been dropped while the middlewares ran.
        let Some(feed) = self.feed(&taken, offset, Some(reopening.0.clone())).filter(|feed| !feed.is_gap()) else {
            return;
        };
        socket.insert(Resumed(Mutex::new(Some(feed))));
        // The socket's source reads the missed messages, as its transport takes them.
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
