//! A message, before it has its place in the order ([`Draft`]) and after ([`Message`]).

use std::{
    any::Any,
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;

use super::{ChannelName, Cursor, EventName, Payload, meter::Meter};

/// What a publisher hands in; the bus gives it its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// Where to.
    pub channel: ChannelName,
    /// What kind of thing happened.
    pub event: EventName,
    /// The data.
    pub payload: Payload,
    /// The display name of who said it, where a transport knows names (the chat).
    pub from: Option<Arc<str>>,
}

impl Draft {
    /// `payload` for `channel`, as event `message`, from nobody in particular.
    #[must_use]
    pub fn new(channel: ChannelName, payload: Payload) -> Self {
        Self { channel, event: EventName::default(), payload, from: None }
    }

    /// The same, as `event`.
    #[must_use]
    pub fn event(self, event: EventName) -> Self {
        Self { event, ..self }
    }
}

/// A wire form that readers of a transport share: encoded by the first of them, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// One event of an event stream, with the data alone.
    Sse,
    /// One event of an event stream, with the whole message as its data.
    SseWhole,
    /// The whole message as a line of JSON.
    Line,
    /// The data alone as a line of JSON.
    RawLine,
}

/// A message in its place: immutable, shared by all who read it, with its wire forms cached beside it.
pub struct Message {
    /// Its place in the order, and the cursor of who has read it.
    pub id: Cursor,
    /// What was published.
    pub draft: Draft,
    wires: [OnceLock<Bytes>; 4],
    packet: OnceLock<Box<dyn Any + Send + Sync>>,
    /// Bytes of what is cached; with [`GONE`] set, nobody counts them any more.
    copies: AtomicUsize,
    /// Where a log counts them.
    meter: Option<Arc<Meter>>,
}

/// Set in a message's count of copies when its log has let go of it.
const GONE: usize = 1 << (usize::BITS - 1);

impl Message {
    /// What a message costs beside its texts: this struct, its allocations, its place in a history.
    pub(crate) const OVERHEAD: usize = 448;
    /// What each of its attachments costs beside its bytes.
    const ATTACHMENT: usize = 80;

    /// `draft` at `id`.
    #[must_use]
    pub fn new(id: Cursor, draft: Draft) -> Self {
        Self { id, draft, wires: Default::default(), packet: OnceLock::new(), copies: AtomicUsize::new(0), meter: None }
    }

    /// When it was published: milliseconds since the Unix epoch by the clock that gave it its id.
    #[must_use]
    pub fn time(&self) -> u64 {
        self.id.ms
    }

    /// The bytes of `wire`, encoded by `encode` unless somebody did before. They are kept for the next reader as long as
    /// the log has memory for them.
    pub fn wire(&self, wire: Wire, encode: impl FnOnce(&Self) -> Bytes) -> Bytes {
        let place = &self.wires[wire as usize];
        if let Some(known) = place.get() {
            return known.clone();
        }
        let bytes = encode(self);
        if self.has_room(bytes.len()) && place.set(bytes.clone()).is_ok() {
            self.count(bytes.len());
        }
        bytes
    }

    /// The whole message as a line of JSON, with the end of the line: `id`, `channel`, `event`, `data`, `time`.
    pub fn line(&self) -> Bytes {
        self.wire(Wire::Line, |message| {
            let data = message.draft.payload.plain_json();
            let Ok(data) = serde_json::from_str(&data) else { return Bytes::new() };
            let draft = &message.draft;
            let whole =
                Whole { id: message.id, channel: &draft.channel, event: &draft.event, data, time: message.time() };
            let mut line = serde_json::to_vec(&whole).unwrap_or_default();
            line.push(b'\n');
            line.into()
        })
    }

    /// The packet of a transport that keeps a type of its own for it, encoded by `encode` unless somebody did before, which
    /// takes `cost` bytes.
    ///
    /// There is room for one type; `None` if another was put there first, or when the log has no memory for it.
    pub fn packet<P: Send + Sync + 'static>(&self, cost: usize, encode: impl FnOnce(&Self) -> P) -> Option<&P> {
        if self.packet.get().is_none() && self.has_room(cost) && self.packet.set(Box::new(encode(self))).is_ok() {
            self.count(cost);
        }
        self.packet.get()?.downcast_ref()
    }

    /// Whether `bytes` more may be kept beside the message.
    #[must_use]
    pub fn has_room(&self, bytes: usize) -> bool {
        self.meter.as_ref().is_none_or(|meter| meter.has_room(bytes))
    }

    /// Counts `bytes` that are kept beside the message from now on.
    pub fn count(&self, bytes: usize) {
        let Some(meter) = &self.meter else { return };
        // The meter first: what it is told to take off has always been put on before.
        meter.add(bytes);
        if self.copies.fetch_add(bytes, Relaxed) & GONE != 0 {
            meter.take(bytes);
        }
    }

    /// Bytes of data, which is what a channel's retention counts.
    #[must_use]
    pub fn len(&self) -> usize {
        self.draft.payload.len()
    }

    /// Never: no JSON is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Memory that this holds, in bytes, without the wire forms that are made of it.
    #[must_use]
    pub fn footprint(&self) -> usize {
        let Draft { channel, event, payload, from } = &self.draft;
        // Almost all messages share the one name of an event that was given none.
        let event = if event.is_default() { 0 } else { event.len() };
        let names = channel.len() + event + from.as_ref().map_or(0, |from| from.len());
        Self::OVERHEAD + names + payload.len() + Self::ATTACHMENT * payload.attachments().len()
    }

    /// Has this message and its copies counted by `meter` from now on.
    pub(crate) fn held_by(&mut self, meter: &Arc<Meter>) {
        meter.add(self.footprint());
        self.meter = Some(meter.clone());
    }

    /// Has them counted no longer, though readers may hold on to them for another moment.
    pub(crate) fn let_go(&self) {
        let Some(meter) = &self.meter else { return };
        let copies = self.copies.fetch_or(GONE, Relaxed);
        if copies & GONE == 0 {
            meter.take(self.footprint() + copies);
        }
    }
}

/// A message as it is written whole.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = Message))]
#[derive(Serialize)]
pub struct Whole<'a> {
    /// Its place in the order of all messages, and the cursor after it.
    id: Cursor,
    /// The channel it was published to.
    channel: &'a ChannelName,
    /// What kind of thing happened; `message` unless the publisher said otherwise.
    event: &'a EventName,
    /// What was published: any JSON, with its numbers and keys as they were written.
    #[cfg_attr(feature = "openapi", schema(value_type = serde_json::Value))]
    data: &'a RawValue,
    /// When it was published, in milliseconds since the Unix epoch.
    time: u64,
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message").field("id", &self.id).field("draft", &self.draft).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_a_line() {
        let payload = Payload::from_json(b"{\"b\": 1.50, \"a\": \"x\\ny\"}").unwrap();
        let draft = Draft::new("news".parse().unwrap(), payload).event("a \"b\"".parse().unwrap());
        let message = Message::new(Cursor::new(1_763_800_000_000, 2), draft);
        assert_eq!(
            message.line(),
            "{\"id\":\"1763800000000-2\",\"channel\":\"news\",\"event\":\"a \\\"b\\\"\",\
             \"data\":{\"b\":1.50,\"a\":\"x\\ny\"},\"time\":1763800000000}\n"
        );
    }

    fn message() -> Message {
        Message::new(Cursor::new(1, 0), Draft::new("news".parse().unwrap(), Payload::from_text("x")))
    }

    #[test]
    fn a_form_is_made_once_and_counted_until_the_log_lets_go() {
        let meter = Arc::new(Meter::new(Some(10_000)));
        let mut message = message();
        message.held_by(&meter);
        let bare = meter.used();
        assert_eq!(bare, message.footprint());
        let made = message.wire(Wire::Sse, |_| Bytes::from(vec![b'x'; 100]));
        assert_eq!(message.wire(Wire::Sse, |_| unreachable!()), made);
        assert_eq!(message.packet(50, |_| 7_u32), Some(&7));
        assert_eq!(message.packet::<u32>(50, |_| unreachable!()), Some(&7));
        assert_eq!(message.packet::<u64>(50, |_| 1), None, "another type was there first");
        assert_eq!(meter.used(), bare + 150);
        message.let_go();
        message.let_go();
        assert_eq!(meter.used(), 0);
        // A reader that still holds it goes on.
        message.wire(Wire::Line, |_| Bytes::from_static(b"late"));
        assert_eq!(meter.used(), 0);
    }

    #[test]
    fn without_room_a_form_is_made_for_each_reader() {
        let meter = Arc::new(Meter::new(Some(800)));
        let mut message = message();
        message.held_by(&meter);
        let large = || Bytes::from(vec![b'x'; 1000]);
        assert_eq!(message.wire(Wire::Sse, |_| large()).len(), 1000);
        assert_eq!(message.packet(1000, |_| ()), None);
        assert_eq!(meter.used(), message.footprint());
        assert_eq!(message.wire(Wire::Sse, |_| Bytes::from_static(b"small")), "small", "it was not kept");
        assert_eq!(meter.used(), message.footprint() + 5, "and a small one is");
    }

    /// What [`Message::OVERHEAD`] is made of, so that a field added later is thought of there.
    #[test]
    fn the_overhead_is_no_less_than_what_it_stands_for() {
        let counts = 2 * size_of::<usize>();
        // The message behind its counts, its place in a history that has up to four times the room it needs, the counts
        // before the texts of channel and name, and what the allocator adds to each of six.
        let least = counts + size_of::<Message>() + 4 * size_of::<Arc<Message>>() + 2 * counts + 6 * 8;
        assert!(Message::OVERHEAD >= least, "{} < {least}", Message::OVERHEAD);
    }
}
