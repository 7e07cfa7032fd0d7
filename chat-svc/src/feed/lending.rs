//! The live reader is lent to a cohort of connections while its own is parked.
//!
//! Only the plan remains here. What changes the feed follows from a packet of the client, which has ended that: until the reader is back,
//! nothing else asks for it.

use std::sync::Arc;

use shared::{
    live::{log::Log, reader::Reader},
    pure::{Cursor, Publisher, Since},
};

use super::Feed;

/// The live reader, or its position while it is lent.
pub(super) struct Live {
    reader: Option<Box<Reader>>,
    at: Cursor,
    tag: u64,
}

impl Live {
    pub(super) fn new(reader: Reader) -> Self {
        Self { at: reader.cursor(), reader: Some(Box::new(reader)), tag: 0 }
    }

    /// The reader. Of one that is lent, another one that begins at its position: what is added to it is added to the lent one when that is back.
    pub(super) fn reader(&mut self, log: &Arc<Log>) -> &mut Reader {
        self.reader.get_or_insert_with(|| {
            log::error!("the channels of a parked connection change");
            Box::new(Reader::open(log, &[], Since::After(self.at)))
        })
    }

    /// Everything up to here has been returned, or belonged to other channels.
    pub(super) fn cursor(&self) -> Cursor {
        self.reader.as_ref().map_or(self.at, |reader| reader.cursor())
    }

    pub(super) fn is_lent(&self) -> bool {
        self.reader.is_none()
    }

    pub(super) fn is_gap(&self) -> bool {
        self.reader.as_ref().is_some_and(|reader| reader.is_gap())
    }
}

impl Feed {
    /// The tag of its connection in the registry.
    pub(crate) fn set_tag(&mut self, tag: u64) {
        self.live.tag = tag;
        if let Some(reader) = &self.live.reader {
            reader.set_tag(tag);
        }
    }

    /// For a client that does not support offsets.
    pub(crate) fn is_plain(&self) -> bool {
        self.is_plain
    }

    /// Whether the client gets the users who published messages.
    pub(crate) fn publisher(&self) -> Publisher {
        self.publisher
    }

    /// Whether only the live reader is needed, and all that it will return has its own position as its offset. The caller ensures that it
    /// has returned everything.
    pub(crate) fn can_lend(&self) -> bool {
        self.holds == 0
            && self.reading >= self.plan.catch_ups.len()
            && !self.log.is_closed()
            && self.live.reader.as_ref().is_some_and(|live| live.can_join() && live.cursor() >= self.settled())
    }

    /// Lends the live reader, if that [is possible](Self::can_lend).
    pub(crate) fn lend(&mut self) -> Option<Reader> {
        if !self.can_lend() {
            return None;
        }
        self.live.at = self.live.cursor();
        self.live.reader.take().map(|reader| *reader)
    }

    /// The borrower of the reader is here: an event gets its offset.
    pub(crate) fn lent_at(&mut self, at: Cursor) {
        self.live.at = at;
    }

    /// The reader is back.
    pub(crate) fn take_back(&mut self, mut reader: Reader) {
        for (channel, from) in &self.plan.channels {
            if !reader.reads(channel) {
                reader.add_from(channel, *from);
            }
        }
        reader.set_tag(self.live.tag);
        self.live.reader = Some(Box::new(reader));
        self.wake();
    }
}
