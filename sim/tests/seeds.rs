//! Seeds of the simulation: many on each run of the tests, and those that found something.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    thread,
};

use sim::{Run, run, run_streams};

/// Runs each of them twice, on all processors, and returns those that fail, or differ from themselves.
fn failures(seeds: std::ops::Range<u64>, run: fn(u64) -> Run) -> Vec<String> {
    let next = AtomicU64::new(seeds.start);
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let work = || {
        let mut failed = Vec::new();
        loop {
            let seed = next.fetch_add(1, Relaxed);
            if seed >= seeds.end {
                return failed;
            }
            let (first, second) = (run(seed), run(seed));
            failed.extend((first.log != second.log).then(|| format!("seed {seed}: its second run was another one")));
            failed.extend(first.failure.map(|failure| format!("seed {seed}: {failure}")));
        }
    };
    thread::scope(|scope| {
        let all: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        all.into_iter().flat_map(|one| one.join().expect("a thread of this test")).collect()
    })
}

/// `make sim SEEDS=0..10000` runs more of them.
#[test]
fn the_first_seeds_lose_nothing_and_are_repeatable() {
    let failed = failures(0..500, run);
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// `make sim STREAMS=1 SEEDS=0..10000` runs more of them.
#[test]
fn the_first_seeds_of_streams_lose_nothing_and_are_repeatable() {
    let failed = failures(0..100, run_streams);
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// What each found, while the simulation draws what it draws today. The first three fail if the fix is taken out of the present code: errors of the bus that the
/// simulation had found under other seeds, when it drew less.
#[test]
fn seeds_that_found_something() {
    const FOUND: &[(u64, &str)] = &[
        (360, "clients got a cursor of a lost part, and a gap with each reconnect"),
        (495, "a start that was interrupted forgot which ids may be lost, and gave them again"),
        (2_449, "a start did not make durable that an incomplete write was cut"),
        (3_482, "the list did not know that damage hides a limit of count"),
        (8_991, "nor that messages return while it is hidden"),
        (5_909, "the list did not know that a repair cuts keys of messages that were removed before"),
    ];
    let failed = FOUND.iter().flat_map(|(seed, found)| {
        failures(*seed..seed + 1, run).into_iter().map(move |failed| format!("{failed} (before: {found})"))
    });
    let failed: Vec<String> = failed.collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// 1899: a stream took the name of one that had been deleted before the checkpoint, and the process was started again.
#[test]
fn seeds_of_streams_that_found_something() {
    let failed: Vec<String> = [1899].into_iter().flat_map(|seed| failures(seed..seed + 1, run_streams)).collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
