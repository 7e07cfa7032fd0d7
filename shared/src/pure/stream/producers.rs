//! Writers that retry safely: each numbers its requests, within an epoch that a restart increments.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::{MAX_PRODUCERS, StreamError};

/// The greatest epoch and sequence: what every JavaScript client can represent.
pub const MAX_PRODUCER_NUMBER: u64 = (1 << 53) - 1;
/// A producer that has not written for so long is forgotten if another one needs its place, in milliseconds.
const FORGOTTEN_AFTER_MS: u64 = 7 * 24 * 3_600_000;
/// The memory of a producer besides its name, in bytes.
const OVERHEAD: usize = 96;

/// One request of a producer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Producer {
    /// Its name, which outlives its restarts: 1 to 256 bytes.
    pub id: Box<str>,
    /// Incremented at each restart. Requests of older epochs are rejected.
    pub epoch: u64,
    /// The number of the request in its epoch, from 0.
    pub seq: u64,
}

/// The producers of a stream.
#[derive(Clone, Debug, Default)]
pub(super) struct Producers {
    known: HashMap<Box<str>, Known>,
    /// Bytes of their names.
    names: usize,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    epoch: u64,
    seq: u64,
    /// By the monotonic clock.
    used_ms: u64,
}

impl Producers {
    /// Whether a request is new, or the highest accepted sequence if it was accepted before.
    pub(super) fn check(&self, producer: &Producer, now_ms: u64) -> Result<Option<u64>, StreamError> {
        let Producer { id, epoch, seq } = producer;
        let gap = |expected| StreamError::SequenceGap { expected, received: *seq };
        match self.known.get(id) {
            None if *seq > 0 => Err(gap(0)),
            None if self.known.len() >= MAX_PRODUCERS && self.idle(now_ms).is_none() => {
                Err(StreamError::TooManyProducers)
            }
            None => Ok(None),
            Some(known) if *epoch < known.epoch => Err(StreamError::StaleEpoch { current: known.epoch }),
            Some(known) if *epoch > known.epoch && *seq > 0 => Err(StreamError::EpochStart),
            Some(known) if *epoch > known.epoch => Ok(None),
            Some(known) if *seq <= known.seq => Ok(Some(known.seq)),
            Some(known) if *seq == known.seq + 1 => Ok(None),
            Some(known) => Err(gap(known.seq + 1)),
        }
    }

    /// Records a request that was checked and accepted.
    pub(super) fn accept(&mut self, producer: &Producer, now_ms: u64) {
        let Producer { id, epoch, seq } = producer;
        if !self.known.contains_key(id) {
            if self.known.len() >= MAX_PRODUCERS
                && let Some(idle) = self.idle(now_ms)
            {
                self.known.remove(&idle);
                self.names -= idle.len();
            }
            self.names += id.len();
        }
        self.known.insert(id.clone(), Known { epoch: *epoch, seq: *seq, used_ms: now_ms });
    }

    /// The last request of each, and when it was made, in the order of their names.
    pub(super) fn save(&self, time: impl Fn(u64) -> u64) -> Vec<(Producer, u64)> {
        let saved = self.known.iter().map(|(id, &Known { epoch, seq, used_ms })| {
            let producer = Producer { id: id.clone(), epoch, seq };
            (producer, time(used_ms))
        });
        let mut all: Vec<_> = saved.collect();
        all.sort_unstable_by(|(a, _), (b, _)| a.id.cmp(&b.id));
        all
    }

    /// One that may be forgotten.
    fn idle(&self, now_ms: u64) -> Option<Box<str>> {
        let (id, known) = self.known.iter().min_by_key(|(_, known)| known.used_ms)?;
        (now_ms.saturating_sub(known.used_ms) > FORGOTTEN_AFTER_MS).then(|| id.clone())
    }

    /// Bytes of memory.
    pub(super) fn footprint(&self) -> usize {
        self.names + self.known.len() * OVERHEAD
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn producer(id: &str, epoch: u64, seq: u64) -> Producer {
        Producer { id: id.into(), epoch, seq }
    }

    fn accepted(requests: &[(u64, u64)]) -> Producers {
        let mut producers = Producers::default();
        for (epoch, seq) in requests {
            let request = producer("a", *epoch, *seq);
            assert_eq!(producers.check(&request, 0), Ok(None), "{request:?}");
            producers.accept(&request, 0);
        }
        producers
    }

    #[test]
    fn the_next_request_is_new_and_an_earlier_one_a_repetition() {
        let producers = accepted(&[(3, 0), (3, 1), (3, 2)]);
        assert_eq!(producers.check(&producer("a", 3, 3), 0), Ok(None));
        for seq in 0..=2 {
            assert_eq!(producers.check(&producer("a", 3, seq), 0), Ok(Some(2)));
        }
        let gap = StreamError::SequenceGap { expected: 3, received: 5 };
        assert_eq!(producers.check(&producer("a", 3, 5), 0), Err(gap));
        let gap = StreamError::SequenceGap { expected: 0, received: 1 };
        assert_eq!(producers.check(&producer("b", 3, 1), 0), Err(gap), "each has its own numbers");
    }

    #[test]
    fn a_new_epoch_starts_at_zero_and_ends_the_old_one() {
        let producers = accepted(&[(0, 0), (0, 1), (2, 0)]);
        assert_eq!(producers.check(&producer("a", 1, 0), 0), Err(StreamError::StaleEpoch { current: 2 }));
        assert_eq!(producers.check(&producer("a", 3, 1), 0), Err(StreamError::EpochStart));
        assert_eq!(producers.check(&producer("a", 3, 0), 0), Ok(None));
    }

    /// A client chooses their names, and with that how many there are.
    #[test]
    fn producers_are_bounded_and_only_idle_ones_are_forgotten() {
        let mut producers = Producers::default();
        for n in 0..MAX_PRODUCERS {
            producers.accept(&producer(&format!("{n:04}"), 0, 0), n as u64);
        }
        let (one_more, size) = (producer("more", 0, 0), producers.footprint());
        assert_eq!(size, MAX_PRODUCERS * (OVERHEAD + 4));
        assert_eq!(producers.check(&one_more, FORGOTTEN_AFTER_MS), Err(StreamError::TooManyProducers));
        assert_eq!(producers.check(&one_more, FORGOTTEN_AFTER_MS + 1), Ok(None));
        producers.accept(&one_more, FORGOTTEN_AFTER_MS + 1);
        assert_eq!(producers.footprint(), size);
        assert_eq!(
            producers.check(&producer("0000", 0, 0), FORGOTTEN_AFTER_MS + 1),
            Err(StreamError::TooManyProducers)
        );
    }
}
