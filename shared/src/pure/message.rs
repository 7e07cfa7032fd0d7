//! A message, before it has its place in the order ([`Draft`]) and after ([`Message`]).

use std::{fmt, sync::Arc};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;

use super::{
    ChannelName, Cursor, EventName, Payload,
    forms::{FormCache, Forms},
};

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

impl Wire {
    /// How many there are.
    pub(crate) const COUNT: usize = 4;
}

/// A message in its place: immutable, shared by all who read it, with its encoded forms beside it while there is room.
pub struct Message {
    /// Its place in the order, and the cursor of who has read it.
    pub id: Cursor,
    /// What was published.
    pub draft: Draft,
    /// When it was published, in milliseconds of the clock that only its process reads and that never steps.
    published: u64,
    /// Nothing until a reader needs one, and again after they were evicted.
    forms: ArcSwapOption<Forms>,
    /// The cache that has them, of a message that is in a log.
    cache: Option<Arc<FormCache>>,
}

impl Message {
    /// What a message costs beside its texts: this struct, its allocations, its place in a history.
    pub const OVERHEAD: usize = 272;
    /// What each of its attachments costs beside its bytes.
    const ATTACHMENT: usize = 80;

    /// `draft` at `id`.
    #[must_use]
    pub fn new(id: Cursor, draft: Draft) -> Self {
        Self { id, draft, published: id.ms, forms: ArcSwapOption::const_empty(), cache: None }
    }

    /// When it was published: milliseconds since the Unix epoch by the clock that gave it its id.
    #[must_use]
    pub fn time(&self) -> u64 {
        self.id.ms
    }

    /// The bytes of `wire`, encoded by `encode` unless somebody did before. They are kept for the next reader as long as
    /// the cache of forms has room for them.
    pub fn wire(&self, wire: Wire, encode: impl FnOnce(&Self) -> Bytes) -> Bytes {
        self.with_wire(wire, encode, Bytes::clone)
    }

    /// What `with` makes of the bytes of [`wire`](Self::wire): whoever copies them needs no reference count.
    pub fn with_wire<R>(&self, wire: Wire, encode: impl FnOnce(&Self) -> Bytes, with: impl FnOnce(&Bytes) -> R) -> R {
        if let Some(known) = self.forms.load().as_ref().and_then(|forms| forms.wire(wire).get()) {
            return with(known);
        }
        let bytes = encode(self);
        if self.has_room(bytes.len()) {
            let forms = self.forms();
            if forms.wire(wire).set(bytes.clone()).is_ok() {
                forms.count(bytes.len());
            }
        }
        with(&bytes)
    }

    /// The forms, in which there may be none yet.
    fn forms(&self) -> Arc<Forms> {
        if let Some(forms) = self.forms.load_full() {
            return forms;
        }
        let new = Arc::new(Forms::new(self.cache.clone()));
        let before = self.forms.compare_and_swap(&None::<Arc<Forms>>, Some(new.clone()));
        match &*before {
            // Another reader was first.
            Some(forms) => forms.clone(),
            None => {
                if let Some(cache) = &self.cache {
                    cache.enter(self.id, &self.draft.channel);
                }
                new
            }
        }
    }

    /// The whole message as a line of JSON, with the end of the line: `id`, `channel`, `event`, `data`, `time`.
    pub fn line(&self) -> Bytes {
        self.with_line(Bytes::clone)
    }

    /// What `with` makes of the [`line`](Self::line).
    pub fn with_line<R>(&self, with: impl FnOnce(&Bytes) -> R) -> R {
        self.with_wire(Wire::Line, Self::encode_line, with)
    }

    fn encode_line(&self) -> Bytes {
        let draft = &self.draft;
        let data = draft.payload.plain_json();
        let Ok(data) = serde_json::from_str(&data) else { return Bytes::new() };
        let whole = Whole { id: self.id, channel: &draft.channel, event: &draft.event, data, time: self.time() };
        let mut line = serde_json::to_vec(&whole).unwrap_or_default();
        line.push(b'\n');
        line.into()
    }

    /// What `with` makes of the packet of a transport that keeps a type of its own for it. The packet is encoded by `encode`
    /// unless somebody did before, and takes `cost` bytes.
    ///
    /// There is room for one type; `None` if another was put there first, or when the cache of forms has no room for it.
    pub fn packet<P, R>(&self, cost: usize, encode: impl FnOnce(&Self) -> P, with: impl FnOnce(&P) -> R) -> Option<R>
    where
        P: Send + Sync + 'static,
    {
        let known = self.forms.load();
        if let Some(packet) = known.as_ref().and_then(|forms| forms.packet().get()) {
            return packet.downcast_ref().map(with);
        }
        if !self.has_room(cost) {
            return None;
        }
        let forms = self.forms();
        if forms.packet().set(Box::new(encode(self))).is_ok() {
            forms.count(cost);
        }
        forms.packet().get()?.downcast_ref().map(with)
    }

    /// Whether `bytes` more may be kept beside the message.
    #[must_use]
    pub fn has_room(&self, bytes: usize) -> bool {
        self.cache.as_ref().is_none_or(|cache| cache.has_room(self.id, bytes))
    }

    /// Counts `bytes` that are kept beside the message from now on, with its forms.
    pub fn count(&self, bytes: usize) {
        if let Some(forms) = &*self.forms.load() {
            forms.count(bytes);
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

    /// When it was published, by the clock that ages are measured with.
    pub(crate) fn published(&self) -> u64 {
        self.published
    }

    /// Has its forms kept in `cache` from now on, and its age counted from `published` on.
    pub(crate) fn enter(&mut self, cache: &Arc<FormCache>, published: u64) {
        self.cache = Some(cache.clone());
        self.published = published;
    }

    /// Drops its forms. Readers that are writing them keep their bytes.
    pub(crate) fn drop_forms(&self) {
        self.forms.store(None);
    }

    /// As [`drop_forms`](Self::drop_forms), for a message that leaves its log.
    pub(crate) fn leave(&self) {
        if self.forms.swap(None).is_some()
            && let Some(cache) = &self.cache
        {
            cache.leave(self.id);
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
    fn a_form_is_encoded_once_and_counted_while_it_is_kept() {
        let cache = Arc::new(FormCache::new(Some(10_000)));
        let mut message = message();
        message.enter(&cache, 1);
        assert_eq!(cache.used(), 0);
        let made = message.wire(Wire::Sse, |_| Bytes::from(vec![b'x'; 100]));
        let bare = cache.used() - 100;
        assert_eq!(message.wire(Wire::Sse, |_| unreachable!()), made);
        assert_eq!(message.packet(50, |_| 7_u32, |packet| *packet), Some(7));
        assert_eq!(message.packet(50, |_| -> u32 { unreachable!() }, |packet| *packet), Some(7));
        assert_eq!(message.packet(50, |_| 1_u64, |packet| *packet), None, "another type was there first");
        message.count(5);
        assert_eq!(cache.used(), bare + 155);
        message.drop_forms();
        assert_eq!(cache.used(), 0);
        assert_eq!(message.wire(Wire::Sse, |_| Bytes::from_static(b"again")), "again");
        assert_eq!(cache.used(), bare + 5);
        drop(message);
        assert_eq!(cache.used(), 0);
    }

    #[test]
    fn without_room_a_form_is_encoded_for_each_reader() {
        let cache = Arc::new(FormCache::new(Some(800)));
        let mut message = message();
        message.enter(&cache, 1);
        let large = || Bytes::from(vec![b'x'; 1000]);
        assert_eq!(message.wire(Wire::Sse, |_| large()).len(), 1000);
        assert_eq!(message.packet(1000, |_| (), |()| ()), None);
        assert_eq!(cache.used(), 0);
        assert_eq!(message.wire(Wire::Sse, |_| Bytes::from_static(b"small")), "small", "it was not kept");
        assert!(cache.used() > 0, "and a small one is");
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
