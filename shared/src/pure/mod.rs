//! Values and rules without a runtime and without a clock: the caller passes the time.

pub mod access;
pub mod batch;
pub mod cursor;
pub mod event_kind;
pub mod fields;
pub(crate) mod forms;
pub mod gap;
pub mod history;
pub mod loss;
pub mod message;
pub mod name;
pub mod payload;
pub mod pieces;
pub mod stream;

pub use cursor::{Cursor, CursorError, Epoch, Since};
pub use event_kind::{EventKind, EventKinds};
pub use forms::Wire;
pub use gap::Gap;
pub use history::{History, Retention};
pub use loss::Loss;
pub use message::{Draft, Message, Publisher};
pub use name::{ChannelName, EventName, NameError};
pub use payload::{MAX_DEPTH, Payload, PayloadError};
pub use pieces::Pieces;
