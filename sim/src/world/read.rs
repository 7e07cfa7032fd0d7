//! Readers: clients that come, read slowly or fast, leave, and resume; and one that checks everything.

use std::{collections::BTreeSet, task::Poll};

use shared::{
    live::reader::{Batch, Limit, Reader},
    pure::{Cursor, Since},
};

use super::{CHANNELS, World, context, publish::name};
use crate::{
    model::{Entry, Place},
    time,
};

/// A client. It outlives the process.
pub(crate) struct Client {
    pub(crate) place: Place,
    /// Its subscription, while it is connected.
    pub(crate) reader: Option<Reader>,
    /// How much it takes at once.
    limit: Limit,
}

/// Reads without an end are an error after so many.
const MOST: usize = 20_000;

impl World {
    /// A new client of one channel or more, which begins at the oldest message, or now.
    pub(crate) fn join(&mut self) -> Result<(), String> {
        let first = self.random.index(CHANNELS.len());
        let channels: Vec<usize> =
            (0..CHANNELS.len()).filter(|channel| *channel == first || self.random.percent(40)).collect();
        let limit = Limit { messages: 1 + self.random.index(9), bytes: 1 + self.random.index(5_000) };
        let is_now = self.random.percent(50);
        let cursor = if is_now {
            let names: Vec<_> = channels.iter().map(|channel| name(*channel)).collect();
            Some(Reader::open(self.bus()?.log(), &names, Since::Now).cursor())
        } else {
            None
        };
        self.trace.line(format_args!("client {} reads {channels:?} from {cursor:?} on", self.clients.len()));
        let place = Place { may_have_read: true, ..Place::new(channels, cursor) };
        self.clients.push(Client { place, reader: None, limit });
        Ok(())
    }

    fn reader(&self, place: &Place) -> Result<Reader, String> {
        let names: Vec<_> = place.channels.iter().map(|channel| name(*channel)).collect();
        let since = place.cursor.map_or(Since::Earliest, Since::After);
        Ok(Reader::open(self.bus()?.log(), &names, since))
    }

    /// Reads everything from now on before each change of the disk, in the midst of what the process does.
    pub(crate) fn watch(&self) -> Result<(), String> {
        let names: Vec<_> = (0..CHANNELS.len()).map(name).collect();
        let mut reader = Reader::open(self.bus()?.log(), &names, Since::Now);
        let seen = self.seen.clone();
        self.disk.watch(move || {
            while let Some(batch) = reader.read(Limit::default()) {
                seen.lock().extend(batch.messages.iter().map(|message| message.id));
            }
        });
        Ok(())
    }

    /// A client reads once, and resumes if it was away.
    pub(crate) fn client(&mut self) -> Result<(), String> {
        if self.clients.is_empty() {
            return self.join();
        }
        let at = self.random.index(self.clients.len());
        self.client_reads(at).map(drop)
    }

    /// Whether it got something.
    fn client_reads(&mut self, at: usize) -> Result<bool, String> {
        let (mut place, limit) = (self.clients[at].place.clone(), self.clients[at].limit);
        let mut reader = match self.clients[at].reader.take() {
            Some(reader) => reader,
            None => self.reader(&place)?,
        };
        let polled = reader.poll_read(&context(), limit);
        let got = match polled {
            Poll::Pending => {
                let begins = place.cursor.is_none();
                if let (None, Some(cursor)) = (place.cursor, reader.place()) {
                    self.refresh_all(&place.channels)?;
                    self.model.begin(&mut place, cursor);
                }
                // Whoever begins may have got what it waits for by the look at what was removed.
                begins && place.cursor.is_some()
            }
            Poll::Ready(None) => return Err("the log is closed".to_owned()),
            Poll::Ready(Some(batch)) => {
                let ids: Vec<String> = batch.messages.iter().map(|message| message.id.to_string()).collect();
                let gap = batch.gap.as_ref().map(|gap| format!("{} to {}", gap.requested, gap.resumed));
                self.trace.line(format_args!("client {at} gets {ids:?}, gap {gap:?}, and is at {}", batch.cursor));
                self.got(&mut place, &batch)?;
                true
            }
        };
        self.clients[at].place = place;
        self.clients[at].reader = Some(reader);
        Ok(got)
    }

    /// A client leaves, for a while or for ever.
    pub(crate) fn leave(&mut self) {
        if self.clients.is_empty() {
            return;
        }
        let at = self.random.index(self.clients.len());
        if self.clients.len() > 3 && self.random.percent(40) {
            self.trace.line(format_args!("client {at} leaves for ever"));
            self.clients.remove(at);
        } else {
            self.trace.line(format_args!("client {at} leaves"));
            self.clients[at].reader = None;
        }
    }

    /// Compares what a reader got.
    fn got(&mut self, place: &mut Place, batch: &Batch) -> Result<(), String> {
        if batch.gap.is_some() || place.cursor.is_none() {
            // What was removed meanwhile is not known to the list.
            self.refresh_all(&place.channels)?;
        }
        self.model.check(place, batch, time::now().time_ms)
    }

    fn refresh_all(&mut self, channels: &[usize]) -> Result<(), String> {
        let all = if self.config.has_retention() { channels } else { &[] };
        all.iter().try_for_each(|channel| self.refresh(*channel))
    }

    /// Looks at what retention has left of a channel.
    pub(crate) fn refresh(&mut self, channel: usize) -> Result<(), String> {
        let there = self.stored(&[channel])?.into_iter().map(|(id, _)| id).collect::<BTreeSet<_>>();
        if self.config.is_memory {
            // The memory forgets the oldest messages of all channels together.
            let all: Vec<usize> = (0..CHANNELS.len()).collect();
            let oldest = self.stored(&all)?.first().map_or(Cursor::MAX, |(id, _)| *id);
            self.model.removed_up_to = oldest;
        }
        self.model.refresh(channel, &there, time::now().time_ms)
    }

    /// What retention has removed in this process. It removes a segment only if all of them exceed the limit.
    pub(crate) fn removals(&mut self) -> Result<(), String> {
        for removal in self.disk.take_removals() {
            let has_space = self.config.total.is_none_or(|total| removal.bytes <= total);
            if has_space && !self.model.are_over_limits(removal.up_to, time::now().time_ms) {
                return Err(format!("a segment was removed when the log had {} bytes", removal.bytes));
            }
            self.model.removed_up_to = self.model.removed_up_to.max(removal.up_to);
        }
        Ok(())
    }

    /// Serves one request for older messages.
    pub(crate) fn read_older(&mut self) -> bool {
        self.stepped().is_some_and(|stepped| stepped.read_older())
    }

    /// The ids and numbers of everything stored on `channels`.
    pub(crate) fn stored(&mut self, channels: &[usize]) -> Result<Vec<(Cursor, u64)>, String> {
        let mut reader = self.reader(&Place::new(channels.to_vec(), None))?;
        let mut all = Vec::new();
        self.drain(&mut reader, |_, batch| {
            for message in &batch.messages {
                let text = message.draft.payload.plain_json();
                let number =
                    Entry::number_of(&text).ok_or_else(|| format!("a message that was not sent: {text:.40}"))?;
                all.push((message.id, number));
            }
            Ok(())
        })?;
        Ok(all)
    }

    fn drain(
        &mut self,
        reader: &mut Reader,
        mut got: impl FnMut(&mut Self, &Batch) -> Result<(), String>,
    ) -> Result<(), String> {
        for _ in 0..MOST {
            match reader.poll_stored(&context(), Limit { messages: 16, bytes: usize::MAX }) {
                Poll::Pending if self.read_older() => {}
                Poll::Pending => return Err("a reader waits for older messages that nobody reads".to_owned()),
                Poll::Ready(None) => return Ok(()),
                Poll::Ready(Some(batch)) => got(self, &batch)?,
            }
        }
        Err("a reader reads without an end".to_owned())
    }

    /// Reads everything after some cursor, or from the oldest message on, and compares it.
    pub(crate) fn verify(&mut self) -> Result<(), String> {
        self.verify_states()?;
        let channel = self.random.index(CHANNELS.len());
        if self.config.has_retention() {
            self.refresh(channel)?;
        }
        let count = self.model.entries.len();
        let cursor = if count == 0 || self.random.percent(25) {
            None
        } else {
            let at = self.random.index(count);
            self.model.entries.keys().nth(at).copied()
        };
        let mut place = self.model.place(vec![channel], cursor);
        let mut reader = self.reader(&place)?;
        self.drain(&mut reader, |world, batch| world.model.check(&mut place, batch, time::now().time_ms))?;
        self.model.check_end(&place)
    }

    /// Every client reads to the end.
    pub(crate) fn end_readers(&mut self) -> Result<(), String> {
        for at in 0..self.clients.len() {
            let mut reads = 0;
            while self.client_reads(at)? || self.read_older() {
                reads += 1;
                if reads > MOST {
                    return Err(format!("client {at} reads without an end"));
                }
            }
            for channel in self.clients[at].place.channels.clone() {
                self.refresh(channel)?;
            }
            let waits = self.clients[at].reader.as_ref().is_some_and(Reader::is_waiting);
            self.trace.line(format_args!("client {at} has read everything, waits for the disk: {waits}"));
            self.model.check_end(&self.clients[at].place)?;
        }
        Ok(())
    }
}
