//! Members of a cohort get what readers of their own would get.

use super::{super::cohort::CohortReader, *};
use crate::live::log::{Archive, Request};

const ALL: Limit = Limit { messages: usize::MAX, bytes: usize::MAX };

fn now(log: &Arc<Log>, channels: &[usize]) -> Reader {
    let channels: Vec<_> = channels.iter().map(|n| channel(*n)).collect();
    Reader::open(log, &channels, Since::Now)
}

#[test]
fn only_readers_of_the_same_channels_have_the_same_set() {
    let (log, other) = (log(Retention::default()), log(Retention::default()));
    let reader = now(&log, &[0, 1]);
    assert_eq!(reader.channel_set(), now(&log, &[1, 0, 1]).channel_set(), "in any order, and each once");
    assert_ne!(reader.channel_set(), now(&log, &[0]).channel_set());
    assert_ne!(reader.channel_set(), now(&log, &[0, 2]).channel_set());
    assert_ne!(reader.channel_set(), now(&other, &[0, 1]).channel_set());
}

#[test]
fn a_reader_whose_position_is_open_cannot_join() {
    let log = log(Retention::default());
    assert!(now(&log, &[0]).can_join());
    let mut earliest = Reader::open(&log, &[channel(0)], Since::Earliest);
    assert!(!earliest.can_join());
    log.append(vec![draft(0, 1)], START + 1);
    earliest.read(ALL).unwrap();
    assert!(earliest.can_join());
    let mut ahead = now(&log, &[0]);
    ahead.add_from(&channel(1), log.head().next(START + 5));
    assert!(!ahead.can_join(), "its channels are read from different positions");
}

#[test]
fn members_read_on_from_their_own_places() {
    let log = log(Retention::default());
    let (mut cohort, first) = CohortReader::new(now(&log, &[0]));
    let sent = log.append((0..3).map(|_| draft(0, 1)).collect(), START + 1);
    let mut late = now(&log, &[0]);
    assert!(late.read(ALL).is_none());
    let late = cohort.join(late);
    let more = log.append(vec![draft(1, 1), draft(0, 1)], START + 2);
    cohort.seek(first);
    let (batch, after) = cohort.read(Limit { messages: 2, bytes: usize::MAX }).unwrap();
    assert_eq!((ids(&batch), after.cursor()), (sent[..2].to_vec(), sent[1]));
    let (batch, end) = cohort.read(ALL).unwrap();
    assert_eq!(ids(&batch), [sent[2], more[1]]);
    assert!(cohort.read(ALL).is_none());
    cohort.seek(late);
    assert_eq!(ids(&cohort.read(ALL).unwrap().0), more[1..]);
    // One that leaves continues where it was, whatever the others have.
    let mut left = cohort.reader_at(after);
    assert_eq!(ids(&left.read(ALL).unwrap()), [sent[2], more[1]]);
    assert!(cohort.reader_at(end).read(ALL).is_none());
}

#[test]
fn a_gap_is_that_of_a_reader_of_its_own() {
    let log = log(Retention { count: Some(2), ..Retention::default() });
    let mut own = now(&log, &[0]);
    let (mut cohort, place) = CohortReader::new(now(&log, &[0]));
    log.append((0..5).map(|_| draft(0, 1)).collect(), START + 1);
    let expected = own.read(ALL).unwrap();
    assert!(expected.gap.is_some());
    // As often as a member is at this place.
    for _ in 0..2 {
        cohort.seek(place);
        let (batch, _) = cohort.read(ALL).unwrap();
        assert_eq!((batch.gap, ids(&batch)), (expected.gap, ids(&expected)));
    }
    let batch = cohort.reader_at(place).read(ALL).unwrap();
    assert_eq!((batch.gap, ids(&batch)), (expected.gap, ids(&expected)));
}

/// Losses up to a place at which stored messages were still read are reported once.
#[test]
fn a_loss_that_was_reported_is_not_reported_again() {
    let log = log(Retention::default());
    let mut own = Reader::open(&log, &[channel(0)], Since::Earliest);
    log.append(vec![draft(0, 1)], START + 1);
    log.mark_lost_up_to(Cursor::new(START + 9, 0));
    own.read(ALL).unwrap();
    assert!(own.read(ALL).is_none());
    let (mut cohort, place) = CohortReader::new(own);
    let sent = log.append(vec![draft(0, 1)], START + 10);
    cohort.seek(place);
    let (batch, _) = cohort.read(ALL).unwrap();
    assert_eq!((batch.gap, ids(&batch)), (None, sent));
}

#[test]
fn every_member_is_counted_as_a_reader() {
    let log = log(Retention::default());
    let subscriptions = || log.counts().subscriptions;
    let (mut cohort, _) = CohortReader::new(now(&log, &[0, 1]));
    let places: Vec<_> = (0..3).map(|_| cohort.join(now(&log, &[0, 1]))).collect();
    assert_eq!(subscriptions(), 8);
    let left = cohort.reader_at(places[0]);
    assert!(!cohort.remove());
    assert_eq!(subscriptions(), 8);
    drop(left);
    assert_eq!(subscriptions(), 6);
    assert!(!cohort.remove());
    assert_eq!(subscriptions(), 4);
    drop(cohort);
    assert_eq!((subscriptions(), log.counts().channels), (0, 0), "as if each had left by itself");
    let (mut last, _) = CohortReader::new(now(&log, &[0]));
    assert!(last.remove());
    drop(last);
    assert_eq!(subscriptions(), 0);
}

#[test]
fn a_cohort_is_woken_once_and_its_lag_is_that_of_the_slowest() {
    let log = log(Retention::default());
    let (mut cohort, place) = CohortReader::new(now(&log, &[0]));
    let woken = Arc::new(CountWakes(AtomicUsize::new(0)));
    cohort.register(&Waker::from(woken.clone()));
    log.append(vec![draft(1, 1)], START + 1);
    assert_eq!(woken.0.load(Ordering::SeqCst), 0);
    for _ in 0..3 {
        log.append(vec![draft(0, 1)], START + 1);
    }
    assert_eq!(woken.0.load(Ordering::SeqCst), 1);
    cohort.seek(place);
    assert_eq!(cohort.read(ALL).unwrap().0.messages.len(), 3);
    assert_eq!(log.stats(START + 1).lag_messages, 0);
    cohort.set_slowest(place);
    assert_eq!(log.stats(START + 1).lag_messages, 3);
}

/// A disk whose answers do not arrive.
#[derive(Debug)]
struct Slow;

impl Archive for Slow {
    fn request(&self, _: Request) {}

    fn removed(&self, _: &ChannelName) -> Cursor {
        Cursor::ZERO
    }

    fn purged(&self, _: &ChannelName) -> Cursor {
        Cursor::ZERO
    }

    fn has_before(&self, _: Cursor) -> bool {
        false
    }

    fn purges(&self) -> u64 {
        0
    }
}

#[test]
fn a_member_whose_messages_are_only_on_disk_has_to_leave() {
    let channel = Retention { count: Some(2), ..Retention::default() };
    let log = Log::new(Limits { channel, ..Limits::default() }, Cursor::new(START, 0)).with_archive(Arc::new(Slow));
    let log = Arc::new(log);
    let (mut cohort, behind) = CohortReader::new(now(&log, &[0]));
    log.append((0..5).map(|_| draft(0, 1)).collect(), START + 1);
    let caught_up = cohort.join(now(&log, &[0]));
    let sent = log.append(vec![draft(0, 1)], START + 2);
    cohort.seek(behind);
    assert!(cohort.read(ALL).is_none() && cohort.is_on_disk());
    // Whoever has to wait keeps nobody waiting.
    cohort.seek(caught_up);
    assert_eq!(ids(&cohort.read(ALL).unwrap().0), sent);
    assert!(!cohort.is_on_disk());
    let mut left = cohort.reader_at(behind);
    assert!(left.read(ALL).is_none() && left.is_waiting() && !left.can_join());
}
