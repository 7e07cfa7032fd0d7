//! The honest word for what cannot be delivered any more.

use serde::{Deserialize, Serialize};

use super::Cursor;

/// Messages after `requested` were dropped, or `requested` is none of this log's: delivery goes on after `resumed`.
///
/// Coming back with `resumed` misses nothing that is held. Serialized, it is the `data` that clients are shown.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// The cursor that the client asked to go on from.
    pub requested: Cursor,
    /// The cursor after which delivery goes on.
    pub resumed: Cursor,
}
