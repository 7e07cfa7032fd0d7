//! Seeds of the simulation: many on each run of the tests, and those that found something.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    thread,
};

use sim::{Run, run, run_streams};

/// Runs them on all processors, and returns those that fail.
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
            failed.extend(run(seed).failure.map(|failure| format!("seed {seed}: {failure}")));
        }
    };
    thread::scope(|scope| {
        let all: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        all.into_iter().flat_map(|one| one.join().expect("a thread of this test")).collect()
    })
}

/// `make sim SEEDS=0..10000` runs more of them.
#[test]
fn the_first_seeds_lose_nothing() {
    let failed = failures(0..500, run);
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// `make sim STREAMS=1 SEEDS=0..10000` runs more of them.
#[test]
fn the_first_seeds_of_streams_lose_nothing() {
    let failed = failures(0..100, run_streams);
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn a_seed_is_a_run() {
    for (seed, run) in (0..20).flat_map(|seed| [(seed, run as fn(u64) -> Run), (seed, run_streams as fn(u64) -> Run)]) {
        let (first, second) = (run(seed), run(seed));
        assert!(first.log == second.log, "two runs of seed {seed} differ");
    }
    assert_ne!(run(1).log.lines().nth(1), None);
}
