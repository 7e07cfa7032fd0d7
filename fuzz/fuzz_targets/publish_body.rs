//! Bodies of publications: JSON, text, and batches of lines. Whatever is taken is JSON on one line, means what was sent, and
//! an event stream made of it has no line that the publisher could have slipped in.

#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use shared::pure::{Payload, batch};

fuzz_target!(|body: &[u8]| {
    if let Ok(payload) = Payload::from_json(body) {
        look_at(&payload);
        let json = payload.placeholder_json();
        assert_eq!(Payload::from_json(json.as_bytes()).expect("still JSON").placeholder_json(), json);
        // Numbers that serde cannot hold are JSON all the same, and pass through as they are.
        if let (Ok(sent), Ok(kept)) = (serde_json::from_slice::<Value>(body), serde_json::from_str::<Value>(json)) {
            assert_eq!(sent, kept);
        }
    }
    if let Ok(text) = std::str::from_utf8(body) {
        let payload = Payload::from_text(text);
        look_at(&payload);
        assert_eq!(serde_json::from_str::<String>(payload.placeholder_json()).expect("a string"), text);
    }
    match batch::read(body) {
        Ok(drafts) => {
            assert!(!drafts.is_empty() && drafts.len() <= body.len() / 20);
            drafts.iter().for_each(|draft| look_at(&draft.payload));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});

fn look_at(payload: &Payload) {
    let json = payload.plain_json();
    assert!(!json.is_empty() && !json.contains(['\r', '\n']), "{json:?}");
    assert!(payload.attachments().is_empty());
}
