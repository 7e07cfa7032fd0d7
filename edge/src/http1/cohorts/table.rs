//! The parked connections of a worker and their cohorts: who is served next, who leaves, and what is due when.
//!
//! All of it happens between two waits of the worker's [host](super): nothing here waits.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    io,
    net::TcpStream,
    rc::Rc,
    sync::Arc,
    task::Waker,
    time::Duration,
};

use shared::live::reader::{
    Reader,
    cohort::{ChannelSet, CohortReader, Place},
};
use slab::Slab;
use tokio::time::Instant;

use super::{
    super::{
        answer::{Waiting, WaitingStream},
        clock::{Clock, NEVER},
        connection::Remains,
        sockets::Socket,
    },
    cohort::{Cohort, Follows, Run},
    kind::{Content, Kind, SharedAnswer},
    member::{Departed, Exit, Kept, Links, List, Member, Members},
    pace::MAX_SLICE,
    woken::Woken,
    write::Writer,
};
use crate::{
    Edge,
    metrics::{Metrics, Parking, Unparked},
    response::WaitingAnswer,
    stream::Parts,
};

/// The number of cohorts of the same channels that are compared with a new member. Clients choose what makes them differ, and how often.
pub(super) const MAX_COMPARED: usize = 16;

/// See the module.
pub(super) struct Table {
    pub(super) members: Members,
    pub(super) cohorts: Slab<Cohort>,
    /// By the channels, in the order in which they began.
    pub(super) by_channels: HashMap<ChannelSet, BTreeMap<u64, usize>>,
    /// The number of cohorts that there have been.
    begun: u64,
    /// Cohorts that may have something to send. The first is served next.
    ready: VecDeque<usize>,
    /// Members to whose clients others may have sent something. The first is served next.
    pub(super) sent_to: VecDeque<u32>,
    /// Members that have to leave, by the time.
    pub(super) ends: BTreeSet<(u64, u32)>,
    /// Cohorts with keep-alives, by the time of the next one.
    pub(super) beats: BTreeSet<(u64, usize)>,
    /// The number of places in `members` that are to be visited, from `visited` on, and then from the first one on.
    pub(super) to_visit: usize,
    pub(super) visited: usize,
    /// Connections that have left and are to be continued.
    pub(super) left: Vec<Departed>,
    pub(super) clock: Rc<Clock>,
    pub(super) parking: Parking,
    writer: Writer,
    pub(super) woken: Arc<Woken>,
    end_waker: Waker,
}

impl Table {
    pub(super) fn new(clock: Rc<Clock>, woken: Arc<Woken>, parking: Parking, uses_ring: bool) -> Self {
        Self {
            writer: Writer::open(uses_ring, MAX_SLICE, parking.rings.clone()),
            members: Slab::new(),
            cohorts: Slab::new(),
            by_channels: HashMap::new(),
            begun: 0,
            ready: VecDeque::new(),
            sent_to: VecDeque::new(),
            ends: BTreeSet::new(),
            beats: BTreeSet::new(),
            to_visit: 0,
            visited: 0,
            left: Vec::new(),
            clock,
            parking,
            end_waker: woken.end_waker(),
            woken,
        }
    }

    /// Parks a connection. Returns its key.
    pub(super) fn park(
        &mut self,
        edge: &Edge,
        socket: TcpStream,
        accepted: Socket,
        remains: Remains,
        waiting: Waiting,
    ) -> u32 {
        let Remains { mut quiet, discarded, slow, .. } = remains;
        let now = self.clock.elapsed();
        quiet.flushed(now);
        let (reader, kind, end, kept) = self.take_apart(edge, waiting);
        let (cohort, place) = self.join(reader, kind, &edge.metrics, now);
        let end = end.map_or(NEVER, |end| self.clock.millis(end));
        let links = Links::default();
        let member = Member { socket, place, end, due: NEVER, kept, quiet, slow, discarded, accepted, cohort, links };
        // Registered first: whatever ends it from now on is noticed.
        member.wait_for_end(&self.end_waker);
        let key = u32::try_from(self.members.insert(member)).unwrap_or(u32::MAX);
        self.begin_own(key);
        // While it was on its way here, others of the cohort may have been sent what it has not.
        if !self.cohorts[cohort].list.insert(&mut self.members, key, None) {
            self.wake(cohort);
        }
        self.parking.connections.inc();
        self.set_due(key);
        key
    }

    /// What a connection waits for, what it is sent then, and what it continues as.
    fn take_apart(&self, edge: &Edge, waiting: Waiting) -> (Reader, Kind, Option<Instant>, Kept) {
        match waiting {
            Waiting::Stream(stream) => {
                let WaitingStream { parts, counted, framing, is_tunnel } = *stream;
                let Parts { reader, form, transport, times, own } = parts;
                let (content, keep_alive) = (Content::Stream { form, framing }, times.keep_alive);
                let kind = Kind { content, is_tunnel, transport, keep_alive };
                (reader, kind, times.end, Kept::Stream { own, counted, waker: None })
            }
            Waiting::Answer(answer, request) => {
                let WaitingAnswer { reader, form, slot, until, own } = *answer;
                let (shape, page) = (request.shape, request.active.page().clone());
                let content =
                    Content::Answer(SharedAnswer { form, shape, page, edge: edge.clone(), clock: self.clock.clone() });
                let kind = Kind { content, is_tunnel: false, transport: slot.transport(), keep_alive: Duration::MAX };
                (reader, kind, Some(until), Kept::Answer { own, slot, request })
            }
        }
    }

    /// Adds a reader to the cohort of its channels and its kind. Returns the key of that, and the place of the reader.
    fn join(&mut self, reader: Reader, kind: Kind, metrics: &Metrics, now: u64) -> (usize, Place) {
        let channels = reader.channel_set();
        // The newest first. Beyond these there may be one of the same kind: then there are two.
        let mut known = self.by_channels.get(&channels).into_iter().flatten().rev().take(MAX_COMPARED);
        if let Some((_, &cohort)) = known.find(|(_, cohort)| self.cohorts[**cohort].admits(&kind)) {
            return (cohort, self.cohorts[cohort].reader.join(reader));
        }
        let (reader, place) = CohortReader::new(reader);
        let entry = self.cohorts.vacant_entry();
        let key = entry.key();
        self.begun += 1;
        let figures = metrics.transport(kind.transport).clone();
        entry.insert(Cohort::new(key, self.begun, reader, kind, figures, &self.woken));
        self.parking.cohorts.inc();
        self.by_channels.entry(channels).or_default().insert(self.begun, key);
        self.set_beat(key, now);
        // Something may have been published before the cohort's waker was registered.
        self.wake(key);
        (key, place)
    }

    /// The socket of a member.
    pub(super) fn socket(&self, key: u32) -> &TcpStream {
        &self.members[key as usize].socket
    }

    /// Whether nothing is parked.
    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The numbers of members and of cohorts.
    #[cfg(test)]
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.members.len(), self.cohorts.len())
    }

    /// The number of cohorts that may have something to send.
    pub(super) fn ready(&self) -> usize {
        self.ready.len()
    }

    /// When there is something to do, unless there is at once.
    pub(super) fn due(&self) -> u64 {
        let end = self.ends.first().map_or(NEVER, |(at, _)| *at);
        self.beats.first().map_or(end, |(at, _)| end.min(*at))
    }

    /// Connections that have left since the last call.
    pub(super) fn take_left(&mut self) -> Vec<Departed> {
        std::mem::take(&mut self.left)
    }

    /// A cohort may have something to send. Returns whether that is new.
    pub(super) fn wake(&mut self, key: usize) -> bool {
        let Some(cohort) = self.cohorts.get_mut(key) else { return true };
        let is_new = !std::mem::replace(&mut cohort.is_ready, true);
        if is_new {
            self.ready.push_back(key);
        }
        is_new
    }

    /// Does what there is to do, up to a slice of it, which sends messages with up to `writes` writes. Returns whether there is more.
    pub(super) fn turn(&mut self, writes: usize) -> bool {
        let (now, mut budget) = (self.clock.elapsed(), MAX_SLICE);
        self.visit();
        // First: a client whose token has expired is sent no message.
        while budget > 0
            && let Some((_, key)) = self.ends.first().filter(|(at, _)| *at <= now)
        {
            budget -= 1;
            let key = *key;
            self.expel(key, Unparked::Ended);
        }
        // Then: a cohort that is never done must not silence the others, nor their keep-alives delay its messages.
        let mut share = budget.div_ceil(2);
        budget -= share;
        while share > 0
            && let Some((at, key)) = self.beats.first().copied().filter(|(at, _)| *at <= now)
        {
            self.beats.remove(&(at, key));
            self.beat(key, now, &mut share);
        }
        budget = (budget + share).min(writes);
        // Then: what others send to a client is rarely sent to all.
        let mut share = budget.div_ceil(2);
        budget -= share;
        while share > 0
            && let Some(key) = self.sent_to.pop_front()
        {
            share -= 1;
            self.send_own(key, now);
        }
        budget += share;
        while budget > 0
            && let Some(key) = self.ready.pop_front()
        {
            if self.serve(key, now, &mut budget) {
                if let Some(cohort) = self.cohorts.get_mut(key) {
                    cohort.is_ready = false;
                }
            } else {
                self.ready.push_back(key);
            }
        }
        !self.ready.is_empty() || !self.sent_to.is_empty() || self.to_visit > 0 || self.due() <= now
    }

    /// Sends what the members of a cohort have not got yet. Returns whether that is all.
    fn serve(&mut self, key: usize, now: u64, budget: &mut usize) -> bool {
        let (mut is_closed, mut behind) = (false, None);
        if let Some(cohort) = self.cohorts.get(key) {
            // First: whatever is published while the log is read wakes the cohort again.
            cohort.reader.register(&cohort.waker);
            is_closed = cohort.reader.is_closed();
        }
        loop {
            let Some(cohort) = self.cohorts.get_mut(key) else { return true };
            let Some(front) = cohort.list.front() else { return true };
            let place = self.members[front as usize].place;
            if *budget == 0 {
                cohort.reader.set_slowest(place);
                return false;
            }
            // Many are at the same place. What is not for one of them is for none.
            let follows = if behind == Some(place) { Follows::NotForAll } else { cohort.follows(place) };
            match follows {
                Follows::Run(run) => self.send(key, front, &run, now, budget),
                Follows::Nothing(_) if !is_closed => {
                    // Nor is anybody behind this member missing something: they are in the order of their places.
                    cohort.reader.set_slowest(place);
                    *budget -= 1;
                    return true;
                }
                Follows::Nothing(_) => {
                    *budget -= 1;
                    self.expel(front, Unparked::Shutdown);
                }
                Follows::NotForAll => {
                    behind = Some(place);
                    *budget -= 1;
                    self.expel(front, Unparked::Behind);
                }
            }
        }
    }

    /// Sends `run` to the members from `front` on that have got nothing of it, as far as the budget goes.
    fn send(&mut self, cohort: usize, front: u32, run: &Run, now: u64, budget: &mut usize) {
        let writes = run.writings.len();
        let most = (*budget / writes).max(1);
        let (mut keys, mut next, mut ended) = (Vec::with_capacity(most), Some(front), Vec::new());
        while let Some(key) = next.filter(|_| keys.len() + ended.len() < most) {
            next = List::after(&self.members, key);
            let member = &mut self.members[key as usize];
            if member.place.cursor() >= run.first {
                break;
            }
            if member.is_ended() {
                ended.push(key);
                continue;
            }
            member.quiet.before_write(&member.socket, run.len(), now);
            keys.push(key);
        }
        *budget = budget.saturating_sub(keys.len() * writes + ended.len());
        let mut taken = Vec::with_capacity(keys.len());
        let sockets = keys.iter().map(|key| &self.members[*key as usize].socket);
        self.writer.send(sockets, keys.len(), &run.writings, &mut taken);
        let (messages, bytes) = taken.iter().flatten().fold((0, 0), |(messages, bytes), taken| {
            let begun = run.begun(*taken);
            (messages + begun.0, bytes + begun.1)
        });
        if let Some(cohort) = self.cohorts.get(cohort) {
            cohort.figures.deliveries.inc_by(messages);
            if !run.watched.is_empty() {
                let clients = taken.iter().flatten().filter(|taken| **taken > 0).count();
                cohort.figures.note(&run.watched, clients as u64);
            }
            cohort.kind.has_sent(messages, bytes);
        }
        for (key, taken) in keys.into_iter().zip(taken) {
            self.sent(cohort, key, run, taken);
        }
        for key in ended {
            self.expel(key, Unparked::Ended);
        }
    }

    /// The kernel has accepted this much of `run` for a member.
    fn sent(&mut self, cohort: usize, key: u32, run: &Run, taken: io::Result<usize>) {
        let Ok(mut taken) = taken else { return self.exit(key, Exit::Lost) };
        if let Some((keeps, status)) = run.answers {
            let Some(answer) = run.parts.first().filter(|_| taken > 0) else {
                return self.expel(key, Unparked::Slow);
            };
            let rest = if taken < answer.len() { answer.after(taken) } else { Vec::new() };
            return self.exit(key, Exit::Answered { rest, keeps, status });
        }
        let member = &mut self.members[key as usize];
        let mut place = member.place;
        for part in &run.parts {
            if taken == 0 {
                return self.exit(key, Exit::Slow { place, rest: Vec::new() });
            }
            place = part.end;
            if taken < part.len() {
                return self.exit(key, Exit::Slow { place, rest: part.after(taken) });
            }
            taken -= part.len();
        }
        member.place = place;
        if let Some(of) = self.cohorts.get_mut(cohort) {
            if run.is_cut {
                // Others may have read more than this run has.
                of.list.remove(&mut self.members, key);
                let near = of.newest_partial.replace(key);
                let near = near.filter(|near| self.members.get(*near as usize).is_some_and(|it| it.cohort == cohort));
                of.list.insert(&mut self.members, key, near.filter(|near| *near != key));
            } else {
                of.list.move_to_back(&mut self.members, key);
            }
        }
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        self.parking.connections.dec_by(i64::try_from(self.members.len()).unwrap_or_default());
        self.parking.cohorts.dec_by(i64::try_from(self.cohorts.len()).unwrap_or_default());
    }
}
