//! What a catch-up delivers of a batch.

use shared::{live::reader::Batch, pure::Cursor};

/// A batch of a catch-up without what is after `until`, which the live reader delivers.
pub(super) fn up_to(mut batch: Batch, until: Cursor) -> Batch {
    batch.messages.retain(|message| message.id <= until);
    batch.end = batch.end.filter(|end| end.id <= until);
    if let Some(gap) = &mut batch.gap {
        gap.resumed = gap.resumed.min(until);
    }
    batch
}

/// The cursor of the client after a batch.
pub(super) fn last_given(batch: &Batch) -> Option<Cursor> {
    batch.messages.last().map(|last| last.id).or(batch.gap.as_ref().map(|gap| gap.resumed))
}
