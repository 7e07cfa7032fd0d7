//! Parses the values of settings. Each error is a sentence: what is wrong, and what is expected.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use shared::live::bus::file::Fsync;

use super::{IoUring, LogFormat};
use crate::{address::Network, auth::PublicKey};

/// Maximum number of threads.
const MAX_WORKERS: usize = 512;

type Value<T> = Result<T, String>;

/// A text for an error message: short, without control characters.
pub(super) fn shown(text: &str) -> String {
    let short: String = text.chars().take(60).flat_map(char::escape_debug).collect();
    format!("`{short}`")
}

/// `0.0.0.0:8080`, `[::]:8080`, `localhost:8080` (127.0.0.1) or `:8080` (every IPv4 address).
pub(super) fn listen(text: &str) -> Value<SocketAddr> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let named = text.rsplit_once(':').and_then(|(host, port)| {
        let ip = match host {
            "" | "*" => Ipv4Addr::UNSPECIFIED,
            "localhost" => Ipv4Addr::LOCALHOST,
            _ => return None,
        };
        Some(SocketAddr::new(IpAddr::V4(ip), port.parse().ok()?))
    });
    named.ok_or_else(|| {
        format!("invalid address {}: expected ip:port, for example 0.0.0.0:8080 or [::]:8080", shown(text))
    })
}

/// The prefix of the names of channels in Redis: short, without characters that end the name or have a meaning in a pattern.
pub(super) fn channel_key(text: &str) -> Value<String> {
    let is_plain = |c: char| c.is_ascii_graphic() && !matches!(c, '#' | '*' | '?' | '[' | ']' | '\\');
    if (1..=64).contains(&text.len()) && text.chars().all(is_plain) {
        return Ok(text.to_owned());
    }
    Err(format!("invalid key {}: expected 1 to 64 visible ASCII characters without # * ? [ ] \\", shown(text)))
}

/// A number of threads; `cores` is one for each core.
pub(super) fn workers(text: &str) -> Value<usize> {
    if text == "cores" {
        return Ok(std::thread::available_parallelism().map_or(1, usize::from).min(MAX_WORKERS));
    }
    match text.parse() {
        Ok(workers) if (1..=MAX_WORKERS).contains(&workers) => Ok(workers),
        _ => Err(format!("invalid number of threads {}: expected 1 to {MAX_WORKERS}, or `cores`", shown(text))),
    }
}

/// An integer; 0 is no limit.
pub(super) fn limit(text: &str) -> Value<Option<usize>> {
    let number: usize =
        text.parse().map_err(|_| format!("invalid number {}: expected 0 (no limit) or above", shown(text)))?;
    Ok((number > 0).then_some(number))
}

/// The default that is computed from something else.
const AUTO: &str = "auto";

/// As [`limit`], or `auto`, which is `None`.
pub(super) fn limit_or_auto(text: &str) -> Value<Option<Option<usize>>> {
    if text == AUTO { Ok(None) } else { limit(text).map(Some) }
}

/// As [`size_limit`], or `auto`, which is `None`.
pub(super) fn size_limit_or_auto(text: &str) -> Value<Option<Option<usize>>> {
    if text == AUTO { Ok(None) } else { size_limit(text).map(Some) }
}

/// A rate per second; 0 is no limit.
pub(super) fn rate(text: &str) -> Value<Option<u32>> {
    let bad = |_| format!("invalid rate {}: expected a number per second, 0 (no limit) to {}", shown(text), u32::MAX);
    let number: u32 = text.strip_suffix("/s").unwrap_or(text).parse().map_err(bad)?;
    Ok((number > 0).then_some(number))
}

/// Bytes; 0 is no limit.
pub(super) fn size_limit(text: &str) -> Value<Option<usize>> {
    size(text).map(|bytes| (bytes > 0).then_some(bytes))
}

/// `64KiB`, `8MiB`, `1GiB`, `64kB`, `1000000`: powers of 1,024 with the `i`, of 1,000 without; case-insensitive.
pub(super) fn size(text: &str) -> Value<usize> {
    let (number, unit) = split(text);
    let scale: Option<u64> = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => Some(1),
        "k" | "kb" => Some(1000),
        "m" | "mb" => Some(1_000_000),
        "g" | "gb" => Some(1_000_000_000),
        "ki" | "kib" => Some(1 << 10),
        "mi" | "mib" => Some(1 << 20),
        "gi" | "gib" => Some(1 << 30),
        _ => None,
    };
    let bytes = number.parse::<u64>().ok().zip(scale).and_then(|(number, scale)| number.checked_mul(scale));
    bytes
        .and_then(|bytes| usize::try_from(bytes).ok())
        .ok_or_else(|| format!("invalid size {}: expected bytes such as 1000000, or 64KiB, 8MiB, 1GiB", shown(text)))
}

/// A duration; 0 is no limit.
pub(super) fn duration_limit(text: &str) -> Value<Option<Duration>> {
    duration(text).map(|duration| (!duration.is_zero()).then_some(duration))
}

/// A duration that is not 0.
pub(super) fn duration_above_zero(text: &str) -> Value<Duration> {
    match duration(text)? {
        duration if duration.is_zero() => {
            Err("must be more than 0: expected a duration such as 500ms, 15s, 10m".to_owned())
        }
        duration => Ok(duration),
    }
}

/// A duration of at least a second: the server's clock for heads ticks twice a second.
pub(super) fn header_timeout(text: &str) -> Value<Duration> {
    match duration(text)? {
        duration if duration < Duration::from_secs(1) => {
            Err(format!("duration {} is too short: expected 1s or more", shown(text)))
        }
        duration => Ok(duration),
    }
}

/// `500ms`, `15s`, `10m`, `1h`, `7d`, or several of them, such as `1h30m`. Only 0 needs no unit.
///
/// # Errors
/// The expected form.
pub fn duration(text: &str) -> Result<Duration, String> {
    let bad = || format!("invalid duration {}: expected a duration such as 500ms, 15s, 10m, 1h, 7d", shown(text));
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let (mut rest, mut total) = (text, 0_u64);
    if rest.is_empty() {
        return Err(bad());
    }
    while !rest.is_empty() {
        let (number, tail) = split(rest);
        let end = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        let scale: u64 = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(bad()),
        };
        let part = number.parse::<u64>().ok().and_then(|number| number.checked_mul(scale)).ok_or_else(bad)?;
        total = total.checked_add(part).ok_or_else(bad)?;
        rest = tail;
    }
    // A century: longer durations could overflow clocks.
    if total > 100 * 366 * 86_400_000 { Err(bad()) } else { Ok(Duration::from_millis(total)) }
}

/// The leading digits, and the rest.
fn split(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

/// `on` or `off`.
pub(super) fn on_off(text: &str) -> Value<bool> {
    match text {
        "on" | "true" | "yes" | "1" => Ok(true),
        "off" | "false" | "no" | "0" => Ok(false),
        _ => Err(format!("invalid value {}: expected `on` or `off`", shown(text))),
    }
}

/// `always`, `1s` or `never`.
pub(super) fn fsync(text: &str) -> Value<Fsync> {
    match text {
        "always" => Ok(Fsync::Always),
        "1s" => Ok(Fsync::EverySecond),
        "never" => Ok(Fsync::Never),
        _ => Err(format!("invalid value {}: expected `always`, `1s` or `never`", shown(text))),
    }
}

/// Bytes on disk; 0 is no limit. Less would be too little for two segments.
pub(super) fn disk_limit(text: &str) -> Value<Option<u64>> {
    const LEAST: u64 = 1 << 20;
    match size_limit(text)?.map(|bytes| bytes as u64) {
        Some(bytes) if bytes < LEAST => {
            Err(format!("size {} is too small: expected 1MiB or more, or 0 (no limit)", shown(text)))
        }
        limit => Ok(limit),
    }
}

/// `text` or `json`.
pub(super) fn log_format(text: &str) -> Value<LogFormat> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err(format!("invalid log format {}: expected `text` or `json`", shown(text))),
    }
}

/// `auto`, `on` or `off`.
pub(super) fn io_uring(text: &str) -> Value<IoUring> {
    match text {
        "auto" => Ok(IoUring::Auto),
        "on" => Ok(IoUring::On),
        "off" => Ok(IoUring::Off),
        _ => Err(format!("invalid value {}: expected `auto`, `on` or `off`", shown(text))),
    }
}

/// A text; `None` if it is empty.
pub(super) fn text(text: &str) -> Value<Option<String>> {
    Ok((!text.is_empty()).then(|| text.to_owned()))
}

/// A list of addresses and networks; `none` is an empty list.
pub(super) fn networks(text: &str) -> Value<Vec<Network>> {
    if text.is_empty() || text == "none" {
        return Ok(Vec::new());
    }
    text.split(',')
        .map(|network| network.trim().parse().map_err(|error: crate::address::NetworkError| error.to_string()))
        .collect()
}

/// An existing directory; `None` if the path is empty.
pub(super) fn directory(text: &str) -> Value<Option<PathBuf>> {
    if text.is_empty() {
        return Ok(None);
    }
    let path = PathBuf::from(text);
    if path.is_dir() { Ok(Some(path)) } else { Err(format!("{} is not a readable directory", shown(text))) }
}

/// A PEM file with certificates; `None` if the path is empty.
pub(super) fn authorities(path: &str) -> Value<Option<Vec<u8>>> {
    if path.is_empty() {
        return Ok(None);
    }
    let pem = std::fs::read(path).map_err(|error| format!("cannot read {}: {error}", shown(path)))?;
    match CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>() {
        Ok(certificates) if !certificates.is_empty() => Ok(Some(pem)),
        _ => Err(format!("{} contains no certificates: expected a PEM file with CERTIFICATE blocks", shown(path))),
    }
}

/// The first line of a file with a password.
pub(super) fn password(path: &str) -> Value<Option<String>> {
    if path.is_empty() {
        return Ok(None);
    }
    let text = std::fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", shown(path)))?;
    match text.lines().next() {
        Some(password) if !password.is_empty() => Ok(Some(password.to_owned())),
        _ => Err(format!("{} contains no password", shown(path))),
    }
}

/// A list of PEM files, each with one or several public keys; `name=path` names the key for tokens' `kid`.
pub(super) fn public_keys(text: &str) -> Value<Vec<PublicKey>> {
    let mut keys = Vec::new();
    for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
        let (kid, path) = match entry.split_once('=') {
            Some((kid, path)) => (Some(kid.trim()), path.trim()),
            None => (None, entry),
        };
        let pem = std::fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", shown(path)))?;
        keys.extend(PublicKey::from_pem(&pem, kid).map_err(|error| format!("{}: {error}", shown(path)))?);
    }
    Ok(keys)
}
