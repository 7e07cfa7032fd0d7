use std::task::Waker;

use proptest::prelude::*;
use shared::{
    live::log::Limits,
    pure::{Draft, Payload},
};

use super::*;

fn log() -> Arc<Log> {
    Arc::new(Log::new(Limits::default(), Cursor::FIRST_ISSUED))
}

fn publish(log: &Log, channel: &str) -> Cursor {
    let draft = Draft::new(channel.parse().unwrap(), Payload::from_text("x"));
    log.append(vec![draft], 1_000)[0]
}

fn feed(log: &Arc<Log>, channels: &[&str], since: Since) -> Feed {
    Feed::new(log, Reader::open(log, &names(channels), since), since != Since::Now)
}

fn names(names: &[&str]) -> Vec<ChannelName> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

/// Everything that can be read now, in batches of `size` messages.
fn drain(feed: &mut Feed, size: usize) -> Vec<Cursor> {
    let (cx, mut all) = (Context::from_waker(Waker::noop()), Vec::new());
    while let Poll::Ready(Some(batch)) = feed.poll_next(&cx, Limit { messages: size, bytes: usize::MAX }) {
        assert!(batch.gap.is_none(), "{batch:?}");
        all.extend(batch.messages.iter().map(|message| message.id));
    }
    all
}

#[test]
fn a_subscription_begins_now_or_after_its_cursor() {
    let log = log();
    let (a1, b1, b2) = (publish(&log, "a"), publish(&log, "b"), publish(&log, "b"));
    let mut feed = feed(&log, &["a"], Since::Now);
    assert_eq!(feed.subscribe(names(&["c"]), Since::Now, None).unwrap(), b2);
    assert_eq!(feed.subscribe(names(&["b"]), Since::After(b1), None).unwrap(), b1);
    let a2 = publish(&log, "a");
    assert_eq!(drain(&mut feed, 1), [b2, a2], "the catch-up first");
    assert_eq!(feed.subscribe(names(&["a"]), Since::Earliest, None).unwrap(), Cursor::ZERO);
    let (c1, b3) = (publish(&log, "c"), publish(&log, "b"));
    assert_eq!(drain(&mut feed, 10), [a1, a2, c1, b3], "again from an older position");
    feed.unsubscribe(&names(&["a", "b"]));
    publish(&log, "a");
    publish(&log, "b");
    assert_eq!(drain(&mut feed, 10), []);
    assert_eq!(drain(&mut feed, 10), [], "nothing twice");
}

#[test]
fn channels_and_catch_ups_are_limited() {
    let log = log();
    publish(&log, "x");
    let mut feed = feed(&log, &["x"], Since::Now);
    let all: Vec<String> = (0..MAX_CHANNELS).map(|n| format!("c{n}")).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let refused = feed.subscribe(names(&all), Since::Now, None).unwrap_err();
    assert_eq!(refused.code(), "too_many_channels");
    for _ in 0..MAX_CATCH_UPS {
        feed.subscribe(names(&["x"]), Since::Earliest, None).unwrap();
    }
    let refused = feed.subscribe(names(&["x"]), Since::Earliest, None).unwrap_err();
    assert_eq!(refused.code(), "too_many_requests");
    assert!(feed.subscribe(names(&["x"]), Since::Now, None).is_ok(), "without a cursor there is nothing to store");
    assert_eq!(drain(&mut feed, 10).len(), MAX_CATCH_UPS);
    assert!(feed.subscribe(names(&all[..MAX_CHANNELS - 1]), Since::Earliest, None).is_ok());
    assert!(feed.subscribe(names(&all[..MAX_CHANNELS - 1]), Since::Earliest, None).is_ok());
    assert!(feed.subscribe(names(&["x", "c0", "c1"]), Since::Earliest, None).is_err(), "257 channels");
}

#[test]
fn dropped_messages_are_a_gap_of_the_catch_up() {
    let limits =
        Limits { channel: shared::pure::Retention { count: Some(2), ..Default::default() }, ..Limits::default() };
    let log = Arc::new(Log::new(limits, Cursor::FIRST_ISSUED));
    let ids: Vec<_> = (0..5).map(|_| publish(&log, "a")).collect();
    let mut feed = feed(&log, &[], Since::Now);
    feed.subscribe(names(&["a"]), Since::After(ids[0]), None).unwrap();
    let cx = Context::from_waker(Waker::noop());
    let Poll::Ready(Some(batch)) = feed.poll_next(&cx, Limit::default()) else { panic!("no batch") };
    let gap = batch.gap.unwrap();
    assert_eq!((gap.requested, gap.resumed, batch.messages.len()), (ids[0], ids[2], 2));
}

#[test]
fn a_closed_log_ends_it_after_its_messages() {
    let log = log();
    let id = publish(&log, "a");
    let mut feed = feed(&log, &[], Since::Now);
    feed.subscribe(names(&["a"]), Since::Earliest, None).unwrap();
    log.close();
    let cx = Context::from_waker(Waker::noop());
    assert!(matches!(feed.poll_next(&cx, Limit::default()), Poll::Ready(Some(batch)) if batch.messages[0].id == id));
    assert!(matches!(feed.poll_next(&cx, Limit::default()), Poll::Ready(None)));
}

#[derive(Clone, Debug)]
enum Act {
    Publish(usize),
    Subscribe(usize, Option<usize>),
    Unsubscribe(usize),
    Read(usize),
}

const CHANNELS: [&str; 3] = ["a", "b", "c"];

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (0..3_usize).prop_map(Act::Publish),
        2 => (0..3_usize, prop::option::of(0..20_usize)).prop_map(|(channel, since)| Act::Subscribe(channel, since)),
        1 => (0..3_usize).prop_map(Act::Unsubscribe),
        3 => (1..4_usize).prop_map(Act::Read),
    ]
}

proptest! {
    /// Against a list of everything published: each subscription delivers every message after its cursor, in order, as long as it lasts;
    /// nothing of a channel that is not subscribed to.
    #[test]
    fn every_message_after_the_cursor_is_delivered(acts in prop::collection::vec(act(), 0..60)) {
        let log = log();
        let mut feed = feed(&log, &[], Since::Now);
        let mut published: Vec<(Cursor, usize)> = Vec::new();
        // What is still owed on each channel, if it is subscribed to.
        let mut owed: [Option<Vec<Cursor>>; 3] = Default::default();
        // How often each channel was requested from an older position, and how often its ids did not increase.
        let (mut restarts, mut jumps, mut last) = ([0; 3], [0; 3], [Cursor::ZERO; 3]);
        let cx = Context::from_waker(Waker::noop());
        let mut read = |feed: &mut Feed, owed: &mut [Option<Vec<Cursor>>; 3], published: &[(Cursor, usize)], restarts: &[usize; 3], size| {
            let batch = feed.poll_next(&cx, Limit { messages: size, bytes: usize::MAX });
            let Poll::Ready(Some(batch)) = batch else { return Ok(false) };
            prop_assert!(batch.gap.is_none());
            for message in &batch.messages {
                let channel = CHANNELS.iter().position(|name| **name == *message.draft.channel).unwrap();
                prop_assert!(published.contains(&(message.id, channel)));
                prop_assert!(owed[channel].is_some(), "{} is not subscribed to", CHANNELS[channel]);
                owed[channel].iter_mut().for_each(|owed| owed.retain(|id| *id != message.id));
                jumps[channel] += usize::from(message.id <= last[channel]);
                last[channel] = message.id;
                prop_assert!(jumps[channel] <= restarts[channel], "{} is out of order", CHANNELS[channel]);
            }
            Ok(true)
        };
        for act in acts {
            match act {
                Act::Publish(channel) => {
                    let id = publish(&log, CHANNELS[channel]);
                    published.push((id, channel));
                    owed[channel].iter_mut().for_each(|owed| owed.push(id));
                }
                Act::Subscribe(channel, since) => {
                    let since = since.map(|at| published.get(at).map_or(Cursor::ZERO, |(id, _)| *id));
                    let asked = since.map_or(Since::Now, Since::After);
                    if feed.subscribe(names(&[CHANNELS[channel]]), asked, None).is_err() {
                        continue;
                    }
                    let after = |cursor: Cursor| {
                        published.iter().filter(|(id, of)| *of == channel && *id > cursor).map(|(id, _)| *id).collect()
                    };
                    restarts[channel] += usize::from(since.is_some());
                    match (&mut owed[channel], since) {
                        (Some(_), None) => {}
                        (none @ None, None) => *none = Some(Vec::new()),
                        // What an earlier subscription still owes is delivered in any case.
                        (owed, Some(cursor)) => {
                            let again: Vec<Cursor> = after(cursor);
                            let before = owed.take().unwrap_or_default();
                            *owed = Some(if before.len() > again.len() { before } else { again });
                        }
                    }
                }
                Act::Unsubscribe(channel) => {
                    feed.unsubscribe(&names(&[CHANNELS[channel]]));
                    owed[channel] = None;
                }
                Act::Read(size) => {
                    read(&mut feed, &mut owed, &published, &restarts, size)?;
                }
            }
        }
        while read(&mut feed, &mut owed, &published, &restarts, 2)? {}
        prop_assert!(owed.iter().flatten().all(Vec::is_empty), "{owed:?}");
    }
}
