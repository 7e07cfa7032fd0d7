//! What the removal of a segment says about retention.

use shared::pure::Cursor;

use super::{SimDisk, State, damage::before};

/// The removal of the oldest segment.
#[derive(Clone, Copy, Debug)]
pub struct Removal {
    /// The newest id of the segment and of all before it.
    pub up_to: Cursor,
    /// The bytes of all segments and their indexes, this one included.
    pub bytes: u64,
}

impl SimDisk {
    /// The segments that were removed since the last call.
    #[must_use]
    pub fn take_removals(&self) -> Vec<Removal> {
        std::mem::take(&mut self.state.lock().removals)
    }
}

impl State {
    /// Notes that `name` is about to be removed, if it is the oldest segment and not the only one.
    pub(super) fn note_removal(&mut self, name: &str) {
        let is_of_log = |name: &&String| name.ends_with(".log") || name.ends_with(".index");
        let mut segments = self.names.keys().filter(|name| name.ends_with(".log"));
        let (oldest, next) = (segments.next(), segments.next());
        let (true, Some(next)) = (oldest.is_some_and(|oldest| oldest == name), next) else { return };
        let Some(up_to) = before(&self.contents[self.names[next]]) else { return };
        let files = self.names.keys().filter(is_of_log);
        let bytes = files.map(|name| self.contents[self.names[name]].length() as u64).sum();
        self.removals.push(Removal { up_to, bytes });
    }
}
