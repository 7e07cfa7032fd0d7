//! The resources that a process uses, from Linux's `/proc`.

use std::{fs, io, time::Duration};

/// Processor time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cpu {
    /// In the program.
    pub(crate) user: Duration,
    /// In the kernel on its behalf.
    pub(crate) system: Duration,
}

impl Cpu {
    /// Of the process `pid`, all its threads, so far.
    pub(crate) fn of(pid: u32) -> io::Result<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        parse_stat(&stat, rustix::param::clock_ticks_per_second())
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "/proc/<pid>/stat is not as proc(5) says"))
    }

    /// Both together.
    pub(crate) fn total(self) -> Duration {
        self.user + self.system
    }

    /// What was used since `before`.
    pub(crate) fn since(self, before: Self) -> Self {
        Self { user: self.user.saturating_sub(before.user), system: self.system.saturating_sub(before.system) }
    }
}

fn parse_stat(stat: &str, ticks: u64) -> Option<Cpu> {
    // The name of the program is in parentheses and may contain anything; `utime` and `stime` are fields 14 and 15.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let mut next = || {
        let count: u64 = fields.next()?.parse().ok()?;
        Some(Duration::from_nanos(count * (1_000_000_000 / ticks)))
    };
    Some(Cpu { user: next()?, system: next()? })
}

/// Processor time that the threads of the process `pid` have used so far, to the nanosecond.
pub(crate) fn busy(pid: u32) -> io::Result<Duration> {
    let mut sum = Duration::ZERO;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread may end meanwhile.
        let Ok(stat) = fs::read_to_string(thread?.path().join("schedstat")) else { continue };
        let nanos = stat.split_ascii_whitespace().next().and_then(|nanos| nanos.parse().ok());
        sum += Duration::from_nanos(nanos.unwrap_or_default());
    }
    Ok(sum)
}

/// The first process that `pid` started and that still is.
pub(crate) fn first_child(pid: u32) -> Option<u32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    children.split_ascii_whitespace().next()?.parse().ok()
}

/// Bytes of memory of the process `pid` that are resident, those shared with others included.
pub(crate) fn resident(pid: u32) -> io::Result<u64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    kilobytes(&rollup, "Rss:")
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "/proc/<pid>/smaps_rollup has no Rss"))
}

/// Bytes of the kernel's own objects, everybody's: sockets, descriptors and what waits on them are among these.
pub(crate) fn kernel_memory() -> io::Result<u64> {
    let meminfo = fs::read_to_string("/proc/meminfo")?;
    kilobytes(&meminfo, "Slab:").ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "/proc/meminfo has no Slab"))
}

fn kilobytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_times_are_found_behind_any_name() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194560 1 0 0 0 250 50 9 9 20 0 1 0 5 0 0";
        let expected = Cpu { user: Duration::from_millis(2500), system: Duration::from_millis(500) };
        assert_eq!(parse_stat(stat, 100), Some(expected));
        assert_eq!(parse_stat("7 (x) S", 100), None);
    }

    #[test]
    fn sizes_are_in_kilobytes() {
        assert_eq!(kilobytes("A: 1 kB\nRss:    12 kB\n", "Rss:"), Some(12 * 1024));
        assert_eq!(kilobytes("Rss: 12\n", "Rss:"), None);
    }

    #[test]
    fn this_process_takes_something() {
        let pid = std::process::id();
        assert!(resident(pid).unwrap() > 100_000);
        assert!(busy(pid).unwrap() > Duration::ZERO);
        assert!(Cpu::of(pid).is_ok() && kernel_memory().unwrap() > 0);
    }
}
