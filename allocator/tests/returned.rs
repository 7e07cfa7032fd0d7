//! That memory which has become free goes back to the system.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "tests say what they expect by failing")]

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use allocator as _;

/// Bytes of each piece: those of a message.
const SIZE: usize = 500;
const PIECES: usize = 200_000;

/// The resident memory of the process in bytes.
fn resident() -> usize {
    let statm = fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * rustix::param::page_size()
}

/// Case 5.11: within a minute nearly all of it is returned, although some pieces of every region are still in use, and although the
/// process allocates nothing meanwhile.
#[test]
fn freed_memory_is_returned_to_the_system() {
    let before = resident();
    let mut pieces: Vec<Vec<u8>> = (0..PIECES).map(|_| vec![b'x'; SIZE]).collect();
    let full = resident() - before;
    assert!(full > PIECES * SIZE, "{full}");
    // What stays lies between what goes, in long runs as messages of one time do.
    let mut n = 0;
    pieces.retain(|_| {
        n += 1;
        n % 10_000 == 0
    });
    pieces.shrink_to_fit();
    let begun = Instant::now();
    while resident().saturating_sub(before) > full / 10 {
        assert!(begun.elapsed() < Duration::from_secs(60), "{} of {full} bytes are still there", resident() - before);
        thread::sleep(Duration::from_millis(50));
    }
    assert!(!pieces.is_empty());
}
