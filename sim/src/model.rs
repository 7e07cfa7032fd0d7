//! The list: what was acknowledged, under which id, and what became of it. Every read is compared with it.

use std::collections::{BTreeMap, BTreeSet};

use shared::{
    live::reader::Batch,
    pure::{Cursor, Retention},
};

/// What becomes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Every reader gets it.
    There,
    /// Retention has removed it: a reader that misses it gets a gap.
    Removed,
    /// It was purged: the same.
    Purged,
    /// A power cut took it before it was durable, or a repair: it is as if it had never been, and a cursor after it is a gap.
    Vanished,
}

/// A message.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The number of its channel.
    pub channel: usize,
    /// The number of the message, unique in the run.
    pub number: u64,
    /// The length of its text.
    pub length: usize,
    /// What became of it.
    pub state: State,
    /// How many changes the disk had when it was acknowledged.
    pub changes: u64,
    /// When it was acknowledged, in milliseconds of simulated time since the begin of the run.
    pub at_ms: u64,
}

impl Entry {
    /// The text of message `number`.
    #[must_use]
    pub fn text(number: u64, length: usize) -> String {
        let letter = char::from(b'a' + u8::try_from(number % 26).unwrap_or_default());
        format!("{number}:{}", letter.to_string().repeat(length))
    }

    /// The number of the message in a text that was read.
    #[must_use]
    pub fn number_of(text: &str) -> Option<u64> {
        text.trim_matches('"').split_once(':')?.0.parse().ok()
    }
}

/// Where a reader is, and what it knows.
#[derive(Clone, Debug)]
pub struct Place {
    /// Its channels.
    pub channels: Vec<usize>,
    /// Its cursor; `None` for one that reads from the oldest message on.
    pub cursor: Option<Cursor>,
    /// Its cursor is none of this log any more: it gets a gap, and begins at the oldest message. What it lost.
    pub lost: Option<String>,
    /// Losses of these channels up to here were announced.
    pub announced: BTreeMap<usize, Cursor>,
    /// It may have read messages that were removed since.
    pub may_have_read: bool,
    /// It got a gap when something on the disk was damaged: what cannot be read may be left out.
    pub knows_damage: bool,
}

impl Place {
    /// A reader of `channels` after `cursor`.
    #[must_use]
    pub fn new(channels: Vec<usize>, cursor: Option<Cursor>) -> Self {
        Self { channels, cursor, lost: None, announced: BTreeMap::new(), may_have_read: false, knows_damage: false }
    }
}

/// Whether `id` is after the first cursor, up to the second one.
fn is_within(range: Option<(Cursor, Cursor)>, id: Cursor) -> bool {
    range.is_some_and(|(after, up_to)| id > after && id <= up_to)
}

/// See the module.
#[derive(Debug, Default)]
pub struct Model {
    /// All that was acknowledged, by id.
    pub entries: BTreeMap<Cursor, Entry>,
    /// The newest id that was handed out.
    pub newest: Cursor,
    /// The limits of each channel.
    pub limits: Retention,
    /// Cursors after the first, up to the second one, are none of this log any more.
    pub holes: Vec<(Cursor, Cursor)>,
    /// Up to where each channel was purged.
    pub purged: BTreeMap<usize, Cursor>,
    /// A segment or its index is damaged: its messages, those after the first cursor up to the second one, may be missing, if there is a gap.
    pub damaged: Option<(Cursor, Cursor)>,
    /// Retention may have removed messages up to here, and no others: those of the segments that it removed.
    pub removed_up_to: Cursor,
    /// The log begins here since a repair that left none of it: it knows no earlier cursor.
    pub begins_at: Cursor,
    /// Up to here, the limits of channels may have removed messages that are not in the list: their publishers got no answer.
    pub unlisted_up_to: Cursor,
    /// A full disk, or damage, let retention forget which channels lost something: each of them may have.
    pub may_exaggerate: bool,
}

impl Model {
    /// The messages of some channels after a cursor, up to another one.
    fn range(&self, channels: &[usize], after: Cursor, up_to: Cursor) -> impl Iterator<Item = (&Cursor, &Entry)> {
        let channels = channels.to_vec();
        let all = self.entries.iter().filter(move |(id, _)| **id > after && **id <= up_to);
        all.filter(move |(_, entry)| channels.contains(&entry.channel))
    }

    /// The newest message of a channel.
    #[must_use]
    pub fn newest_of(&self, channel: usize) -> Option<Cursor> {
        self.entries.iter().rev().find(|(_, entry)| entry.channel == channel).map(|(id, _)| *id)
    }

    /// A message was acknowledged.
    ///
    /// # Errors
    /// If its id is not greater than all that were handed out.
    pub fn add(&mut self, id: Cursor, entry: Entry) -> Result<(), String> {
        if id <= self.newest {
            return Err(format!("the id {id} is not greater than {}, which was handed out before", self.newest));
        }
        self.newest = id;
        self.entries.insert(id, entry);
        Ok(())
    }

    /// Whether `cursor` is none of this log any more.
    #[must_use]
    pub fn is_lost(&self, cursor: Cursor) -> bool {
        self.holes.iter().any(|(after, up_to)| cursor > *after && cursor <= *up_to)
    }

    /// What a reader that begins at `cursor` may lose first.
    #[must_use]
    pub fn place(&self, channels: Vec<usize>, cursor: Option<Cursor>) -> Place {
        let lost = cursor.filter(|cursor| self.is_lost(*cursor)).map(|cursor| format!("{cursor} is in a lost part"));
        Place { lost, ..Place::new(channels, cursor) }
    }

    /// Up to which message the limits of a channel may have removed some, at this time of day.
    fn over_limits(&self, channel: usize, now_ms: u64) -> Cursor {
        let stored = self.entries.iter().rev();
        let mut stored = stored.filter(|(_, entry)| entry.channel == channel && entry.state != State::Vanished);
        let by_count = self.limits.count.and_then(|count| stored.nth(count)).map(|(id, _)| *id);
        let by_age = self.limits.age_ms.map(|age_ms| Cursor::new(now_ms.saturating_sub(age_ms), u64::MAX));
        by_count.max(by_age).unwrap_or_default()
    }

    /// Whether the limits of channels may have removed everything up to here.
    #[must_use]
    pub fn are_over_limits(&self, up_to: Cursor, now_ms: u64) -> bool {
        let mut stored = self.entries.range(..=up_to).filter(|(_, entry)| entry.state == State::There);
        stored.all(|(id, entry)| *id <= self.over_limits(entry.channel, now_ms))
    }

    /// What was read from `channel` from its oldest message on: what is missing there was removed.
    ///
    /// # Errors
    /// If nothing may remove it.
    pub fn refresh(&mut self, channel: usize, there: &BTreeSet<Cursor>, now_ms: u64) -> Result<(), String> {
        let removed_up_to = self.removed_up_to.max(self.over_limits(channel, now_ms));
        let oldest = there.first().copied().unwrap_or(Cursor::MAX);
        let damaged = self.damaged;
        for (id, entry) in &mut self.entries {
            if entry.channel != channel || entry.state != State::There || there.contains(id) {
                continue;
            }
            // Where a limit is cannot be found in what is damaged, so older ones may be there.
            if is_within(damaged, *id) && (*id > removed_up_to || *id > oldest) {
                continue;
            }
            if *id > removed_up_to || *id > oldest {
                return Err(format!("message {} under {id} was acknowledged and is lost", entry.number));
            }
            entry.state = State::Removed;
        }
        Ok(())
    }

    /// A reader at `place` got `batch`.
    ///
    /// # Errors
    /// What it should not have got, or should have.
    pub fn check(&self, place: &mut Place, batch: &Batch, now_ms: u64) -> Result<(), String> {
        let is_gap = batch.gap.is_some();
        let lost = place.lost.take();
        if let (Some(lost), false) = (&lost, is_gap) {
            return Err(format!("a reader got no gap although {lost}"));
        }
        let base = match place.cursor {
            // A gap at a cursor of another log begins at the oldest message.
            Some(cursor) if lost.is_none() => cursor,
            _ => Cursor::ZERO,
        };
        let may_skip = is_gap || place.cursor.is_none();
        let mut got = BTreeSet::new();
        let mut before = base;
        for message in &batch.messages {
            let id = message.id;
            if id <= before {
                return Err(format!("a reader got {id} after {before}"));
            }
            before = id;
            got.insert(id);
            let text = message.draft.payload.plain_json();
            let Some(entry) = self.entries.get(&id) else {
                return Err(format!("a reader got {id}, which was not acknowledged: {:.40}", text));
            };
            let expected = Entry::text(entry.number, entry.length);
            let is_text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) == Some(&*expected);
            if !is_text || !place.channels.contains(&entry.channel) {
                return Err(format!("a reader got another message than {} under {id}: {:.40}", entry.number, text));
            }
            // A limit of count that cannot be found in what is damaged keeps more.
            let may_return = self.damaged.is_some() && self.limits.count.is_some();
            let has_read = (place.may_have_read || may_return) && entry.state == State::Removed;
            if entry.state != State::There && !has_read {
                return Err(format!("a reader got message {} under {id}, which is {:?}", entry.number, entry.state));
            }
        }
        for (id, entry) in self.range(&place.channels, base, batch.cursor) {
            let is_announced = place.announced.get(&entry.channel).is_some_and(|up_to| id <= up_to);
            let missing = match entry.state {
                // The disk may have removed what the memory of the process still has.
                State::There if may_skip && *id <= self.over_limits(entry.channel, now_ms) => false,
                State::There
                    if *id <= self.removed_up_to
                        && may_skip
                        && batch.messages.first().is_none_or(|one| *id < one.id) =>
                {
                    false
                }
                State::There => !got.contains(id) && !((is_gap || place.knows_damage) && is_within(self.damaged, *id)),
                State::Removed | State::Purged => {
                    !is_gap && !is_announced && place.cursor.is_some() && !got.contains(id)
                }
                State::Vanished => false,
            };
            if missing {
                let (number, state) = (entry.number, entry.state);
                return Err(format!(
                    "a reader at {base} missed message {number} under {id}, which is {state:?}, with {} up to {}",
                    if is_gap { "a gap" } else { "no gap" },
                    batch.cursor
                ));
            }
        }
        if is_gap {
            if lost.is_none() {
                self.justify(place)?;
            }
            place.knows_damage |= self.damaged.is_some();
        }
        if is_gap || place.cursor.is_none() {
            self.announce(place);
        }
        place.cursor = Some(batch.cursor);
        Ok(())
    }

    /// A reader that begins at the oldest message has begun, at `cursor`, and got nothing.
    pub fn begin(&self, place: &mut Place, cursor: Cursor) {
        self.announce(place);
        place.cursor = Some(cursor);
    }

    /// All that was removed until now is known to a reader, or was never requested.
    fn announce(&self, place: &mut Place) {
        for channel in place.channels.clone() {
            let removed =
                self.entries.iter().rev().find(|(_, entry)| {
                    entry.channel == channel && matches!(entry.state, State::Removed | State::Purged)
                });
            let up_to = removed.map_or(Cursor::ZERO, |(id, _)| *id);
            let announced = place.announced.entry(channel).or_default();
            *announced = up_to.max(*announced);
        }
    }

    /// A gap needs a reason.
    fn justify(&self, place: &Place) -> Result<(), String> {
        let cursor = place.cursor.unwrap_or_default();
        let purged = self.purged.values().copied().max().unwrap_or_default();
        let is_exaggerated = self.may_exaggerate && cursor < self.removed_up_to.max(purged);
        let is_unknown = cursor < self.begins_at.max(self.unlisted_up_to);
        if is_exaggerated || is_unknown || self.damaged.is_some_and(|(_, up_to)| cursor < up_to) {
            return Ok(());
        }
        if place.cursor.is_none() {
            return Err("a reader from the oldest message on got a gap, and nothing was damaged".to_owned());
        }
        let is_removed = |(_, entry): (&Cursor, &Entry)| matches!(entry.state, State::Removed | State::Purged);
        let is_lost = self.range(&place.channels, cursor, Cursor::MAX).any(is_removed)
            || place.channels.iter().any(|channel| self.purged.get(channel).is_some_and(|up_to| cursor < *up_to));
        if is_lost {
            return Ok(());
        }
        Err(format!("a reader at {cursor} got a gap, and nothing of it was lost"))
    }

    /// Everything was read: nothing that is there may be left.
    ///
    /// # Errors
    /// What is left.
    pub fn check_end(&self, place: &Place) -> Result<(), String> {
        let after = place.cursor.unwrap_or_default();
        if let Some(lost) = &place.lost {
            return Err(format!("a reader got no gap although {lost}"));
        }
        match self.range(&place.channels, after, Cursor::MAX).find(|(_, entry)| entry.state == State::There) {
            Some((id, entry)) => {
                Err(format!("a reader at {after} waits, and message {} is there under {id}", entry.number))
            }
            None => Ok(()),
        }
    }
}
