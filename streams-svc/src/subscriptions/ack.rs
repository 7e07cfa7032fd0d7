//! Acknowledgements of workers: how far they have read each stream.

use serde::{Deserialize, Serialize};
use shared::pure::{ChannelName, Cursor};

use super::request::invalid_body;
use crate::offset::Offset;

/// Maximum number of streams of one acknowledgement: all that a subscription can have.
const MAX_ACKS: usize = super::limits::MAX_LINKS;

/// A callback of a webhook's worker, an acknowledgement or a release, as JSON.
#[derive(Deserialize)]
struct AckBody {
    wake_id: String,
    generation: u64,
    #[serde(default)]
    acks: Vec<OffsetBody>,
    #[serde(default)]
    done: bool,
}

#[derive(Deserialize)]
struct OffsetBody {
    #[serde(alias = "path")]
    stream: String,
    offset: String,
}

/// What a worker says of its wake.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ack {
    /// The wake.
    pub(super) wake_id: String,
    /// The generation of the wake.
    pub(super) generation: u64,
    /// The last position that was processed, for each stream. `None` for what can be none: a stream or an offset that cannot exist.
    pub(super) acks: Vec<Option<(ChannelName, Cursor)>>,
    /// Whether the worker has finished.
    pub(super) done: bool,
}

impl Ack {
    /// Reads the body of a request.
    ///
    /// # Errors
    /// What is wrong.
    pub(crate) fn read(body: &[u8]) -> Result<Self, String> {
        let AckBody { wake_id, generation, acks, done } =
            serde_json::from_slice(body).map_err(|error| invalid_body(&error))?;
        if acks.len() > MAX_ACKS {
            return Err(format!("at most {MAX_ACKS} streams can be acknowledged at a time"));
        }
        let acks = acks.into_iter().map(|OffsetBody { stream, offset }| {
            let Offset(cursor) = offset.parse().ok()?;
            Some((stream.trim_matches('/').parse().ok()?, cursor))
        });
        Ok(Self { wake_id, generation, acks: acks.collect(), done })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_read_with_their_streams() {
        let read = |text: &str| Ack::read(text.as_bytes());
        let body = r#"{"wake_id":"w","generation":7,"acks":[{"stream":"/a/b","offset":"0000000000000001_00000000000000000002"},
            {"path":"a","offset":"-1"},{"stream":"a//b","offset":"1-0"}],"done":true}"#;
        let acks = vec![Some(("a/b".parse().unwrap(), Cursor::new(1, 2))), None, None];
        assert_eq!(read(body), Ok(Ack { wake_id: "w".to_owned(), generation: 7, acks, done: true }));
        let short = Ack { wake_id: "w".to_owned(), generation: 7, acks: Vec::new(), done: false };
        assert_eq!(read(r#"{"wake_id":"w","generation":7}"#), Ok(short));
        for bad in ["", "[]", r#"{"wake_id":"w"}"#, r#"{"wake_id":"w","generation":-1}"#] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
