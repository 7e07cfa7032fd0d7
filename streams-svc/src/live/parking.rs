//! Event streams that wait: their cohort sends the same events to all of them.

use std::{
    any::Any,
    task::{Context, Waker},
};

use bytes::Bytes;
use edge::stream::{AnyForm, ClientBytes, Live, Own as Parked, Parts, StreamSchedule};
use serde::Serialize;
use shared::{
    live::{
        clock::wall_clock,
        reader::{Batch, Reader},
    },
    pure::{Cursor, stream::MediaType},
};

use super::{Events, Own, Times, whole};
use crate::{cdn_cursor, event_data, offset::Offset};

/// A keep-alive.
pub(super) const KEEP_ALIVE: &str = ": keep-alive\n";
/// The beginning of an event with data.
pub(super) const DATA: &str = "event: data\n";

/// How events are encoded.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Form {
    /// The stream that is read. Another one may get its name.
    pub(super) created: Cursor,
    pub(super) content_type: MediaType,
    /// The least cursor of caches that the client may get. The present one is mostly greater.
    pub(super) cdn_cursor: u64,
}

/// The data of an event `control`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Control {
    stream_next_offset: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_cursor: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    up_to_date: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    stream_closed: bool,
}

impl Form {
    /// Whether an event has whole characters only.
    pub(super) fn is_characters(&self) -> bool {
        self.content_type.is_text() && self.content_type.is_utf8() && !self.content_type.is_json()
    }

    /// The event with the offset after those before it.
    pub(super) fn control(&self, next: Cursor, is_newest: bool, is_end: bool) -> String {
        let control = Control {
            stream_next_offset: Offset(next).to_string(),
            stream_cursor: (!is_end).then(|| self.cdn_cursor.max(cdn_cursor::current(wall_clock())).to_string()),
            up_to_date: is_newest,
            stream_closed: is_end,
        };
        // Texts and truth values always serialize.
        format!("event: control\ndata:{}\n\n", serde_json::to_string(&control).unwrap_or_default())
    }
}

impl AnyForm for Form {
    fn chunk(&self, batch: &Batch, is_newest: bool) -> Bytes {
        let Some(last) = batch.messages.last() else { return Bytes::new() };
        let mut chunk = DATA.as_bytes().to_vec();
        for piece in event_data::fields(&self.content_type, batch.messages.clone()) {
            chunk.extend_from_slice(&piece);
        }
        chunk.push(b'\n');
        chunk.extend_from_slice(self.control(last.id, is_newest, false).as_bytes());
        chunk.into()
    }

    fn keep_alive(&self) -> Bytes {
        KEEP_ALIVE.into()
    }

    fn is_whole(&self, batch: &Batch) -> bool {
        !self.is_characters() || whole(&batch.messages) == batch.messages.len()
    }

    fn is_same(&self, other: &dyn AnyForm) -> bool {
        let other: &dyn Any = other;
        other.downcast_ref::<Self>() == Some(self)
    }
}

impl Live for Events {
    fn can_park(&self) -> bool {
        self.has_begun && !self.has_ended && self.cut.is_empty() && self.rest.is_none() && self.reader.can_join()
    }

    fn is_ended(&self, cx: &Context<'_>) -> bool {
        self.own.slot.poll_end(cx).is_ready()
    }

    fn take_apart(self: Box<Self>) -> Parts {
        let Self { own, reader, mut form, next, times, .. } = *self;
        if form.cdn_cursor <= cdn_cursor::current(wall_clock()) {
            // From now on, those of all clients are the same.
            form.cdn_cursor = 0;
        }
        let (transport, times) = (own.slot.transport(), times.schedule);
        let own = Box::new(Waiting { own, form: form.clone(), next });
        Parts { reader, form: Box::new(form), transport, times, own }
    }
}

/// What is left of an event stream that waits.
struct Waiting {
    own: Own,
    form: Form,
    /// The offset after what was sent before it was parked.
    next: Cursor,
}

impl Parked for Waiting {
    fn resume(self: Box<Self>, reader: Reader, times: StreamSchedule, _: ClientBytes) -> Box<dyn Live> {
        let Self { own, form, next } = *self;
        // Unless there is more to read, and then the offset follows from that.
        let tail = own.in_use.tail(form.created).filter(|tail| *tail <= reader.cursor());
        Box::new(Events {
            own,
            reader: reader.with_copies(),
            form,
            next: tail.map_or(next, |tail| tail.max(next)),
            cut: Vec::new(),
            rest: None,
            times: Times::new(times),
            has_begun: true,
            has_ended: false,
        })
    }

    fn is_ended(&self) -> bool {
        self.own.slot.end().is_some()
    }

    fn wait_for_end(&self, waker: &Waker) {
        let _ = self.own.slot.poll_end(&Context::from_waker(waker));
    }
}
