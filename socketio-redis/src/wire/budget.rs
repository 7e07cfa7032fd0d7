//! The maximum size of one message in memory.
//!
//! A byte of msgpack, or two of JSON, can be a value of 72 bytes: without a limit, a message of 16 MiB could take more than a gigabyte when
//! it is decoded.

use super::WireError;

/// The overhead of an array or an object that is not empty.
const CONTAINER: usize = 4;

/// The remaining number of values of a message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget(usize);

impl Budget {
    /// A message of at most this many values: [`Config::max_message_values`](crate::Config::max_message_values).
    pub(crate) fn new(values: usize) -> Self {
        Self(values)
    }

    /// Counts one more value, or name of a member, before its memory is allocated.
    pub(super) fn value(&mut self) -> Result<(), WireError> {
        self.take(1)
    }

    /// The value that was just counted is an array or an object that is not empty.
    pub(super) fn container(&mut self) -> Result<(), WireError> {
        self.take(CONTAINER)
    }

    fn take(&mut self, values: usize) -> Result<(), WireError> {
        self.0 = self.0.checked_sub(values).ok_or(WireError::TooMany)?;
        Ok(())
    }
}
