//! Log lines, as text or as JSON; each record is one line in both formats.
//!
//! `RUST_LOG` (default `info`) selects which are written. Records may contain untrusted text (a channel, an event, an error's detail), so
//! characters that could start a new line or control a terminal are escaped.

use std::{
    fmt::Write as _,
    io::Write,
    time::{SystemTime, UNIX_EPOCH},
};

use log::{
    Record,
    kv::{self, Key, Value, VisitSource},
};

use super::settings::LogFormat;

/// The default for `RUST_LOG`. Actix logs invalid HTTP of clients as an error of the server, and every scanner sends some: a line for each,
/// which nobody could act on.
const DEFAULT: &str = "info,actix_server=warn,actix_http::h1=off";

/// Sets the process's logger. A second call keeps the first, so tests may call it, too.
pub fn init(format: LogFormat) {
    let env = env_logger::Env::default().default_filter_or(DEFAULT);
    let mut builder = env_logger::Builder::from_env(env);
    match format {
        LogFormat::Json => {
            builder.format(|out, record| out.write_all(json(record, SystemTime::now()).as_bytes()));
        }
        LogFormat::Text => {
            builder.format(|out, record| {
                let style = out.default_level_style(record.level());
                let time = out.timestamp_millis();
                write!(out, "{time} {style}{:5}{style:#} {}: ", record.level(), record.target())?;
                out.write_all(text(record).as_bytes())
            });
        }
    }
    // An error means that a logger is set already.
    let _ = builder.try_init();
}

/// The message and its key-value pairs, followed by the only line break.
fn text(record: &Record<'_>) -> String {
    let mut line = String::new();
    escape(&record.args().to_string(), &mut line);
    let mut pairs = Pairs(|key: &str, value: Value<'_>| {
        line.push(' ');
        escape(key, &mut line);
        line.push('=');
        escape(&value.to_string(), &mut line);
    });
    // The visitor of this module never fails.
    let _ = record.key_values().visit(&mut pairs);
    line.push('\n');
    line
}

/// Escapes every character that is not part of a line, as `\n` or `\u{1b}`.
fn escape(text: &str, into: &mut String) {
    for c in text.chars() {
        if c.is_control() || is_unprintable(c) { into.extend(c.escape_default()) } else { into.push(c) }
    }
}

/// Line separators, and the marks that change the direction of text (CVE-2021-42574).
fn is_unprintable(c: char) -> bool {
    matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// `{"ts":"…Z","level":"INFO","target":"…","message":"…","kv":{…}}` and a line break.
fn json(record: &Record<'_>, now: SystemTime) -> String {
    let mut line = String::with_capacity(160);
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let _ =
        write!(line, "{{\"ts\":\"{}\",\"level\":\"{}\",\"target\":", rfc3339(since.as_millis() as u64), record.level());
    line.push_str(&quoted(record.target()));
    line.push_str(",\"message\":");
    line.push_str(&quoted(&record.args().to_string()));
    let mut first = true;
    let mut pairs = Pairs(|key: &str, value: Value<'_>| {
        line.push_str(if first { ",\"kv\":{" } else { "," });
        first = false;
        line.push_str(&quoted(key));
        line.push(':');
        line.push_str(&number_or_quoted(&value));
    });
    let _ = record.key_values().visit(&mut pairs);
    if !first {
        line.push('}');
    }
    line.push_str("}\n");
    line
}

fn quoted(text: &str) -> String {
    // JSON does not escape U+2028 and similar characters; some readers of lines break at them.
    let mut escaped = String::new();
    for c in serde_json::to_string(text).unwrap_or_else(|_| "\"\"".to_owned()).chars() {
        if c == '\u{7f}' || ('\u{80}'..='\u{9f}').contains(&c) || is_unprintable(c) {
            let _ = write!(escaped, "\\u{:04x}", u32::from(c));
        } else {
            escaped.push(c);
        }
    }
    escaped
}

fn number_or_quoted(value: &Value<'_>) -> String {
    if let Some(bool) = value.to_bool() {
        bool.to_string()
    } else if let Some(number) = value.to_i64() {
        number.to_string()
    } else if let Some(number) = value.to_u64() {
        number.to_string()
    } else {
        quoted(&value.to_string())
    }
}

/// Calls a closure for each key and value of a record.
struct Pairs<F>(F);

impl<'kvs, F: FnMut(&str, Value<'kvs>)> VisitSource<'kvs> for Pairs<F> {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), kv::Error> {
        (self.0)(key.as_str(), value);
        Ok(())
    }
}

/// Milliseconds since 1970 as `2025-11-22T17:32:00.123Z` (RFC 3339), by the days-to-date rule of the proleptic Gregorian
/// calendar: years that begin in March, so that the leap day comes last.
fn rfc3339(ms: u64) -> String {
    let (days, of_day) = (ms / 86_400_000, ms % 86_400_000);
    // Days since 0000-03-01; an era is 400 years.
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (s, ms) = (of_day / 1000, of_day % 1000);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{ms:03}Z", s / 3600, s / 60 % 60, s % 60)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use log::Level;

    use super::*;

    fn record<R>(message: &str, pairs: &[(&str, Value<'_>)], then: impl FnOnce(&Record<'_>) -> R) -> R {
        then(
            &Record::builder()
                .level(Level::Info)
                .target("a\"b")
                .args(format_args!("{message}"))
                .key_values(&pairs)
                .build(),
        )
    }

    #[test]
    fn a_json_record_is_one_object_on_one_line() {
        let now = UNIX_EPOCH + Duration::from_millis(1_763_832_720_042);
        let pairs = [("n", Value::from(7)), ("who", Value::from("x\ny")), ("on", Value::from(true))];
        let line = record("two\nlines \u{1b}[31m \"q\" \u{2028}", &pairs, |record| json(record, now));
        assert_eq!(
            line,
            "{\"ts\":\"2025-11-22T17:32:00.042Z\",\"level\":\"INFO\",\"target\":\"a\\\"b\",\
             \"message\":\"two\\nlines \\u001b[31m \\\"q\\\" \\u2028\",\"kv\":{\"n\":7,\"who\":\"x\\ny\",\"on\":true}}\n"
        );
        assert!(serde_json::from_str::<serde_json::Value>(&line).is_ok());
        let line = record("plain", &[], |record| json(record, now));
        assert!(line.ends_with("\"message\":\"plain\"}\n"), "{line}");
    }

    #[test]
    fn a_text_record_is_one_line() {
        let pairs = [("who", Value::from("x\r\ny"))];
        let line = record("two\nlines \u{1b}[31m \u{202e} 时间\u{85}", &pairs, text);
        assert_eq!(line, "two\\nlines \\u{1b}[31m \\u{202e} 时间\\u{85} who=x\\r\\ny\n");
    }

    #[test]
    fn dates_of_the_calendar() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (951_868_799_999, "2000-02-29T23:59:59.999Z"),
            (951_868_800_000, "2000-03-01T00:00:00.000Z"),
            (1_735_689_599_000, "2024-12-31T23:59:59.000Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(rfc3339(ms), text);
        }
    }
}
