use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll, Wake, Waker},
};

use super::*;
use crate::{
    live::{
        log::{Limits, Log},
        reader::Limit,
    },
    pure::{Draft, Payload, Retention, Since},
};

fn log(channel: Retention) -> Arc<Log> {
    Arc::new(Log::new(Limits { channel, ..Limits::default() }, Cursor::ZERO))
}

fn open(log: &Arc<Log>, since: Since) -> Reader {
    Reader::open(log, &[ChannelName::selector("a.*").unwrap()], since)
}

fn publish(log: &Log, n: usize) -> Cursor {
    log.append(vec![Draft::new(format!("a.{n}").parse().unwrap(), Payload::from_text("x"))], 1_000)[0]
}

fn at_most(messages: usize) -> Limit {
    Limit { messages, bytes: usize::MAX }
}

/// The most channels that were read at once until everything was read, in the order of ids.
fn widest(reader: &mut Reader, messages: usize, expected: &[Cursor]) -> usize {
    let (mut ids, mut widest) = (Vec::new(), 0);
    loop {
        let Some(batch) = reader.read(at_most(messages)) else {
            // It is woken at once.
            if reader.is_scanning() {
                continue;
            }
            break;
        };
        assert!(batch.gap.is_none());
        ids.extend(batch.messages.iter().map(|message| message.id));
        assert!(batch.cursor <= reader.log.head() && ids.last() <= Some(&batch.cursor));
        reader.find_channels();
        widest = widest.max(reader.subscriptions.len());
    }
    assert!(ids == expected, "{} messages instead of {}", ids.len(), expected.len());
    widest
}

/// The work of a read must not depend on how many channels match.
#[test]
fn a_read_visits_a_few_of_the_channels() {
    let log = log(Retention::default());
    let sent: Vec<_> = (0..6_000).map(|n| publish(&log, n % 3_000)).collect();
    assert_eq!(widest(&mut open(&log, Since::Earliest), 100, &sent), AT_ONCE);
    assert_eq!(widest(&mut open(&log, Since::After(sent[5_996])), 1, &sent[5_997..]), 2);
    // A message on one of them.
    let mut reader = open(&log, Since::Now);
    publish(&log, 7);
    reader.find_channels();
    assert_eq!(reader.subscriptions.len(), 1);
    assert_eq!(reader.read(at_most(100)).unwrap().messages.len(), 1);
    assert_eq!(reader.subscriptions.len(), 0);
    assert_eq!(log.patterns(), 1);
    drop(reader);
    assert_eq!(log.patterns(), 0);
}

/// A reader that did not read collected every channel that its pattern selects.
#[test]
fn what_is_collected_for_a_reader_is_limited() {
    let log = log(Retention::default());
    let sent: Vec<_> = (0..2 * MAX_UNREAD + 10).map(|n| publish(&log, n)).collect();
    let mut reader = open(&log, Since::Earliest);
    let most = 2 * MAX_UNREAD * COLLECTED_BYTES;
    assert!((1..=most / 2).contains(&log.counts().pattern_bytes), "{}", log.counts().pattern_bytes);
    // Also what is published while it does not read.
    let later: Vec<_> = (0..3_000).map(|n| publish(&log, 20_000 + n)).collect();
    assert!(log.counts().pattern_bytes <= most, "{}", log.counts().pattern_bytes);
    assert!(widest(&mut reader, 1_000, &[sent, later].concat()) <= AT_ONCE);
    assert_eq!(log.counts().pattern_bytes, 0);
}

/// What a reader that does not read has noted is limited; it looks for the rest itself.
#[test]
fn what_is_noted_for_a_reader_is_limited() {
    let log = log(Retention::default());
    let mut reader = open(&log, Since::Now);
    let sent: Vec<_> = (0..5_000).map(|n| publish(&log, n)).collect();
    let noted = |reader: &Reader| reader.matching.as_ref().unwrap().patterns[0].noted.count();
    assert_eq!(noted(&reader), 2_048);
    assert_eq!(widest(&mut reader, 100, &sent), AT_ONCE);
    assert_eq!(noted(&reader), 0);
}

/// A reader that reads too slowly does not keep channels that the log does not have any more, also if more is noted each time than is kept.
#[test]
fn channels_that_have_expired_are_forgotten() {
    for new in [1_000, 3_000] {
        let channel = Retention { age_ms: Some(10), ..Retention::default() };
        // It remembers about a thousand expired channels.
        let log = Arc::new(Log::new(Limits { channel, total: Some(8 << 20), ..Limits::default() }, Cursor::ZERO));
        let mut reader = open(&log, Since::Now);
        let mut gaps = 0;
        for round in 0..15 {
            let drafts =
                (0..new).map(|n| Draft::new(format!("a.{round}.{n}").parse().unwrap(), Payload::from_text("x")));
            let now = 1_000 * (round + 1);
            log.append(drafts.collect(), now);
            while log.sweep(now) {}
            gaps += reader.read(at_most(1)).map_or(0, |batch| usize::from(batch.gap.is_some()));
            let backlog = &reader.matching.as_ref().unwrap().backlog;
            let kept = backlog.unread.len() + backlog.behind.len();
            assert!(kept <= MIN_LIMIT + new, "{kept} of {new} in round {round}");
        }
        assert!(gaps > 0, "what expired is lost");
    }
}

/// The channels of a large log are looked for in parts, between which others have their turn.
#[test]
fn a_large_log_is_searched_in_parts() {
    #[derive(Default)]
    struct Woken(AtomicUsize);
    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, SeqCst);
        }
    }
    const COUNT: usize = 5 * VISITED_AT_ONCE / 2;
    let log = log(Retention::default());
    let drafts = (0..COUNT).map(|n| Draft::new(format!("a.{n}").parse().unwrap(), Payload::from_text("x")));
    let sent = log.append(drafts.collect(), 1_000);
    let mut reader = open(&log, Since::After(sent[0]));
    let woken = Arc::<Woken>::default();
    let waker = Waker::from(woken.clone());
    let mut polls = 0;
    let batch = loop {
        match reader.poll_stored(&Context::from_waker(&waker), at_most(10)) {
            Poll::Ready(batch) => break batch.unwrap(),
            Poll::Pending => polls += 1,
        }
        assert!(reader.is_waiting());
        assert_eq!(woken.0.load(SeqCst), polls, "it is polled again at once");
    };
    assert_eq!(polls, 1, "beside the part at the opening, and the last one");
    assert_eq!(batch.messages.iter().map(|message| message.id).collect::<Vec<_>>(), sent[1..=10]);
    // One that has read everything looks for nothing.
    assert!(open(&log, Since::After(log.head())).read(at_most(1)).is_none());
}

/// What is noted is visible a moment later: between the two, a reader that has read everything may find that too much was noted.
#[test]
fn an_overflow_at_the_head_loses_nothing() {
    let log = log(Retention::default());
    let mut reader = open(&log, Since::Now);
    assert!(reader.read(at_most(10)).is_none());
    let patterns = [ChannelName::selector("a.*").unwrap()];
    let scan_again = |reader: &mut Reader| reader.matching.as_mut().unwrap().backlog.scan_again(patterns.iter());
    scan_again(&mut reader);
    assert!(!reader.end_scans(), "it has to be run to its end");
    let sent: Vec<_> = (0..5).map(|n| publish(&log, n)).collect();
    // The notes went with the overflow.
    reader.matching.as_ref().unwrap().patterns[0].noted.take();
    let batch = reader.read(at_most(10)).unwrap();
    assert_eq!(batch.messages.iter().map(|message| message.id).collect::<Vec<_>>(), sent);
    // At the head it ends after one look.
    scan_again(&mut reader);
    assert!(reader.read(at_most(10)).is_none() && reader.end_scans());
}
