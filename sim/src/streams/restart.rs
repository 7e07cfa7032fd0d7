//! The end of a process, the start of the next one, and what it has of the streams.

use std::{mem, sync::Arc};

use shared::{
    live::{
        bus::{
            Bus as _, BusError,
            file::{
                Fsync, OpenError,
                disk::Disk,
                stepped::{SteppedBus, repair_disk},
            },
        },
        reader::{Limit, Reader},
    },
    pure::{
        Cursor, Since,
        stream::{StreamError, StreamInfo},
    },
};

use super::{
    Streams,
    ask::{NAMES, name, text},
    list::{Entry, Expected, List},
};
use crate::{disk::Faults, model, time, world::context};

/// A start that is interrupted more often is left alone.
const INTERRUPTIONS: usize = 3;
/// Reads without an end are an error after so many.
const MOST: usize = 2_000;

/// What is there of a stream.
#[derive(Debug)]
struct Found {
    info: StreamInfo,
    /// Each with its id.
    messages: Vec<Entry>,
    /// A reader from its start gets a gap.
    is_gap: bool,
}

impl Streams {
    /// The process ends, or the power is cut; and the next process has what the list says.
    pub(super) fn restart(&mut self, is_power_cut: bool) -> Result<(), String> {
        let asked = mem::take(&mut self.asked).into_iter().map(|asked| asked.op);
        self.unknown.extend(asked);
        self.filling.clear();
        self.process = None;
        let mut durable = None;
        self.end(is_power_cut, &mut durable);
        let is_repaired = self.open(&mut durable)?;
        if self.is_damaged {
            return self.compare_damaged(is_repaired);
        }
        // What was answered is there; with a sync that comes later, a power cut may take the end of it.
        let durable = durable.filter(|_| self.config.fsync != Fsync::Always);
        let last = self.lists.len() - 1;
        let first = durable.map_or(last, |durable| {
            self.lists.iter().rposition(|(changes, _)| *changes <= durable).unwrap_or_default()
        });
        let mut candidates: Vec<List> = self.lists.drain(first..).map(|(_, list)| list).collect();
        // What was not answered happened in its order, and perhaps not all of it.
        for op in mem::take(&mut self.unknown) {
            let mut next = candidates[candidates.len() - 1].clone();
            if next.expect(&op) == Expected::Done {
                next.apply(&op);
                candidates.push(next);
            }
        }
        let mut differences = Vec::new();
        for mut list in candidates.into_iter().rev() {
            match self.compare(&mut list)? {
                None => {
                    self.lists.clear();
                    self.add(list);
                    return Ok(());
                }
                Some(difference) => differences.push(difference),
            }
        }
        Err(format!("after the start, no permitted state of the streams is there: {}", differences.join(", or ")))
    }

    fn end(&mut self, is_power_cut: bool, durable: &mut Option<u64>) {
        if is_power_cut {
            self.trace.line(format_args!("the power is cut"));
            let before = durable.unwrap_or(u64::MAX);
            *durable = Some(self.disk.durable().min(before));
            self.disk = self.disk.cut_power();
        } else {
            self.trace.line(format_args!("the process is killed"));
            self.disk = self.disk.kill();
        }
        // No process starts within the millisecond in which the last one ended.
        time::advance(1);
        time::restart();
    }

    /// Starts a process. Returns whether that needed a repair.
    pub(super) fn open(&mut self, durable: &mut Option<u64>) -> Result<bool, String> {
        let mut is_repaired = false;
        for attempt in 0..2 * INTERRUPTIONS {
            let is_interrupted = self.config.crashes && attempt < INTERRUPTIONS && self.random.percent(20);
            let crash = is_interrupted.then(|| self.random.below(10));
            self.disk.set_faults(Faults { crash, space: self.disk.faults().space, ..Faults::default() });
            let opened = self.act(|world| {
                let (disk, config) = (Arc::new(world.disk.clone()), &world.config);
                SteppedBus::open(disk, config.options(), config.segment_bytes, world.limits(), time::now)
            });
            match opened {
                Some(Ok(stepped)) => {
                    self.disk.set_faults(Faults { crash: None, ..self.disk.faults() });
                    self.process = Some(stepped);
                    return Ok(is_repaired);
                }
                Some(Err(error @ OpenError::Damaged { .. })) if self.is_damaged => {
                    self.trace.line(format_args!("refused: {error}"));
                    self.disk = self.disk.kill();
                    self.disk.set_faults(Faults::default());
                    let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
                    is_repaired = true;
                    match self.act(|_| repair_disk(&disk, time::now().time_ms)) {
                        Some(Ok(examined)) => self.trace.line(format_args!("repaired: {:?}", examined.cut)),
                        Some(Err(error)) => return Err(format!("the repair failed: {error}")),
                        None => self.end(false, durable),
                    }
                }
                Some(Err(error)) if self.disk.faults().space.is_some() => {
                    self.trace.line(format_args!("refused: {error}"));
                    self.disk.set_faults(Faults::default());
                    self.disk = self.disk.kill();
                }
                Some(Err(error)) => return Err(format!("the start failed: {error}")),
                None => {
                    let is_power_cut = self.random.percent(60);
                    self.end(is_power_cut, durable);
                }
            }
        }
        Err("no start succeeded".to_owned())
    }

    /// Compares the streams with a list, which learns the positions that nobody knew. Returns the first difference.
    ///
    /// # Errors
    /// What no list can have.
    pub(super) fn compare(&mut self, list: &mut List) -> Result<Option<String>, String> {
        for (at, name) in NAMES.iter().enumerate() {
            let expected = match list.expect(&super::list::Op::Delete { at }) {
                Expected::Done => None,
                other => Some(other),
            };
            let found = match (self.find(at)?, expected) {
                (Ok(found), None) => found,
                (Err(got), Some(expected)) if got == expected => continue,
                (found, expected) => {
                    let found = found.map(|found| found.info);
                    return Ok(Some(format!("{name} is {found:?}, and not {expected:?}")));
                }
            };
            let Some(stream) = list.streams.get_mut(&at) else { continue };
            let is_same = |(a, b): (&Entry, &Entry)| a.0 == b.0 && (a.1.is_none() || a.1 == b.1);
            let has_all = stream.messages.len() == found.messages.len()
                && stream.messages.iter().zip(&found.messages).all(is_same);
            let is_at = |known: Option<Cursor>, there| known.is_none_or(|known| known == there);
            let has_state = stream.is_closed() == found.info.end.is_some()
                && is_at(stream.created, found.info.created)
                && is_at(stream.tail, found.info.tail);
            if !has_all || !has_state {
                return Ok(Some(format!("{name} has {found:?}, and not {stream:?}")));
            }
            (stream.created, stream.tail) = (Some(found.info.created), Some(found.info.tail));
            stream.messages = found.messages;
        }
        Ok(None)
    }

    /// What is there after damage: of each stream a part without a hole, and a gap if its beginning is missing.
    fn compare_damaged(&mut self, is_repaired: bool) -> Result<(), String> {
        for (at, name) in NAMES.iter().enumerate() {
            let Ok(Found { info, messages, is_gap }) = self.find(at)? else { continue };
            let numbers: Vec<u64> = messages.iter().map(|(number, _)| *number).collect();
            self.trace.line(format_args!("{name} has {numbers:?}, gap {is_gap}, repaired {is_repaired}"));
            let Some(ever) = self.ever.get(&info.created) else { continue };
            let Some(first) = numbers.first().copied() else { continue };
            let known: Vec<u64> = ever.iter().copied().filter(|number| *number >= first).take(numbers.len()).collect();
            // What was not answered may be there, too.
            let is_part = known.iter().zip(&numbers).all(|(a, b)| a == b);
            if !is_part {
                return Err(format!("{name} has {numbers:?} after damage, of {ever:?}"));
            }
            if ever.first().is_some_and(|oldest| *oldest < first) && !is_gap {
                return Err(format!("{name} has lost its beginning of {ever:?}, and nobody gets a gap"));
            }
        }
        self.is_over = true;
        Ok(())
    }

    /// What is there of a stream.
    fn find(&mut self, at: usize) -> Result<Result<Found, Expected>, String> {
        let bus = self.bus().ok_or("there is no process")?;
        let info = match bus.stream_info(&name(at), false) {
            Ok(info) => info,
            Err(BusError::Stream(StreamError::NotFound(_))) => return Ok(Err(Expected::NotFound)),
            Err(BusError::Stream(StreamError::Gone(_))) => return Ok(Err(Expected::Gone)),
            Err(error) => return Err(format!("{} cannot be looked at: {error}", NAMES[at])),
        };
        let mut reader = Reader::open(bus.log(), &[name(at)], Since::After(info.start)).with_copies();
        let (mut messages, mut is_gap): (Vec<Entry>, bool) = (Vec::new(), false);
        for _ in 0..MOST {
            match reader.poll_stored(&context(), Limit { messages: 7, bytes: usize::MAX }) {
                std::task::Poll::Pending if self.process.as_ref().is_some_and(SteppedBus::read_older) => {}
                std::task::Poll::Pending => {
                    return Err("a reader waits for older messages that nobody reads".to_owned());
                }
                std::task::Poll::Ready(None) => return Ok(Ok(Found { info, messages, is_gap })),
                std::task::Poll::Ready(Some(batch)) => {
                    is_gap |= batch.gap.is_some();
                    for message in &batch.messages {
                        let got = message.draft.payload.plain_json();
                        let number = model::Entry::number_of(&got).unwrap_or_default();
                        if got.trim_matches('"') != text(number) {
                            return Err(format!("{} has a message that nobody sent: {got:.40}", NAMES[at]));
                        }
                        messages.push((number, Some(message.id)));
                    }
                }
            }
        }
        Err("a reader reads without an end".to_owned())
    }
}
