//! How much one message may be in memory.
//!
//! A byte of msgpack, or two of JSON, can be a value of 72 bytes: without a bound, a message of 16 MiB would be more than a gigabyte
//! once it is read.

use super::WireError;

/// What an array or an object takes beyond what it holds, as soon as it holds something.
const CONTAINER: usize = 4;

/// What is left of the values that a message may consist of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget(usize);

impl Budget {
    /// A message of at most so many values: [`Config::max_message_values`](crate::Config::max_message_values).
    pub(crate) fn new(values: usize) -> Self {
        Self(values)
    }

    /// There is one more value, or name of a member. To be said before there is memory for it.
    pub(super) fn value(&mut self) -> Result<(), WireError> {
        self.take(1)
    }

    /// What has been counted as one value is an array or an object with something in it.
    pub(super) fn container(&mut self) -> Result<(), WireError> {
        self.take(CONTAINER)
    }

    fn take(&mut self, values: usize) -> Result<(), WireError> {
        self.0 = self.0.checked_sub(values).ok_or(WireError::TooMany)?;
        Ok(())
    }
}
