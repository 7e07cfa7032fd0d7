//! The number of file descriptors that the process may open: one for each connection, and some more.

use super::settings::Settings;

/// Descriptors that are neither connections nor a worker's: logs, the bus, files, requests to the application.
const OTHERS: usize = 256;
/// Descriptors of a worker: its listener, its event sets, its ring.
const PER_WORKER: usize = 8;
/// More is not useful; kernels reject more than `fs.nr_open`, which has this default.
const MAX_OPEN_FILES: u64 = 1 << 20;

/// Raises the limit of open files as far as possible, and reports if it does not suffice for the configured connections: as a warning if
/// they were set explicitly. Shells and service managers often set a soft limit of 1,024, for programs that cannot handle more.
#[cfg(unix)]
pub fn raise(settings: &Settings) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.unwrap_or(MAX_OPEN_FILES).min(MAX_OPEN_FILES);
    let mut current = limit.current.unwrap_or(u64::MAX);
    if current < wanted {
        match setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: limit.maximum }) {
            Ok(()) => current = wanted,
            Err(error) => log::warn!("cannot raise the limit of open files from {current} to {wanted}: {error}"),
        }
    }
    if let Some(told) = too_few(current, others(settings.workers), settings.max_connections) {
        // A default that nobody has set does not cause a warning on a machine with a lower limit.
        let level = if settings.max_connections_asked_for { log::Level::Warn } else { log::Level::Info };
        log::log!(level, "{told}");
    }
}

/// The maximum number of open descriptors.
#[cfg(unix)]
pub(super) fn limit() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX)
}

/// The number of sockets in addition to everything else, so that one more can always be accepted: beyond it, idle ones are closed.
pub(super) fn sockets(workers: usize) -> usize {
    let limit = limit();
    limit.saturating_sub(others(workers)).max(limit / 2)
}

/// Descriptors that are not connections.
fn others(workers: usize) -> usize {
    OTHERS + PER_WORKER * workers
}

/// Effectively unlimited.
#[cfg(not(unix))]
pub(super) fn limit() -> usize {
    usize::MAX
}

/// Other systems have no such limit.
#[cfg(not(unix))]
pub fn raise(_: &Settings) {}

/// The message if this many descriptors do not suffice.
fn too_few(descriptors: u64, others: usize, connections: Option<usize>) -> Option<String> {
    let wanted = (connections? + others) as u64;
    (descriptors < wanted).then(|| {
        let room = descriptors.saturating_sub(others as u64);
        format!(
            "only {descriptors} files may be open, which is room for {room} connections; for TRIDENT_MAX_CONNECTIONS allow \
             {wanted} (ulimit -n, LimitNOFILE=, compose `ulimits`)"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warns_when_connections_outnumber_descriptors() {
        let others = others(2);
        assert_eq!(too_few(1 << 20, others, Some(100_000)), None);
        assert_eq!(too_few(1024, others, None), None);
        let warning = too_few(1024, others, Some(1000)).unwrap();
        assert!(warning.contains("room for 752 connections") && warning.contains("allow 1272"), "{warning}");
    }
}
