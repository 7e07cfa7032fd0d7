//! The memory that the log reports, compared with what the allocator has allocated.

#![allow(clippy::unwrap_used, reason = "tests say what they expect by failing")]

use std::{alloc::System, sync::Arc};

use bytes::Bytes;
use cap::Cap;
use shared::{
    live::{
        log::{Limits, Log},
        reader::{Limit, Reader},
    },
    pure::{Cursor, Draft, Message, Payload, Since, Wire},
};

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

const START: u64 = 1_763_800_000_000;
const TOTAL: usize = 4 * 1024 * 1024;
/// For encoded forms.
const FORMS: usize = 2 * 1024 * 1024;

/// Everything that readers of all transports together make of a message.
fn read_in_every_form(message: &Message) {
    let form = |message: &Message| Bytes::from(vec![b'x'; message.len() + 64]);
    for wire in [Wire::Sse, Wire::Line, Wire::RawLine, Wire::SseWholeWithUser] {
        message.wire(wire, form);
    }
    message.packet(message.len() + 64, |message| vec![b'x'; message.len() + 64], |_| ());
}

/// Fills a log far beyond its limits and returns its peak memory, and the memory that it reported.
fn fill(messages: usize, draft: impl Fn(usize) -> Draft, is_read: bool) -> (usize, usize) {
    let before = ALLOCATOR.allocated();
    let limits = Limits { total: Some(TOTAL), forms: Some(FORMS), ..Limits::default() };
    let log = Arc::new(Log::new(limits, Cursor::new(START, 0)));
    let (mut most, mut told) = (0, 0);
    for n in 0..messages {
        let draft = draft(n);
        let name = draft.channel.clone();
        log.append(vec![draft], START + n as u64);
        if is_read && n % 8 == 0 {
            let mut reader = Reader::open(&log, &[name], Since::Earliest);
            while let Some(batch) = reader.read(Limit::default()) {
                batch.messages.iter().for_each(|message| read_in_every_form(message));
            }
        }
        if n % 64 == 0 {
            most = most.max(ALLOCATOR.allocated() - before);
            let counts = log.counts();
            assert!(counts.footprint <= TOTAL && counts.forms <= FORMS + FORMS / 8, "{counts:?}");
            told = told.max(counts.footprint + counts.forms);
        }
    }
    (most, told)
}

/// Messages of a kind: what they are called, how many there are, and the n-th of them.
type Kind = (&'static str, usize, fn(usize) -> Draft);

fn text(bytes: usize) -> Payload {
    Payload::from_text(&"x".repeat(bytes))
}

/// One test, since the allocator counts for the whole process.
#[test]
fn the_log_takes_no_more_memory_than_it_may() {
    let kinds: [Kind; 5] = [
        ("tiny", 25_000, |_| Draft::new("a".parse().unwrap(), text(1))),
        ("large", 400, |_| Draft::new("a".parse().unwrap(), text(60_000))),
        ("a channel each", 15_000, |n| Draft::new(format!("{n:0128}").parse().unwrap(), text(10))),
        ("long names", 40_000, |n| {
            let draft = Draft::new(format!("{:0128}", n % 10).parse().unwrap(), text(10));
            let draft = draft.by(Some("u".repeat(200).into()));
            Draft { from: Some("é".repeat(40).into()), ..draft.event("é".repeat(128).parse().unwrap()) }
        }),
        ("binary", 20_000, |_| {
            let json = br#"[{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#;
            let attachments = vec![vec![0; 100].into(), vec![0; 1].into()];
            Draft::new("a".parse().unwrap(), Payload::with_attachments(json, attachments).unwrap())
        }),
    ];
    for (kind, messages, draft) in &kinds {
        for is_read in [false, true] {
            // A reader that reads all again for each message makes a square of it.
            let messages = if is_read { (*messages).min(1_000) } else { *messages };
            let (most, told) = fill(messages, draft, is_read);
            let may = if is_read { TOTAL + FORMS } else { TOTAL };
            assert!(most <= may + may / 8, "{kind}, read {is_read}: {most} bytes, of {may} that it may, told {told}");
            let is_full = told > TOTAL / 2;
            assert!(!is_full || most > TOTAL / 4, "{kind}, read {is_read}: so little that it is a waste: {most}");
        }
    }
}
