//! The event of a long message, encoded in pieces: the same bytes as that of a short one.

use std::{iter, sync::Arc};

use shared::pure::{Message, Pieces};

/// Bytes of the JSON of a text that become a piece: up to seven times that, if it has nothing but line ends.
const STEP: usize = 4 * 1024;

/// One event that begins with `head`: a `data` line for each line of a text, or one with the JSON of anything else.
pub(crate) fn event(message: &Arc<Message>, head: String) -> Pieces {
    let json = message.draft.payload.placeholder_json();
    // A text with an unpaired surrogate is sent as JSON, as in a short message. Only data from older logs has one.
    let is_text = json.starts_with('"') && escapes_are_characters(json);
    if !is_text {
        return message.data_pieces(format!("{head}\ndata: ").into_bytes(), b"\n\n".to_vec());
    }
    let (message, mut at, mut ends_with_cr) = (message.clone(), 1, false);
    let lines = iter::from_fn(move || {
        let step = step(message.draft.payload.placeholder_json(), at)?;
        at += step.len();
        let text = decode(step)?;
        let mut rest = &text[..];
        if ends_with_cr && let Some(after) = rest.strip_prefix('\n') {
            rest = after;
        }
        ends_with_cr = text.ends_with('\r');
        Some(rest.replace("\r\n", "\n").replace(['\r', '\n'], "\ndata: ").into())
    });
    Box::new(iter::once(format!("{head}\ndata: ").into()).chain(lines).chain(iter::once("\n\n".into())))
}

/// Whether each escape of the JSON of a text is a character: surrogates (RFC 8259 §7) come in pairs. Each reader looks at the whole text, so this does
/// not decode it.
fn escapes_are_characters(json: &str) -> bool {
    let unit = |at: usize| {
        let digits = json.get(at..at + 6)?.strip_prefix("\\u")?;
        u16::from_str_radix(digits, 16).ok()
    };
    let mut at = 0;
    while let Some(escape) = json[at..].find('\\') {
        at += escape;
        at += match unit(at) {
            Some(0xd800..=0xdbff) if matches!(unit(at + 6), Some(0xdc00..=0xdfff)) => 12,
            Some(0xd800..=0xdfff) => return false,
            Some(_) => 6,
            None => 2,
        };
    }
    true
}

/// The step that begins at `at`.
fn step(json: &str, at: usize) -> Option<&str> {
    let rest = json.get(at..json.len() - 1).filter(|rest| !rest.is_empty())?;
    let most = rest.ceil_char_boundary(STEP);
    let mut end = 0;
    while end < most {
        let Some(escape) = rest[end..most].find('\\') else { return Some(&rest[..most]) };
        end += escape;
        let length = match rest.as_bytes().get(end + 1..end + 4) {
            // The first half of a character: the second half belongs to it.
            Some([b'u', b'd' | b'D', b'8' | b'9' | b'a' | b'b' | b'A' | b'B']) => 12,
            Some([b'u', ..]) => 6,
            _ => 2,
        };
        // The second half may be missing.
        end = rest.ceil_char_boundary(end + length);
    }
    Some(&rest[..end])
}

/// The text of a step.
fn decode(step: &str) -> Option<String> {
    serde_json::from_str(&format!("\"{step}\"")).ok()
}

#[cfg(test)]
mod tests {
    use shared::pure::{Cursor, Draft, Payload};

    use super::*;
    use crate::wire;

    fn message(payload: Payload) -> Arc<Message> {
        let draft = Draft::new("c".parse().unwrap(), payload).event("e".parse().unwrap());
        Arc::new(Message::new(Cursor::new(7, 5), draft))
    }

    fn check(payload: Payload) {
        let message = message(payload);
        let (mut longest, mut all) = (0, Vec::new());
        for piece in event(&message, wire::head(&message)) {
            longest = longest.max(piece.len());
            all.extend_from_slice(&piece);
        }
        let json = message.draft.payload.placeholder_json();
        assert!(all == wire::event(&message), "{} bytes of {:?}", all.len(), json.get(..40).unwrap_or(json));
        assert!(longest <= 8 * STEP, "{longest} bytes");
    }

    #[test]
    fn the_pieces_are_the_event() {
        let parts = ["\r\n", "\n", "\r", " ", "x", "茶", "\u{1f600}", "\"\\", "\u{1}", "\u{2028}", "long "];
        for part in parts {
            // The parts are divided at each of their bytes.
            for before in 0..13 {
                for count in [0, 1, 1_400, 5_000] {
                    check(Payload::from_text(&format!("{}{}", "b".repeat(before), part.repeat(count))));
                }
            }
        }
        check(Payload::from_text(&parts.concat().repeat(4_000)));
        check(Payload::from_json(format!("[\"{}\"]", "x\\n".repeat(100_000)).as_bytes()).unwrap());
        check(Payload::from_bytes(vec![7; 100_000].into()));
    }

    #[test]
    fn escapes_are_not_divided() {
        for escape in ["\\ud83d\\ude00", "\\u0041", "\\n", "\\\\", "\\\"", "\\ud83d\\ude00\\r\\n"] {
            for before in 0..13 {
                let json = format!("\"{}{}\"", "b".repeat(before), escape.repeat(3_000));
                check(Payload::from_json(json.as_bytes()).unwrap());
            }
        }
        // Not a character: older logs may have it.
        for text in ["\\ud83d", "\\ud83d\\n", "\\ude00 ", "\\ud83d\\ud83d\\ud83d"] {
            for before in [0, STEP - 7, STEP - 6, STEP - 1, STEP] {
                let json = format!("\"{}{text}\"", "b".repeat(before));
                check(Payload::from_log(json.as_bytes(), Vec::new()).unwrap());
            }
        }
    }
}
