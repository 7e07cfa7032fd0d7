//! Messages that the log has dropped, and that stay in memory because clients are being sent them.
//!
//! A long message is sent in pieces, as its client reads. The response refers to the message, which the log stores anyway; but the log may
//! drop it, or its stream may be deleted, while the client does not read. All such messages together have a budget. What exceeds it is
//! given back by ending connections: those that have been at it for the longest time, whose clients reconnect and get a gap.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, Weak},
};

use parking_lot::Mutex;
use shared::pure::{Message, Pieces};

use crate::connections::{Connection, End};

/// The long messages that clients are being sent. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Sending(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table {
    next: u64,
    /// In the order in which they were begun.
    sent: BTreeMap<u64, Sent>,
}

/// A message, and a connection on which it is sent.
#[derive(Debug)]
struct Sent {
    message: Weak<Message>,
    connection: Arc<Connection>,
}

/// What one response refers to.
struct Share {
    all: Sending,
    /// Kept, so that they count for as long as any of their bytes is in memory.
    messages: Vec<Arc<Message>>,
    first: u64,
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut table = self.all.0.lock();
        for place in (self.first..).take(self.messages.len()) {
            table.sent.remove(&place);
        }
    }
}

impl Sending {
    /// `pieces`, which are made of `messages` and sent on `connection`.
    pub(super) fn count(&self, messages: Vec<Arc<Message>>, connection: &Arc<Connection>, pieces: Pieces) -> Pieces {
        let mut table = self.0.lock();
        let first = table.next;
        table.next += messages.len() as u64;
        for (place, message) in (first..).zip(&messages) {
            let sent = Sent { message: Arc::downgrade(message), connection: connection.clone() };
            table.sent.insert(place, sent);
        }
        drop(table);
        let (share, mut pieces) = (Share { all: self.clone(), messages, first }, pieces);
        Box::new(std::iter::from_fn(move || {
            let _ = &share;
            pieces.next()
        }))
    }

    /// Ends connections until the messages that the log has dropped take at most `most` bytes; one message may always stay. Returns the number
    /// of connections. Visits every response with a long message.
    pub fn shed(&self, most: usize) -> usize {
        let table = self.0.lock();
        let (mut dropped, mut known, mut all) = (Vec::new(), HashSet::new(), 0);
        for message in table.sent.values().filter_map(|sent| sent.message.upgrade()) {
            if message.has_left() && known.insert(Arc::as_ptr(&message)) {
                all += message.footprint();
                dropped.push(message);
            }
        }
        let mut excess = HashSet::new();
        for message in dropped.iter().take(dropped.len().saturating_sub(1)) {
            if all <= most {
                break;
            }
            all -= message.footprint();
            excess.insert(Arc::as_ptr(message));
        }
        let is_excess = |sent: &&Sent| excess.contains(&sent.message.as_ptr());
        table.sent.values().filter(is_excess).filter(|sent| sent.connection.end_for(End::Behind)).count()
    }
}

#[cfg(test)]
mod tests {
    use shared::{
        live::{
            log::{self, Log},
            reader::{Limit, Reader},
        },
        pure::{Cursor, Draft, Payload, Retention, Since},
    };

    use super::*;
    use crate::connections::{self, Connections};

    /// A client that stopped within a long message kept it, and nothing counted it.
    #[test]
    fn messages_that_only_readers_have_share_a_budget() {
        const SIZE: usize = 100_000;
        let channel = Retention { count: Some(1), ..Retention::default() };
        let log = Arc::new(Log::new(log::Limits { channel, ..log::Limits::default() }, Cursor::FIRST_ISSUED));
        let mut reader = Reader::open(&log, &["a".parse().unwrap()], Since::Earliest);
        let (sending, registry) = (Sending::default(), Connections::default());
        let (mut bodies, mut clients) = (Vec::new(), Vec::new());
        for n in 0..10 {
            log.append(vec![Draft::new("a".parse().unwrap(), Payload::from_text(&"x".repeat(SIZE)))], 1_000 + n);
            let message = reader.read(Limit::default()).unwrap().messages.remove(0);
            // Two clients for each message.
            for _ in 0..2 {
                let connection = connections::tests::add(&registry, &["a"]);
                let pieces = message.data_pieces(Vec::new(), Vec::new());
                bodies.push(sending.count(vec![message.clone()], &connection, pieces));
                clients.push(connection);
            }
        }
        assert_eq!(sending.shed(usize::MAX), 0);
        assert!((9 * SIZE..10 * SIZE).contains(&log.left_bytes()), "{}", log.left_bytes());
        // What is stored is no excess, and costs nothing.
        assert_eq!(sending.shed(5 * SIZE), 10);
        let is_ended = |n: usize| clients[n].end() == Some(End::Behind);
        assert!((0..20).all(|n| is_ended(n) == (n < 10)));
        assert_eq!(sending.shed(5 * SIZE), 0, "they have not gone yet");
        bodies.drain(..10);
        assert!((4 * SIZE..5 * SIZE).contains(&log.left_bytes()), "{}", log.left_bytes());
        assert_eq!(sending.shed(0), 6, "one stays");
        let rest: Vec<u8> = bodies.pop().unwrap().flatten().collect();
        assert_eq!(rest.len(), SIZE + 2);
        bodies.clear();
        assert_eq!((log.left_bytes(), sending.0.lock().sent.len()), (0, 0));
    }
}
