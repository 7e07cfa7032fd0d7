//! Messages that are pulled when the client can take them, instead of being queued for it.

use std::task::{Context, Poll};

use super::Connection;
use crate::engine::outgoing::{Outgoing, Party};

/// A stream of messages that are stored elsewhere, such as a cursor in a log.
///
/// A connection polls its sources only when its transport can take more and either its own outbox is empty, or the turn of a
/// [queued](super::Connection::queue_source) source has come among the messages of the outbox. A slow client is therefore polled less
/// often, and costs the source a position instead of a queue.
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
    /// Returns the next messages: about `budget` bytes, and at least one message. The budget is small when too much is queued for all
    /// clients together. Returns `Pending` after storing the waker of `cx`, which is woken when there are messages. An empty batch means
    /// that there will never be another: the source is dropped.
    ///
    /// The waker may change between calls (each request of a polling client has another), so only the last one counts. This runs on the
    /// connection's thread without a lock of the connection; it must not block.
    fn poll_next(&mut self, cx: &mut Context<'_>, budget: usize) -> Poll<Vec<Outgoing>>;

    /// The source has been attached to a connection, or queued. For sources that have to end the connection.
    fn attached(&mut self, connection: &Connection) {
        let _ = connection;
    }

    /// The offset for connection state recovery that means "everything that this source has returned, and nothing more". Of a socket's
    /// sources the first one with an offset is used.
    ///
    /// For applications that recover messages from their own storage, with an [`Adapter`](crate::Adapter) of their own. Official clients
    /// take any string at the end of an event for their offset. Therefore each event to the socket that ends in a string, whoever sends it,
    /// gets this offset as one more argument. It is requested when the event is written: after everything that the source has returned so
    /// far, and before anything that it will return later. Like `poll_next`, it runs without a lock of the connection.
    fn offset(&self) -> Option<String> {
        None
    }
}

/// Identifies an attached source, to detach it.
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

pub(crate) enum SourceLookup {
    Source(SourceId, Box<dyn Source>),
    /// It is being polled right now.
    Busy,
    NoSuch,
}

struct Slot {
    id: SourceId,
    /// The owner of the source.
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

    /// Takes the source out of the slot and returns it, unless it is being polled right now: then it is dropped there.
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

    /// Whether there is one, which is not being polled.
    pub(crate) fn is_one(&self) -> bool {
        matches!(&self.slots[..], [slot] if slot.source.is_some())
    }

    /// Takes out the source whose turn it is, to be polled without a lock.
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

    /// Takes out the n-th source of a party, to be polled without a lock.
    pub(crate) fn take_of(&mut self, party: Party, n: usize) -> SourceLookup {
        match self.slots.iter_mut().filter(|slot| slot.party == Some(party)).nth(n) {
            None => SourceLookup::NoSuch,
            Some(slot) => slot.source.take().map_or(SourceLookup::Busy, |source| SourceLookup::Source(slot.id, source)),
        }
    }

    /// Whether a source of this party is being polled right now.
    pub(crate) fn are_asked(&self, party: Party) -> bool {
        self.slots.iter().any(|slot| slot.party == Some(party) && slot.source.is_none())
    }

    /// Puts it back, or returns it if it was detached in the meantime.
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
