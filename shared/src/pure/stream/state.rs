//! The state of one stream: everything but its messages.

use serde::{Deserialize, Serialize};

use super::{
    Create, End, EndReason, Fork, Lifecycle, Lifetime, MediaType, Producer, StreamError, StreamInfo,
    producers::Producers,
};
use crate::pure::Cursor;

/// The memory of a stream without messages besides its names, in bytes.
const OVERHEAD: usize = 512;

/// See the module.
#[derive(Clone, Debug)]
pub struct StreamState {
    pub(super) content_type: MediaType,
    lifetime: Lifetime,
    /// What was asked for, which a repeated creation has to repeat.
    asked: Requested,
    created: Cursor,
    start: Cursor,
    pub(super) tail: Cursor,
    pub(super) closing: Option<Closing>,
    pub(super) seq: Option<Box<str>>,
    pub(super) producers: Producers,
    /// When it was last used, by the monotonic clock.
    pub(super) renewed_ms: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Requested {
    lifetime: Lifetime,
    fork: Option<Fork>,
}

/// How it was closed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Closing {
    at: Cursor,
    pub(super) by: Option<Producer>,
}

/// A state as it is stored. Its times are those of the time of day, in milliseconds since the Unix epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedState {
    content_type: MediaType,
    lifetime: Lifetime,
    asked: Requested,
    created: Cursor,
    start: Cursor,
    tail: Cursor,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    closing: Option<Closing>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seq: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    producers: Vec<(Producer, u64)>,
    used_ms: u64,
}

impl SavedState {
    /// The position at which the stream was created.
    #[must_use]
    pub fn created(&self) -> Cursor {
        self.created
    }

    /// The stream that it was forked from.
    #[must_use]
    pub fn fork(&self) -> Option<&Fork> {
        self.asked.fork.as_ref()
    }

    /// The stream is created at `created`. One that begins with what it inherits keeps where that begins and ends.
    pub(super) fn create_at(&mut self, created: Cursor) {
        for position in [&mut self.start, &mut self.tail] {
            if *position == self.created {
                *position = created;
            }
        }
        self.created = created;
    }

    /// The newest position that it has: that of its creation, its last message or its closing.
    #[must_use]
    pub fn last(&self) -> Cursor {
        let closed = self.closing.as_ref().map(|closing| closing.at);
        self.created.max(self.tail).max(closed.unwrap_or_default())
    }
}

/// Whether an append is new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// It is to be made.
    New,
    /// It was made before; with the highest sequence of its producer.
    Repeated(Option<u64>),
}

impl StreamState {
    /// The state of a new stream without messages at `created`. A fork inherits from its source, and has its own `start` and `tail`
    /// ([`inherit`](Self::inherit)).
    #[must_use]
    pub fn new(create: &Create, source: Option<&StreamInfo>, created: Cursor, mono_ms: u64) -> Self {
        let inherited = source.map(|source| source.content_type.clone());
        let content_type = create.content_type.clone().or(inherited).unwrap_or_else(MediaType::bytes);
        let lifetime = match (create.lifetime, source) {
            (Lifetime::Unlimited, Some(source)) => source.lifetime,
            (lifetime, _) => lifetime,
        };
        Self {
            content_type,
            lifetime,
            asked: Requested { lifetime: create.lifetime, fork: create.fork.clone() },
            created,
            start: created,
            tail: created,
            closing: None,
            seq: None,
            producers: Producers::default(),
            renewed_ms: mono_ms,
        }
    }

    /// The state to be stored; `time` is the time of day at a moment of the monotonic clock.
    #[must_use]
    pub fn save(&self, time: impl Fn(u64) -> u64) -> SavedState {
        let Self { content_type, lifetime, asked, created, start, tail, closing, seq, producers, renewed_ms } = self;
        SavedState {
            content_type: content_type.clone(),
            lifetime: *lifetime,
            asked: asked.clone(),
            created: *created,
            start: *start,
            tail: *tail,
            closing: closing.clone(),
            seq: seq.clone(),
            producers: producers.save(&time),
            used_ms: time(*renewed_ms),
        }
    }

    /// A state that was stored; `mono` is the moment of the monotonic clock at a time of day.
    #[must_use]
    pub fn restore(saved: &SavedState, mono: impl Fn(u64) -> u64) -> Self {
        let mut producers = Producers::default();
        saved.producers.iter().for_each(|(producer, used_ms)| producers.accept(producer, mono(*used_ms)));
        Self {
            content_type: saved.content_type.clone(),
            lifetime: saved.lifetime,
            asked: saved.asked.clone(),
            created: saved.created,
            start: saved.start,
            tail: saved.tail,
            closing: saved.closing.clone(),
            seq: saved.seq.clone(),
            producers,
            renewed_ms: mono(saved.used_ms),
        }
    }

    /// Sets the first position, and the newest message that it has.
    pub fn inherit(&mut self, start: Cursor, tail: Cursor) {
        (self.start, self.tail) = (start, tail);
    }

    /// Whether `create` asks for this stream.
    ///
    /// # Errors
    /// What differs.
    pub fn require_same(&self, create: &Create) -> Result<(), StreamError> {
        let differs = if create.content_type.clone().unwrap_or_else(|| self.default_type(create)) != self.content_type {
            "Content-Type"
        } else if create.lifetime != self.asked.lifetime {
            "Stream-TTL or Stream-Expires-At"
        } else if create.fork != self.asked.fork {
            "Stream-Forked-From, Stream-Fork-Offset or Stream-Fork-Sub-Offset"
        } else if create.is_closed != self.closing.is_some() {
            "Stream-Closed"
        } else {
            return Ok(());
        };
        Err(StreamError::Exists(differs))
    }

    /// The type of a creation that names none: that of the source, which this stream has if it is a fork.
    fn default_type(&self, create: &Create) -> MediaType {
        if create.fork.is_some() { self.content_type.clone() } else { MediaType::bytes() }
    }

    /// Advances the position of the newest message to `tail`, if it is not there already.
    pub fn advance(&mut self, tail: Cursor, mono_ms: u64) {
        self.tail = self.tail.max(tail);
        self.renew(mono_ms);
    }

    /// Closes the stream at `at`; `by` is the producer that closed it, if any.
    pub fn close(&mut self, at: Cursor, by: Option<Producer>) {
        self.closing = Some(Closing { at, by });
    }

    /// Restarts the idle timeout.
    pub fn renew(&mut self, mono_ms: u64) {
        self.renewed_ms = self.renewed_ms.max(mono_ms);
    }

    /// When it was last used, by the monotonic clock.
    #[must_use]
    pub fn renewed(&self) -> u64 {
        self.renewed_ms
    }

    /// After how many milliseconds of use its idle time is stored again: a tenth of its lifetime. `None` if its lifetime does not depend on use.
    #[must_use]
    pub fn renewal(&self) -> Option<u64> {
        match self.lifetime {
            Lifetime::Idle(secs) => Some(secs.saturating_mul(100)),
            Lifetime::Unlimited | Lifetime::Until(_) => None,
        }
    }

    /// For how many milliseconds it lives on if nobody uses it; `None` without limit.
    #[must_use]
    pub fn left(&self, time_ms: u64, mono_ms: u64) -> Option<u64> {
        self.left_after(self.renewed_ms, time_ms, mono_ms)
    }

    /// The same if it was last used at `used_ms` of the monotonic clock.
    #[must_use]
    pub fn left_after(&self, used_ms: u64, time_ms: u64, mono_ms: u64) -> Option<u64> {
        match self.lifetime {
            Lifetime::Unlimited => None,
            Lifetime::Idle(secs) => Some(used_ms.saturating_add(secs.saturating_mul(1_000)).saturating_sub(mono_ms)),
            Lifetime::Until(until_ms) => Some(until_ms.saturating_sub(time_ms)),
        }
    }

    /// What readers know of it.
    #[must_use]
    pub fn info(&self) -> StreamInfo {
        let Self { content_type, lifetime, created, start, tail, .. } = self;
        let end = self.closing.as_ref().map(|closing| closing.at);
        StreamInfo {
            content_type: content_type.clone(),
            lifetime: *lifetime,
            created: *created,
            start: *start,
            tail: *tail,
            end,
        }
    }

    /// What connected readers see of it.
    #[must_use]
    pub fn lifecycle(&self) -> Lifecycle {
        let end = self.closing.as_ref().map(|closing| End { id: closing.at, reason: EndReason::Closed });
        Lifecycle { created: self.created, end }
    }

    /// The stream that it was forked from.
    #[must_use]
    pub fn fork(&self) -> Option<&Fork> {
        self.asked.fork.as_ref()
    }

    /// Bytes of memory.
    #[must_use]
    pub fn footprint(&self) -> usize {
        let source = self.fork().map_or(0, |fork| fork.source.len());
        let seq = self.seq.as_ref().map_or(0, |seq| seq.len());
        OVERHEAD + self.content_type.as_str().len() + source + seq + self.producers.footprint()
    }
}

impl StreamInfo {
    /// Whether it can be the source of `create`.
    ///
    /// # Errors
    /// When the content types differ, or the fork would begin after its end.
    pub fn require_source(&self, create: &Create, fork: &Fork) -> Result<(), StreamError> {
        if create.content_type.as_ref().is_some_and(|asked| *asked != self.content_type) {
            return Err(StreamError::ContentType(self.content_type.clone()));
        }
        if fork.at.is_some_and(|at| at > self.tail) { Err(StreamError::ForkOffset) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn create(content_type: Option<&str>, lifetime: Lifetime) -> Create {
        Create {
            channel: "s".parse().unwrap(),
            content_type: content_type.map(|text| text.parse().unwrap()),
            lifetime,
            is_closed: false,
            payloads: Vec::new(),
            fork: None,
            user: None,
            owner: None,
        }
    }

    fn fork(create: Create) -> Create {
        Create { fork: Some(Fork { source: "source".parse().unwrap(), at: None, sub: 0 }), ..create }
    }

    const AT: Cursor = Cursor::new(5, 0);

    #[test]
    fn a_state_is_restored_as_it_was_saved() {
        let mut state =
            StreamState::new(&fork(create(Some("text/csv; header=\"x\""), Lifetime::Idle(60))), None, AT, 7);
        state.inherit(Cursor::new(1, 0), Cursor::new(4, 2));
        for (id, epoch, seq) in [("b", 3, 0), ("a\n\"", 0, 0), ("b", 3, 1)] {
            let producer = Producer { id: id.into(), epoch, seq };
            state.accept(Some(&producer), Some("9"), 1_000);
            state.advance(Cursor::new(8, 0), 1_000);
        }
        state.close(Cursor::new(9, 0), Some(Producer { id: "b".into(), epoch: 3, seq: 1 }));
        // The monotonic clock is 500 ms behind the time of day, and 200 in the next process.
        let saved = state.save(|mono_ms| mono_ms + 500);
        let json = serde_json::to_string(&saved).unwrap();
        assert_eq!(serde_json::from_str::<SavedState>(&json).unwrap(), saved);
        assert_eq!((saved.created(), saved.last()), (AT, Cursor::new(9, 0)));
        let restored = StreamState::restore(&saved, |time_ms| time_ms - 200);
        assert_eq!((restored.info(), restored.fork()), (state.info(), state.fork()));
        assert_eq!(restored.info().content_type.as_str(), "text/csv; header=\"x\"", "as it was written");
        assert_eq!(restored.left(0, 1_300), Some(60_000), "it was used at 1300 of the new clock");
        assert_eq!(restored.save(|mono_ms| mono_ms + 200), saved);
    }

    #[test]
    fn a_repeated_creation_has_to_ask_for_the_same() {
        let json = create(Some("application/json"), Lifetime::Idle(60));
        let mut state = StreamState::new(&json, None, AT, 0);
        assert_eq!(state.require_same(&json), Ok(()));
        let differs = |other: &Create| state.require_same(other).unwrap_err();
        assert_eq!(differs(&create(None, Lifetime::Idle(60))), StreamError::Exists("Content-Type"));
        let other = create(Some("application/json"), Lifetime::Idle(61));
        assert_eq!(differs(&other), StreamError::Exists("Stream-TTL or Stream-Expires-At"));
        assert!(
            matches!(differs(&fork(json.clone())), StreamError::Exists(what) if what.contains("Stream-Forked-From"))
        );
        state.close(AT, None);
        assert_eq!(state.require_same(&json), Err(StreamError::Exists("Stream-Closed")));
        assert_eq!(state.require_same(&Create { is_closed: true, ..json }), Ok(()));
    }

    #[test]
    fn a_fork_inherits_the_type_and_the_lifetime() {
        let source = StreamState::new(&create(Some("text/csv"), Lifetime::Idle(60)), None, AT, 0);
        for (asked, expected) in [
            (Lifetime::Unlimited, Lifetime::Idle(60)),
            (Lifetime::Idle(5), Lifetime::Idle(5)),
            (Lifetime::Until(9), Lifetime::Until(9)),
        ] {
            let asked = fork(create(None, asked));
            let state = StreamState::new(&asked, Some(&source.info()), AT, 0);
            assert_eq!((state.info().lifetime, state.info().content_type.as_str()), (expected, "text/csv"));
            assert_eq!(state.require_same(&asked), Ok(()), "the same creation again");
        }
    }

    #[test]
    fn an_idle_lifetime_begins_again_at_each_use_and_the_other_does_not() {
        let mut idle = StreamState::new(&create(None, Lifetime::Idle(2)), None, AT, 10_000);
        assert_eq!(idle.left(0, 11_500), Some(500));
        idle.renew(11_500);
        assert_eq!((idle.left(0, 13_000), idle.left(0, 14_000)), (Some(500), Some(0)));
        let mut until = StreamState::new(&create(None, Lifetime::Until(20_000)), None, AT, 0);
        until.renew(19_000);
        assert_eq!((until.left(19_999, 0), until.left(20_000, 0)), (Some(1), Some(0)));
        assert_eq!(StreamState::new(&create(None, Lifetime::Idle(0)), None, AT, 0).left(0, 0), Some(0));
    }
}
