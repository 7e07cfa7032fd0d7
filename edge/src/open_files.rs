//! How many file descriptors the process may open: one for each connection, and some more.

use super::settings::Settings;

/// Descriptors that are not connections: listeners, logs, the bus, files.
const OTHERS: usize = 256;
/// Beyond this nobody gains; kernels refuse more than `fs.nr_open`, by default just this.
const MOST: u64 = 1 << 20;

/// Raises the limit of open files as far as it may be raised, and says so when it does not suffice for the connections
/// that the settings allow: as a warning where the operator asked for so many. Shells and service starters commonly set a soft limit of 1,024 that is meant for programs
/// which cannot handle more.
#[cfg(unix)]
pub fn raise(settings: &Settings) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.unwrap_or(MOST).min(MOST);
    let mut current = limit.current.unwrap_or(u64::MAX);
    if current < wanted {
        match setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: limit.maximum }) {
            Ok(()) => current = wanted,
            Err(error) => log::warn!("cannot raise the limit of open files from {current} to {wanted}: {error}"),
        }
    }
    if let Some(told) = too_few(current, settings.max_connections) {
        // Of a limit that nobody has set it is no fault that the machine has less.
        let level = if settings.max_connections_asked_for { log::Level::Warn } else { log::Level::Info };
        log::log!(level, "{told}");
    }
}

/// How many descriptors may be open now.
#[cfg(unix)]
pub(super) fn limit() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX)
}

/// How many sockets fit beside everything else, so that there is always room to accept one more: beyond it idle ones are closed.
pub(super) fn sockets() -> usize {
    let limit = limit();
    limit.saturating_sub(OTHERS).max(limit / 2)
}

/// As good as any number.
#[cfg(not(unix))]
pub(super) fn limit() -> usize {
    usize::MAX
}

/// Elsewhere there is no such limit.
#[cfg(not(unix))]
pub fn raise(_: &Settings) {}

/// What to say when so many descriptors do not suffice.
fn too_few(descriptors: u64, connections: Option<usize>) -> Option<String> {
    let wanted = (connections? + OTHERS) as u64;
    (descriptors < wanted).then(|| {
        let room = descriptors.saturating_sub(OTHERS as u64);
        format!(
            "only {descriptors} files may be open, which is room for {room} connections; for TRIDENT_MAX_CONNECTIONS allow \
             {wanted} (ulimit -n, LimitNOFILE=, compose `ulimits`)"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::too_few;

    #[test]
    fn warns_when_connections_outnumber_descriptors() {
        assert_eq!(too_few(1 << 20, Some(100_000)), None);
        assert_eq!(too_few(1024, None), None);
        let warning = too_few(1024, Some(1000)).unwrap();
        assert!(warning.contains("room for 768 connections") && warning.contains("allow 1256"), "{warning}");
    }
}
