//! What readers get, and when they are woken.

mod cohort;
mod model;
mod tag;

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    task::{Wake, Waker},
};

use super::*;
use crate::{
    live::{
        clock::Moment,
        log::{Limits, Vacancy},
    },
    pure::{Draft, Epoch, Payload, Retention, Wire},
};

const START: u64 = 1_763_800_000_000;

fn channel(n: usize) -> ChannelName {
    format!("c{n}").parse().unwrap()
}

fn draft(n: usize, bytes: usize) -> Draft {
    Draft::new(channel(n), Payload::from_text(&"x".repeat(bytes)))
}

fn log(channel: Retention) -> Arc<Log> {
    Arc::new(Log::new(Limits { channel, ..Limits::default() }, Cursor::new(START, 0)))
}

fn ids(batch: &Batch) -> Vec<Cursor> {
    batch.messages.iter().map(|message| message.id).collect()
}

/// A batch that exceeds the history of a channel drops its own beginning before any of it is visible; readers that read or open just then
/// get a gap for that beginning, too.
#[test]
fn drops_before_publication_are_reported_afterwards() {
    let log = log(Retention::default());
    let ids_of = |count, now| log.append((0..count).map(|_| draft(0, 1)).collect(), now);
    let sent = ids_of(2, START + 1);
    let mut behind = Reader::open(&log, &[channel(0)], Since::After(sent[0]));
    // As it is in the midst of such an append.
    let (unshown, shown) = (Cursor::new(START + 5, 0), Cursor::new(START + 5, 1));
    behind.subscriptions[0].channel.history.lock().mark_lost(Loss { up_to: unshown, number: log.losses() + 1 });
    let mut new = Reader::open(&log, &[channel(0)], Since::Now);
    assert_eq!((new.place(), behind.read(Limit::default()).map(|batch| batch.cursor)), (Some(sent[1]), Some(sent[1])));
    let draft = draft(0, 1);
    log.append_placed(vec![Message::new(shown, draft)], START + 5).unwrap();
    for reader in [&mut behind, &mut new] {
        let batch = reader.read(Limit::default()).unwrap();
        assert_eq!(batch.gap, Some(Gap { requested: sent[1], resumed: unshown }));
        assert_eq!(ids(&batch), [shown]);
    }
}

#[test]
fn a_gap_resumes_just_before_the_oldest_stored_message() {
    let log = log(Retention { count: Some(2), ..Retention::default() });
    let sent: Vec<_> = (0..5).flat_map(|_| log.append(vec![draft(0, 1)], START + 1)).collect();
    let mut reader = Reader::open(&log, &[channel(0)], Since::After(sent[0]));
    let batch = reader.read(Limit::default()).unwrap();
    assert_eq!(batch.gap, Some(Gap { requested: sent[0], resumed: sent[2] }));
    assert_eq!(ids(&batch), sent[3..]);
    assert!(reader.read(Limit::default()).is_none());
}

/// Case 3.7: what other channels made the reader pass over is no cursor that the client has.
#[test]
fn a_gap_names_the_cursor_that_the_client_has() {
    let log = log(Retention { count: Some(1), ..Retention::default() });
    let say = |n| log.append(vec![draft(n, 1)], START + 1)[0];
    let mut reader = Reader::open(&log, &[channel(0)], Since::Now);
    let mut client = reader.place().unwrap();
    for _ in 0..3 {
        say(1);
        assert!(reader.read(Limit::default()).is_none());
        assert!(reader.cursor() > client);
        let (dropped, held) = (say(0), say(0));
        let batch = reader.read(Limit::default()).unwrap();
        assert_eq!(batch.gap, Some(Gap { requested: client, resumed: dropped }));
        assert_eq!(ids(&batch), [held]);
        client = held;
    }
}

#[test]
fn clients_of_a_restarted_log_get_a_gap() {
    let log = log(Retention::default());
    let before = Cursor::new(START - 5, 0);
    let gap = |since: &str| {
        let since = since.parse().unwrap();
        Reader::open(&log, &[channel(0)], since).read(Limit::default()).and_then(|batch| batch.gap)
    };
    assert_eq!(gap(&before.to_string()), Some(Gap { requested: before, resumed: log.head() }));
    assert_eq!(gap("0-0"), None, "who has seen nothing has lost nothing");
    assert_eq!(gap("earliest"), None);
    let future = Cursor::new(START + 1, 0);
    assert_eq!(gap(&future.to_string()), Some(Gap { requested: future, resumed: log.head() }));
}

#[test]
fn a_possible_loss_is_reported_to_every_reader_once() {
    let log = log(Retention::default());
    let sent = log.append(vec![draft(0, 1), draft(0, 1)], START + 1);
    let mut idle = Reader::open(&log, &[channel(1)], Since::Now);
    let mut behind = Reader::open(&log, &[channel(0)], Since::After(sent[0]));
    let lost = Cursor::new(START + 9, 0);
    log.mark_lost_up_to(lost);
    log.mark_lost_up_to(sent[1]);
    assert_eq!(log.head(), lost, "what is older than the head changes nothing");
    let after = log.append(vec![draft(1, 1)], START + 1);
    assert!(after[0] > lost, "ids go on after it");
    let batch = idle.read(Limit::default()).unwrap();
    assert_eq!(batch.gap, Some(Gap { requested: sent[1], resumed: lost }));
    assert_eq!(ids(&batch), after);
    let batch = behind.read(Limit::default()).unwrap();
    assert_eq!((batch.gap.is_some(), ids(&batch)), (true, vec![sent[1]]), "what is held is still read");
    assert!(idle.read(Limit::default()).is_none() && behind.read(Limit::default()).is_none());
    let mut new = Reader::open(&log, &[channel(2)], Since::After(sent[1]));
    assert!(new.read(Limit::default()).unwrap().gap.is_some(), "on channels that were not there then, too");
    let mut new = Reader::open(&log, &[channel(2)], Since::After(lost));
    assert!(new.read(Limit::default()).is_none());
}

/// An unfilled log with readers from everywhere on it; then filled with three messages, of which the log has the last two.
#[test]
fn readers_of_an_unfilled_log_wait_and_then_get_their_position() {
    let log = Arc::new(Log::unfilled(Limits::default()));
    let at = |ms: u64| Cursor::new(START + ms, 0);
    let open = |since| Reader::open(&log, &[channel(0)], since);
    let message = |ms| Message::new(at(ms), draft(0, 1));
    let mut now = open(Since::Now);
    let mut earliest = open(Since::Earliest);
    let mut within = open(Since::After(at(2)));
    let mut older = open(Since::After(at(0)));
    let mut ahead = open(Since::After(at(9)));
    let mut all = [&mut now, &mut earliest, &mut within, &mut older, &mut ahead];
    log.append_placed(vec![message(2), message(3)], 0).unwrap();
    assert!(all.iter_mut().all(|reader| reader.read(Limit::default()).is_none()), "half filled is not filled");
    assert_eq!((log.head(), log.is_filled(), all[2].cursor()), (Cursor::ZERO, false, at(2)));

    log.filled(at(1));
    log.append_placed(vec![message(4)], 0).unwrap();
    let told: Vec<_> = all.iter_mut().map(|reader| reader.read(Limit::default())).collect();
    let told: Vec<_> = told.iter().map(|batch| batch.as_ref().map(|batch| (batch.gap.is_some(), ids(batch)))).collect();
    assert_eq!(
        told,
        [
            Some((false, vec![at(4)])),
            Some((false, vec![at(2), at(3), at(4)])),
            Some((false, vec![at(3), at(4)])),
            Some((true, vec![at(2), at(3), at(4)])),
            None,
        ]
    );
}

#[tokio::test]
async fn a_cursor_ahead_of_the_log_is_foreign_only_once_the_bus_was_asked_after_it_came() {
    let log = Arc::new(Log::unfilled(Limits::default()));
    let at = |ms: u64| Cursor::new(START + ms, 0);
    log.filled(at(1));
    let early = log.begin_probe();
    let open = |cursor| Reader::open(&log, &[channel(0)], Since::After(cursor));
    let (mut reached, foreign) = (open(at(5)), open(at(9)));
    log.end_probe(early);
    assert!(reached.is_gap() && reached.read(Limit::default()).is_none(), "that was asked before");

    let waiting = tokio::spawn(async move {
        let mut foreign = foreign;
        foreign.next(Limit::default()).await
    });
    tokio::task::yield_now().await;
    let probe = log.begin_probe();
    log.append_placed(vec![Message::new(at(5), draft(0, 1)), Message::new(at(6), draft(0, 1))], 0).unwrap();
    let batch = reached.read(Limit::default()).unwrap();
    assert_eq!((batch.gap, ids(&batch)), (None, vec![at(6)]), "the log has come up to it");
    log.end_probe(probe);
    let batch = waiting.await.unwrap().unwrap();
    assert_eq!(batch.gap, Some(Gap { requested: at(9), resumed: at(1) }));
    assert_eq!(ids(&batch), [at(5), at(6)]);
}

#[test]
fn bytes_bound_a_read_but_one_message_always_comes() {
    let log = log(Retention::default());
    log.append(vec![draft(0, 98), draft(0, 98), draft(0, 998)], START + 1);
    let mut reader = Reader::open(&log, &[channel(0)], Since::Earliest);
    let mut next = || reader.read(Limit { messages: 10, bytes: 250 }).map(|batch| batch.messages.len());
    assert_eq!([next(), next(), next()], [Some(2), Some(1), None]);
}

#[test]
fn all_channels_together_stay_within_the_total() {
    let limits = Limits { total: Some(20_000), ..Limits::default() };
    let log = Arc::new(Log::new(limits, Cursor::new(START, 0)));
    let first = log.append(vec![draft(0, 100)], START)[0];
    let mut most = 0;
    for n in 1..100 {
        log.append(vec![draft(n, 100)], START);
        let stats = log.stats(START);
        assert!(stats.footprint <= 20_000);
        most = most.max(stats.messages);
    }
    assert!((15..30).contains(&most), "{most} messages, each in a channel of its own");
    let mut reader = Reader::open(&log, &[channel(0)], Since::After(Cursor::ZERO));
    let batch = reader.read(Limit::default()).unwrap();
    assert_eq!(batch.gap.map(|gap| gap.requested), Some(Cursor::ZERO), "{first} went for room");
}

/// Case 6.1: readers of old messages in every form cost no message, and the forms of the newest are kept.
#[test]
fn forms_are_evicted_by_themselves_and_no_message_with_them() {
    let limits = Limits { total: Some(200_000), forms: Some(100_000), ..Limits::default() };
    let log = Arc::new(Log::new(limits, Cursor::new(START, 0)));
    for n in 0..200 {
        log.append(vec![draft(n % 4, 500)], START + n as u64);
    }
    let held = log.stats(START).messages;
    let channels: Vec<_> = (0..4).map(channel).collect();
    let mut reader = Reader::open(&log, &channels, Since::Earliest);
    let batch = reader.read(Limit { messages: 1_000, bytes: usize::MAX }).unwrap();
    assert_eq!(batch.messages.len(), held);
    for message in &batch.messages {
        for wire in [Wire::Sse, Wire::SseWhole, Wire::Line, Wire::RawLine] {
            message.wire(wire, |message| vec![b'x'; message.len()].into());
        }
        message.packet(message.len(), |_| (), |()| ());
    }
    let stats = log.stats(START);
    assert!((90_000..=112_500).contains(&stats.forms), "an eighth more at most: {stats:?}");
    while log.sweep(START) {}
    let stats = log.stats(START);
    assert_eq!(stats.messages, held);
    assert!(stats.forms <= 100_000, "{stats:?}");
    // The next message's forms are kept, whatever is read again meanwhile.
    log.append(vec![draft(0, 500)], START + 1_000);
    for message in &batch.messages {
        message.wire(Wire::Sse, |message| vec![b'x'; message.len()].into());
    }
    let newest = reader.read(Limit::default()).unwrap();
    newest.messages[0].wire(Wire::Sse, |_| "once".into());
    assert_eq!(newest.messages[0].wire(Wire::Sse, |_| unreachable!("it is kept")), "once");
    drop((batch, newest));
    while log.stats(START).messages > 1 {
        log.append(vec![draft(1, 190_000)], START);
    }
    assert_eq!(log.stats(START).forms, 0, "with the messages their forms are gone");
}

/// Case 10.2: a channel of a batch is visited once for the batch, however many of its messages go there and to how many
/// other channels: so each reader is.
#[test]
fn each_reader_is_woken_once_for_a_batch() {
    let log = log(Retention::default());
    let wakes = Arc::new(CountWakes::default());
    let waker = Waker::from(wakes.clone());
    let cx = Context::from_waker(&waker);
    let busy = [channel(0)];
    let mut readers: Vec<_> = (0..50).map(|_| Reader::open(&log, &busy, Since::Now)).collect();
    readers.extend((1..71).map(|n| Reader::open(&log, &[channel(n), channel(n + 100)], Since::Now)));
    for reader in &mut readers {
        assert!(reader.poll_read(&cx, Limit::default()).is_pending());
    }
    let others = (1..71).flat_map(|n| [draft(n, 1), draft(0, 1)]);
    let batch: Vec<_> = others.chain((0..1_500).map(|_| draft(0, 1))).collect();
    let visits = log.visits_of(batch, START + 1);
    assert_eq!((visits, wakes.0.load(Ordering::Relaxed)), (71, readers.len()));
}

#[derive(Default)]
struct CountWakes(AtomicUsize);

impl Wake for CountWakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Case 10.4: what expires together goes in slices, between which the lock is free; so does the measurement of lag.
#[test]
fn a_sweep_and_a_measurement_go_in_slices() {
    let log = log(Retention { age_ms: Some(10), ..Retention::default() });
    let channels: Vec<_> = (0..5_000).map(channel).collect();
    log.append((0..5_000).map(|n| draft(n, 1)).collect(), START);
    let _readers: Vec<_> =
        channels.iter().map(|name| Reader::open(&log, std::slice::from_ref(name), Since::Earliest)).collect();
    let mut lag = log.lag();
    let mut slices = 1;
    while log.measure(&mut lag, START + 5) {
        slices += 1;
    }
    assert!((5..=6).contains(&slices), "{slices} slices of 1,024 channels");
    assert_eq!((lag.messages, lag.age_ms), (1, 5));

    let mut left = 5_000;
    while log.sweep(START + 100) {
        let now = log.counts().messages;
        assert!(now < left && left - now <= 256, "{left} then {now}");
        left = now;
    }
    assert_eq!(log.counts().messages, 0);
}

/// Case 7.5: a step of the time of day makes no message older; only the clock that never steps does.
#[test]
fn messages_age_by_the_monotonic_clock() {
    let log = log(Retention { age_ms: Some(3_600_000), ..Retention::default() });
    let at = |time_ms, mono_ms| Moment { time_ms, mono_ms };
    log.append(vec![draft(0, 1)], at(START + 1, 1_000));
    // Set forward by as much as a message may be old, and by a year.
    log.append(vec![draft(0, 1)], at(START + 3_700_000, 2_000));
    log.append(vec![draft(0, 1)], at(START + 31_536_000_000, 3_000));
    log.sweep(at(START + 31_536_000_000, 4_000));
    assert_eq!(log.stats(at(START, 4_000)).messages, 3);
    // And back.
    log.append(vec![draft(0, 1)], at(START, 5_000));
    log.sweep(at(START, 3_601_500));
    assert_eq!(log.stats(at(START, 3_601_500)).messages, 3, "the first is an hour old");
}

/// Case 7.1: a cursor of another process is a gap, even if this one has newer ids.
#[test]
fn a_cursor_of_another_epoch_is_a_gap_wherever_it_is() {
    let before = Log::of_epoch(Limits::default(), Epoch::numbered(1), START);
    let theirs = before.append(vec![draft(0, 1)], START + 4_000)[0];
    // The clock of the next process is behind.
    let log = Arc::new(Log::of_epoch(Limits::default(), Epoch::numbered(2), START));
    let mut ours = log.append(vec![draft(0, 1), draft(0, 1), draft(0, 1)], START + 1);
    ours.extend(log.append(vec![draft(0, 1)], START + 9_000));
    assert!(ours[2] < theirs && theirs < ours[3]);
    let mut reader = Reader::open(&log, &[channel(0)], Since::After(theirs));
    let batch = reader.read(Limit::default()).unwrap();
    assert_eq!(batch.gap.map(|gap| gap.requested), Some(theirs));
    assert_eq!(ids(&batch), ours);
    for own in [ours[1], log.floor(), ours[3]] {
        let mut reader = Reader::open(&log, &[channel(0)], Since::After(own));
        assert!(!reader.is_gap() && reader.read(Limit::default()).is_none_or(|batch| batch.gap.is_none()), "{own}");
    }
    let mut start = Reader::open(&log, &[channel(0)], Since::After("0-0".parse().unwrap()));
    assert_eq!(start.read(Limit::default()).unwrap().gap, None, "that is how people write: from the beginning");
}

#[test]
fn channels_without_messages_are_bounded() {
    let limits = Limits { channels: Some(3), ..Limits::default() };
    let log = Arc::new(Log::new(limits, Cursor::new(START, 0)));
    let has_room = |channels: &[ChannelName]| {
        let Vacancy { new, left } = log.vacancy(channels);
        new == 0 || left.is_none_or(|left| new <= left)
    };
    let channels: Vec<_> = (0..5).map(channel).collect();
    assert!(has_room(&channels[..3]) && !has_room(&channels[..4]));
    let reader = Reader::open(&log, &channels[..3], Since::Now);
    assert!(has_room(&channels[..3]), "who reads what is read already takes no more");
    assert!(!has_room(&channels[3..4]));
    log.append(vec![draft(0, 1), draft(4, 1)], START);
    assert!(has_room(&channels[3..4]), "one of the three holds something now, and is counted as memory");
    assert!(has_room(&channels[4..]), "what holds something can be read");
    drop(reader);
    assert!(has_room(&[channel(7), channel(8), channel(9)]));
}

#[test]
fn drops_of_empty_channels_are_recorded_for_each_and_then_for_all() {
    let retention = Retention { age_ms: Some(1), ..Retention::default() };
    // Room for the memory of two.
    let limits = Limits { channels: Some(2), channel: retention, total: Some(16 * 1024), ..Limits::default() };
    let log = Arc::new(Log::new(limits, Cursor::new(START, 0)));
    let sent = log.append((0..5).map(|n| draft(n, 1)).collect(), START);
    log.sweep(START + 10);
    assert_eq!(log.stats(START).channels, 2, "of the two newest");
    assert_eq!(log.vacancy(&[channel(7)]), Vacancy { new: 1, left: Some(2) }, "which nobody reads");
    let is_gap = |n, after| Reader::open(&log, &[channel(n)], Since::After(after)).is_gap();
    assert!(is_gap(4, sent[3]) && !is_gap(4, sent[4]));
    assert!(is_gap(7, sent[1]), "one memory for those that are forgotten");
    assert!(!is_gap(7, sent[2]) && !is_gap(0, sent[2]));
    log.append(vec![draft(4, 1)], START + 20);
    assert!(!is_gap(4, sent[4]), "a channel that is used again is the same");
}

#[test]
fn a_channel_that_nobody_needs_is_gone() {
    let log = log(Retention { age_ms: Some(10), ..Retention::default() });
    let reader = Reader::open(&log, &[channel(0), channel(1)], Since::Now);
    log.append(vec![draft(1, 1)], START);
    assert_eq!(log.stats(START).channels, 2);
    drop(reader);
    assert_eq!(log.stats(START).channels, 1, "the other one holds a message");
    log.sweep(START + 100);
    assert_eq!(log.stats(START).messages, 0);
    assert_eq!(log.stats(START).channels, 1, "and then the memory of having dropped it");
}

#[test]
fn lag_is_that_of_the_slowest_reader() {
    let log = log(Retention::default());
    let mut fast = Reader::open(&log, &[channel(0)], Since::Now);
    let _slow = Reader::open(&log, &[channel(0)], Since::Now);
    assert_eq!(log.stats(START).lag_messages, 0);
    log.append(vec![draft(0, 1), draft(0, 1)], START + 5);
    fast.read(Limit::default());
    let stats = log.stats(START + 25);
    assert_eq!((stats.lag_messages, stats.lag_ms, stats.subscriptions), (2, 20, 2));
}

#[tokio::test]
async fn a_closed_log_ends_its_readers_when_they_have_read_it() {
    let log = log(Retention::default());
    let mut waiting = Reader::open(&log, &[channel(0)], Since::Now);
    let waiting = tokio::spawn(async move { waiting.next(Limit::default()).await.is_none() });
    tokio::task::yield_now().await;
    let mut behind = Reader::open(&log, &[channel(1)], Since::Earliest);
    log.append(vec![draft(1, 1)], START);
    log.close();
    assert!(waiting.await.unwrap());
    assert!(behind.next(Limit::default()).await.is_some());
    assert!(behind.next(Limit::default()).await.is_none());
}

/// One leaves an empty channel and another after it, both find nothing to keep, and somebody publishes between their steps.
#[tokio::test]
async fn a_late_removal_does_not_remove_a_new_channel() {
    let log = log(Retention::default());
    let reader = Reader::open(&log, &[channel(0)], Since::Now);
    let left = reader.subscriptions[0].channel.clone();
    drop(reader);
    assert_eq!(log.stats(START).channels, 0);

    let ids = log.append(vec![draft(0, 1)], START);
    log.retire_if_unused(&left);
    assert_eq!(log.latest(&channel(0), 9, Cursor::MAX).len(), 1);
    let mut reader = Reader::open(&log, &[channel(0)], Since::Earliest);
    assert_eq!(reader.next(Limit::default()).await.unwrap().cursor, ids[0]);
    // Nor does it take the place from under who has just sat down.
    let waiting = Reader::open(&log, &[channel(1)], Since::Now);
    let gone = waiting.subscriptions[0].channel.clone();
    drop(waiting);
    let mut waiting = Reader::open(&log, &[channel(1)], Since::Now);
    log.retire_if_unused(&gone);
    let ids = log.append(vec![draft(1, 1)], START);
    assert_eq!(waiting.next(Limit::default()).await.unwrap().cursor, ids[0]);
}

/// Threads publish while tasks subscribe, read, leave and resume with their cursors: the race between checking and waiting, in real time.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_message_is_missed_between_checking_and_waiting() {
    const EACH: usize = 4_000;
    let log = log(Retention::default());
    let start = log.head();
    let publishers: Vec<_> = (0..3)
        .map(|publisher| {
            let log = log.clone();
            std::thread::spawn(move || {
                for n in 0..EACH {
                    log.append(vec![draft(publisher, 1)], START + n as u64 / 10);
                    if n % 64 == 0 {
                        std::thread::yield_now();
                    }
                }
            })
        })
        .collect();
    let readers: Vec<_> = (0..8_usize)
        .map(|n| {
            let log = log.clone();
            tokio::spawn(async move {
                let names: Vec<_> = (0..3).filter(|other| n == 0 || *other != n % 3).map(channel).collect();
                let (mut cursor, mut seen) = (start, Vec::new());
                while seen.len() < names.len() * EACH {
                    let mut reader = Reader::open(&log, &names, Since::After(cursor));
                    for _ in 0..=seen.len() % 7 {
                        if seen.len() == names.len() * EACH {
                            break;
                        }
                        let limit = Limit { messages: 1 + n * 5, bytes: usize::MAX };
                        let batch = tokio::time::timeout(std::time::Duration::from_secs(20), reader.next(limit)).await;
                        let batch = batch.expect("a reader is woken").expect("the log is open");
                        assert!(batch.gap.is_none());
                        seen.extend(ids(&batch));
                        cursor = batch.cursor;
                    }
                }
                assert!(seen.is_sorted_by(|a, b| a < b), "in order and once");
            })
        })
        .collect();
    for reader in readers {
        reader.await.unwrap();
    }
    for publisher in publishers {
        publisher.join().unwrap();
    }
    assert_eq!(log.stats(START).subscriptions, 0);
}
