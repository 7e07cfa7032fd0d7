//! Why a request of a client of the chat fails.

use std::borrow::Cow;

use edge::ApiError;
use serde::Serialize;
use shared::{
    live::bus::BusError,
    pure::{NameError, fields::FieldError, stream::StreamError},
};

/// Why a request failed, as sent to the client.
#[derive(Debug, Serialize)]
pub(crate) struct Refusal {
    code: Cow<'static, str>,
    message: String,
}

impl Refusal {
    pub(crate) fn new(code: impl Into<Cow<'static, str>>, message: impl ToString) -> Self {
        Self { code: code.into(), message: message.to_string() }
    }
}

#[cfg(test)]
impl Refusal {
    pub(crate) fn code(&self) -> &str {
        &self.code
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }
}

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        Self::new(error.code().to_owned(), error)
    }
}

impl From<BusError> for Refusal {
    fn from(error: BusError) -> Self {
        let code = match error {
            BusError::Unavailable(_) | BusError::Directory(_) | BusError::StatesFull(_) => "bus_unavailable",
            BusError::DiskFull(_) => "disk_full",
            BusError::Unknown(_) => "outcome_unknown",
            BusError::TooLarge => "too_large",
            BusError::Keys { .. } => "too_many_keys",
            BusError::Reused => "idempotency_key_reused",
            BusError::Unsupported(_) => "not_supported",
            BusError::Stream(StreamError::Closed { .. }) => "stream_closed",
            BusError::Stream(StreamError::Full { .. }) => "streams_full",
            BusError::Stream(StreamError::Gone(_)) => "stream_deleted",
            BusError::Stream(_) => "stream_content_type",
        };
        Self::new(code, error)
    }
}

impl From<NameError> for Refusal {
    fn from(error: NameError) -> Self {
        Self::new("bad_channel", error)
    }
}

impl From<FieldError> for Refusal {
    fn from(error: FieldError) -> Self {
        Self::new("bad_arguments", error)
    }
}
