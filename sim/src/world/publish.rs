//! Publishers: what they send, and what they are answered.

use std::{future::Future, pin::Pin, task::Poll};

use shared::{
    live::bus::{BusError, IdempotencyKey, Publication, Published},
    pure::{ChannelName, Cursor, Draft, Payload},
};

use super::{CHANNELS, World, context};
use crate::{
    disk::Failures,
    model::{Entry, State},
    states::Change,
};

/// A message that was sent.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) channel: usize,
    pub(crate) number: u64,
    pub(crate) length: usize,
}

/// A publication with a key, which may be repeated.
#[derive(Clone, Debug)]
pub(crate) struct Keyed {
    pub(crate) sent: Vec<Sent>,
    /// Its ids, if it was added.
    pub(crate) ids: Option<Vec<Cursor>>,
    pub(crate) at_ms: u64,
    /// It is unknown whether the key has expired.
    pub(crate) is_vague: bool,
}

/// What waits for its answer.
pub(crate) struct Waiting {
    pub(crate) answer: Pin<Box<dyn Future<Output = Result<Published, BusError>>>>,
    pub(crate) sent: Vec<Sent>,
    pub(crate) key: Option<u64>,
    pub(crate) purge: Option<(usize, Cursor)>,
    pub(crate) state: Option<Change>,
    /// How often the disk had failed when it was sent.
    pub(crate) failures: Failures,
}

/// The bytes of a purge among the states of the log: a name of one byte, an id and a time.
const PURGE_BYTES: u64 = 96 + 1 + 16 + 8;
/// A table of states has at most this part of a segment.
pub(crate) const PART_OF_SEGMENT: u64 = 8;
/// A key is surely known for so long, in milliseconds.
const KEY_MS: u64 = 200_000;

pub(crate) fn name(channel: usize) -> ChannelName {
    // The names are valid.
    CHANNELS[channel].parse().unwrap_or_else(|_| unreachable!("a name of the simulation"))
}

impl World {
    /// Sends one publication.
    pub(crate) fn publish(&mut self) -> Result<(), String> {
        let count = 1 + self.random.index(3);
        let sent: Vec<Sent> = (0..count)
            .map(|_| {
                self.number += 1;
                let most = [40, 300, 1_500, 6_000][self.random.index(100).saturating_sub(60) / 13];
                Sent {
                    channel: self.random.index(CHANNELS.len()),
                    number: self.number,
                    length: self.random.index(most),
                }
            })
            .collect();
        let key = self.random.percent(25).then_some(self.number);
        if let Some(key) = key {
            self.keyed.insert(key, Keyed { sent: sent.clone(), ids: None, at_ms: self.elapsed_ms, is_vague: false });
        }
        self.send(sent, key)
    }

    /// Repeats a publication with its key.
    pub(crate) fn repeat(&mut self) -> Result<(), String> {
        let elapsed_ms = self.elapsed_ms;
        self.keyed.retain(|_, keyed| keyed.at_ms + KEY_MS > elapsed_ms);
        let is_waiting = |key: &u64| self.waiting.iter().any(|waiting| waiting.key == Some(*key));
        let keys: Vec<u64> = self.keyed.keys().filter(|key| !is_waiting(key)).copied().collect();
        if keys.is_empty() {
            return Ok(());
        }
        let key = keys[self.random.index(keys.len())];
        let sent = self.keyed[&key].sent.clone();
        self.send(sent, Some(key))
    }

    fn send(&mut self, sent: Vec<Sent>, key: Option<u64>) -> Result<(), String> {
        let numbers: Vec<u64> = sent.iter().map(|sent| sent.number).collect();
        self.trace.line(format_args!("publish {numbers:?}, key {key:?}"));
        let draft =
            |sent: &Sent| Draft::new(name(sent.channel), Payload::from_text(&Entry::text(sent.number, sent.length)));
        let key_of = |key: u64| IdempotencyKey { scope: "sim".to_owned(), key: key.to_string() };
        let publication = Publication::new(sent.iter().map(draft).collect()).with_key(key.map(key_of));
        let bus = self.bus()?;
        let answer = Box::pin(async move { bus.publish(publication).await });
        self.waiting.push(Waiting { answer, sent, key, purge: None, state: None, failures: self.disk.failures() });
        // It is in the queue from now on.
        self.answers()
    }

    /// Purges a channel.
    pub(crate) fn purge(&mut self) -> Result<(), String> {
        let channel = self.random.index(CHANNELS.len());
        let newest = self.model.newest_of(channel).unwrap_or_default();
        self.trace.line(format_args!("purge {} up to {newest}", CHANNELS[channel]));
        let bus = self.bus()?;
        let answer = Box::pin(async move {
            bus.purge(name(channel)).await.map(|up_to| Published { ids: vec![up_to], is_repeat: false })
        });
        let (purge, failures) = (Some((channel, newest)), self.disk.failures());
        self.waiting.push(Waiting { answer, sent: Vec::new(), key: None, purge, state: None, failures });
        self.answers()
    }

    /// Takes the answers that are there.
    pub(crate) fn answers(&mut self) -> Result<(), String> {
        let guard = self.runtime.enter();
        let all = std::mem::take(&mut self.waiting);
        let mut answered = Vec::new();
        let mut left = Vec::new();
        for mut waiting in all {
            match waiting.answer.as_mut().poll(&mut context()) {
                Poll::Pending => left.push(waiting),
                Poll::Ready(answer) => answered.push((waiting, answer)),
            }
        }
        self.waiting = left;
        drop(guard);
        answered.into_iter().try_for_each(|(waiting, answer)| self.answered(waiting, answer))
    }

    fn answered(&mut self, waiting: Waiting, answer: Result<Published, BusError>) -> Result<(), String> {
        match (answer, waiting.purge) {
            (Ok(published), Some((channel, newest))) => {
                let up_to = published.ids.first().copied().unwrap_or_default();
                self.trace.line(format_args!("purged {}", CHANNELS[channel]));
                self.has_purged(channel, newest, up_to);
                Ok(())
            }
            (Ok(_), None) if waiting.state.is_some() => {
                self.trace.line(format_args!("stored"));
                waiting.state.iter().for_each(|change| self.state_changed(change, false));
                Ok(())
            }
            (Ok(published), None) => self.acknowledged(&waiting.sent, waiting.key, &published),
            (Err(error), _) if !self.has_cause(&error, &waiting) => Err(format!("an answer without a cause: {error}")),
            (Err(BusError::Unknown(why)), _) => {
                self.trace.line(format_args!("unknown: {why}"));
                self.forget(waiting);
                Ok(())
            }
            (Err(error), _) => {
                self.trace.line(format_args!("refused: {error}"));
                Ok(())
            }
        }
    }

    /// It is unknown whether it was done.
    pub(crate) fn forget(&mut self, waiting: Waiting) {
        self.unknown.push((waiting.sent, waiting.key));
        self.purging.extend(waiting.purge);
        waiting.state.iter().for_each(|change| self.state_changed(change, true));
    }

    /// Whether something happened since it was sent, or is as it is, that has to be answered so.
    fn has_cause(&self, error: &BusError, waiting: &Waiting) -> bool {
        let failures = self.disk.failures();
        // The process ends then.
        let is_ending = failures.sync > self.failures.sync;
        match error {
            BusError::Unknown(_) => self.is_dead || is_ending,
            BusError::DiskFull(_) => failures.full > waiting.failures.full,
            BusError::Unavailable(_) => failures.write > waiting.failures.write || is_ending,
            BusError::StatesFull(_) if waiting.state.is_some() => {
                waiting.state.as_ref().is_some_and(|change| self.may_be_full(change.table))
            }
            BusError::StatesFull(_) => waiting.purge.is_some_and(|(channel, _)| {
                // Purges whose bytes may still be on disk.
                let others = self.model.purged.keys().chain(self.purging.iter().map(|(other, _)| other));
                let mut all: Vec<usize> = others.copied().chain([channel]).collect();
                all.sort_unstable();
                all.dedup();
                all.len() as u64 * PURGE_BYTES > self.config.segment_bytes / PART_OF_SEGMENT
            }),
            _ => false,
        }
    }

    fn acknowledged(&mut self, sent: &[Sent], key: Option<u64>, published: &Published) -> Result<(), String> {
        self.trace.line(format_args!("acknowledged {:?}, repeat {}", texts(published), published.is_repeat));
        self.acknowledged += 1;
        if published.ids.len() != sent.len() {
            return Err(format!("{} messages have {} ids", sent.len(), published.ids.len()));
        }
        let is_vague = |keyed: &Keyed| keyed.is_vague || keyed.at_ms + KEY_MS < self.elapsed_ms;
        let before = match key.and_then(|key| self.keyed.remove(&key).filter(|keyed| !is_vague(keyed))) {
            Some(keyed) => {
                let before = keyed.ids.clone();
                self.keyed.extend(key.map(|key| (key, keyed)));
                before
            }
            // It may be repeated once only.
            None if published.is_repeat => return Ok(()),
            None => None,
        };
        if before.as_ref().is_some_and(|before| *before != published.ids) || before.is_some() != published.is_repeat {
            return Err(format!("a publication with a key got {:?}, and before {before:?}", texts(published)));
        }
        if published.is_repeat {
            return Ok(());
        }
        for (Sent { channel, number, length }, id) in sent.iter().zip(&published.ids) {
            let entry = Entry {
                channel: *channel,
                number: *number,
                length: *length,
                state: State::There,
                changes: self.disk.changes(),
                at_ms: self.elapsed_ms,
            };
            self.model.add(*id, entry)?;
        }
        if let Some(keyed) = key.and_then(|key| self.keyed.get_mut(&key)) {
            (keyed.ids, keyed.at_ms) = (Some(published.ids.clone()), self.elapsed_ms);
        }
        Ok(())
    }

    /// All messages of the channel up to `newest` are purged, and readers before `up_to` may get a gap.
    pub(crate) fn has_purged(&mut self, channel: usize, newest: Cursor, up_to: Cursor) {
        for (id, entry) in &mut self.model.entries {
            if entry.channel == channel && *id <= newest && entry.state != State::Vanished {
                entry.state = State::Purged;
            }
        }
        let purged = self.model.purged.entry(channel).or_default();
        *purged = up_to.max(*purged);
    }
}

fn texts(published: &Published) -> Vec<String> {
    published.ids.iter().map(ToString::to_string).collect()
}
