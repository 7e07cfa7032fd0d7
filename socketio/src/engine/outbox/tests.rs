use std::task::{Context, Poll};

use super::*;
use crate::engine::packet::Data;

fn message(len: usize) -> Outgoing {
    Outgoing::from(Data::from("x".repeat(len)))
}

/// An outbox with its limits, for messages of 100 bytes.
struct Bench {
    outbox: Outbox,
    counters: Arc<Counters>,
    limits: Limits,
    now: Instant,
}

impl Bench {
    fn new(connection: usize, total: usize) -> Self {
        let limits = Limits { connection, total };
        Self { outbox: Outbox::default(), counters: Arc::default(), limits, now: Instant::now() }
    }

    fn push(&mut self, message: Outgoing) -> Result<usize, Full> {
        self.outbox.push(message, self.limits, &self.counters, self.now)
    }

    fn pop(&mut self) -> Option<Outgoing> {
        match self.outbox.next() {
            Front::Message(message) => Some(message),
            _ => None,
        }
    }

    fn is_burst(&self, len: usize, after: Duration) -> bool {
        self.outbox.is_filled_by_a_burst(len, self.limits, self.now + after)
    }
}

const COST: usize = 100 + ENTRY_COST;

#[test]
fn volatile_messages_are_dropped_before_one_is_refused() {
    let mut bench = Bench::new(3 * COST, usize::MAX);
    assert_eq!(bench.push(message(100)), Ok(0));
    assert_eq!(bench.push(message(100).volatile()), Ok(0));
    assert_eq!(bench.push(message(100).volatile()), Ok(0));
    assert_eq!(bench.push(message(100)), Ok(1));
    assert_eq!(bench.push(message(100)), Ok(1));
    assert_eq!(bench.push(message(100)), Err(Full));
    assert!(bench.pop().is_some_and(|message| !message.is_volatile()));
    assert_eq!(bench.push(message(100)), Ok(0));
    for left in (0..3).rev() {
        assert!(bench.pop().is_some());
        assert_eq!(bench.counters.pending_bytes.get(), (left * COST) as u64);
    }
    assert!(bench.outbox.is_empty(), "and without memory");
}

/// Case 1.2: an empty outbox takes a message as large as its limit.
#[test]
fn an_empty_outbox_takes_one_message_up_to_the_limit() {
    let mut bench = Bench::new(1_000, 10);
    assert_eq!(bench.push(message(1_001)), Err(Full));
    assert!(bench.outbox.is_empty());
    assert_eq!(bench.push(message(1_000)), Ok(0));
    assert_eq!(bench.push(message(1)), Err(Full));
    assert!(bench.pop().is_some());
    assert_eq!(bench.push(message(1_000)), Ok(0));
}

#[test]
fn tiny_messages_are_bounded_too() {
    let mut bench = Bench::new(1_000, usize::MAX);
    let fit = (0..).take_while(|_| bench.push(message(0)).is_ok()).count();
    assert_eq!(fit, 1_000 / ENTRY_COST);
}

#[test]
fn the_total_is_for_all_and_each_keeps_a_reserve() {
    let mut slow = Bench::new(usize::MAX, 1 << 20);
    while slow.push(message(10_000)).is_ok() {}
    let total = slow.counters.pending_bytes.get();
    assert!((1 << 20) - 11_000 < total && total <= 1 << 20, "{total}");

    let mut quick = Bench::new(usize::MAX, 1 << 20);
    quick.counters = slow.counters.clone();
    let taken = (0..).take_while(|_| quick.push(message(10_000)).is_ok()).count();
    assert_eq!(taken, RESERVED / (10_000 + ENTRY_COST));
    drop(quick);
    drop(slow.outbox.take());
    assert_eq!(slow.counters.pending_bytes.get(), 0);
}

#[test]
fn a_shared_message_counts_once_in_the_total() {
    let mut one = Bench::new(usize::MAX, usize::MAX);
    let mut two = Bench::new(usize::MAX, usize::MAX);
    two.counters = one.counters.clone();
    let shared = message(1_000).charged(&one.counters);
    assert_eq!(one.push(shared.clone()), Ok(0));
    assert_eq!(two.push(shared), Ok(0));
    assert_eq!(one.counters.pending_bytes.get() as usize, 1_000 + 2 * ENTRY_COST);
    drop(one.pop());
    assert_eq!(one.counters.pending_bytes.get() as usize, 1_000 + ENTRY_COST);
    drop(two.outbox.take());
    assert_eq!(one.counters.pending_bytes.get(), 0);
}

/// Case 1.3: only what the transport had a turn to take makes a client slow.
#[test]
fn a_burst_is_distinguished_from_a_slow_client() {
    let mut bench = Bench::new(3 * COST, usize::MAX);
    while bench.push(message(100)).is_ok() {}
    assert!(bench.is_burst(100, Duration::ZERO));
    assert!(!bench.is_burst(100, BURST), "a transport that does not run for so long is slow");
    // The transport takes one and leaves two.
    assert!(bench.pop().is_some());
    assert_eq!(bench.push(message(100)), Ok(0));
    assert!(!bench.is_burst(100, Duration::ZERO));
    // It takes all: what comes then is new to it.
    while bench.pop().is_some() {}
    while bench.push(message(100)).is_ok() {}
    assert!(bench.is_burst(100, Duration::ZERO));
}

struct Nothing;

impl Source for Nothing {
    fn poll_next(&mut self, _: &mut Context<'_>, _: usize) -> Poll<Vec<Outgoing>> {
        Poll::Ready(Vec::new())
    }
}

#[test]
fn a_source_keeps_its_place() {
    let mut bench = Bench::new(10_000, usize::MAX);
    bench.push(message(1)).unwrap();
    bench.outbox.push_source(Box::new(Nothing), &bench.counters, bench.now);
    bench.push(message(2)).unwrap();
    assert_eq!(bench.pop().map(|message| message.len()), Some(1));
    let Front::Source(source) = bench.outbox.next() else { panic!("no source") };
    assert!(matches!(bench.outbox.next(), Front::Busy));
    bench.outbox.put_back(Some(source));
    assert!(matches!(bench.outbox.next(), Front::Source(_)));
    bench.outbox.put_back(None);
    assert_eq!(bench.pop().map(|message| message.len()), Some(2));
    assert!(bench.outbox.is_empty());
    assert_eq!(bench.counters.pending_bytes.get(), 0);
}

#[test]
fn messages_put_back_are_sent_first() {
    let mut bench = Bench::new(10_000, usize::MAX);
    for len in [1, 2] {
        bench.push(message(len).volatile()).unwrap();
    }
    for len in [1, 2] {
        let first = bench.pop().unwrap();
        bench.outbox.unpop(first, &bench.counters, bench.now);
        assert_eq!(bench.pop().map(|message| message.len()), Some(len));
    }
    assert!(bench.outbox.is_empty());
}

/// As in Node, a pong goes behind the messages that were sent before its ping; a flood of pings is answered once.
#[test]
fn pongs_keep_their_place() {
    let mut bench = Bench::new(1 << 20, 1 << 20);
    bench.push(message(1)).unwrap();
    for _ in 0..1_000 {
        bench.outbox.push_pong(Packet::Pong("".into()), &bench.counters, bench.now);
    }
    bench.push(message(2)).unwrap();
    assert_eq!(bench.counters.pending_bytes.get(), 3 + 3 * ENTRY_COST as u64);
    assert_eq!(bench.pop().map(|message| message.len()), Some(1));
    assert!(matches!(bench.outbox.next(), Front::Pong(_)));
    assert_eq!(bench.pop().map(|message| message.len()), Some(2));
    assert!(bench.outbox.is_empty() && bench.counters.pending_bytes.get() == 0);
}
