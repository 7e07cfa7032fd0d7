//! How a connection leaves the table: its client left, it continues alone, or its stream ends.

use super::{
    super::{
        clock::NEVER,
        outgoing::{LAST_CHUNK, framed},
    },
    member::{Departed, Exit, Guards, Member},
    table::Table,
};
use crate::stream::StreamSchedule;

impl Table {
    /// Removes a member.
    pub(super) fn exit(&mut self, key: u32, exit: Exit) {
        let Some(cohort) = self.members.get(key as usize).map(|member| member.cohort) else { return };
        let of = &mut self.cohorts[cohort];
        of.list.remove(&mut self.members, key);
        let member = self.members.remove(key as usize);
        self.ends.remove(&(member.end, key));
        let Member { socket, quiet, discarded, guards: Guards { slot, accepted, counted }, .. } = member;
        let (rest, stream) = match exit {
            Exit::Lost => (None, None),
            Exit::Alone { place, rest } => {
                let end = (member.end != NEVER).then(|| self.clock.instant(member.end)).flatten();
                let times = StreamSchedule { keep_alive: of.keep_alive, end };
                let stream = of.form.resume(of.reader.reader_at(place), slot, times);
                (Some(rest), Some((stream, counted)))
            }
            Exit::Ended => {
                let closing = of.form.closing();
                let mut rest = if closing.is_empty() { Vec::new() } else { framed(&closing) };
                rest.extend_from_slice(LAST_CHUNK);
                (Some(rest.into()), None)
            }
        };
        if let Some(rest) = rest {
            self.left.push(Departed { socket, accepted, quiet, discarded, rest, stream });
        }
        if of.reader.remove() {
            self.disband(cohort);
        }
    }

    /// Removes a cohort without members.
    fn disband(&mut self, key: usize) {
        let cohort = self.cohorts.remove(key);
        self.beats.remove(&(cohort.beat, key));
        let channels = cohort.reader.channel_set();
        if let Some(cohorts) = self.by_channels.get_mut(&channels) {
            cohorts.retain(|of| *of != key);
            if cohorts.is_empty() {
                self.by_channels.remove(&channels);
            }
        }
        // Its key may be in the queue. Another cohort of this key would be served for nothing.
    }
}
