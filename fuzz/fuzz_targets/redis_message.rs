//! What other servers of a cluster say over Redis: events, requests and answers, as msgpack and as JSON. An event that was read is read
//! the same after it was written.

#![no_main]

use libfuzzer_sys::fuzz_target;
use socketio_redis::rewrite;

/// More than the longest input can hold.
const ALL: usize = 1 << 20;

fuzz_target!(|message: &[u8]| {
    let _ = rewrite(message, "/", ALL);
    if let Some(written) = rewrite(message, "/chat", ALL) {
        assert_eq!(rewrite(&written, "/chat", ALL), Some(written));
    }
    // With too many values in it, a message is given up.
    assert_eq!(rewrite(message, "/chat", 3), None);
});
