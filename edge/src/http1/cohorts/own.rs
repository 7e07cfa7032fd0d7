//! What others send to the client of one member: it is written where the connection is parked.

use std::task::Context;

use bytes::Bytes;

use super::{
    cohort::Follows,
    member::{Exit, Kept, Member},
    table::Table,
    woken::MemberWaker,
    write::{after_first, to_one, writings},
};
use crate::{metrics::Unparked, stream::Sent};

/// Milliseconds without a write after which a client that takes what is written is not slow.
const RESTED: u64 = 1_000;

impl Table {
    /// A new member. If others send to its client, they may have done so before it has its waker.
    pub(super) fn begin_own(&mut self, key: u32) {
        if let Kept::Stream { own, waker, .. } = &mut self.members[key as usize].kept
            && own.is_sent_to()
        {
            *waker = Some(MemberWaker::waker(key, &self.woken));
            self.sent_to.push_back(key);
        }
    }

    /// Sends what others have for the client of a member.
    pub(super) fn send_own(&mut self, key: u32, now: u64) {
        // A waker of an earlier member with this key may have been called.
        let is_sent_to = |member: &Member| matches!(member.kept, Kept::Stream { waker: Some(_), .. });
        if !self.members.get(key as usize).is_some_and(is_sent_to) {
            return;
        }
        self.advance(key);
        let Some(member) = self.members.get_mut(key as usize) else { return };
        let Kept::Stream { own, waker: Some(waker), .. } = &mut member.kept else { return };
        let mut parts = Vec::new();
        let sent = own.send(member.place.cursor(), &mut Context::from_waker(waker), &mut parts);
        if !parts.is_empty() {
            let bytes: usize = parts.iter().map(Bytes::len).sum();
            let is_rested = now.saturating_sub(member.quiet.written()) >= RESTED;
            member.quiet.before_write(&member.socket, bytes, now);
            match to_one(&member.socket, &writings(parts.iter().cloned())) {
                Err(_) => return self.exit(key, Exit::Lost),
                Ok(taken) if taken < bytes => {
                    let place = member.place;
                    return self.exit(key, Exit::Slow { place, rest: after_first(&parts, taken) });
                }
                // It has had the time to read everything.
                Ok(_) if is_rested => member.slow = 0,
                Ok(_) => {}
            }
        }
        match sent {
            Sent::Waits => self.set_due(key),
            Sent::Continues => self.sent_to.push_back(key),
            Sent::Ends => self.expel(key, Unparked::Ended),
        }
    }

    /// Moves the place of a member to the end of the log, if nothing between is for it: what others send gets the place as its offset, and a place that
    /// is left behind is lost to retention.
    fn advance(&mut self, key: u32) {
        let Some(member) = self.members.get_mut(key as usize) else { return };
        let of = member.cohort;
        let Some(cohort) = self.cohorts.get_mut(of) else { return };
        if cohort.is_ready {
            return;
        }
        // The log shows a message before it wakes the cohort.
        let Follows::Nothing(place) = cohort.follows(member.place) else {
            self.wake(of);
            return;
        };
        member.place = place;
        cohort.list.move_to_back(&mut self.members, key);
    }
}
