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
    assert!(selector(&format!("{}*", "a".repeat(128))).selects(&"a".repeat(128).parse().unwrap()));
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
    reader.activate(log.head());
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

/// A client that resumes after a gap does not get it again.
#[test]
fn resuming_after_a_gap_is_no_gap() {
    let log = log(None);
    let first = publish(&log, "b");
    let mut reader = open(&log, &["a.*"], Since::After(first));
    log.mark_lost_up_to(Cursor::new(9_000, 0));
    let next = publish(&log, "a.2");
    let batch = reader.read(Limit::default()).unwrap();
    let resumed = batch.gap.unwrap().resumed;
    assert_eq!(batch.messages[0].id, next);
    assert_eq!(rest(&mut open(&log, &["a.*"], Since::After(resumed)), 1), (vec![next], 0));
}

/// What is lost while a read is in progress is after its end, and reported by the next one.
#[test]
fn a_loss_during_a_read_is_reported() {
    let log = log(None);
    let mut reader = open(&log, &["a.*"], Since::Now);
    publish(&log, "b");
    let before = log.present();
    log.mark_lost_up_to(Cursor::new(9_000, 0));
    for (present, is_lost) in [(before, true), (log.present(), true), (log.present(), false)] {
        let mut found = Found::in_read(present);
        assert_eq!(reader.find_forgotten(&mut found), is_lost, "the first gap ends before the loss does");
        reader.has_reported(found.losses);
    }
}

/// Without a pattern that begins earlier, a channel is read from where the other one begins.
#[test]
fn a_pattern_that_is_left_reads_from_its_own_position() {
    let log = log(None);
    let mut reader = open(&log, &["a.*"], Since::Now);
    publish(&log, "a.1");
    let position = log.head();
    reader.add_from(&selector("a*"), position);
    let later = publish(&log, "a.1");
    reader.find_channels();
    reader.remove(&selector("a.*"));
    assert_eq!(rest(&mut reader, 100), (vec![later], 0));
}

/// A channel that was forgotten and created again is another one with the same name.
#[test]
fn a_channel_that_was_created_again_is_read_once() {
    let channel = Retention { age_ms: Some(1_000), ..Retention::default() };
    let log = Arc::new(Log::new(Limits { channel, ..Limits::default() }, Cursor::ZERO));
    let mut reader = open(&log, &["a.*"], Since::Now);
    publish(&log, "a.1");
    reader.find_channels();
    while log.sweep(100_000) {}
    log.mark_lost_up_to(Cursor::new(100_000, 0));
    let next = publish(&log, "a.1");
    reader.find_channels();
    let two: Vec<_> = reader.subscriptions.iter().map(|subscription| Arc::as_ptr(&subscription.channel)).collect();
    assert!(two.len() == 2 && two[0] != two[1]);
    reader.add_from(&selector("a.1"), Cursor::ZERO);
    assert_eq!(rest(&mut reader, 100).0, [next]);
}

#[tokio::test]
async fn the_newest_message_of_a_pattern_is_found() {
    let log = log(None);
    let sent = [publish(&log, "a.1"), publish(&log, "a.2"), publish(&log, "b")];
    let newest = async |names: &[&str]| {
        let names: Vec<_> = names.iter().map(|name| selector(name)).collect();
        crate::live::reader::newest(&log, &names).await.map(|message| message.id)
    };
    assert_eq!(newest(&["a.*"]).await, Some(sent[1]));
    assert_eq!(newest(&["a.*", "b"]).await, Some(sent[2]));
    assert_eq!(newest(&["c.*"]).await, None);
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
