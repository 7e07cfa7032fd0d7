//! To which clients, and when, messages of recorded traces were sent.
//!
//! A transport that sends messages asks whether any is watched, which costs one load while none is. Messages may be sent before the publication
//! that brought them knows their ids: until then, whatever is sent is noted.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use parking_lot::Mutex;
use shared::pure::Cursor;

use super::{
    context::TraceContext,
    span::{self, Span, SpanKind},
};

/// Deliveries of a message are watched so long after its publication.
const WINDOW: Duration = Duration::from_secs(5);
/// Maximum number of messages that are watched at a time, and of one publication.
const MAX_WATCHED: usize = 1_024;
const MAX_OF_PUBLICATION: usize = 16;
/// Maximum number of deliveries of messages that are not known yet.
const MAX_EARLY: usize = 1_024;

/// See the module. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Deliveries(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// Publications without ids, and messages.
    watched: AtomicUsize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    expected: usize,
    early: VecDeque<(Cursor, Sent)>,
    messages: HashMap<Cursor, Watched>,
}

#[derive(Debug)]
struct Watched {
    under: TraceContext,
    channel: String,
    published: u64,
    sent: Vec<Sent>,
}

/// What one transport has sent.
#[derive(Clone, Debug)]
struct Sent {
    transport: &'static str,
    clients: u64,
    first: u64,
    last: u64,
}

/// A publication whose messages are watched as soon as their ids are known.
#[derive(Debug)]
pub(crate) struct Expected(Deliveries);

impl Deliveries {
    /// Whether any message is watched.
    #[must_use]
    pub fn is_watching(&self) -> bool {
        self.0.watched.load(Relaxed) > 0
    }

    /// The messages were sent to so many clients of `transport`.
    pub fn sent(&self, transport: &'static str, ids: impl Iterator<Item = Cursor>, clients: u64) {
        let now = span::now();
        let mut state = self.0.state.lock();
        for id in ids {
            let sent = Sent { transport, clients, first: now, last: now };
            let State { expected, early, messages } = &mut *state;
            if let Some(watched) = messages.get_mut(&id) {
                watched.add(sent);
            } else if *expected > 0 {
                if early.len() >= MAX_EARLY {
                    early.pop_front();
                }
                early.push_back((id, sent));
            }
        }
    }

    /// A publication begins.
    pub(super) fn expect(&self) -> Expected {
        let mut state = self.0.state.lock();
        state.expected += 1;
        self.count(&state);
        Expected(self.clone())
    }

    fn count(&self, state: &State) {
        self.0.watched.store(state.expected + state.messages.len(), Relaxed);
    }

    /// The spans of deliveries of messages that are not watched any longer at `now`, which is in nanoseconds since the Unix epoch.
    pub(super) fn take_due(&self, now: u64) -> Vec<Span> {
        if !self.is_watching() {
            return Vec::new();
        }
        let window = u64::try_from(WINDOW.as_nanos()).unwrap_or(u64::MAX);
        let mut state = self.0.state.lock();
        let due: Vec<(Cursor, Watched)> =
            state.messages.extract_if(|_, watched| watched.published.saturating_add(window) <= now).collect();
        self.count(&state);
        drop(state);
        due.into_iter().flat_map(|(id, watched)| watched.spans(id)).collect()
    }
}

impl Expected {
    /// The messages of the publication: their ids and channels.
    pub(crate) fn published<'a>(self, under: TraceContext, messages: impl Iterator<Item = (Cursor, &'a str)>) {
        let published = span::now();
        let mut state = self.0.0.state.lock();
        for (id, channel) in messages.take(MAX_OF_PUBLICATION) {
            if state.messages.len() >= MAX_WATCHED {
                break;
            }
            let mut watched = Watched { under, channel: channel.to_owned(), published, sent: Vec::new() };
            for (_, sent) in state.early.iter().filter(|(early, _)| *early == id) {
                watched.add(sent.clone());
            }
            state.messages.insert(id, watched);
        }
    }
}

impl Drop for Expected {
    fn drop(&mut self) {
        let mut state = self.0.0.state.lock();
        state.expected -= 1;
        if state.expected == 0 {
            state.early = VecDeque::new();
        }
        self.0.count(&state);
    }
}

impl Watched {
    fn add(&mut self, sent: Sent) {
        match self.sent.iter_mut().find(|known| known.transport == sent.transport) {
            Some(known) => {
                known.clients += sent.clients;
                (known.first, known.last) = (known.first.min(sent.first), known.last.max(sent.last));
            }
            None => self.sent.push(sent),
        }
    }

    /// A span for each transport: from the publication to the last client that was sent it.
    fn spans(self, id: Cursor) -> impl Iterator<Item = Span> {
        let Self { under, channel, published, sent } = self;
        sent.into_iter().map(move |Sent { transport, clients, first, last }| {
            let mut span = Span::begin(under, "deliver", SpanKind::Consumer);
            // It may have been sent before the answer of the bus was here.
            (span.begin, span.end) = (published.min(first), last);
            span.set("messaging.system", "trident");
            span.set("messaging.destination.name", channel.clone());
            span.set("messaging.message.id", id.to_string());
            span.set("trident.transport", transport);
            span.set("trident.clients", clients);
            span.set("trident.first_client_ns", first.saturating_sub(span.begin));
            span
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(ms: u64) -> Cursor {
        Cursor::new(ms, 0)
    }

    fn clients(spans: &[Span]) -> Vec<(String, u64)> {
        let of = |span: &Span| {
            let find = |name| span.attributes.iter().find(|(known, _)| *known == name).unwrap().1.clone();
            match (find("trident.transport"), find("trident.clients")) {
                (span::Value::Text(transport), span::Value::Number(clients)) => (transport.into_owned(), clients),
                other => panic!("{other:?}"),
            }
        };
        let mut all: Vec<_> = spans.iter().map(of).collect();
        all.sort();
        all
    }

    #[test]
    fn clients_are_counted_by_transport_also_before_the_ids_are_known() {
        let deliveries = Deliveries::default();
        assert!(!deliveries.is_watching());
        deliveries.sent("sse", [id(1)].into_iter(), 1);
        let expected = deliveries.expect();
        assert!(deliveries.is_watching());
        deliveries.sent("sse", [id(1), id(2)].into_iter(), 3);
        let under = TraceContext::new().child();
        expected.published(under, [(id(2), "news")].into_iter());
        deliveries.sent("sse", [id(2), id(3)].into_iter(), 4);
        deliveries.sent("ws", [id(2)].into_iter(), 1);
        assert_eq!(deliveries.take_due(span::now()), []);
        let spans = deliveries.take_due(u64::MAX);
        assert_eq!(clients(&spans), [("sse".to_owned(), 7), ("ws".to_owned(), 1)]);
        assert!(spans.iter().all(|span| span.parent == under.span && span.begin <= span.end));
        assert!(!deliveries.is_watching() && deliveries.0.state.lock().early.is_empty());
    }

    #[test]
    fn what_is_watched_is_bounded() {
        let deliveries = Deliveries::default();
        for publication in 0..200 {
            let expected = deliveries.expect();
            deliveries.sent("sse", (0..MAX_EARLY as u64 * 2).map(id), 1);
            assert_eq!(deliveries.0.state.lock().early.len(), MAX_EARLY);
            expected.published(TraceContext::new(), (0..100).map(|n| (id(1_000_000 + publication * 100 + n), "a")));
        }
        assert_eq!(deliveries.0.state.lock().messages.len(), MAX_WATCHED);
        // A publication that failed.
        drop(deliveries.expect());
        assert_eq!(deliveries.take_due(u64::MAX), []);
        assert!(!deliveries.is_watching());
    }
}
