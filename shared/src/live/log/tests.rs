//! The log without readers that wait.

use std::task::Context;

use bytes::Bytes;

use super::*;
use crate::{
    live::reader::{Limit, Reader},
    pure::{Payload, Since, Wire},
};

const START: u64 = 1_763_800_000_000;

/// A sweep says that there is more to do also if only forms are left.
#[test]
fn a_sweep_evicts_forms_in_slices() {
    const FORM: usize = 1_000;
    let limits = Limits { forms: Some(4_096 * FORM), ..Limits::default() };
    let log = Arc::new(Log::new(limits, Cursor::new(START, 0)));
    let channel: ChannelName = "a".parse().unwrap();
    let draft = Draft::new(channel.clone(), Payload::from_text("x"));
    log.append(vec![draft; 5_000], START + 1);
    let whole = Limit { messages: usize::MAX, bytes: usize::MAX };
    let batch = Reader::open(&log, &[channel], Since::Earliest).read(whole).unwrap();
    for message in &batch.messages {
        message.wire(Wire::Line, |_| Bytes::from(vec![0; FORM]));
    }
    let full = log.counts().forms;
    assert!(log.sweep(START + 2), "more forms exceed the limit than one slice has");
    let left = log.counts().forms;
    assert!(left < full && full - left <= SLICE * 2 * FORM && left > 4_096 * FORM, "{full}, then {left}");
    while log.sweep(START + 2) {}
    assert!((4_000 * FORM..=4_096 * FORM).contains(&log.counts().forms), "{} bytes are left", log.counts().forms);
}

#[test]
fn only_cursors_of_a_lost_part_are_none_of_this_log() {
    let lost = (Cursor::new(START + 10, 0), Cursor::new(START + 20, 0));
    let log = Log::new(Limits::default(), Cursor::new(START, 0)).with_holes(vec![lost]);
    let issued = |ms| log.can_have_issued(Cursor::new(START + ms, 0));
    assert_eq!([9, 10, 11, 20, 21].map(issued), [true, true, false, false, true]);
}

impl Log {
    /// Appends `drafts`, and returns the number of channels whose readers were visited.
    pub(in crate::live) fn visits_of(&self, drafts: Vec<Draft>, now_ms: u64) -> usize {
        let mut writer = self.writer.lock();
        let mut id = writer.last;
        let place = |draft| {
            id = id.next(now_ms);
            Message::new(id, draft)
        };
        let messages = drafts.into_iter().map(place).collect();
        let touched = self.insert_all(&mut writer, messages, now_ms.into());
        drop(writer);
        wake(&touched);
        touched.len()
    }
}

/// Two channels that were purged up to the same id are remembered each: none counts as one that exists because it is read.
#[test]
fn channels_with_the_same_loss_are_remembered_each() {
    let log = Log::new(Limits { channels: Some(2), ..Limits::default() }, Cursor::new(START, 0));
    let names: [ChannelName; 2] = ["a", "b"].map(|name| name.parse().unwrap());
    for name in &names {
        log.purge_up_to(name, Cursor::new(START + 5, 0));
    }
    assert_eq!(log.vacancy(&names), Vacancy { new: 0, left: Some(2) });
    names.iter().for_each(|name| assert_eq!(log.dropped(name), Some(Cursor::new(START + 5, 0))));
}

/// Or a client could open no more channels although others use those that it opened.
#[test]
fn a_channel_counts_for_its_opener_until_it_stores_a_message() {
    let log = Arc::new(Log::new(Limits::default(), Cursor::new(START, 0)));
    let opener = Arc::<Opener>::default();
    let names: [ChannelName; 2] = ["a", "b"].map(|name| name.parse().unwrap());
    let _reader = Reader::open_for(&log, &names, Since::Now, Some(opener.clone()));
    assert_eq!(opener.channels(), 2);
    log.append(vec![Draft::new(names[0].clone(), Payload::from_text("x"))], START + 1);
    assert_eq!(opener.channels(), 1);
}

#[test]
fn a_position_newer_than_the_head_is_determined_by_a_probe() {
    let log = Arc::new(Log::unfilled(Limits::default()));
    log.filled(Cursor::new(START, 0));
    let mut reader = Reader::open(&log, &["a".parse().unwrap()], Since::After(Cursor::new(START + 9, 0)));
    let context = Context::from_waker(Waker::noop());
    assert!(reader.poll_resolved(&context).is_pending());
    let probe = log.begin_probe();
    log.end_probe(probe);
    assert!(reader.poll_resolved(&context).is_ready() && reader.is_gap());
}
