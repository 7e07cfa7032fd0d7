//! Operations: what is asked, and whether the answer is the one of the list.

use std::{future::Future, mem, pin::Pin, task::Poll};

use shared::{
    live::bus::{Bus as _, BusError},
    pure::{
        ChannelName, Cursor, Payload,
        stream::{Append, Create, Fork, Lifetime, Outcome, Producer, StreamError, StreamOp, StreamReply},
    },
};

use super::{
    Streams,
    list::{Expected, List, Op, Request},
};
use crate::{disk::Faults, model, world::context};

/// The names of streams.
pub(super) const NAMES: [&str; 4] = ["s0", "s1", "s2", "s3"];
/// Maximum number of operations that wait for the writer together.
const MOST: usize = 4;

/// What waits for its answer.
pub(super) struct Asked {
    pub(super) op: Op,
    answer: Pin<Box<dyn Future<Output = Result<Option<StreamReply>, BusError>>>>,
}

pub(super) fn name(at: usize) -> ChannelName {
    // The names are valid.
    NAMES[at].parse().unwrap_or_else(|_| unreachable!("a name of the simulation"))
}

/// The text of a message.
pub(super) fn text(number: u64) -> String {
    model::Entry::text(number, usize::try_from(number * 37 % 400).unwrap_or_default())
}

impl Op {
    /// What is done before the writer decides depends on the streams as they are then: such an operation is alone.
    fn is_alone(&self) -> bool {
        matches!(self, Self::Create { .. } | Self::Fork { .. } | Self::Purge { .. })
    }

    pub(super) fn at(&self) -> usize {
        match self {
            Self::Create { at, .. }
            | Self::Fork { at, .. }
            | Self::Append { at, .. }
            | Self::Delete { at }
            | Self::Purge { at } => *at,
        }
    }

    /// As the bus is asked; a purge is no operation on streams.
    fn request(&self) -> Option<StreamOp> {
        let json = || "application/json".parse().ok();
        let create = |at, is_closed, fork| Create {
            channel: name(at),
            content_type: json(),
            lifetime: Lifetime::Unlimited,
            is_closed,
            payloads: Vec::new(),
            fork,
            user: None,
            owner: None,
        };
        match self {
            Self::Create { at, is_closed } => Some(StreamOp::Create(Box::new(create(*at, *is_closed, None)))),
            Self::Fork { at, source, up_to } => {
                let fork = Fork { source: name(*source), at: *up_to, sub: 0 };
                Some(StreamOp::Create(Box::new(create(*at, false, Some(fork)))))
            }
            Self::Append { at, numbers, producer, seq, is_closing } => {
                let id = |producer: usize| format!("p{producer}").into();
                let request = |one: &Request| Producer { id: id(one.producer), epoch: one.epoch, seq: one.seq };
                Some(StreamOp::Append(Box::new(Append {
                    channel: name(*at),
                    content_type: json(),
                    payloads: numbers.iter().map(|number| Payload::from_text(&text(*number))).collect(),
                    seq: seq.as_deref().map(Into::into),
                    producer: producer.as_ref().map(request),
                    is_closing: *is_closing,
                    user: None,
                })))
            }
            Self::Delete { at } => Some(StreamOp::Delete(name(*at))),
            Self::Purge { .. } => None,
        }
    }
}

impl Streams {
    /// Asks for something, unless what waits has to be answered first.
    pub(super) fn ask(&mut self) -> Result<(), String> {
        let op = self.choose_op();
        let is_alone = |asked: &Asked| asked.op.is_alone();
        if !self.asked.is_empty() && (op.is_alone() || self.asked.len() >= MOST || self.asked.iter().any(is_alone)) {
            return Ok(());
        }
        self.trace.line(format_args!("ask {op:?}"));
        let Some(bus) = self.bus() else { return Ok(()) };
        let channel = name(op.at());
        let request = op.request();
        let answer = Box::pin(async move {
            match request {
                Some(request) => bus.stream(request).await.map(Some),
                None => bus.purge(channel).await.map(|_| None),
            }
        });
        self.asked.push(Asked { op, answer });
        // It is in the queue from now on.
        self.answers()
    }

    fn choose_op(&mut self) -> Op {
        let at = self.random.index(NAMES.len());
        match self.random.below(20) {
            0..3 => Op::Create { at, is_closed: self.random.percent(5) },
            3..5 => {
                let source = (at + 1 + self.random.index(NAMES.len() - 1)) % NAMES.len();
                let ids: Vec<Cursor> = self
                    .list()
                    .streams
                    .get(&source)
                    .map(|of| of.messages.iter().map_while(|(_, id)| *id).collect())
                    .unwrap_or_default();
                let is_all = ids.is_empty() || self.random.percent(50);
                let up_to = if is_all { None } else { Some(ids[self.random.index(ids.len())]) };
                Op::Fork { at, source, up_to }
            }
            5 => Op::Delete { at },
            6 => Op::Purge { at },
            _ => {
                let is_closing = self.random.percent(4);
                let count = if is_closing && self.random.percent(50) { 0 } else { 1 };
                let numbers = (0..count).map(|_| self.next_number()).collect();
                let producer = self.random.percent(60).then(|| self.choose_request(at));
                let seq =
                    self.random.percent(15).then(|| format!("{:06}", self.number.saturating_sub(self.random.below(2))));
                Op::Append { at, numbers, producer, seq, is_closing }
            }
        }
    }

    fn next_number(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    /// Mostly the next request of a producer, but also a repetition, one too many, and one of another epoch.
    fn choose_request(&mut self, at: usize) -> Request {
        let producer = self.random.index(2);
        // What waits comes before.
        let waiting = self.asked.iter().rev().find_map(|asked| match &asked.op {
            Op::Append { at: channel, producer: Some(request), .. }
                if *channel == at && request.producer == producer =>
            {
                Some((request.epoch, request.seq))
            }
            _ => None,
        });
        let known = self.list().streams.get(&at).and_then(|stream| stream.last_of(producer));
        let Some((epoch, seq)) = waiting.or(known) else {
            return Request { producer, epoch: self.random.below(3), seq: self.random.below(10) / 9 };
        };
        let (epoch, seq) = match self.random.below(20) {
            0..14 => (epoch, seq + 1),
            14..16 => (epoch, seq),
            16 => (epoch, seq + 2),
            17 => (epoch + 1, 0),
            18 => (epoch + 1, 1),
            _ => (epoch.saturating_sub(1), seq + 1),
        };
        Request { producer, epoch, seq }
    }

    /// Takes the answers that are there, in the order of their operations.
    pub(super) fn answers(&mut self) -> Result<(), String> {
        let guard = self.runtime.enter();
        let mut answered = Vec::new();
        let mut all = mem::take(&mut self.asked);
        all.retain_mut(|asked| match asked.answer.as_mut().poll(&mut context()) {
            Poll::Pending => true,
            Poll::Ready(answer) => {
                answered.push((asked.op.clone(), answer));
                false
            }
        });
        self.asked = all;
        self.filling.retain_mut(|filling| filling.as_mut().poll(&mut context()).is_pending());
        drop(guard);
        answered.into_iter().try_for_each(|(op, answer)| self.answered(op, answer))
    }

    fn answered(&mut self, op: Op, answer: Result<Option<StreamReply>, BusError>) -> Result<(), String> {
        let expected = self.list().expect(&op);
        match answer {
            Ok(reply) => {
                self.trace.line(format_args!("answered {:?}", reply.as_ref().map(|reply| reply.outcome)));
                let got = match reply.as_ref().map(|reply| reply.outcome) {
                    None | Some(Outcome::Done) => Expected::Done,
                    Some(Outcome::Repeated(seq)) => Expected::Repeated(seq),
                };
                if got != expected {
                    return Err(format!("{op:?} was answered {got:?}, and the list says {expected:?}"));
                }
                if got == Expected::Done {
                    let at = op.at();
                    let mut list = self.list().clone();
                    list.apply(&op);
                    if let Some(StreamReply { info, .. }) = reply {
                        list.learn(at, info.created, info.tail);
                    }
                    self.add(list);
                }
                Ok(())
            }
            Err(BusError::Unknown(why)) => {
                self.trace.line(format_args!("unknown: {why}"));
                self.unknown.push(op);
                Ok(())
            }
            Err(BusError::Stream(error)) => self.refused(&op, &error, &expected),
            Err(error) => {
                self.trace.line(format_args!("refused: {error}"));
                let Faults { space, write, sync, .. } = self.disk.faults();
                let has_reason = match &error {
                    BusError::DiskFull(_) => space.is_some(),
                    BusError::Unavailable(_) => write || sync || self.config.damage,
                    // Small segments have small tables.
                    BusError::StatesFull(_) => matches!(op, Op::Purge { .. }),
                    _ => false,
                };
                if has_reason { Ok(()) } else { Err(format!("{op:?} was refused without a reason: {error}")) }
            }
        }
    }

    fn refused(&mut self, op: &Op, error: &StreamError, expected: &Expected) -> Result<(), String> {
        self.trace.line(format_args!("refused: {error}"));
        let got = match error {
            StreamError::NotFound(_) => Expected::NotFound,
            StreamError::Gone(_) => Expected::Gone,
            StreamError::NameTaken(_) => Expected::NameTaken,
            StreamError::Exists(_) => Expected::Exists,
            StreamError::Closed { tail } => {
                let known = self.list().streams.get(&op.at()).and_then(|stream| stream.tail);
                if known.is_some_and(|known| known != *tail) {
                    return Err(format!(
                        "{op:?} was answered that the stream ends at {tail}, and it ends at {known:?}"
                    ));
                }
                Expected::Closed
            }
            StreamError::StaleEpoch { current } => Expected::StaleEpoch(*current),
            StreamError::EpochStart => Expected::EpochStart,
            StreamError::SequenceGap { expected, .. } => Expected::SequenceGap(*expected),
            StreamError::Seq { last } => Expected::Seq(last.to_string()),
            StreamError::NoSource(_) => Expected::NoSource,
            StreamError::SourceGone(_) => Expected::SourceGone,
            StreamError::Full { limit } => {
                let counts = self.bus().map(|bus| bus.log().counts());
                let used = counts.map_or(0, |counts| counts.stream_footprint);
                // What is asked for takes a few KiB, and a fork as much as its source.
                let wanted = if matches!(op, Op::Fork { .. }) { used } else { 4_096 };
                let is_full = used + wanted > *limit;
                return if is_full {
                    Ok(())
                } else {
                    Err(format!("{op:?} was refused: {used} of {limit} bytes are used"))
                };
            }
            _ => return Err(format!("{op:?} was refused: {error}")),
        };
        if got == *expected {
            Ok(())
        } else {
            Err(format!("{op:?} was answered {got:?}, and the list says {expected:?}"))
        }
    }

    /// The list after the last operation that was answered.
    pub(super) fn list(&self) -> &List {
        &self.lists[self.lists.len() - 1].1
    }

    /// Adds the list after one more operation.
    pub(super) fn add(&mut self, list: List) {
        for stream in list.streams.values() {
            if let Some(created) = stream.created {
                let numbers = self.ever.entry(created).or_default();
                for (number, _) in &stream.messages {
                    if numbers.last().is_none_or(|last| last < number) {
                        numbers.push(*number);
                    }
                }
            }
        }
        self.lists.push((self.disk.changes(), list));
    }
}
