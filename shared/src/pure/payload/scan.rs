//! Checks JSON text (RFC 8259) in one linear pass, without building a tree and without recursion.
//!
//! Beyond the grammar it checks three things, because some reader cannot represent them: the range of numbers, unpaired surrogates, and
//! depth. Everything else is kept as it was sent: large integers, `-0`, `\u0000`, U+2028, duplicate keys. White space between tokens is
//! removed.

use super::PayloadError;

/// Maximum nesting of arrays and objects.
///
/// Recursive parsers stop at depths from 128 on, and some wire forms wrap a message up to four levels deep.
pub const MAX_DEPTH: usize = 100;

/// Which values are accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Values {
    /// Values that every reader can represent.
    Portable,
    /// The same, or an array of them.
    List,
    /// Every JSON value: messages in a log are delivered, whatever rules they were accepted by.
    Any,
}

/// Checks that `text` is one JSON value of `values` and returns it without the white space between its tokens.
pub(super) fn compact(text: &str, values: Values) -> Result<Box<str>, PayloadError> {
    let mut scanner = Scanner { text, at: 0, kept_to: 0, compact: String::new(), values };
    scanner.run()?;
    let rest = &text[scanner.kept_to..];
    Ok(if scanner.compact.is_empty() { rest.into() } else { (scanner.compact + rest).into() })
}

/// The open arrays and objects at a position in the text, outermost first.
enum Open {
    Array,
    Object,
}

struct Scanner<'a> {
    text: &'a str,
    /// The next byte.
    at: usize,
    /// Text before this is in `compact`, or was white space.
    kept_to: usize,
    /// The text so far, if there was white space in it.
    compact: String,
    values: Values,
}

impl Scanner<'_> {
    fn run(&mut self) -> Result<(), PayloadError> {
        if self.text.starts_with('\u{feff}') {
            return Err(PayloadError::ByteOrderMark);
        }
        let mut open: Vec<Open> = Vec::new();
        loop {
            // A value starts here.
            let first = self.next_token();
            match first {
                Some(b'{' | b'[') => {
                    if open.len() >= self.max_depth(open.first()) {
                        return Err(PayloadError::TooDeep);
                    }
                    self.at += 1;
                    let (kind, end) = if first == Some(b'{') { (Open::Object, b'}') } else { (Open::Array, b']') };
                    if self.next_token() == Some(end) {
                        self.at += 1;
                    } else {
                        if matches!(kind, Open::Object) {
                            self.key()?;
                        }
                        open.push(kind);
                        continue;
                    }
                }
                Some(b'"') => self.string()?,
                Some(b'-' | b'0'..=b'9') => self.number()?,
                Some(b't') => self.literal("true")?,
                Some(b'f') => self.literal("false")?,
                Some(b'n') => self.literal("null")?,
                _ => return Err(self.unexpected("a value")),
            }
            // A value ended here, and perhaps the enclosing ones.
            loop {
                let next = self.next_token();
                match (open.last(), next) {
                    (None, None) => return Ok(()),
                    (None, Some(_)) => return Err(self.unexpected("the end")),
                    (Some(Open::Array), Some(b',')) => {
                        self.at += 1;
                        break;
                    }
                    (Some(Open::Object), Some(b',')) => {
                        self.at += 1;
                        self.next_token();
                        self.key()?;
                        break;
                    }
                    (Some(Open::Array), Some(b']')) | (Some(Open::Object), Some(b'}')) => {
                        self.at += 1;
                        open.pop();
                    }
                    (Some(Open::Array), _) => return Err(self.unexpected("`,` or `]`")),
                    (Some(Open::Object), _) => return Err(self.unexpected("`,` or `}`")),
                }
            }
        }
    }

    /// How many arrays and objects may be open, of which `outermost` is the first.
    fn max_depth(&self, outermost: Option<&Open>) -> usize {
        match (self.values, outermost) {
            (Values::Any, _) => usize::MAX,
            (Values::List, Some(Open::Array)) => MAX_DEPTH + 1,
            (Values::Portable | Values::List, _) => MAX_DEPTH,
        }
    }

    /// Skips white space, which is not kept, and returns the next byte.
    fn next_token(&mut self) -> Option<u8> {
        let is_space = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
        let rest = &self.text.as_bytes()[self.at..];
        let spaces = rest.iter().take_while(|byte| is_space(byte)).count();
        if spaces > 0 {
            self.compact.push_str(&self.text[self.kept_to..self.at]);
            self.at += spaces;
            self.kept_to = self.at;
        }
        rest.get(spaces).copied()
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// The key of a member and its colon.
    fn key(&mut self) -> Result<(), PayloadError> {
        if self.peek() != Some(b'"') {
            return Err(self.unexpected("a key in double quotes"));
        }
        self.string()?;
        if self.next_token() != Some(b':') {
            return Err(self.unexpected("`:`"));
        }
        self.at += 1;
        Ok(())
    }

    fn literal(&mut self, word: &'static str) -> Result<(), PayloadError> {
        if self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            self.at += word.len();
            Ok(())
        } else {
            Err(self.unexpected("a value"))
        }
    }

    /// RFC 8259 §6.
    fn number(&mut self) -> Result<(), PayloadError> {
        let begin = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        let mut has_exponent = false;
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            has_exponent = true;
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        // The largest double has 309 digits before the decimal point.
        let is_surely_finite = !has_exponent && self.at - begin <= 308;
        let is_finite = || self.text[begin..self.at].parse::<f64>().is_ok_and(f64::is_finite);
        if self.values != Values::Any && !is_surely_finite && !is_finite() {
            return Err(PayloadError::NumberOutOfRange);
        }
        Ok(())
    }

    /// At least one digit.
    fn digits(&mut self) -> Result<(), PayloadError> {
        let digits = self.text.as_bytes()[self.at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits == 0 {
            return Err(self.unexpected("a digit"));
        }
        self.at += digits;
        Ok(())
    }

    /// A string, from quote to quote (RFC 8259 §7).
    fn string(&mut self) -> Result<(), PayloadError> {
        self.at += 1;
        loop {
            self.at += plain_bytes(&self.text.as_bytes()[self.at..]);
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => self.escape()?,
                _ => return Err(self.unexpected("a character other than a control character, or the closing quote")),
            }
        }
    }

    fn escape(&mut self) -> Result<(), PayloadError> {
        self.at += 1;
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 1;
                Ok(())
            }
            Some(b'u') => {
                let unit = self.code_unit()?;
                if self.values == Values::Any || !(0xd800..0xe000).contains(&unit) {
                    return Ok(());
                }
                // A surrogate pair, the high one first (RFC 8259 §7); a single one is not a character (§8.2).
                let is_high = unit < 0xdc00;
                if is_high && self.text.as_bytes()[self.at..].starts_with(b"\\u") {
                    self.at += 1;
                    if (0xdc00..0xe000).contains(&self.code_unit()?) {
                        return Ok(());
                    }
                }
                Err(PayloadError::LoneSurrogate)
            }
            _ => Err(self.unexpected("an escape sequence")),
        }
    }

    /// The four hexadecimal digits after `u`, which start at the current position.
    fn code_unit(&mut self) -> Result<u32, PayloadError> {
        self.at += 1;
        let mut unit = 0;
        for _ in 0..4 {
            let digit = self.peek().and_then(|byte| char::from(byte).to_digit(16));
            unit = unit * 16 + digit.ok_or_else(|| self.unexpected("a hexadecimal digit"))?;
            self.at += 1;
        }
        Ok(unit)
    }

    #[cold]
    fn unexpected(&self, expected: &str) -> PayloadError {
        let before = &self.text[..self.at];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        let found = match self.text[self.at..].chars().next() {
            Some(quote @ ('\'' | '"')) => format!("`{quote}`"),
            Some(char) => format!("`{}`", char.escape_debug()),
            None => "the end of the text".to_owned(),
        };
        PayloadError::Json(format!("expected {expected} at line {line} column {column}, found {found}"))
    }
}

/// The number of bytes before the first quote, backslash or control character of `bytes`: eight at a time.
fn plain_bytes(bytes: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let below = |word: u64, least: u8| word.wrapping_sub(ONES * u64::from(least)) & !word & HIGH;
    let mut at = 0;
    while let Some(chunk) = bytes.get(at..).and_then(<[u8]>::first_chunk) {
        let word = u64::from_le_bytes(*chunk);
        let equals = |byte: u8| below(word ^ (ONES * u64::from(byte)), 1);
        // The lowest marked byte is always correct; a borrow can only mark bytes above it.
        let marked = below(word, 0x20) | equals(b'"') | equals(b'\\');
        if marked != 0 {
            return at + marked.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    let rest = bytes.get(at..).unwrap_or_default();
    at + rest.iter().take_while(|byte| **byte >= 0x20 && !matches!(byte, b'"' | b'\\')).count()
}

#[cfg(test)]
mod tests;
