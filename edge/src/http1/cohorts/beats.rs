//! Keep-alives of parked connections: their cohort sends them.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::{
    super::clock::NEVER,
    cohort::Follows,
    member::{Exit, Kept},
    table::Table,
    write::{after_first, to_one, writings},
};

/// The precision of keep-alives in milliseconds: those of many connections are sent together.
const GRAIN: u64 = 100;

impl Table {
    /// Sends keep-alives to the members of a cohort that were sent nothing for too long.
    pub(super) fn beat(&mut self, key: usize, now: u64, budget: &mut usize) {
        let Some(cohort) = self.cohorts.get(key) else { return };
        let writings = writings(cohort.kind.beat());
        if writings.is_empty() {
            return;
        }
        // Members who have something else to be sent are sent that.
        let (is_ready, keep_alive) = (cohort.is_ready, cohort.kind.keep_alive);
        let bytes: usize = writings.iter().flatten().map(Bytes::len).sum();
        while *budget > 0
            && !is_ready
            && let Some(cohort) = self.cohorts.get_mut(key)
            && let Some(front) = cohort.list.front()
        {
            let member = &mut self.members[front as usize];
            if after(member.quiet.written(), keep_alive) > now {
                break;
            }
            // The log shows a message before it wakes the cohort. Whoever is moved to the back has read as much as those who are there.
            let Follows::Nothing(place) = cohort.follows(member.place) else {
                self.wake(key);
                break;
            };
            member.place = place;
            *budget -= 1;
            member.quiet.before_write(&member.socket, bytes, now);
            if let Kept::Stream { own, .. } = &mut member.kept {
                own.sends_keep_alive(Instant::now());
            }
            match to_one(&member.socket, &writings) {
                Err(_) => self.exit(front, Exit::Lost),
                Ok(taken) if taken == bytes => {
                    // It has had the time to read everything.
                    member.slow = 0;
                    cohort.list.move_to_back(&mut self.members, front);
                    self.set_due(front);
                }
                Ok(taken) => {
                    let place = member.place;
                    self.exit(front, Exit::Slow { place, rest: after_first(writings.iter().flatten(), taken) });
                }
            }
        }
        self.set_beat(key, now);
    }

    /// Finds the time of the next keep-alive of a cohort.
    pub(super) fn set_beat(&mut self, key: usize, now: u64) {
        let Some(cohort) = self.cohorts.get_mut(key) else { return };
        let written = cohort.list.front().map_or(now, |front| self.members[front as usize].quiet.written());
        let due = after(written, cohort.kind.keep_alive);
        // At the same times for all, a little later; and for members that are being sent something, later.
        let due = if due <= now && cohort.is_ready { now + GRAIN } else { due };
        let grain = GRAIN.min(precision(cohort.kind.keep_alive));
        cohort.beat = due.checked_next_multiple_of(grain).unwrap_or(NEVER);
        if cohort.beat != NEVER {
            self.beats.insert((cohort.beat, key));
        }
    }
}

/// A time, `wait` later.
fn after(time: u64, wait: Duration) -> u64 {
    time.saturating_add(u64::try_from(wait.as_millis()).unwrap_or(NEVER))
}

/// The precision of a keep-alive in milliseconds.
fn precision(keep_alive: Duration) -> u64 {
    u64::try_from(keep_alive.as_millis() / 16).unwrap_or(GRAIN).max(1)
}
