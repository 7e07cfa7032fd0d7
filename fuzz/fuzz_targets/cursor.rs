//! Cursors, as clients bring them along: what is read has one spelling, and its neighbours lie around it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use shared::pure::{Cursor, Since};

fuzz_target!(|text: &str| {
    let since = text.parse::<Since>();
    let Ok(cursor) = text.parse::<Cursor>() else {
        assert!(since.is_err() || text == "earliest");
        return;
    };
    assert_eq!(since, Ok(Since::After(cursor)));
    assert_eq!(cursor.to_string(), text);
    assert!(cursor == Cursor::MAX || cursor.next(0) > cursor);
    assert!(cursor == Cursor::ZERO || (cursor.before() < cursor && cursor.before().next(0) <= cursor));
    let json = serde_json::to_string(&cursor).expect("a cursor is a string");
    assert_eq!(serde_json::from_str::<Cursor>(&json).expect("and reads back"), cursor);
});
