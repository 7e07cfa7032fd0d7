//! Several messages in one body: a line of JSON for each (`application/x-ndjson`).

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{ChannelName, Draft, EventName, Payload, PayloadError};

/// Why a body is not a valid batch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// Not text.
    #[error(transparent)]
    Body(#[from] PayloadError),
    /// An invalid line.
    #[error("line {number}: {what}; a line is {{\"channel\":…,\"event\"?:…,\"data\":…}}")]
    Line {
        /// Counted from 1, blank lines too.
        number: usize,
        /// The problem.
        what: String,
        /// `bad_line`, or the code of data that is rejected on every transport.
        code: &'static str,
    },
    /// Nothing but blank lines.
    #[error("the batch contains no messages")]
    Empty,
}

impl BatchError {
    /// The error's code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Line { code, .. } => code,
            Self::Body(_) | Self::Empty => "bad_body",
        }
    }
}

/// The problem of one line.
struct LineError {
    what: String,
    code: &'static str,
}

/// A line of a batch.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchLine<'a> {
    /// The channel to publish to.
    channel: ChannelName,
    /// The event name; `message` if it is omitted.
    #[serde(default)]
    event: Option<EventName>,
    /// Any JSON.
    #[serde(borrow)]
    #[cfg_attr(feature = "openapi", schema(value_type = serde_json::Value))]
    data: &'a RawValue,
}

/// The messages of a batch, at least one; blank lines are skipped.
///
/// # Errors
/// The first invalid line, or an empty batch.
pub fn read(body: &[u8]) -> Result<Vec<Draft>, BatchError> {
    let body = std::str::from_utf8(body).map_err(PayloadError::Utf8)?;
    let lines = body.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let drafts: Vec<Draft> = lines
        .map(|(at, line)| {
            message(line).map_err(|LineError { what, code }| BatchError::Line { number: at + 1, what, code })
        })
        .collect::<Result<_, _>>()?;
    if drafts.is_empty() { Err(BatchError::Empty) } else { Ok(drafts) }
}

fn message(line: &str) -> Result<Draft, LineError> {
    // serde parses each line as a separate text.
    let refuse = |code, error: &dyn std::fmt::Display| LineError {
        what: error.to_string().replace(" at line 1 column ", " at column "),
        code,
    };
    if line.starts_with('\u{feff}') {
        return Err(refuse("bad_line", &PayloadError::ByteOrderMark));
    }
    // Derived deserializers of structs accept a list of the fields' values, too.
    if !line.trim_start().starts_with('{') {
        return Err(refuse("bad_line", &"not a JSON object"));
    }
    let BatchLine { channel, event, data } = serde_json::from_str(line).map_err(|error| {
        // A name cannot contain an unpaired surrogate either; serde has its own message for it.
        match Payload::from_json(line.as_bytes()) {
            Err(surrogate @ PayloadError::LoneSurrogate) => refuse(surrogate.code(), &surrogate),
            _ => refuse("bad_line", &error),
        }
    })?;
    let payload = Payload::from_json(data.get().as_bytes()).map_err(|error| refuse(error.code(), &error))?;
    let event = event.unwrap_or_default();
    event.check_for(&channel).map_err(|error| refuse("bad_line", &error))?;
    Ok(Draft::new(channel, payload).event(event))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_messages() {
        let body = "{\"channel\":\"a\",\"data\":1}\r\n\n {\"data\":[ 2 ],\"event\":\"e\",\"channel\":\"b\"}";
        let drafts = read(body.as_bytes()).unwrap();
        let told: Vec<_> = drafts.iter().map(|d| (&*d.channel, &*d.event, d.payload.placeholder_json())).collect();
        assert_eq!(told, [("a", "message", "1"), ("b", "e", "[2]")]);
    }

    #[test]
    fn invalid_line_is_reported_with_its_number() {
        assert_eq!(read(b" \n"), Err(BatchError::Empty));
        assert!(matches!(read(b"\xff"), Err(BatchError::Body(_))));
        let error = read(b"\n{\"channel\":\"a\"}").unwrap_err().to_string();
        assert_eq!(
            error,
            "line 2: missing field `data` at column 15; a line is {\"channel\":…,\"event\"?:…,\"data\":…}"
        );
    }

    /// Case 3.2: a rejected line has the code that the same data or name has in a request with one message.
    #[test]
    fn data_that_is_refused_everywhere_has_its_own_code() {
        let deep = format!("{{\"channel\":\"a\",\"data\":{}{}}}", "[".repeat(101), "]".repeat(101));
        for (line, code) in [
            (r#"{"channel":"a","data":"\ud83d"}"#, "lone_surrogate"),
            (r#"{"channel":"a","data":{"\ud83d":[]}}"#, "lone_surrogate"),
            (r#"{"channel":"a","event":"\ud83d","data":1}"#, "lone_surrogate"),
            (r#"{"channel":"\ud83d","data":1}"#, "lone_surrogate"),
            (r#"{"channel":"a","data":-1e400}"#, "number_out_of_range"),
            (&deep, "too_deep"),
            (r#"{"channel":"a","data":1,"colour":1}"#, "bad_line"),
            (r#"{"channel":"chat.a","event":"typing","data":1}"#, "bad_line"),
            (r#"{"channel":"a","data":}"#, "bad_line"),
        ] {
            let error = read(format!("{{\"channel\":\"a\",\"data\":1}}\n{line}").as_bytes()).unwrap_err();
            assert_eq!(error.code(), code, "{line}: {error}");
            assert!(error.to_string().starts_with("line 2: "), "{error}");
        }
    }

    /// Case 4.8: the message names the byte order mark.
    #[test]
    fn a_byte_order_mark_is_named() {
        let error = read("\u{feff}{\"channel\":\"a\",\"data\":1}".as_bytes()).unwrap_err();
        assert!(error.to_string().contains("byte order mark (BOM, U+FEFF)"), "{error}");
    }
}
