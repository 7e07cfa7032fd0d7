//! Why a connection leaves the table, and what it continues with: its client left, or sent something; its time is over; or it is to be
//! sent what the others are not.

use std::{
    borrow::Cow,
    io::{ErrorKind, Read as _},
};

use bytes::BytesMut;
use futures_util::{StreamExt as _, stream};
use tokio::time::Instant;

use super::{
    super::{
        answer::Sending,
        clock::NEVER,
        connection::{MAX_DISCARDED, MAX_READAHEAD, READ_INTO, Remains, WaitsFor},
        incoming::Incoming,
        outgoing::Outgoing,
    },
    cohort::Follows,
    member::{Departed, Exit, Kept, Member, Then},
    table::Table,
};
use crate::{guarded::Guarded, metrics::Unparked, response::ResponseBody, stream::StreamSchedule};

/// Members that are visited in one turn.
const VISITS: usize = 128;

impl Table {
    /// A member has received something, or its client has left.
    pub(super) fn receive(&mut self, key: u32) {
        let Some(member) = self.members.get_mut(key as usize) else { return };
        let is_tunnel = self.cohorts[member.cohort].kind.is_tunnel;
        let mut content = None;
        let received = READ_INTO.with_borrow_mut(|room| {
            // As much as of the requests of others.
            let most = if matches!(member.kept, Kept::Answer { .. }) { MAX_READAHEAD } else { room.len() };
            let count = (&member.socket).read(&mut room[..most])?;
            let unparks = |member: &mut Member| match &mut member.kept {
                Kept::Stream { own, .. } => is_tunnel && !own.receive(&room[..count], Instant::now()),
                // The next request, or a part of it.
                Kept::Answer { .. } => true,
            };
            if count > 0 && unparks(member) {
                content = Some(BytesMut::from(&room[..count]));
            }
            Ok::<_, std::io::Error>(count)
        });
        match (received, content) {
            (Ok(0), _) => self.leave(key),
            (Ok(_), Some(received)) => self.exit(key, Exit::Received(received)),
            (Ok(_), None) if is_tunnel => self.set_due(key),
            // Nobody reads what follows a request for a stream.
            (Ok(count), None) => {
                member.discarded += count;
                if member.discarded > MAX_DISCARDED {
                    self.exit(key, Exit::Lost);
                }
            }
            (Err(error), _) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            (Err(_), _) => self.exit(key, Exit::Lost),
        }
    }

    /// The client of a member has closed its sending side. It gets what was published before, in case it still reads.
    fn leave(&mut self, key: u32) {
        let Member { cohort, place, .. } = self.members[key as usize];
        match self.cohorts[cohort].follows(place) {
            Follows::Nothing(_) => self.exit(key, Exit::Lost),
            Follows::Run(_) | Follows::NotForAll => self.expel(key, Unparked::Closed),
        }
    }

    /// Some members have been ended from outside: each one is to be [visited](Self::visit).
    pub(super) fn visit_all(&mut self) {
        self.to_visit = self.members.capacity();
    }

    /// Visits some of the members that are to be visited: those that have been ended from outside leave as soon as possible.
    pub(super) fn visit(&mut self) {
        for _ in 0..VISITS.min(self.to_visit) {
            self.to_visit -= 1;
            let next = self.visited.checked_add(1).filter(|next| *next < self.members.capacity());
            let visited = std::mem::replace(&mut self.visited, next.unwrap_or_default());
            if let Ok(key) = u32::try_from(visited)
                && self.members.get(visited).is_some_and(Member::is_ended)
            {
                self.set_due(key);
            }
        }
    }

    /// Finds the time at which a member has to leave.
    pub(super) fn set_due(&mut self, key: u32) {
        let Some(member) = self.members.get_mut(key as usize) else { return };
        let due = member.next_due(&self.clock);
        let before = std::mem::replace(&mut member.due, due);
        if before == due {
            return;
        }
        self.ends.remove(&(before, key));
        if due != NEVER {
            self.ends.insert((due, key));
        }
    }

    /// A member continues alone: whatever is to be done, its stream does it.
    pub(super) fn expel(&mut self, key: u32, reason: Unparked) {
        self.exit(key, Exit::Alone(reason));
    }

    /// Removes a member.
    pub(super) fn exit(&mut self, key: u32, exit: Exit) {
        let Some(cohort) = self.members.get(key as usize).map(|member| member.cohort) else { return };
        let of = &mut self.cohorts[cohort];
        of.list.remove(&mut self.members, key);
        let member = self.members.remove(key as usize);
        self.parking.connections.dec();
        self.parking.unparked(exit.reason()).inc();
        self.ends.remove(&(member.due, key));
        let (mut slow, mut answered) = (member.slow, None);
        let continues = match exit {
            Exit::Lost => None,
            Exit::Alone(_) => Some((member.place, Vec::new(), BytesMut::new())),
            Exit::Slow { place, rest } => {
                slow = slow.saturating_add(1);
                Some((place, rest, BytesMut::new()))
            }
            Exit::Received(received) => Some((member.place, Vec::new(), received)),
            Exit::Answered { rest, keeps, status } => {
                answered = Some((keeps, status));
                Some((member.place, rest, BytesMut::new()))
            }
        };
        if let Some((place, rest, inbox)) = continues {
            let Member { socket, kept, end, quiet, discarded, accepted, .. } = member;
            let (mut waits_for, mut peer) = (WaitsFor::Stream, None);
            let then = match (kept, &of.kind.content) {
                (Kept::Stream { mut own, counted, .. }, content) => {
                    if !rest.is_empty() {
                        own.sent_partly();
                    }
                    let end = (end != NEVER).then(|| self.clock.instant(end)).flatten();
                    let times = StreamSchedule { keep_alive: of.kind.keep_alive, end };
                    let (incoming, reading) = if of.kind.is_tunnel {
                        waits_for = WaitsFor::Tunnel;
                        let (incoming, reading) = Incoming::new();
                        (Some(incoming), reading.boxed_local())
                    } else {
                        (None, stream::empty().boxed_local())
                    };
                    let body = own.resume(of.reader.reader_at(place), times, reading);
                    let body = Guarded::new(ResponseBody::live(body), counted);
                    let framing = content.framing();
                    Then::Send(Sending::resumed(body, framing, incoming))
                }
                (Kept::Answer { own, slot, request }, _) => {
                    (waits_for, peer) = (WaitsFor::Answer, request.peer);
                    match answered {
                        Some((keeps, status)) => {
                            let since = request.since;
                            let counted = request.active.answered(Some(Cow::Borrowed(request.label)), status);
                            Then::Next { keeps, guards: (slot, counted), since }
                        }
                        None => {
                            let response = own.resume(of.reader.reader_at(place), slot);
                            Then::Answer(Box::new(request.resume(response)))
                        }
                    }
                }
            };
            let outgoing = Outgoing::of(rest);
            let remains = Remains { quiet, discarded, slow, inbox, outgoing, waits_for, peer };
            self.left.push(Departed { socket, accepted, remains, then });
        } else {
            // While its channels are still read: the end of a read is a use of a stream, unless that is over by then.
            drop(member);
        }
        if of.reader.remove() {
            self.disband(cohort);
        }
    }

    /// Removes a cohort without members.
    fn disband(&mut self, key: usize) {
        let cohort = self.cohorts.remove(key);
        self.parking.cohorts.dec();
        self.beats.remove(&(cohort.beat, key));
        let channels = cohort.reader.channel_set();
        if let Some(cohorts) = self.by_channels.get_mut(&channels) {
            cohorts.remove(&cohort.number);
            if cohorts.is_empty() {
                self.by_channels.remove(&channels);
            }
        }
        // Its key may be in the queue. Another cohort of this key would be served for nothing.
    }
}
