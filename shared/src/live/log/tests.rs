//! The log without readers that wait.

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
