//! Runs every fuzz target of `fuzz/` for a moment, with stable Rust: the seeds unchanged, then changed two hundred thousand times, in the
//! same way in each run. `make fuzz` looks for new failures; this test ensures that old ones stay fixed, and that every target compiles. It
//! is here because this package depends on all others.
//!
//! ```text
//! fuzz/seeds/<target>/* ─▶ as it is; with bytes changed, moved, cut, mixed with another seed's ─▶ fuzz/fuzz_targets/<target>.rs
//! ```

#![allow(
    clippy::unwrap_used,
    unused_attributes,
    unreachable_pub,
    missing_docs,
    reason = "a test, and files that are whole programs elsewhere"
)]

// The targets say `libfuzzer_sys::fuzz_target!`, which is ours here.
extern crate self as libfuzzer_sys;

use std::{
    fs,
    path::{Path, PathBuf},
    str, thread,
};

#[path = "../../fuzz/fuzz_targets/cursor.rs"]
mod cursor;
#[path = "../../fuzz/fuzz_targets/engine_payload_v3.rs"]
mod engine_payload_v3;
#[path = "../../fuzz/fuzz_targets/engine_payload_v4.rs"]
mod engine_payload_v4;
#[path = "../../fuzz/fuzz_targets/http_request.rs"]
mod http_request;
#[path = "../../fuzz/fuzz_targets/publish_body.rs"]
mod publish_body;
#[path = "../../fuzz/fuzz_targets/query.rs"]
mod query;
#[path = "../../fuzz/fuzz_targets/redis_message.rs"]
mod redis_message;
#[path = "../../fuzz/fuzz_targets/socket_msgpack.rs"]
mod socket_msgpack;
#[path = "../../fuzz/fuzz_targets/socket_text.rs"]
mod socket_text;
#[path = "../../fuzz/fuzz_targets/stream_request.rs"]
mod stream_request;
#[path = "../../fuzz/fuzz_targets/token.rs"]
mod token;
#[path = "../../fuzz/fuzz_targets/ws_command.rs"]
mod ws_command;

/// Makes of a target a function that takes any bytes.
#[macro_export]
macro_rules! fuzz_target {
    (|$input:ident: &[u8]| $body:expr) => {
        pub fn run($input: &[u8]) {
            $body
        }
    };
    (|$input:ident: &str| $body:expr) => {
        pub fn run(bytes: &[u8]) {
            let Ok($input) = std::str::from_utf8(bytes) else { return };
            $body
        }
    };
}

macro_rules! targets {
    ($($name:ident)*) => {
        const NAMES: &[&str] = &[$(stringify!($name)),*];
        $(#[test] fn $name() { play(stringify!($name), $name::run); })*
    };
}

targets! { cursor engine_payload_v3 engine_payload_v4 http_request publish_body query redis_message socket_msgpack socket_text stream_request token ws_command }

/// How many changed inputs each target gets.
const ROUNDS: usize = 200_000;
const MAX_INPUT_BYTES: usize = 4_096;
/// What means something to one of the parsers.
const WORDS: [&[u8]; 32] = [
    b"\"",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"-",
    b"\\u0000",
    b"\\ud800",
    b"null",
    b"1e999",
    b"\n",
    b"\r\n",
    b"\x1e",
    b"\0",
    b"\xff",
    b"%",
    b"&channel=",
    b"18446744073709551615",
    b"{\"_placeholder\":true,\"num\":0}",
    b"51-",
    b"\xc1",
    b".",
    b"\r\n\r\n",
    b": ",
    b"Transfer-Encoding: chunked\r\n",
    b"Content-Length: 2\r\n",
    b"\nStream-Fork-Sub-Offset: 1",
    b"9007199254740991",
    b"/__ds/",
    b"_00000000000000000001",
];

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz")
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn play(name: &str, target: fn(&[u8])) {
    let seeds: Vec<_> = files(&fuzz().join("seeds").join(name)).iter().map(|file| fs::read(file).unwrap()).collect();
    assert!(!seeds.is_empty(), "{name} has no seeds");
    let run = |input: &[u8]| {
        let _print = PrintOnPanic(input);
        target(input);
    };
    run(b"");
    seeds.iter().for_each(|seed| run(seed));
    let mut chance = Chance(0x9e37_79b9_7f4a_7c15);
    for _ in 0..ROUNDS {
        let mut input = chance.one_of(&seeds).clone();
        for _ in 0..=chance.below(4) {
            change(&mut input, &seeds, &mut chance);
        }
        input.truncate(MAX_INPUT_BYTES);
        run(&input);
    }
}

fn change(input: &mut Vec<u8>, seeds: &[Vec<u8>], chance: &mut Chance) {
    let at = chance.below(input.len() + 1);
    let end = at + chance.below(input.len() - at + 1).min(32);
    match chance.below(8) {
        0 if at < input.len() => input[at] ^= 1 << chance.below(8),
        1 if at < input.len() => input[at] = chance.below(256) as u8,
        2 => drop(input.drain(at..end)),
        3 => input.truncate(at),
        4 => {
            let piece = input[at..end].to_vec();
            let to = chance.below(input.len() + 1);
            input.splice(to..to, piece);
        }
        5 => {
            let other = chance.one_of(seeds);
            let from = chance.below(other.len() + 1);
            input.splice(at..end, other[from..].iter().copied());
        }
        6 => input.insert(at, chance.below(256) as u8),
        _ => drop(input.splice(at..at, chance.one_of(&WORDS).iter().copied())),
    }
}

/// Prints the input if a target panics.
struct PrintOnPanic<'a>(&'a [u8]);

impl Drop for PrintOnPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("the input: b\"{}\"", self.0.escape_ascii());
        }
    }
}

/// Xorshift: as good as this needs, and the same everywhere.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % limit
    }

    fn one_of<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }
}

#[test]
fn no_target_is_forgotten() {
    let found: Vec<_> = files(&fuzz().join("fuzz_targets"))
        .iter()
        .map(|file| file.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    assert_eq!(found, NAMES);
    let makefile = fs::read_to_string(fuzz().join("../Makefile")).unwrap();
    let line = makefile.lines().find_map(|line| line.strip_prefix("FUZZ_TARGETS := ")).unwrap();
    let mut made: Vec<_> = line.split_whitespace().collect();
    made.sort_unstable();
    assert_eq!(made, NAMES);
}
