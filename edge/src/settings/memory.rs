//! The memory available to this process, and the defaults that follow from it.
//!
//! A configured limit takes precedence over them.

use std::{fmt, path::Path};

/// Shares are in parts of this many: all of them together fit into 512 MiB.
const PARTS: u64 = 64;
/// The share for messages, and for connections.
const LARGE: u64 = 12;
/// The share for messages queued for clients, and for streams.
const MEDIUM: u64 = 6;
/// The share for channels without messages.
const CHANNELS: u64 = 4;
/// The share for each cache, and for requests in progress.
const SMALL: u64 = 2;
/// The share for the events of `$events`.
const EVENTS: u64 = 1;
/// The average memory assumed for a connection: an idle one takes 3 to 6 KiB, one that is being written to more.
const CONNECTION: u64 = 16 * 1024;
/// The memory of a channel that is read although it has no messages.
const CHANNEL: u64 = 614;
/// The minimum of a share.
const LEAST: u64 = 1024 * 1024;

/// The amount of memory, and its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Bytes.
    pub bytes: u64,
    /// Whether it is the limit of a control group, and not the machine's memory.
    pub is_limit: bool,
}

impl Memory {
    /// The machine's memory, or the limit of the process's control group (versions 1 and 2) if that is less. `None` if the system does not
    /// report it.
    #[must_use]
    pub fn available() -> Option<Self> {
        Self::read(|path| std::fs::read_to_string(path).ok())
    }

    fn read(read: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let machine = read("/proc/meminfo").as_deref().and_then(total);
        let limit = groups(&read("/proc/self/cgroup").unwrap_or_default())
            .iter()
            .filter_map(|file| read(file)?.trim().parse::<u64>().ok())
            .min();
        match (machine, limit) {
            (machine, Some(limit)) if machine.is_none_or(|machine| limit < machine) => {
                Some(Self { bytes: limit, is_limit: true })
            }
            (machine, _) => machine.map(|bytes| Self { bytes, is_limit: false }),
        }
    }
}

/// `512 MiB of memory (limit of the control group)`.
impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whose = if self.is_limit { "limit of the control group" } else { "of the machine" };
        write!(f, "{} MiB of memory ({whose})", self.bytes >> 20)
    }
}

/// `MemTotal` of `/proc/meminfo` in bytes.
fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

/// The files that may contain a limit: those of each group of the process, and of its parents. The limit of a group applies to its
/// descendants.
fn groups(cgroup: &str) -> Vec<String> {
    let mut files = Vec::new();
    for line in cgroup.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
        let (root, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            _ if controllers.split(',').any(|name| name == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => continue,
        };
        // In a container the path may be the host's, and then only the root exists.
        for group in Path::new(path).ancestors() {
            let group = group.to_string_lossy();
            files.push(format!("{root}{}/{file}", group.trim_end_matches('/')));
        }
    }
    files
}

/// Bytes of all channels: 3/16 of the memory, at most 512 MiB.
pub(super) fn history_total(memory: Option<Memory>) -> usize {
    share(memory, LARGE, 512 << 20)
}

/// Bytes of a cache: 1/32 of the memory, at most 64 MiB.
pub(super) fn small_total(memory: Option<Memory>) -> usize {
    share(memory, SMALL, 64 << 20)
}

/// Bytes of the events for backends: 1/64 of the memory, at most 32 MiB.
pub(super) fn events_total(memory: Option<Memory>) -> usize {
    share(memory, EVENTS, 32 << 20)
}

/// Channels without messages: as many as 1/16 of the memory suffices for, at most 250,000.
pub(super) fn channels(memory: Option<Memory>) -> usize {
    share(memory, CHANNELS, 250_000 * CHANNEL) / usize::try_from(CHANNEL).unwrap_or(usize::MAX)
}

/// Bytes of messages queued for Socket.IO clients, and of streams: 3/32 of the memory, at most 256 MiB.
pub(super) fn outbox_total(memory: Option<Memory>) -> usize {
    share(memory, MEDIUM, 256 << 20)
}

/// Connections: as many as 3/16 of the memory suffices for, at most 100,000.
pub(super) fn connections(memory: Option<Memory>) -> usize {
    share(memory, LARGE, 100_000 * CONNECTION) / usize::try_from(CONNECTION).unwrap_or(usize::MAX)
}

fn share(memory: Option<Memory>, parts: u64, most: u64) -> usize {
    let share = memory.map_or(most, |memory| (memory.bytes / PARTS * parts).clamp(LEAST, most));
    usize::try_from(share).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{connections::MAX_IDLE_BYTES, limits::MAX_IDENTITIES};

    const MEMINFO: &str = "MemTotal:        8000000 kB\nMemFree:  1 kB\n";

    fn read(files: &[(&str, &str)]) -> Option<(u64, bool)> {
        let memory = Memory::read(|path| files.iter().find(|(file, _)| *file == path).map(|(_, text)| (*text).into()));
        memory.map(|memory| (memory.bytes, memory.is_limit))
    }

    /// Case 5.8: the machine's memory, or a limit of either version of control groups, also of a parent.
    #[test]
    fn the_memory_is_the_machines_or_the_limit_of_a_group() {
        let machine = ("/proc/meminfo", MEMINFO);
        assert_eq!(read(&[machine]), Some((8_192_000_000, false)));
        let v2 = ("/proc/self/cgroup", "0::/a/b\n");
        assert_eq!(read(&[machine, v2, ("/sys/fs/cgroup/a/memory.max", "1000000\n")]), Some((1_000_000, true)));
        assert_eq!(read(&[machine, v2, ("/sys/fs/cgroup/memory.max", "max\n")]), Some((8_192_000_000, false)));
        let v1 = ("/proc/self/cgroup", "5:devices:/x\n4:cpu,memory:/docker/x\n0::/\n");
        let unlimited = ("/sys/fs/cgroup/memory/docker/x/memory.limit_in_bytes", "9223372036854771712\n");
        assert_eq!(read(&[machine, v1, unlimited]), Some((8_192_000_000, false)));
        let limit = ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "536870912\n");
        assert_eq!(read(&[machine, v1, unlimited, limit]), Some((536_870_912, true)));
        assert_eq!(read(&[]), None);
    }

    /// Case 5.8: smaller machines get smaller limits.
    #[test]
    fn defaults_follow_the_memory() {
        let of = |mib: u64| {
            let memory = Some(Memory { bytes: mib << 20, is_limit: false });
            (connections(memory), history_total(memory) >> 20, outbox_total(memory) >> 20, small_total(memory) >> 20)
        };
        assert_eq!(of(16 * 1024), (100_000, 512, 256, 64));
        assert_eq!(of(512), (6_144, 96, 48, 16));
        assert_eq!(of(1), (64, 1, 1, 1));
        assert_eq!((connections(None), history_total(None)), (100_000, 512 << 20));
        assert_eq!((channels(None), events_total(None)), (250_000, 32 << 20));
    }

    /// Case 5.8: the budgets that docs/OPERATIONS.md lists, without what a connection may take beyond 16 KiB, what only tokens with `trident.api`
    /// can fill, and a log on disk.
    #[test]
    fn all_budgets_together_fit_into_a_small_machine() {
        let memory = Some(Memory { bytes: 512 << 20, is_limit: true });
        let (small, outbox, events) = (small_total(memory), outbox_total(memory), events_total(memory));
        let budgets = [
            ("messages", history_total(memory)),
            ("streams", outbox),
            ("encoded forms, and an eighth", small * 9 / 8),
            ("idempotency keys", small),
            ("recovery sessions", small),
            ("messages for Socket.IO clients", outbox),
            ("unread answers to polls", outbox / 4),
            ("requests, incomplete Socket.IO messages, Socket.IO events, calls", 4 * small),
            ("remembered answers", small),
            ("events for backends, and those that wait", events * 5 / 4),
            ("channels without messages", channels(memory) * 614),
            ("connections", connections(memory) * 16 * 1024),
            ("clients between two polls", MAX_IDLE_BYTES),
            ("rates of publications", MAX_IDENTITIES * 200),
            ("an idle process", 10 << 20),
        ];
        let sum: usize = budgets.iter().map(|(_, bytes)| bytes).sum();
        assert!(sum <= 512 << 20, "{} KiB: {budgets:?}", sum >> 10);
    }
}
