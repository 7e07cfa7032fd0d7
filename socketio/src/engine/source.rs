//! Messages that are pulled when the client can take them, instead of being queued for it.

use std::task::{Context, Poll};

use super::{
    Connection,
    outgoing::{Outgoing, Party},
};

/// A stream of messages that somebody else keeps, such as a cursor on a log.
///
/// A connection asks its sources when, and only when, its transport can take more and its own outbox is empty, or its turn among the messages of
/// the outbox has come if it was [queued](super::Connection::queue_source) there. A client that
/// reads slowly is therefore asked for less often and costs the source's position, not a queue.
///
/// # Example
///
/// ```
/// # use std::{sync::{Arc, Mutex}, task::{Context, Poll, Waker}};
/// use socketio::{Outgoing, Source};
///
/// #[derive(Default)]
/// struct Log { entries: Vec<Outgoing>, waiting: Vec<Waker> }
///
/// struct Cursor { log: Arc<Mutex<Log>>, next: usize }
///
/// impl Source for Cursor {
///     fn poll_next(&mut self, cx: &mut Context<'_>, budget: usize) -> Poll<Vec<Outgoing>> {
///         let mut log = self.log.lock().unwrap();
///         let mut bytes = 0;
///         let batch: Vec<_> = log.entries[self.next..]
///             .iter()
///             .take_while(|entry| { let room = bytes < budget; bytes += entry.len(); room })
///             .cloned()
///             .collect();
///         if batch.is_empty() {
///             log.waiting.push(cx.waker().clone());
///             return Poll::Pending;
///         }
///         self.next += batch.len();
///         Poll::Ready(batch)
///     }
/// }
/// # let log = Arc::new(Mutex::new(Log::default()));
/// # let mut cursor = Cursor { log: log.clone(), next: 0 };
/// # let mut cx = Context::from_waker(Waker::noop());
/// # assert!(cursor.poll_next(&mut cx, 10).is_pending());
/// # log.lock().unwrap().entries.push(Outgoing::from(socketio::engine::Data::from("a")));
/// # assert!(cursor.poll_next(&mut cx, 10).is_ready());
/// ```
pub trait Source: Send {
    /// The next messages, about `budget` bytes of them and at least one; the budget is small when too much waits for all clients together; or `Pending`, after the waker of `cx` has been kept to be woken when
    /// there are some. An empty batch says that there will never be another: the source is dropped.
    ///
    /// The waker may change from call to call (a polling client brings another with each request), so only the last counts.
    /// This runs on the connection's thread with no lock of the connection held; it must not block.
    fn poll_next(&mut self, cx: &mut Context<'_>, budget: usize) -> Poll<Vec<Outgoing>>;

    /// The source has been attached to a connection, or queued. For a source that has to end it.
    fn attached(&mut self, connection: &Connection) {
        let _ = connection;
    }

    /// The offset of connection state recovery that says "everything that this source has given out, and nothing more". Of a socket's
    /// sources the first that has one counts.
    ///
    /// For applications that recover from what they keep themselves, with an [`Adapter`](crate::Adapter) of their own. Official clients
    /// take any string at the end of an event for their offset, so each event to the socket that ends in one, by whatever way it
    /// came, takes this along as one more argument. It is asked for at the moment when the event leaves, behind all that the source
    /// gave out and before anything that it is yet to give; as `poll_next`, with no lock of the connection held.
    fn offset(&self) -> Option<String> {
        None
    }
}

/// Names an attached source, to take it off again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SourceId(pub(crate) u32);

/// The sources of one connection.
#[derive(Default)]
pub(crate) struct Sources {
    slots: Vec<Slot>,
    next_id: u32,
    /// Where the next round starts, so that one busy source does not starve the others.
    turn: u32,
}

pub(crate) enum Taken {
    Source(SourceId, Box<dyn Source>),
    /// It is being asked for more right now.
    Busy,
    NoSuch,
}

struct Slot {
    id: SourceId,
    /// Whose source this is.
    party: Option<Party>,
    /// Absent while it is being polled.
    source: Option<Box<dyn Source>>,
}

impl Sources {
    pub(crate) fn attach(&mut self, party: Option<Party>, source: Box<dyn Source>) -> SourceId {
        let id = SourceId(self.next_id);
        self.next_id = self.next_id.wrapping_add(1);
        // Nearly all connections have one source, for as long as they live.
        self.slots.reserve_exact(1);
        self.slots.push(Slot { id, party, source: Some(source) });
        id
    }

    /// Takes the slot away; the source comes back unless it is being polled right now, in which case it is dropped there.
    pub(crate) fn detach(&mut self, id: SourceId) -> Option<Box<dyn Source>> {
        let at = self.slots.iter().position(|slot| slot.id == id)?;
        let slot = self.slots.swap_remove(at);
        if self.slots.is_empty() {
            self.slots = Vec::new();
        }
        slot.source
    }

    pub(crate) fn clear(&mut self) -> Vec<Box<dyn Source>> {
        std::mem::take(&mut self.slots).into_iter().filter_map(|slot| slot.source).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Takes the source whose turn it is out, to be polled without a lock.
    pub(crate) fn take_turn(&mut self) -> Option<(SourceId, Box<dyn Source>)> {
        for _ in 0..self.slots.len() {
            self.turn = self.turn.wrapping_add(1);
            let at = self.turn as usize % self.slots.len();
            let slot = &mut self.slots[at];
            if let Some(source) = slot.source.take() {
                return Some((slot.id, source));
            }
        }
        None
    }

    /// Takes the n-th source of a party out, to be asked without a lock.
    pub(crate) fn take_of(&mut self, party: Party, n: usize) -> Taken {
        match self.slots.iter_mut().filter(|slot| slot.party == Some(party)).nth(n) {
            None => Taken::NoSuch,
            Some(slot) => slot.source.take().map_or(Taken::Busy, |source| Taken::Source(slot.id, source)),
        }
    }

    /// Whether a source of this party is being asked right now.
    pub(crate) fn are_asked(&self, party: Party) -> bool {
        self.slots.iter().any(|slot| slot.party == Some(party) && slot.source.is_none())
    }

    /// Puts it back, or returns it if it was detached meanwhile.
    pub(crate) fn put_back(&mut self, id: SourceId, source: Box<dyn Source>) -> Option<Box<dyn Source>> {
        match self.slots.iter_mut().find(|slot| slot.id == id) {
            Some(slot) => {
                slot.source = Some(source);
                None
            }
            None => Some(source),
        }
    }
}
