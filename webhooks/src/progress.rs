//! How far the sender is: what is stored under its lease, before anything is sent.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use shared::{
    live::clock::Moment,
    pure::{Cursor, Gap},
};

/// The position of the sender.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// Everything up to here has been delivered, or given up.
    pub(crate) cursor: Cursor,
    /// What was given up, and is to be reported with the next batch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) loss: Option<Loss>,
    /// The batch that is being sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) batch: Option<Bounds>,
}

/// A batch: the messages after the cursor of its [`Progress`] up to `up_to`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Bounds {
    /// The `webhook-id`, which each repetition has.
    pub(crate) id: String,
    /// The last position that it covers.
    pub(crate) up_to: Cursor,
    /// The number of its events.
    pub(crate) count: usize,
    /// What was lost before its first event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) loss: Option<Loss>,
    /// What was selected when it was first sent: the settings may be others now. The present ones if it is not stored, by an earlier version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) selected: Option<Selected>,
    /// Of its body: without it, what has been dropped in the meantime would change the bytes.
    pub(crate) digest: String,
    /// When it was first sent, in milliseconds since the Unix epoch.
    pub(crate) begun: u64,
}

/// For how long a batch has been tried: what the time of day says of earlier processes, and the monotonic clock since.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tried {
    before: Duration,
    from: Moment,
}

impl Tried {
    /// Of a batch that was [begun](Bounds::begun) at this time, and is being sent from `now` on.
    pub(crate) fn new(begun: u64, now: Moment) -> Self {
        Self { before: Duration::from_millis(now.time_ms.saturating_sub(begun)), from: now }
    }

    pub(crate) fn until(&self, now: Moment) -> Duration {
        self.before + Duration::from_millis(now.mono_ms.saturating_sub(self.from.mono_ms))
    }
}

/// What is selected, as the settings have it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Selected {
    /// The kinds of events.
    pub(crate) kinds: String,
    /// The patterns of channels.
    pub(crate) channels: String,
}

/// Events that are not delivered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Loss {
    /// The position after which they were.
    pub(crate) requested: Cursor,
    /// The position after which delivery continues.
    pub(crate) resumed: Cursor,
    /// Their number, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) count: Option<usize>,
    /// Why.
    pub(crate) reason: LossReason,
}

/// Why events are not delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LossReason {
    /// They were dropped before they could be delivered.
    Dropped,
    /// `TRIDENT_HOOK_GIVE_UP` has passed.
    GivenUp,
}

impl Loss {
    /// What the log does not have any more.
    pub(crate) fn dropped(gap: &Gap) -> Self {
        Self { requested: gap.requested, resumed: gap.resumed, count: None, reason: LossReason::Dropped }
    }
}

impl Progress {
    /// What is stored is damaged: it is not known what was delivered. Everything after `cursor` is sent, after a gap.
    pub(crate) fn unknown(cursor: Cursor) -> Self {
        let loss = Loss { requested: Cursor::ZERO, resumed: cursor, count: None, reason: LossReason::Dropped };
        Self { loss: Some(loss), ..Self::at(cursor) }
    }

    /// Nothing after `cursor` has been delivered.
    pub(crate) fn at(cursor: Cursor) -> Self {
        Self { cursor, loss: None, batch: None }
    }

    /// The text that is stored.
    pub(crate) fn encode(&self) -> Bytes {
        // Cursors, numbers and texts always serialize.
        serde_json::to_vec(self).unwrap_or_default().into()
    }

    /// Reads the text that is stored.
    ///
    /// # Errors
    /// When it is not one.
    pub(crate) fn decode(text: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_stored_as_a_text() {
        let cursor = Cursor::new(1, 2);
        let loss = Loss { requested: Cursor::ZERO, resumed: cursor, count: Some(5), reason: LossReason::GivenUp };
        let batch = Bounds {
            id: "msg_1".to_owned(),
            up_to: Cursor::new(9, 0),
            count: 3,
            loss: Some(Loss { count: None, reason: LossReason::Dropped, ..loss.clone() }),
            selected: Some(Selected { kinds: "connected".to_owned(), channels: "a.*".to_owned() }),
            digest: "x".to_owned(),
            begun: 7,
        };
        for progress in [Progress::at(cursor), Progress { cursor, loss: Some(loss), batch: Some(batch) }] {
            assert_eq!(Progress::decode(&progress.encode()).unwrap(), progress);
        }
        assert!(Progress::decode(b"{}").is_err());
    }

    /// Otherwise a batch would be given up too late after the time of day was set back, and too early after it was set forward.
    #[test]
    fn how_long_a_batch_was_tried_does_not_follow_the_time_of_day() {
        let at = |time_ms, mono_ms| Moment { time_ms, mono_ms };
        let tried = Tried::new(9_000, at(10_000, 500));
        for time_ms in [0, 9_500, 10_002, 1_000_000] {
            assert_eq!(tried.until(at(time_ms, 502)), Duration::from_millis(1_002), "at {time_ms}");
        }
        // Another process began it by a clock that is ahead.
        assert_eq!(Tried::new(11_000, at(10_000, 500)).until(at(10_002, 502)), Duration::from_millis(2));
    }
}
