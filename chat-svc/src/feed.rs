//! What one socket reads: a cursor on the log for all its channels, and older places of which it is still to be shown what
//! came after.
//!
//! A subscription from now on joins the live reader. One from an older cursor first gets a reader of its own up to the
//! live one's place; while there is such a catch-up the live reader waits, so that each channel comes in order. Every
//! event carries an offset that says exactly what came before it: the live cursor alone, or with the number and the
//! cursor of the catch-up that it belongs to. With it and the list of catch-ups, which is kept with the session, a client
//! that was cut off goes on where it stopped.

use std::{
    collections::VecDeque,
    fmt,
    str::FromStr,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use serde::{Deserialize, Serialize};
use shared::{
    live::{
        log::Log,
        reader::{Batch, Limit, Reader},
    },
    pure::{ChannelName, Cursor, Since},
};
use socketio::EncodedPacket;

use crate::wire::{self, Event};

/// Catch-ups that a session remembers. A client whose offset belongs to an older one cannot be recovered.
const MOST_CATCH_UPS: usize = 32;

/// A catch-up as a session keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CatchUp {
    number: u64,
    channels: Vec<ChannelName>,
    /// From where; `None` is the oldest message held.
    since: Option<Cursor>,
    /// Up to where: the place of the live reader when it began.
    until: Cursor,
}

impl CatchUp {
    fn open(&self, log: &Arc<Log>) -> Reader {
        Reader::open(log, &self.channels, self.since.map_or(Since::Earliest, Since::After))
    }
}

/// What an event's offset says: everything before it has been seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Offset {
    live: Cursor,
    /// The catch-up that the event belongs to, and the place in it.
    catch_up: Option<(u64, Cursor)>,
}

impl Offset {
    /// The latest place that it names.
    pub(crate) fn cursor(&self) -> Cursor {
        self.live
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.catch_up {
            None => write!(f, "{}", self.live),
            Some((number, cursor)) => write!(f, "{}/{number}/{cursor}", self.live),
        }
    }
}

impl FromStr for Offset {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.split('/');
        let live = parts.next().and_then(|live| live.parse().ok()).ok_or(())?;
        let catch_up = match (parts.next(), parts.next(), parts.next()) {
            (None, ..) => None,
            (Some(number), Some(cursor), None) => {
                Some((number.parse().map_err(|_| ())?, cursor.parse().map_err(|_| ())?))
            }
            _ => return Err(()),
        };
        Ok(Self { live, catch_up })
    }
}

/// Messages ready to be sent, and how many of the events are messages and how many gaps.
#[derive(Default)]
pub(crate) struct Pulled {
    pub(crate) packets: Vec<EncodedPacket>,
    pub(crate) messages: usize,
    pub(crate) gaps: usize,
}

/// See the module.
pub(crate) struct Feed {
    log: Arc<Log>,
    live: Reader,
    /// Those that are under way, the first of them with its reader, and those of late that are done.
    catch_ups: VecDeque<CatchUp>,
    /// The catch-up that is read, by its place in the list.
    reading: usize,
    reader: Option<Reader>,
    next_number: u64,
    /// Who waits for more.
    waker: Option<Waker>,
    /// For a client that knows no offsets.
    is_plain: bool,
}

impl Feed {
    /// Reads `channels` from now on.
    pub(crate) fn open(log: &Arc<Log>, channels: &[ChannelName], is_plain: bool) -> Self {
        Self {
            log: log.clone(),
            live: Reader::open(log, channels, Since::Now),
            catch_ups: VecDeque::new(),
            reading: 0,
            reader: None,
            next_number: 0,
            waker: None,
            is_plain,
        }
    }

    /// Goes on after `offset`, with the catch-ups that the session remembers. `None` if it remembers too little.
    pub(crate) fn resume(
        log: &Arc<Log>,
        channels: &[ChannelName],
        catch_ups: Vec<CatchUp>,
        offset: Offset,
    ) -> Option<Self> {
        let live = Reader::open(log, channels, Since::After(offset.live));
        let mut feed = Self { live, ..Self::open(log, &[], false) };
        feed.next_number = catch_ups.last().map_or(0, |last| last.number + 1);
        feed.catch_ups = catch_ups.into();
        match offset.catch_up {
            Some((number, cursor)) => {
                feed.reading = feed.catch_ups.iter().position(|catch_up| catch_up.number == number)?;
                let at = feed.catch_ups.get(feed.reading)?;
                feed.reader = Some(Reader::open(log, &at.channels, Since::After(cursor)));
            }
            // A catch-up began after the last event that the client has if the live reader was not past it by then.
            None => {
                let begun = |catch_up: &CatchUp| catch_up.until >= offset.live;
                feed.reading = feed.catch_ups.iter().position(begun).unwrap_or(feed.catch_ups.len());
            }
        }
        Some(feed)
    }

    /// Whether something after its place is lost.
    pub(crate) fn is_gap(&self) -> bool {
        self.live.is_gap() || self.reader.as_ref().is_some_and(Reader::is_gap)
    }

    /// Where the live reader is.
    pub(crate) fn cursor(&self) -> Cursor {
        self.live.cursor()
    }

    /// The catch-ups that a session has to remember.
    pub(crate) fn catch_ups(&self) -> &VecDeque<CatchUp> {
        &self.catch_ups
    }

    /// How many channels are read.
    pub(crate) fn channels(&self) -> usize {
        self.live.channels().count()
    }

    /// Reads `channel` too, from the live place on.
    pub(crate) fn add(&mut self, channel: &ChannelName) {
        self.live.add(channel);
        self.wake();
    }

    /// Reads `channel` no longer. A catch-up that is under way goes on without it.
    pub(crate) fn remove(&mut self, channel: &ChannelName) {
        self.live.remove(channel);
        if let Some(reader) = &mut self.reader {
            reader.remove(channel);
        }
        for catch_up in &mut self.catch_ups {
            catch_up.channels.retain(|other| other != channel);
        }
    }

    /// Reads `channels` from `since` on: up to the live place for themselves, and then with the others.
    pub(crate) fn add_since(&mut self, channels: Vec<ChannelName>, since: Since) {
        for channel in &channels {
            self.live.add(channel);
        }
        let since = match since {
            Since::Now => None,
            Since::Earliest => Some(None),
            Since::After(cursor) => Some(Some(cursor)),
        };
        if let Some(since) = since {
            if self.catch_ups.len() == MOST_CATCH_UPS && self.reading > 0 {
                self.catch_ups.pop_front();
                self.reading -= 1;
            }
            let number = self.next_number;
            self.next_number += 1;
            self.catch_ups.push_back(CatchUp { number, channels, since, until: self.live.cursor() });
        }
        self.wake();
    }

    /// Whether more catch-ups are under way than a session remembers.
    pub(crate) fn is_full(&self) -> bool {
        self.catch_ups.len() >= MOST_CATCH_UPS && self.reading == 0
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// What comes next, about `budget` bytes of it.
    pub(crate) fn poll_pull(&mut self, cx: &Context<'_>, budget: usize) -> Poll<Pulled> {
        let limit = Limit { messages: 256, bytes: budget };
        while let Some(catch_up) = self.catch_ups.get(self.reading) {
            let (number, until) = (catch_up.number, catch_up.until);
            let reader = self.reader.get_or_insert_with(|| catch_up.open(&self.log));
            let batch = reader.read(limit);
            let cursor = reader.cursor();
            if cursor >= until {
                self.reading += 1;
                self.reader = None;
            }
            let pulled = batch.map(|batch| self.encode(&batch, Some((number, until)))).unwrap_or_default();
            if !pulled.packets.is_empty() {
                return Poll::Ready(pulled);
            }
        }
        match self.live.poll_read(cx, limit) {
            Poll::Ready(Some(batch)) => Poll::Ready(self.encode(&batch, None)),
            // A closed log is the end of the process, which ends the socket too.
            Poll::Ready(None) | Poll::Pending => {
                self.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    fn encode(&self, batch: &Batch, catch_up: Option<(u64, Cursor)>) -> Pulled {
        let mut pulled = Pulled::default();
        let live = self.live.cursor();
        let offset = |at: Cursor| match catch_up {
            _ if self.is_plain => None,
            None => Some(Offset { live: at, catch_up: None }.to_string()),
            Some((number, _)) => Some(Offset { live, catch_up: Some((number, at)) }.to_string()),
        };
        if let Some(gap) = &batch.gap {
            pulled.packets.push(wire::gap(gap, offset(gap.resumed).as_deref()));
            pulled.gaps += 1;
        }
        for message in &batch.messages {
            let packet = match catch_up {
                None => Event::of(message, self.is_plain),
                // What is newer comes from the live reader.
                Some((_, until)) if message.id > until => break,
                Some(_) => wire::event(message, offset(message.id).as_deref()),
            };
            pulled.packets.push(packet);
            pulled.messages += 1;
        }
        pulled
    }
}

impl fmt::Debug for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feed").field("live", &self.live).field("catch_ups", &self.catch_ups).finish_non_exhaustive()
    }
}
