//! `standalone log`: describes, checks, repairs, copies and imports a log on disk.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use clap::ArgMatches;
use edge::settings::BusAddress;
use shared::live::{
    bus::{
        Bus as _, RedisBus,
        file::{
            Copied, Cut, Decisions, Examined, Imported, Info, Lack, OpenError, back_up, examine, import, import_log,
            info, repair,
        },
    },
    clock::wall_clock,
    log::Limits,
};
use tokio::time::timeout;

use crate::cli;

/// How long an import waits until all of the stream of a Redis has been read.
const FILLED_WITHIN: Duration = Duration::from_secs(60);

/// Runs the subcommand in `matches`.
///
/// # Errors
/// When the log cannot be read or changed, or is damaged and not repaired.
pub async fn run(matches: &ArgMatches) -> Result<(), String> {
    let (name, matches) = matches.subcommand().ok_or("a subcommand is required")?;
    let path = |name: &str| matches.get_one::<PathBuf>(name).ok_or("a directory is required");
    let directory = path("directory")?;
    let refused = |error: OpenError| error.to_string();
    let mut is_damaged = false;
    let text = match name {
        cli::INFO => describe(&info(directory).map_err(refused)?, SystemTime::now()),
        cli::BACKUP => copied(&back_up(directory, path("destination")?).map_err(refused)?),
        cli::IMPORT => {
            let from: &String = matches.get_one("from").ok_or("a source is required")?;
            imported(&import_from(directory, from).await?)
        }
        cli::REPAIR => checked(&repair(directory, wall_clock()).map_err(refused)?, true),
        _ => {
            let examined = examine(directory).map_err(refused)?;
            is_damaged = examined.is_damaged();
            checked(&examined, false)
        }
    };
    // A closed pipe, as after `head`, is not an error; the exit code has the result.
    let _ = io::stdout().write_all(text.as_bytes());
    if is_damaged { Err("the log is damaged".to_owned()) } else { Ok(()) }
}

/// Imports from a directory, or from a Redis.
async fn import_from(directory: &Path, from: &str) -> Result<Imported, String> {
    if !from.starts_with("redis://") && !from.starts_with("rediss://") {
        return import(directory, Path::new(from)).map_err(|error| error.to_string());
    }
    let BusAddress::Redis(address) = from.parse::<BusAddress>()? else { return Err("not a Redis".to_owned()) };
    let bus = RedisBus::open(address.url(), None, Limits::default()).map_err(|error| error.to_string())?;
    if timeout(FILLED_WITHIN, bus.filled()).await.is_err() {
        return Err(bus.ready().err().map_or_else(|| "Redis takes too long".to_owned(), |error| error.to_string()));
    }
    import_log(directory, bus.log()).map_err(|error| error.to_string())
}

fn describe(found: &Info, now: SystemTime) -> String {
    let Info { segments, channels, messages, bytes, ids, created_ms, holder, written, unproven } = found;
    let since =
        |ms: u64| ago(now.duration_since(SystemTime::UNIX_EPOCH + Duration::from_millis(ms)).unwrap_or_default());
    let mut text = match holder {
        Some(holder) => format!("used by {holder}\n"),
        None => "not in use\n".to_owned(),
    };
    // Writing to a string never fails.
    let _ = writeln!(text, "created {}", since(*created_ms));
    let _ = writeln!(text, "{messages} messages in {channels} channels, {segments} segments, {bytes} bytes");
    if let Some((first, last)) = ids {
        let _ = writeln!(text, "oldest {first}, {}", since(first.ms));
        let _ = writeln!(text, "newest {last}, {}", since(last.ms));
    }
    if let Some(written) = written {
        let written = ago(now.duration_since(*written).unwrap_or_default());
        let _ = match unproven {
            0 => writeln!(text, "last written {written}; all of it is durable"),
            _ => writeln!(text, "last written {written}; {unproven} bytes at the end may not be durable yet"),
        };
    }
    text
}

/// `3 h ago`, in the largest unit that fits.
fn ago(age: Duration) -> String {
    let seconds = age.as_secs();
    let (count, unit) = match seconds {
        0..60 => (seconds, "s"),
        60..3_600 => (seconds / 60, "min"),
        3_600..86_400 => (seconds / 3_600, "h"),
        _ => (seconds / 86_400, "d"),
    };
    format!("{count} {unit} ago")
}

fn copied(Copied { segments, bytes, last }: &Copied) -> String {
    match last {
        Some(last) => format!("{segments} segments, {bytes} bytes, up to message {last}\n"),
        None => format!("{segments} segments, {bytes} bytes, without a message\n"),
    }
}

fn imported(Imported { messages, ids, streams }: &Imported) -> String {
    let mut text = match ids {
        Some((first, last)) => format!("{messages} messages, from {first} to {last}\n"),
        None => "no messages\n".to_owned(),
    };
    if *streams > 0 {
        // Writing to a string never fails.
        let _ = writeln!(text, "{streams} streams");
    }
    text
}

fn checked(examined: &Examined, is_repair: bool) -> String {
    let Examined { segments, messages, bytes, ids, missing, is_table_damaged, is_interrupted, cut } = examined;
    let mut text = format!("{messages} messages in {segments} segments, {bytes} bytes\n");
    if let Some((first, last)) = ids {
        let _ = writeln!(text, "from {first} to {last}");
    }
    if *missing > 0 {
        let _ = writeln!(text, "{missing} segments at the beginning of the log are missing: their messages are lost");
    }
    if *is_table_damaged {
        let what = "the table of messages that retention dropped is damaged (`dropped`)";
        let _ = writeln!(text, "{what}: clients with a cursor from before the first segment get a gap");
    }
    if *is_interrupted && !is_repair {
        let _ = writeln!(text, "the next start completes a repair or the restoration of a backup");
    }
    let _ = match cut {
        None if examined.is_damaged() => Ok(()),
        None => writeln!(text, "no damage"),
        Some(Cut { file, offset, unreadable, bytes, messages, changes, decisions, .. }) => {
            if let Some(unreadable) = unreadable {
                let _ = writeln!(text, "the disk cannot read byte {unreadable} of {file}");
            }
            let verb = if is_repair { "were cut" } else { "would be lost" };
            let _ = writeln!(
                text,
                "{file} is damaged after byte {offset}: {bytes} bytes from there to the end of the log {verb}, with {messages} messages \
                 and {changes} changes of streams in later segments"
            );
            write!(text, "{}", decided(decisions, is_repair))
        }
    };
    text
}

/// What a repair keeps of what was decided after the damage, and what it does not.
fn decided(decisions: &Decisions, is_repair: bool) -> String {
    let (revocations, users, purges) = (decisions.revocations(), decisions.refused_users(), decisions.purges());
    let (kept, lost) = if is_repair { ("are kept", "are lost") } else { ("would be kept", "would be lost") };
    let mut text = format!("{revocations} revocations, {users} refused users and {purges} purges after it {kept}\n");
    let again = match decisions.lack {
        Lack::None => None,
        Lack::Later => Some("what you decided since then"),
        Lack::All => Some("all that you decided, also before the damage"),
    };
    if let Some(again) = again {
        let _ = writeln!(text, "others may have been in what cannot be read: revoke, refuse and purge again {again}");
    }
    text.push_str("changes of streams, recovery sessions, idempotency keys and positions of webhooks after it ");
    text.push_str(lost);
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use shared::pure::Cursor;

    use super::*;

    #[test]
    fn a_log_is_described_in_lines() {
        let hour = Duration::from_secs(3_600);
        let found = Info {
            segments: 2,
            channels: 3,
            messages: 4,
            bytes: 5,
            ids: Some((Cursor::new(0, 1), Cursor::new(3_000_000, 0))),
            created_ms: 0,
            holder: Some("process 7".to_owned()),
            written: Some(SystemTime::UNIX_EPOCH + hour),
            unproven: 9,
        };
        let text = describe(&found, SystemTime::UNIX_EPOCH + 2 * hour);
        assert_eq!(
            text,
            "used by process 7\ncreated 2 h ago\n4 messages in 3 channels, 2 segments, 5 bytes\noldest 0-1, 2 h ago\n\
             newest 3000000-0, 1 h ago\nlast written 1 h ago; 9 bytes at the end may not be durable yet\n"
        );
        let closed = describe(&Info { holder: None, unproven: 0, ..found }, SystemTime::UNIX_EPOCH + 49 * hour);
        assert!(
            closed.starts_with("not in use\ncreated 2 d ago") && closed.ends_with("all of it is durable\n"),
            "{closed}"
        );
    }
}
