//! What kind of run a seed is: not every run has every fault, so that each has time to go far.

use std::fmt;

use shared::{
    live::{
        bus::file::{FileOptions, Fsync},
        log::Limits,
    },
    pure::Retention,
};

use crate::random::Random;

/// See the module.
#[derive(Clone, Debug)]
pub struct Config {
    /// The log is in memory only.
    pub is_memory: bool,
    /// When messages are durable.
    pub fsync: Fsync,
    /// The length of a segment.
    pub segment_bytes: u64,
    /// Bytes of memory for messages.
    pub memory: usize,
    /// Bytes of disk for the log.
    pub total: Option<u64>,
    /// Messages of each channel.
    pub count: Option<usize>,
    /// The age of a message, in milliseconds.
    pub age_ms: Option<u64>,
    /// Channels are purged.
    pub purges: bool,
    /// The process dies at changes of the disk, and the power is cut.
    pub crashes: bool,
    /// The disk becomes full.
    pub fills: bool,
    /// Writes and syncs fail.
    pub errors: bool,
    /// Durable bits change, and sectors cannot be read.
    pub damage: bool,
    /// The time of day is set forward and back.
    pub jumps: bool,
    /// Small states are stored.
    pub states: bool,
    /// Work beside the writer, such as a sync, takes long.
    pub slow: bool,
    /// How many steps it has.
    pub steps: usize,
}

impl Config {
    /// That of a seed.
    #[must_use]
    pub fn draw(random: &mut Random) -> Self {
        let is_memory = random.percent(10);
        let damage = !is_memory && random.percent(15);
        let jumps = random.percent(40);
        Self {
            is_memory,
            fsync: if random.percent(60) {
                Fsync::Always
            } else if random.percent(50) {
                Fsync::EverySecond
            } else {
                Fsync::Never
            },
            segment_bytes: [2_048, 4_096, 8_192, 32_768][random.index(4)],
            memory: [6_000, 30_000, 1_000_000][random.index(3)],
            total: random.percent(35).then(|| 20_000 + random.below(60_000)),
            count: random.percent(20).then(|| 1 + random.index(30)),
            // By the time of day, which jumps.
            age_ms: (!jumps && random.percent(15)).then(|| 1_000 + random.below(60_000)),
            // The record of a purge may be what is damaged.
            purges: !damage && random.percent(40),
            crashes: random.percent(75),
            fills: random.percent(35),
            errors: random.percent(35),
            damage,
            jumps,
            states: !is_memory && random.percent(40),
            slow: random.percent(30),
            steps: 60 + random.index(140),
        }
    }

    /// Whether old messages may be removed.
    #[must_use]
    pub fn has_retention(&self) -> bool {
        self.is_memory || self.total.is_some() || self.count.is_some() || self.age_ms.is_some()
    }

    /// The options of the bus on disk.
    #[must_use]
    pub fn options(&self) -> FileOptions {
        FileOptions { fsync: self.fsync, total: self.total, ..FileOptions::default() }
    }

    /// The limits of the memory.
    #[must_use]
    pub fn limits(&self) -> Limits {
        Limits {
            channel: Retention { count: self.count, bytes: None, age_ms: self.age_ms },
            total: Some(self.memory),
            ..Limits::default()
        }
    }
}

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { fsync, segment_bytes, memory, total, count, age_ms, .. } = self;
        let limits = |f: &mut fmt::Formatter<'_>| {
            count.map_or(Ok(()), |count| write!(f, ", {count} messages of a channel"))?;
            age_ms.map_or(Ok(()), |age_ms| write!(f, ", for {age_ms} ms"))
        };
        if self.is_memory {
            write!(f, "bus in memory, {memory} bytes")?;
            return limits(f);
        }
        write!(f, "bus on disk, sync {fsync:?}, segments of {segment_bytes} bytes, {memory} bytes of memory")?;
        total.map_or(Ok(()), |total| write!(f, ", {total} bytes of disk"))?;
        limits(f)?;
        let faults = [
            (self.purges, "purges"),
            (self.states, "states"),
            (self.crashes, "crashes"),
            (self.fills, "full disk"),
            (self.errors, "errors"),
            (self.damage, "damage"),
            (self.jumps, "clock jumps"),
            (self.slow, "slow syncs"),
        ];
        faults.iter().filter(|(has, _)| *has).try_for_each(|(_, name)| write!(f, ", {name}"))
    }
}
