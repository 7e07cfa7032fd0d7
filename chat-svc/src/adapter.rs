//! Recovery from the log: a client that was cut off comes back with an offset, and the offset is a cursor.
//!
//! Messages are not kept here a second time. What is kept is who was there: name, rooms and subscriptions, by the secret
//! that the client has for its session.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use bytestring::ByteString;
use parking_lot::Mutex;
use shared::live::bus::Bus;
use socketio::{
    EncodedPacket,
    adapter::{Adapter, Admit, BoxFuture, Local, Restored, Session},
};

use crate::{
    feed::{Feed, Offset, Pulled},
    member::Profile,
};

/// Sessions kept at most; the oldest go first.
const MOST_SESSIONS: usize = 100_000;
/// Bytes of missed messages that are sent before the client is let in. The rest is pulled behind it, in the same order.
const FIRST_BYTES: usize = 256 * 1024;

/// What a recovered socket goes on reading, and what it was given already. Kept with the socket until the chat takes it.
pub(crate) struct Resumed(pub(crate) Mutex<Option<(Feed, Pulled)>>);

/// See the module.
pub(crate) struct LogAdapter {
    bus: Arc<dyn Bus>,
    sessions: Mutex<Sessions>,
}

/// Those who were cut off, by the secret of their session.
#[derive(Default)]
struct Sessions {
    by_pid: HashMap<ByteString, Away>,
    /// The same, by when they are forgotten, with a number that tells equal times apart.
    until: BTreeMap<(Instant, u64), ByteString>,
    next: u64,
}

struct Away {
    until: (Instant, u64),
    session: Session,
}

impl Sessions {
    fn keep(&mut self, session: Session, now: Instant, keep: Duration) {
        while let Some(oldest) = self.until.first_entry() {
            if oldest.key().0 > now && self.by_pid.len() < MOST_SESSIONS {
                break;
            }
            self.by_pid.remove(&oldest.remove());
        }
        let (until, pid) = ((now + keep, self.next), session.pid.clone());
        self.next += 1;
        self.until.insert(until, pid.clone());
        if let Some(before) = self.by_pid.insert(pid, Away { until, session }) {
            self.until.remove(&before.until);
        }
    }

    fn take(&mut self, pid: &str, now: Instant) -> Option<Session> {
        let away = self.by_pid.remove(pid)?;
        self.until.remove(&away.until);
        (away.until.0 > now).then_some(away.session)
    }
}

impl LogAdapter {
    pub(crate) fn new(bus: Arc<dyn Bus>) -> Self {
        Self { bus, sessions: Mutex::default() }
    }

    /// The feed of a session from an offset on, if that can be told.
    fn feed(&self, session: &Session, offset: &str) -> Option<Feed> {
        let profile: Profile = session.data.read().ok()?;
        Feed::resume(self.bus.log(), profile.plan, offset.parse().ok()?)
    }
}

impl Adapter for LogAdapter {
    fn persist_session(&self, _: &Local, session: Session, keep: Duration) {
        self.sessions.lock().keep(session, Instant::now(), keep);
    }

    fn restore_session<'a>(&'a self, _: &'a Local, pid: &'a str, offset: &'a str) -> BoxFuture<'a, Option<Restored>> {
        Box::pin(async move {
            let place: Offset = offset.parse().ok()?;
            self.bus.reach(place.cursor()).await;
            let session = self.sessions.lock().take(pid, Instant::now())?;
            // What is lost is told by coming back as somebody new: the application then knows that it has to look.
            self.feed(&session, offset).filter(|feed| !feed.is_gap())?;
            Some(Restored { session, offset: offset.to_owned(), missed: Vec::new() })
        })
    }

    fn resume(&self, local: &Local, restored: Restored, admit: Admit<'_>) {
        let Some(mut feed) = self.feed(&restored.session, &restored.offset) else {
            return admit(Vec::new());
        };
        let mut missed = Pulled::default();
        let mut room = FIRST_BYTES;
        while room > 0 {
            let Poll::Ready(pulled) = feed.poll_pull(&Context::from_waker(Waker::noop()), room) else { break };
            let bytes = pulled.packets.iter().map(EncodedPacket::size).sum::<usize>();
            room = room.saturating_sub(bytes.max(1));
            missed.extend(pulled);
        }
        admit(std::mem::take(&mut missed.packets));
        if let Some(socket) = local.socket(&restored.session.sid) {
            socket.insert(Resumed(Mutex::new(Some((feed, missed)))));
        }
    }
}

impl fmt::Debug for LogAdapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogAdapter").field("bus", &self.bus).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
