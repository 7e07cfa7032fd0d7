//! Prints messages, for humans or for programs.

use std::{
    fmt::Write as _,
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher},
};

use shared::pure::{Gap, stream::StreamEnd};

use super::wire::Message;
use crate::plain::plain;

const DIM: &str = "2";
const BOLD: &str = "1";
const YELLOW: &str = "33";
/// Colours for channels: readable on dark and on light.
const COLORS: [&str; 6] = ["36", "35", "32", "34", "96", "95"];

/// The output format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Show {
    /// A line of JSON for each message, as the server sent it.
    Json,
    /// Time, channel, event and data.
    Text {
        /// Whether to use colours (ECMA-48).
        is_colored: bool,
    },
}

impl Show {
    /// A message, with its line end.
    pub(super) fn message(self, message: &Message) -> String {
        let Self::Text { .. } = self else {
            return serde_json::to_string(message).unwrap_or_default() + "\n";
        };
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(&message.channel);
        let color = COLORS[usize::try_from(hash % 6).unwrap_or_default()];
        let mut line = format!("{}  ", self.paint(DIM, &time_of_day(message.time)));
        line.push_str(&self.paint(color, &plain(&message.channel)));
        if message.event != "message" {
            line.push_str("  ");
            line.push_str(&self.paint(BOLD, &plain(&message.event)));
        }
        line.push_str("  ");
        // Prints a text unchanged, except for control characters, which a terminal would interpret.
        match serde_json::from_str::<String>(message.data.get()) {
            Ok(text) => line.push_str(&plain(&text)),
            Err(_) => line.push_str(&plain(message.data.get())),
        }
        line.push('\n');
        line
    }

    /// A gap, with its line end.
    pub(super) fn gap(self, gap: &Gap) -> String {
        match self {
            Self::Json => format!("{}\n", serde_json::json!({ "gap": gap })),
            Self::Text { .. } => {
                let told = format!(
                    "── gap: messages after {} have expired or were never on this server; resuming after {} ──",
                    gap.requested, gap.resumed
                );
                self.paint(YELLOW, &told) + "\n"
            }
        }
    }

    /// The end of a stream, with its line end.
    pub(super) fn end(self, end: &StreamEnd) -> String {
        match self {
            Self::Json => format!("{}\n", serde_json::json!({ "end": end })),
            Self::Text { .. } => {
                let text = format!("── end: {} is {} ──", end.channel, end.reason.name());
                self.paint(YELLOW, &text) + "\n"
            }
        }
    }

    /// A note, on stderr.
    pub(super) fn note(self, text: &str) -> String {
        self.paint(DIM, &format!("── {text}"))
    }

    fn paint(self, code: &str, text: &str) -> String {
        match self {
            Self::Text { is_colored: true } => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
            _ => text.to_owned(),
        }
    }
}

/// `14:03:22.123`, in UTC.
fn time_of_day(ms: u64) -> String {
    let (s, ms) = (ms / 1000, ms % 1000);
    let mut text = String::with_capacity(12);
    // Writing to a string never fails.
    let _ = write!(text, "{:02}:{:02}:{:02}.{ms:03}", s / 3600 % 24, s / 60 % 60, s % 60);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(event: &str, data: &str) -> Message {
        let json = format!(
            "{{\"id\":\"1763800000123-0\",\"channel\":\"news\",\"event\":\"{event}\",\"data\":{data},\"time\":1763800000123}}"
        );
        serde_json::from_str(&json).unwrap()
    }

    #[test]
    fn messages_are_lines() {
        let text = Show::Text { is_colored: false };
        assert_eq!(text.message(&message("message", "\"a\\tb\"")), "08:26:40.123  news  a\tb\n");
        assert_eq!(text.message(&message("price", "{\"a\":1.0}")), "08:26:40.123  news  price  {\"a\":1.0}\n");
        assert_eq!(text.message(&message("message", "\"a\\r\\nb\"")), "08:26:40.123  news  a\n    b\n");
        let json = Show::Json.message(&message("message", "{\"a\":1.0}"));
        assert!(
            json.starts_with("{\"id\":\"1763800000123-0\"") && json.ends_with("}\n") && json.contains(":1.0}"),
            "{json}"
        );
    }

    #[test]
    fn colours_are_only_ours() {
        let colored = Show::Text { is_colored: true }.message(&message("e", "\"\\u001b[31mred\\u009b1m\\u202e\""));
        assert!(colored.starts_with("\u{1b}[2m08:26:40.123\u{1b}[0m  \u{1b}["), "{colored:?}");
        assert!(colored.ends_with("  \\u{1b}[31mred\\u{9b}1m\\u{202e}\n"), "{colored:?}");
    }

    #[test]
    fn gaps_are_printed_in_both_forms() {
        let gap = Gap { requested: "1-0".parse().unwrap(), resumed: "5-0".parse().unwrap() };
        assert_eq!(Show::Json.gap(&gap), "{\"gap\":{\"requested\":\"1-0\",\"resumed\":\"5-0\"}}\n");
        let text = Show::Text { is_colored: false }.gap(&gap);
        assert!(
            text.contains("gap") && text.contains("1-0") && text.contains("5-0") && !text.contains('\u{1b}'),
            "{text}"
        );
    }
}
