use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use proptest::prelude::*;

use super::*;
use crate::{
    live::{
        log::{Limits, Log},
        reader::Limit,
    },
    pure::{Draft, Payload, Retention, Since},
};

fn log(count: Option<usize>) -> Arc<Log> {
    let channel = Retention { count, ..Retention::default() };
    Arc::new(Log::new(Limits { channel, ..Limits::default() }, Cursor::ZERO))
}

fn selector(text: &str) -> ChannelName {
    ChannelName::selector(text).unwrap()
}

fn open(log: &Arc<Log>, channels: &[&str], since: Since) -> Reader {
    let channels: Vec<_> = channels.iter().map(|channel| selector(channel)).collect();
    Reader::open(log, &channels, since)
}

fn publish(log: &Log, channel: &str) -> Cursor {
    log.append(vec![Draft::new(channel.parse().unwrap(), Payload::from_text("x"))], 1_000)[0]
}

/// Everything that there is to read, `messages` at a time, and the number of gaps.
fn rest(reader: &mut Reader, messages: usize) -> (Vec<Cursor>, usize) {
    let (mut ids, mut gaps) = (Vec::new(), 0);
    while let Some(batch) = reader.read(Limit { messages, bytes: usize::MAX }) {
        gaps += usize::from(batch.gap.is_some());
        ids.extend(batch.messages.iter().map(|message| message.id));
    }
    (ids, gaps)
}

#[test]
fn a_pattern_selects_channels_that_begin_alike() {
    for (pattern, selected, others) in [
        ("chat.*", &["chat.a", "chat.a/b"][..], &["chat", "chata", "$chat.a"][..]),
        ("a/*", &["a/b", "a/b/c"], &["a", "ab"]),
        ("*", &["a", "b.c"], &["$events"]),
    ] {
        let pattern = selector(pattern);
        assert!(pattern.is_pattern());
        let selects = |name: &&str| pattern.selects(&name.parse().unwrap());
        assert!(selected.iter().all(selects) && !others.iter().any(selects), "{pattern}");
    }
    for bad in ["a*b", "**", "a b*", "$*", "$events*", "/*", "a//*", "*a"] {
        assert!(ChannelName::selector(bad).is_err(), "{bad}");
    }
    assert!(!selector("a").is_pattern() && "a*".parse::<ChannelName>().is_err());
}

/// Channels that exist only later are read, too, and wake the reader.
#[test]
fn a_pattern_reads_channels_that_do_not_exist_yet() {
    #[derive(Default)]
    struct Woken(AtomicUsize);
    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let log = log(None);
    publish(&log, "a.before");
    let mut reader = open(&log, &["a.*"], Since::Now);
    let woken = Arc::<Woken>::default();
    let waker = Waker::from(woken.clone());
    let limit = Limit::default();
    assert!(reader.poll_read(&Context::from_waker(&waker), limit).is_pending());
    publish(&log, "b");
    assert_eq!(woken.0.load(Ordering::SeqCst), 0);
    let first = publish(&log, "a.new");
    assert_eq!(woken.0.load(Ordering::SeqCst), 1);
    let Poll::Ready(Some(batch)) = reader.poll_read(&Context::from_waker(&waker), limit) else { panic!("nothing") };
    assert_eq!((batch.messages[0].id, batch.gap), (first, None));
    let more = [publish(&log, "a.before"), publish(&log, "a.new"), publish(&log, "a.2")];
    assert_eq!(rest(&mut reader, 2), (more.to_vec(), 0));
    assert!(reader.poll_read(&Context::from_waker(&waker), limit).is_pending());
    let before = woken.0.load(Ordering::SeqCst);
    log.close();
    assert_eq!(woken.0.load(Ordering::SeqCst), before + 1, "the end of the log wakes it, too");
    assert!(matches!(reader.poll_read(&Context::from_waker(&waker), limit), Poll::Ready(None)));
}

/// The work for a message must not depend on how many channels match.
#[test]
fn channels_of_which_everything_was_read_are_forgotten() {
    let log = log(None);
    for n in 0..1_000 {
        publish(&log, &format!("a.{n}"));
    }
    let mut reader = open(&log, &["a.*"], Since::Earliest);
    assert_eq!(rest(&mut reader, 100).0.len(), 1_000);
    assert_eq!(reader.subscriptions.len(), 0);
    publish(&log, "a.7");
    reader.match_channels();
    assert_eq!(reader.subscriptions.len(), 1);
    assert_eq!(log.patterns(), 1);
    drop(reader);
    assert_eq!(log.patterns(), 0);
}

#[test]
fn a_channel_is_read_once_by_its_name_and_by_a_pattern() {
    let log = log(None);
    let mut reader = open(&log, &["a.1", "a.*", "*"], Since::Now);
    let ids: Vec<_> = ["a.1", "a.2", "b"].iter().map(|channel| publish(&log, channel)).collect();
    assert_eq!(rest(&mut reader, 100), (ids, 0));
    assert_eq!(reader.channels().map(|name| name.to_string()).collect::<Vec<_>>(), ["a.1", "a.*", "*"]);
    // By its name alone, and by the pattern alone, whatever is unread at that time.
    let unread = publish(&log, "a.2");
    reader.match_channels();
    reader.add_from(&selector("a.2"), log.head());
    reader.remove(&selector("*"));
    publish(&log, "b");
    reader.remove(&selector("a.*"));
    assert_eq!(rest(&mut reader, 100), (vec![unread], 0));
    reader.add_from(&selector("a.*"), Cursor::ZERO);
    let unread = [publish(&log, "a.1"), publish(&log, "a.2")];
    reader.remove(&selector("a.1"));
    assert_eq!(rest(&mut reader, 100), (unread.to_vec(), 0));
}

#[test]
fn what_a_pattern_has_lost_is_a_gap() {
    // Dropped while the reader is behind, and before it resumes.
    let log = log(Some(2));
    let mut reader = open(&log, &["a.*"], Since::Now);
    let first = publish(&log, "b");
    let sent: Vec<_> = (0..5).map(|_| publish(&log, "a.1")).collect();
    assert_eq!(rest(&mut reader, 100), (sent[3..].to_vec(), 1));
    assert_eq!(rest(&mut open(&log, &["a.*"], Since::After(first)), 1), (sent[3..].to_vec(), 1));
    assert_eq!(rest(&mut open(&log, &["a.*"], Since::After(sent[2])), 1), (sent[3..].to_vec(), 0));
    assert_eq!(rest(&mut open(&log, &["a.*"], Since::Earliest), 1), (sent[3..].to_vec(), 0));
    assert!(open(&log, &["a.*"], Since::After(first)).is_gap());
    // Of channels that the log does not know.
    let lost = Cursor::new(9_000, 0);
    log.mark_lost_up_to(lost);
    let next = publish(&log, "a.2");
    assert_eq!(rest(&mut reader, 100), (vec![next], 1));
    assert_eq!(rest(&mut open(&log, &["a.9*"], Since::After(first)), 1), (vec![], 1));
}

proptest! {
    /// Whatever is published, a pattern reads what readers of all channels by name do.
    #[test]
    fn a_pattern_reads_as_all_names_do(steps in prop::collection::vec((0..6_usize, 0..4_usize), 1..60), count in 1..5_usize) {
        const NAMES: [&str; 6] = ["a.0", "a.1", "a.2", "a.3", "b.0", "$own"];
        let log = log(Some(count));
        let (mut pattern, mut named) = (open(&log, &["a.*"], Since::Now), open(&log, &NAMES[..4], Since::Now));
        for (channel, messages) in steps {
            publish(&log, NAMES[channel]);
            if messages > 0 {
                let limit = Limit { messages, bytes: usize::MAX };
                let told = |reader: &mut Reader| {
                    let batch = reader.read(limit);
                    let ids = batch.iter().flat_map(|batch| &batch.messages).map(|message| message.id).collect::<Vec<_>>();
                    (ids, batch.and_then(|batch| batch.gap).map(|gap| gap.requested), reader.cursor())
                };
                prop_assert_eq!(told(&mut pattern), told(&mut named));
            }
        }
        prop_assert_eq!(rest(&mut pattern, 3), rest(&mut named, 3));
    }
}
