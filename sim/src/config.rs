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
    /// How many steps it has.
    pub steps: usize,
}

impl Config {
    /// That of a seed.
    #[must_use]
    pub fn draw(random: &mut Random) -> Self {
        let is_memory = random.percent(10);
        let damage = !is_memory && random.percent(15);
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
            // The record of a purge may be what is damaged.
            purges: !damage && random.percent(40),
            crashes: random.percent(75),
            fills: random.percent(35),
            errors: random.percent(35),
            damage,
            jumps: random.percent(40),
            steps: 60 + random.index(140),
        }
    }

    /// Whether old messages may be removed.
    #[must_use]
    pub fn has_retention(&self) -> bool {
        self.is_memory || self.total.is_some()
    }

    /// The options of the bus on disk.
    #[must_use]
    pub fn options(&self) -> FileOptions {
        FileOptions { fsync: self.fsync, total: self.total, ..FileOptions::default() }
    }

    /// The limits of the memory.
    #[must_use]
    pub fn limits(&self) -> Limits {
        Limits { channel: Retention::default(), total: Some(self.memory), ..Limits::default() }
    }
}

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_memory {
            return write!(f, "bus in memory, {} bytes", self.memory);
        }
        let Self { fsync, segment_bytes, memory, total, .. } = self;
        write!(f, "bus on disk, sync {fsync:?}, segments of {segment_bytes} bytes, {memory} bytes of memory")?;
        total.map_or(Ok(()), |total| write!(f, ", {total} bytes of disk"))?;
        let faults = [
            (self.purges, "purges"),
            (self.crashes, "crashes"),
            (self.fills, "full disk"),
            (self.errors, "errors"),
            (self.damage, "damage"),
            (self.jumps, "clock jumps"),
        ];
        faults.iter().filter(|(has, _)| *has).try_for_each(|(_, name)| write!(f, ", {name}"))
    }
}
