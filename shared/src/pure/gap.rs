//! The report that messages cannot be delivered any more.

use serde::{Deserialize, Serialize};

use super::Cursor;

/// Messages after `requested` were dropped, or `requested` is not a cursor of this log: delivery resumes after `resumed`.
///
/// A client that reconnects with `resumed` misses no stored message. Serialized, it is the `data` that clients receive.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// The cursor that the client asked to resume from.
    pub requested: Cursor,
    /// The cursor after which delivery resumes.
    pub resumed: Cursor,
}
