//! Runs seeds of the simulation, and prints the log of those that fail.

use std::{
    ops::Range,
    process::ExitCode,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    thread,
    time::Instant,
};

use clap::Parser;

/// A seeded simulation of the log on disk: crashes, power cuts, full disks and damage, against a list of what was acknowledged.
#[derive(Debug, Parser)]
struct Arguments {
    /// One seed: prints the log of its run.
    #[arg(long, conflicts_with = "seeds")]
    seed: Option<u64>,
    /// The seeds from A up to, but not including, B, such as 0..500: prints the logs of those that fail.
    #[arg(long, value_name = "A..B", value_parser = range, default_value = "0..500")]
    seeds: Range<u64>,
    /// With streams.
    #[arg(long)]
    streams: bool,
}

fn range(text: &str) -> Result<Range<u64>, String> {
    let parsed = text.split_once("..").and_then(|(from, to)| Some(from.parse().ok()?..to.parse().ok()?));
    parsed
        .filter(|range: &Range<u64>| !range.is_empty())
        .ok_or_else(|| "two numbers are expected, the first less than the second, such as 0..500".to_owned())
}

fn main() -> ExitCode {
    let Arguments { seed, seeds, streams } = Arguments::parse();
    let run_of = if streams { sim::run_streams } else { sim::run };
    if let Some(seed) = seed {
        let run = run_of(seed);
        print!("{}", run.log);
        return if run.failure.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let (begun, next, failed) = (Instant::now(), AtomicU64::new(seeds.start), AtomicU64::new(0));
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    let run = run_of(seed);
                    if let Some(failure) = run.failure {
                        failed.fetch_add(1, Relaxed);
                        let kind = if streams { " --streams" } else { "" };
                        println!("seed {seed} failed: {failure}\n  its log: sim --seed {seed}{kind}");
                    }
                }
            });
        }
    });
    let (count, failed) = (seeds.end - seeds.start, failed.into_inner());
    println!("{count} seeds in {:.1} s, {failed} failed", begun.elapsed().as_secs_f64());
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
