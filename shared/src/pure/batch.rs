//! Several messages in one body: a line of JSON for each (`application/x-ndjson`).

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{ChannelName, Draft, EventName, Payload, PayloadError};

/// Why a body is no batch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// Not text.
    #[error(transparent)]
    Body(#[from] PayloadError),
    /// A line is no message.
    #[error("line {number}: {what}; a line is {{\"channel\":…,\"event\"?:…,\"data\":…}}")]
    Line {
        /// Counted from 1, blank lines too.
        number: usize,
        /// What is wrong with it.
        what: String,
    },
    /// Blank lines, if any.
    #[error("the batch holds no message")]
    Empty,
}

/// A line of a batch.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = BatchLine))]
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Line<'a> {
    /// Where to.
    channel: ChannelName,
    /// What kind of thing happened; `message` when it is left out.
    #[serde(default)]
    event: Option<EventName>,
    /// Any JSON.
    #[serde(borrow)]
    #[cfg_attr(feature = "openapi", schema(value_type = serde_json::Value))]
    data: &'a RawValue,
}

/// The messages of a batch, at least one; blank lines are passed over.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn read(body: &[u8]) -> Result<Vec<Draft>, BatchError> {
    let body = std::str::from_utf8(body).map_err(PayloadError::Utf8)?;
    let lines = body.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let drafts: Vec<Draft> = lines
        .map(|(at, line)| message(line).map_err(|what| BatchError::Line { number: at + 1, what }))
        .collect::<Result<_, _>>()?;
    if drafts.is_empty() { Err(BatchError::Empty) } else { Ok(drafts) }
}

fn message(line: &str) -> Result<Draft, String> {
    // To serde each line is the first of a text of its own.
    let told = |error: &dyn std::fmt::Display| error.to_string().replace(" at line 1 column ", " at column ");
    // Derived readers of structs take a list of the fields' values too.
    if !line.trim_start().starts_with('{') {
        return Err("not a JSON object".to_owned());
    }
    let line: Line<'_> = serde_json::from_str(line).map_err(|error| told(&error))?;
    let payload = Payload::from_json(line.data.get().as_bytes()).map_err(|error| told(&error))?;
    Ok(Draft::new(line.channel, payload).event(line.event.unwrap_or_default()))
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
    fn what_is_none_is_told_with_its_line() {
        assert_eq!(read(b" \n"), Err(BatchError::Empty));
        assert!(matches!(read(b"\xff"), Err(BatchError::Body(_))));
        let error = read(b"\n{\"channel\":\"a\"}").unwrap_err().to_string();
        assert_eq!(
            error,
            "line 2: missing field `data` at column 15; a line is {\"channel\":…,\"event\"?:…,\"data\":…}"
        );
    }
}
