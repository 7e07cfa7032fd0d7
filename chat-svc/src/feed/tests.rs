//! A feed compared with a plain model, with a client that is disconnected at any moment and reconnects with the last offset it received.

use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::*;
use shared::{
    live::{clock::Moment, log::Limits},
    pure::{
        Draft, Payload, Retention,
        stream::{Create, Lifetime, StreamOp},
    },
};

use super::{catch_up::MAX_CATCH_UP_CHANNELS, *};

const START: u64 = 1_763_800_000_000;

fn channel(n: usize) -> ChannelName {
    format!("c{n}").parse().unwrap()
}

fn draft(n: usize) -> Draft {
    Draft::new(channel(n), Payload::from_value(&n))
}

fn log(count: Option<usize>) -> Arc<Log> {
    let channel = Retention { count, ..Retention::default() };
    Arc::new(Log::new(Limits { channel, ..Limits::default() }, Cursor::new(START, 0)))
}

#[derive(Clone, Debug)]
enum Step {
    Publish(Vec<usize>),
    /// From now on, from the oldest, or from the n-th newest message.
    Subscribe(Vec<usize>, Option<Option<usize>>),
    Unsubscribe(usize),
    /// The connection takes the available messages, about this many bytes.
    Pull(usize),
    /// An event that is no message leaves, with the offset of its moment.
    Direct,
    /// This many of the sent packets reach the client.
    Receive(usize),
    /// The rest is lost; the client reconnects.
    Cut,
    /// The same, and the session has expired: it subscribes again after the last message it has, and keeps its old offset.
    Fresh,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let channels = || proptest::collection::vec(0..4_usize, 1..4);
    let step = prop_oneof![
        6 => channels().prop_map(Step::Publish),
        3 => (channels(), proptest::option::of(proptest::option::of(0..20_usize)))
            .prop_map(|(channels, since)| Step::Subscribe(channels, since)),
        1 => (0..4_usize).prop_map(Step::Unsubscribe),
        4 => (1..20_usize).prop_map(Step::Pull),
        3 => Just(Step::Direct),
        4 => (1..6_usize).prop_map(Step::Receive),
        2 => Just(Step::Cut),
        1 => Just(Step::Fresh),
    ];
    proptest::collection::vec(step, 1..100)
}

/// What a packet says: its channel and id, if it is a message, and the offset.
fn read(packet: &EncodedPacket) -> (Option<(usize, Cursor)>, String) {
    let json = packet.packet().payload.as_ref().unwrap().json();
    let (_, _, meta, offset): (String, serde_json::Value, serde_json::Value, String) =
        serde_json::from_str(json).unwrap();
    let message = meta["channel"]
        .as_str()
        .map(|name| (name[1..].parse().unwrap(), meta["id"].as_str().unwrap().parse().unwrap()));
    (message, offset)
}

fn pull(feed: &mut Feed, budget: usize) -> Option<Pulled> {
    match feed.poll_pull(&Context::from_waker(Waker::noop()), budget) {
        Poll::Ready(pulled) => Some(pulled),
        Poll::Pending => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    /// Case 2.1: each message of each subscription, once and in order, whenever the client was cut off, also before it had an offset.
    #[test]
    fn a_disconnected_client_misses_and_repeats_nothing(steps in steps()) {
        let log = log(None);
        let mut feed = Feed::new(&log, 7, false);
        let mut all: Vec<(usize, Cursor)> = Vec::new();
        let mut wanted: BTreeMap<usize, Cursor> = BTreeMap::new();
        let mut sent: VecDeque<EncodedPacket> = VecDeque::new();
        let mut received: BTreeMap<usize, Vec<Cursor>> = BTreeMap::new();
        let mut offset: Option<String> = None;
        let mut session = 7;
        for step in steps {
            match step {
                Step::Publish(channels) => {
                    let ids = log.append(channels.iter().map(|n| draft(*n)).collect(), START + 1);
                    all.extend(channels.into_iter().zip(ids));
                }
                Step::Subscribe(channels, since) => {
                    let new: Vec<usize> = channels.into_iter().filter(|n| !wanted.contains_key(n)).collect();
                    if new.is_empty() || feed.is_full(new.len()) {
                        continue;
                    }
                    let back = |n: usize| all.iter().rev().nth(n).map_or(log.head(), |(_, id)| *id);
                    let (since, from) = match since {
                        None => (Since::Now, log.head()),
                        Some(None) => (Since::Earliest, Cursor::ZERO),
                        Some(Some(n)) => (Since::After(back(n)), back(n)),
                    };
                    let mut names: Vec<_> = new.iter().map(|n| channel(*n)).collect();
                    names.sort();
                    names.dedup();
                    feed.add(names, since);
                    for n in new {
                        wanted.insert(n, from);
                        received.remove(&n);
                    }
                }
                Step::Unsubscribe(n) => {
                    // What was sent before may still come, so that only clients that got everything know the end of it.
                    if sent.is_empty() {
                        wanted.remove(&n);
                        feed.remove(&channel(n));
                        received.remove(&n);
                    }
                }
                Step::Pull(budget) => sent.extend(pull(&mut feed, budget).unwrap_or_default().packets),
                Step::Direct => {
                    let at = feed.offset().expect("a client that knows offsets").to_string();
                    sent.push_back(EncodedPacket::event("/", "direct", &((), (), at)).unwrap());
                }
                Step::Receive(count) => {
                    for packet in sent.drain(..count.min(sent.len())) {
                        let (message, at) = read(&packet);
                        if let Some((of, id)) = message {
                            received.entry(of).or_default().push(id);
                        }
                        offset = Some(at);
                    }
                }
                Step::Fresh => {
                    sent.clear();
                    session += 1;
                    feed = Feed::new(&log, session, false);
                    for (n, from) in &wanted {
                        let last = received.get(n).and_then(|ids| ids.last()).unwrap_or(from);
                        feed.add(vec![channel(*n)], Since::After(*last));
                    }
                }
                Step::Cut => {
                    sent.clear();
                    let plan = serde_json::from_value(serde_json::to_value(feed.plan()).unwrap()).unwrap();
                    let offset = offset.as_ref().map(|offset| offset.parse().unwrap());
                    feed = Feed::resume(&log, plan, offset, None).expect("the plan knows its offsets");
                    prop_assert!(!feed.is_gap());
                }
            }
        }
        while let Some(pulled) = pull(&mut feed, 10) {
            prop_assert_eq!(pulled.gaps, 0);
            sent.extend(pulled.packets);
        }
        for packet in sent {
            if let (Some((of, id)), _) = read(&packet) {
                received.entry(of).or_default().push(id);
            }
        }
        for (n, from) in wanted {
            let expected: Vec<_> = all.iter().filter(|(of, id)| *of == n && *id > from).map(|(_, id)| *id).collect();
            prop_assert_eq!(received.remove(&n).unwrap_or_default(), expected, "channel {} from {}", n, from);
        }
    }
}

#[test]
fn a_feed_with_lost_messages_reports_a_gap() {
    let log = log(Some(2));
    let mut feed = Feed::new(&log, 7, false);
    feed.add(vec![channel(0)], Since::Now);
    let plan = feed.plan().clone();
    let ids: Vec<_> = (0..4).flat_map(|_| log.append(vec![draft(0)], START)).collect();
    let resumed = |at: Cursor| Feed::resume(&log, plan.clone(), Some(at.to_string().parse().unwrap()), None).unwrap();
    assert!(resumed(ids[0]).is_gap());
    assert!(!resumed(ids[1]).is_gap());
    let pulled = pull(&mut feed, 1_000).unwrap();
    assert_eq!((pulled.gaps, pulled.messages.len()), (1, 2));
}

/// A feed that has not looked at the log for a while, when a channel is added from a place after its own.
#[test]
fn drops_before_a_channel_was_added_are_reported() {
    for (known, lost) in [(0, 1), (1, 1), (2, 0), (4, 0)] {
        let log = log(Some(2));
        let mut feed = Feed::new(&log, 7, false);
        let ids: Vec<_> = (0..5).flat_map(|_| log.append(vec![draft(0)], START)).collect();
        feed.add(vec![channel(0)], Since::After(ids[known]));
        let (gaps, messages) = delivered(&mut feed);
        assert_eq!((gaps, messages.len()), (lost, (4 - known).min(2)), "after {known}");
    }
}

#[test]
fn offsets_read_as_they_are_written() {
    for text in ["1763800000000-0", "1763800000000-5/3/1763800000000-2"] {
        assert_eq!(text.parse::<Offset>().unwrap().to_string(), text);
    }
    for text in ["", "5", "5-1/", "5-1/2", "5-1/x/5-0", "5-1/1/5-0/", "Q83zPpi"] {
        assert!(text.parse::<Offset>().is_err(), "{text:?}");
    }
}

/// A log that is behind others of its bus, and a feed on it that is asked for channel 0 after a cursor from elsewhere.
fn behind(cursor: Cursor) -> (Arc<Log>, Feed, impl Fn(u64)) {
    let log = Arc::new(Log::unfilled(Limits::default()));
    log.filled(Cursor::new(START, 1));
    let coming = log.clone();
    let come = move |n| {
        let message = shared::pure::Message::new(Cursor::new(START, n), draft(0));
        coming.append_placed(vec![message], START).unwrap();
    };
    come(2);
    let mut feed = Feed::new(&log, 7, false);
    feed.add(vec![channel(0)], Since::After(cursor));
    assert!(pull(&mut feed, 1_000).is_none(), "nobody knows yet what the cursor means");
    (log, feed, come)
}

fn delivered(feed: &mut Feed) -> (usize, Vec<u64>) {
    let (mut gaps, mut ids) = (0, Vec::new());
    while let Some(pulled) = pull(feed, 1_000) {
        gaps += pulled.gaps;
        let messages =
            pulled.packets.iter().filter(|packet| packet.packet().payload.as_ref().unwrap().json().contains("channel"));
        ids.extend(messages.filter_map(|packet| read(packet).0).map(|(_, id)| id.seq));
    }
    (gaps, ids)
}

#[test]
fn a_cursor_from_a_process_that_is_further_repeats_nothing() {
    let (_log, mut feed, come) = behind(Cursor::new(START, 5));
    for n in 3..=4 {
        come(n);
    }
    assert_eq!(delivered(&mut feed), (0, vec![]), "the client has them");
    for n in 5..=7 {
        come(n);
    }
    assert_eq!(delivered(&mut feed), (0, vec![6, 7]));
}

#[test]
fn an_unknown_cursor_is_a_gap_and_earlier_messages_are_not_skipped() {
    let (log, mut feed, come) = behind(Cursor::new(START, 50));
    let probe = log.begin_probe();
    come(3);
    log.end_probe(probe);
    assert_eq!(delivered(&mut feed), (1, vec![2, 3]));
    come(4);
    assert_eq!(delivered(&mut feed), (0, vec![4]));
}

#[test]
fn a_plan_stays_small_whatever_is_subscribed_to() {
    let log = log(None);
    let mut feed = Feed::new(&log, 7, false);
    log.append(vec![draft(0)], START + 1);
    let names = |of: usize| -> Vec<ChannelName> {
        (0..100).map(|n| format!("{:x>128}", format!("{of}.{n}")).parse().unwrap()).collect()
    };
    // What is still to be caught up with is not forgotten, so there is an end to it.
    for of in 0..2 {
        assert!(!feed.is_full(100));
        feed.add(names(of), Since::Earliest);
    }
    assert!(feed.is_full(100) && !feed.is_full(56));
    // What is done is forgotten, the oldest first, for the sake of what is new.
    for of in 2..40 {
        let _ = pull(&mut feed, usize::MAX);
        names(of - 2).iter().for_each(|name| feed.live.reader(&log).remove(name));
        assert!(!feed.is_full(100));
        feed.add(names(of), Since::Earliest);
        let kept: usize = feed.plan().catch_ups.iter().map(|catch_up| catch_up.channels.len()).sum();
        assert!(kept <= MAX_CATCH_UP_CHANNELS, "{kept}");
    }
    assert_eq!(feed.plan().catch_ups.last().unwrap().channels, names(39));
}

/// What the gaps of a feed say was requested, and the ids of the messages, in order.
fn requested(feed: &mut Feed) -> Vec<(String, Cursor)> {
    let mut all = Vec::new();
    while let Some(pulled) = pull(feed, 1_000) {
        for packet in &pulled.packets {
            let json: serde_json::Value =
                serde_json::from_str(packet.packet().payload.as_ref().unwrap().json()).unwrap();
            let cursor = |value: &serde_json::Value| value.as_str().unwrap().parse().unwrap();
            all.push(match json[0].as_str().unwrap() {
                "gap" => ("gap".to_owned(), cursor(&json[1]["requested"])),
                event => (event.to_owned(), cursor(&json[2]["id"])),
            });
        }
    }
    all
}

/// Case 3.7: a gap names the cursor that the client has: of the ack of `subscribe`, of the last message, or what it asked for.
#[test]
fn a_gap_names_the_cursor_of_the_client() {
    let log = log(Some(1));
    let say = |n| log.append(vec![draft(n)], START)[0];
    let mut feed = Feed::new(&log, 7, false);
    say(1);
    let acked = feed.add(vec![channel(0)], Since::Now);
    // What is on other channels moves the reader on and is nothing to the client.
    say(1);
    assert_eq!(requested(&mut feed), []);
    say(0);
    let second = say(0);
    assert_eq!(requested(&mut feed), [("gap".into(), acked), ("message".into(), second)]);
    say(1);
    assert_eq!(requested(&mut feed), []);
    say(0);
    let fourth = say(0);
    assert_eq!(requested(&mut feed), [("gap".into(), second), ("message".into(), fourth)]);
    // Behind a catch-up, which ends with a message that is older than the place of the live reader.
    let mut feed = Feed::new(&log, 7, false);
    let before = Cursor::new(fourth.ms, fourth.seq - 1);
    say(1);
    let _ = requested(&mut feed);
    feed.add(vec![channel(0)], Since::After(before));
    assert_eq!(requested(&mut feed), [("message".into(), fourth)]);
    say(0);
    let sixth = say(0);
    assert_eq!(requested(&mut feed), [("gap".into(), fourth), ("message".into(), sixth)]);
}

/// A replica that is killed leaves its sessions as they were saved at their last change. A client that had subscribed after a cursor that
/// no log has issued missed what came on that channel, although it was recovered.
#[test]
fn a_cursor_that_was_never_issued_hides_nothing_after_a_kill() {
    let log = log(None);
    let mut feed = Feed::new(&log, 7, false);
    feed.add(vec![channel(0)], Since::After(Cursor::new(START + 1_000_000, 0)));
    let saved = feed.plan().clone();
    let mut offsets: Vec<String> = Vec::new();
    let mut ids = Vec::new();
    for n in 1..=2 {
        while let Some(pulled) = pull(&mut feed, 10) {
            for packet in pulled.packets {
                let json = packet.packet().payload.as_ref().unwrap().json().to_string();
                let args: Vec<serde_json::Value> = serde_json::from_str(&json).unwrap();
                offsets.push(args.last().unwrap().as_str().unwrap().to_owned());
            }
        }
        ids.extend(log.append(vec![draft(0)], START + n));
    }
    assert_eq!(offsets.len(), 2, "a gap and the first message: {offsets:?}");
    for (at, offset) in offsets.iter().enumerate() {
        let mut resumed = Feed::resume(&log, saved.clone(), Some(offset.parse().unwrap()), None).unwrap();
        let mut received = Vec::new();
        while let Some(pulled) = pull(&mut resumed, 10) {
            received.extend(pulled.packets.iter().map(|packet| read(packet).0.unwrap().1));
        }
        assert_eq!(received, ids[at..], "after {offset}");
    }
}

/// The id of an end, if the packet is one, and the offset.
fn read_end(packet: &EncodedPacket) -> (Option<Cursor>, Offset) {
    let args: Vec<serde_json::Value> = serde_json::from_str(packet.packet().payload.as_ref().unwrap().json()).unwrap();
    let end = (args[0] == "end").then(|| args[1]["id"].as_str().unwrap().parse().unwrap());
    (end, args.last().unwrap().as_str().unwrap().parse().unwrap())
}

/// A client that had subscribed to streams that were closed, and was cut before it had their ends, was recovered and never got them.
#[test]
fn ends_of_closed_streams_are_neither_missed_nor_repeated() {
    let log = log(None);
    let now = || Moment { time_ms: START, mono_ms: START };
    let close = |n: usize| {
        let create = Create {
            channel: channel(n),
            content_type: "application/json".parse().ok(),
            lifetime: Lifetime::Unlimited,
            is_closed: true,
            payloads: vec![Payload::from_value(&n)],
            fork: None,
            user: None,
            owner: None,
        };
        log.stream(StreamOp::Create(create.into()), now()).unwrap().info.end.unwrap()
    };
    let mut ends = vec![close(1), close(2), close(3)];
    log.append(vec![draft(0)], START);
    // The live reader has not read everything when the client subscribes.
    let mut feed = Feed::new(&log, 7, false);
    log.append(vec![draft(0)], START);
    ends.push(close(4));
    feed.add((0..=4).map(channel).collect(), Since::Now);
    let plan = feed.plan().clone();
    // It is cut after each packet, or before all of them, and it had an event before it subscribed, or none.
    let before = Offset { live: feed.live.cursor(), catch_up: None };
    let direct = feed.offset().unwrap();
    let mut cuts = vec![(0, None), (0, Some(before)), (0, Some(direct))];
    let mut received = Vec::new();
    let mut live = None;
    loop {
        match pull(&mut feed, 10) {
            Some(pulled) => {
                for packet in &pulled.packets {
                    let (end, offset) = read_end(packet);
                    received.extend(end);
                    cuts.push((received.len(), Some(offset)));
                }
                cuts.push((received.len(), feed.offset()));
            }
            None if live.is_none() => live = Some(log.append(vec![draft(0)], START)),
            None => break,
        }
    }
    assert_eq!(received, ends);
    assert_eq!(cuts.len(), 3 + 2 * 5);
    for (count, offset) in cuts {
        let mut resumed = Feed::resume(&log, plan.clone(), offset, None).unwrap();
        assert!(!resumed.is_gap());
        let mut rest = Vec::new();
        while let Some(pulled) = pull(&mut resumed, 10) {
            rest.extend(pulled.packets.iter().filter_map(|packet| read_end(packet).0));
        }
        assert_eq!(rest, ends[count..], "after {offset:?}");
    }
}
