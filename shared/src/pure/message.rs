//! A message before it has an id ([`Draft`]) and after ([`Message`]).

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;

use super::{
    ChannelName, Cursor, EventName, Payload,
    forms::{FormCache, Forms, Wire},
};

/// The publisher's part of a message; the bus adds the id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// The channel.
    pub channel: ChannelName,
    /// The event name.
    pub event: EventName,
    /// The data.
    pub payload: Payload,
    /// The display name of the author, on transports with names (the chat).
    pub from: Option<Arc<str>>,
    /// The verified `sub` of the publisher's token, if it had one.
    pub user: Option<Arc<str>>,
}

impl Draft {
    /// `payload` for `channel`, with the event name `message` and without an author.
    #[must_use]
    pub fn new(channel: ChannelName, payload: Payload) -> Self {
        Self { channel, event: EventName::default(), payload, from: None, user: None }
    }

    /// The same, with the event name `event`.
    #[must_use]
    pub fn event(self, event: EventName) -> Self {
        Self { event, ..self }
    }

    /// The memory of its message in bytes, without encoded forms.
    #[must_use]
    pub fn footprint(&self) -> usize {
        let Self { channel, event, payload, from, user } = self;
        // Almost all messages share the default event name.
        let event = if event.is_default() { 0 } else { event.len() };
        let user = user.as_ref().map_or(0, |user| user.len() + Message::USER);
        let names = channel.len() + event + from.as_ref().map_or(0, |from| from.len()) + user;
        Message::OVERHEAD + names + payload.len() + Message::ATTACHMENT * payload.attachments().len()
    }

    /// The same, published by `user`.
    #[must_use]
    pub fn by(self, user: Option<Arc<str>>) -> Self {
        Self { user, ..self }
    }
}

/// Whether a form of a message names the [user](Draft::user) who published it. Readers share forms, so each of the two has its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Publisher {
    /// It does.
    Shown,
    /// It does not.
    #[default]
    Hidden,
}

/// A message with its id: immutable, shared by all its readers, with its encoded forms as long as they are cached.
pub struct Message {
    /// Its position in the order, and the cursor of a client that has received it.
    pub id: Cursor,
    /// The published content.
    pub draft: Draft,
    /// The time of publication in milliseconds of this process's monotonic clock.
    published: u64,
    /// Empty until a reader needs a form, and again after eviction.
    forms: ArcSwapOption<Forms>,
    place: Place,
}

/// Where a message is counted.
#[derive(Default)]
struct Place {
    /// The cache that counts the forms, if the message is or was in a log.
    cache: Option<Arc<FormCache>>,
    /// The memory of the message once the log has dropped it: only readers have it then. 0 before.
    left: AtomicUsize,
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(cache) = &self.cache {
            cache.count_left_out(*self.left.get_mut());
        }
    }
}

impl Message {
    /// The overhead of a message in addition to its texts: this struct, its allocations, its slot in a history.
    pub const OVERHEAD: usize = 288;
    /// The overhead of each of its attachments in addition to the bytes.
    const ATTACHMENT: usize = 80;
    /// The overhead of its user in addition to the text, if no other message shares it.
    const USER: usize = 24;

    /// `draft` with the id `id`.
    #[must_use]
    pub fn new(id: Cursor, draft: Draft) -> Self {
        Self { id, draft, published: id.ms, forms: ArcSwapOption::const_empty(), place: Place::default() }
    }

    /// The time of publication: milliseconds since the Unix epoch, by the clock that issued its id.
    #[must_use]
    pub fn time(&self) -> u64 {
        self.id.ms
    }

    /// The bytes of `wire`, encoded by `encode` unless they are cached. They stay in the cache of forms if it has space for them.
    pub fn wire(&self, wire: Wire, encode: impl FnOnce(&Self) -> Bytes) -> Bytes {
        self.with_wire(wire, encode, Bytes::clone)
    }

    /// Calls `with` with the bytes of [`wire`](Self::wire), for callers that copy them and need no reference count.
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

    /// Whether any form of it is in the cache of forms.
    pub(super) fn has_forms(&self) -> bool {
        self.forms.load().is_some()
    }

    /// The forms; none of them may exist yet.
    fn forms(&self) -> Arc<Forms> {
        if let Some(forms) = self.forms.load_full() {
            return forms;
        }
        let new = Arc::new(Forms::new(self.place.cache.clone()));
        let before = self.forms.compare_and_swap(&None::<Arc<Forms>>, Some(new.clone()));
        match &*before {
            // Another reader was faster.
            Some(forms) => forms.clone(),
            None => {
                if let Some(cache) = self.place.cache.as_ref().filter(|_| !self.has_left()) {
                    cache.enter(self.id, &self.draft.channel);
                }
                new
            }
        }
    }

    /// The form for readers that get `publisher`: a message without a user has only one.
    #[must_use]
    pub fn publisher(&self, publisher: Publisher) -> Publisher {
        if self.draft.user.is_some() { publisher } else { Publisher::Hidden }
    }

    /// The whole message as a line of JSON, including the line end: `id`, `channel`, `event`, `data`, `time`, and `from` and `user` if
    /// there are any; `user` only if the `publisher` is shown.
    pub fn line(&self, publisher: Publisher) -> Bytes {
        self.with_line(publisher, Bytes::clone)
    }

    /// Calls `with` with the [`line`](Self::line).
    pub fn with_line<R>(&self, publisher: Publisher, with: impl FnOnce(&Bytes) -> R) -> R {
        match self.publisher(publisher) {
            Publisher::Hidden => self.with_wire(Wire::Line, |message| message.encode_line(None), with),
            Publisher::Shown => {
                self.with_wire(Wire::LineWithUser, |message| message.encode_line(message.draft.user.as_deref()), with)
            }
        }
    }

    fn encode_line(&self, user: Option<&str>) -> Bytes {
        let data = self.draft.payload.plain_json();
        let Ok(data) = serde_json::from_str(&data) else { return Bytes::new() };
        let mut line = self.encode_with(data, user);
        line.push(b'\n');
        line.into()
    }

    /// The whole message, with `data` in place of its own.
    pub(super) fn encode_with(&self, data: &RawValue, user: Option<&str>) -> Vec<u8> {
        let draft = &self.draft;
        let (channel, event, from) = (&draft.channel, &draft.event, draft.from.as_deref());
        let whole = Whole { id: self.id, channel, event, data, time: self.time(), from, user };
        // Texts and numbers always serialize.
        serde_json::to_vec(&whole).unwrap_or_default()
    }

    /// Calls `with` with a transport's packet for this message. The packet is encoded by `encode` unless it is cached, and takes `cost`
    /// bytes.
    ///
    /// There is space for one type of packet; `None` if another type was cached first, or if the cache of forms is full.
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

    /// Whether `bytes` more may be cached with the message.
    #[must_use]
    pub fn has_room(&self, bytes: usize) -> bool {
        self.place.cache.as_ref().is_none_or(|cache| cache.has_room(self.id, bytes))
    }

    /// Counts `bytes` more that are cached with the message's forms.
    pub fn count(&self, bytes: usize) {
        if let Some(forms) = &*self.forms.load() {
            forms.count(bytes);
        }
    }

    /// Bytes of data, as counted by a channel's retention.
    #[must_use]
    pub fn len(&self) -> usize {
        self.draft.payload.len()
    }

    /// Always false: JSON is never empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        false
    }

    /// The memory of this message in bytes, without its encoded forms.
    #[must_use]
    pub fn footprint(&self) -> usize {
        self.draft.footprint()
    }

    /// The time of publication, by the clock that measures ages.
    pub(crate) fn published(&self) -> u64 {
        self.published
    }

    /// Adds it to a log: from now on its forms count in `cache`, and its age is measured from `published`.
    pub(crate) fn enter(&mut self, cache: &Arc<FormCache>, published: u64) {
        self.place.cache = Some(cache.clone());
        self.published = published;
    }

    /// Drops its forms. Readers that are writing them keep their own references.
    pub(crate) fn drop_forms(&self) {
        self.forms.store(None);
    }

    /// As [`drop_forms`](Self::drop_forms), for a message that is removed from its log. From now on it counts as one that only readers have.
    pub(crate) fn leave(&self) {
        let had_forms = self.forms.swap(None).is_some();
        let Some(cache) = &self.place.cache else { return };
        if had_forms {
            cache.leave(self.id, &self.draft.channel);
        }
        let bytes = self.footprint();
        if self.place.left.compare_exchange(0, bytes, Relaxed, Relaxed).is_ok() {
            cache.count_left(bytes);
        }
    }

    /// It was read from elsewhere for one reader, and is not in the log of `cache`.
    pub(crate) fn stay_out(&mut self, cache: &Arc<FormCache>) {
        self.place.cache = Some(cache.clone());
        self.leave();
    }

    /// Whether its log does not have it any more.
    #[must_use]
    pub fn has_left(&self) -> bool {
        self.place.left.load(Relaxed) > 0
    }
}

/// A message in its full form.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = Message))]
#[derive(Serialize)]
pub struct Whole<'a> {
    /// Its position in the order of all messages, and the cursor after it.
    id: Cursor,
    /// The channel it was published to.
    channel: &'a ChannelName,
    /// The event name; default `message`.
    event: &'a EventName,
    /// The data: any JSON, with numbers and keys as they were written.
    #[cfg_attr(feature = "openapi", schema(value_type = serde_json::Value))]
    data: &'a RawValue,
    /// The time of publication, in milliseconds since the Unix epoch.
    time: u64,
    /// The display name of the author, if a client of the chat sent it.
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<&'a str>,
    /// The verified `sub` of the publisher's token, if it had one and the reader may see it (`TRIDENT_SHOW_USER`).
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message").field("id", &self.id).field("draft", &self.draft).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
