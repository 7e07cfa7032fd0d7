//! How long the upkeep of a large log keeps others waiting: the longest slice of each kind, with the log's lock held or on the thread
//! that also serves requests.
//!
//! `cargo run --release -p shared --example upkeep`. 600,000 messages expire together; then the readers' lag is measured over
//! 1,000,000 channels, as `/metrics` does. Meanwhile another thread publishes, and says how long it waited at most.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use shared::{
    live::log::{Limits, Log},
    pure::{ChannelName, Cursor, Draft, Payload, Retention},
};

const START: u64 = 1_763_800_000_000;
const AGE: u64 = 3_600_000;

fn draft(channel: usize) -> Draft {
    let name: ChannelName = match format!("c.{channel}").parse() {
        Ok(name) => name,
        Err(error) => unreachable!("{error}"),
    };
    Draft::new(name, Payload::from_text(&"x".repeat(200)))
}

fn log() -> Arc<Log> {
    let channel = Retention { age_ms: Some(AGE), ..Retention::default() };
    Arc::new(Log::new(Limits { channel, ..Limits::default() }, Cursor::new(START, 0)))
}

/// Runs slices until there are no more: how many there were, and the longest.
fn slices(mut slice: impl FnMut() -> bool) -> (usize, Duration) {
    let (mut count, mut longest) = (0, Duration::ZERO);
    loop {
        let begun = Instant::now();
        let has_more = slice();
        longest = longest.max(begun.elapsed());
        count += 1;
        if !has_more {
            return (count, longest);
        }
    }
}

/// Does `work` while another thread publishes to `log` at `now`: what it gave, and the longest publication.
fn beside_a_publisher<T>(log: &Arc<Log>, now: u64, work: impl FnOnce() -> T) -> (T, Duration) {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let publisher = scope.spawn(|| {
            let mut longest = Duration::ZERO;
            while !is_over.load(Ordering::Relaxed) {
                let begun = Instant::now();
                log.append(vec![draft(usize::MAX)], now);
                longest = longest.max(begun.elapsed());
                thread::sleep(Duration::from_micros(200));
            }
            longest
        });
        let done = work();
        is_over.store(true, Ordering::Relaxed);
        (done, publisher.join().unwrap_or_default())
    })
}

fn main() {
    let ms = |time: Duration| format!("{:.1} ms", time.as_secs_f64() * 1_000.0);
    let full = log();
    for n in 0..600 {
        full.append((0..1_000).map(|at| draft((n * 1_000 + at) % 6_000)).collect(), START + n as u64);
    }
    let later = START + 2 * AGE;
    let ((count, longest), waited) = beside_a_publisher(&full, later, || slices(|| full.sweep(later)));
    println!(
        "600,000 messages expire: {count} slices, the longest {}; a publication waited {} at most",
        ms(longest),
        ms(waited)
    );

    let wide = log();
    for n in 0..1_000 {
        wide.append((0..1_000).map(|at| draft(n * 1_000 + at)).collect(), START + n as u64);
    }
    let mut lag = wide.lag();
    let ((count, longest), waited) =
        beside_a_publisher(&wide, START + 2_000, || slices(|| wide.measure(&mut lag, START + 2_000)));
    println!(
        "lag over 1,000,000 channels: {count} slices, the longest {}; a publication waited {} at most",
        ms(longest),
        ms(waited)
    );
    let ((count, longest), waited) = beside_a_publisher(&wide, later, || slices(|| wide.sweep(later)));
    println!(
        "1,000,000 channels expire: {count} slices, the longest {}; a publication waited {} at most",
        ms(longest),
        ms(waited)
    );
}
