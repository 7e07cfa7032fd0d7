//! What others send to the client of one member: it is written where the connection is parked.

use std::task::Context;

use bytes::Bytes;

use super::{
    member::{Exit, Kept},
    table::Table,
    woken::MemberWaker,
    write::{after_first, to_one, writings},
};
use crate::{metrics::Unparked, stream::Sent};

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
        let Some(member) = self.members.get_mut(key as usize) else { return };
        let Kept::Stream { own, waker: Some(waker), .. } = &mut member.kept else { return };
        let mut parts = Vec::new();
        let sent = own.send(member.place.cursor(), &mut Context::from_waker(waker), &mut parts);
        if !parts.is_empty() {
            let bytes: usize = parts.iter().map(Bytes::len).sum();
            member.quiet.before_write(&member.socket, bytes, now);
            match to_one(&member.socket, &writings(parts.iter().cloned())) {
                Err(_) => return self.exit(key, Exit::Lost),
                Ok(taken) if taken < bytes => {
                    let place = member.place;
                    return self.exit(key, Exit::Slow { place, rest: after_first(&parts, taken) });
                }
                Ok(_) => {}
            }
        }
        match sent {
            Sent::Waits => self.set_due(key),
            Sent::Continues => self.sent_to.push_back(key),
            Sent::Ends => self.expel(key, Unparked::Ended),
        }
    }
}
