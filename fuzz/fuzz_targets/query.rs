//! Query strings: nothing panics, a fault is told in one clean line, and what is read is what was asked for.

#![no_main]

use edge::query::{Parameter, Query};
use libfuzzer_sys::fuzz_target;
use shared::pure::{ChannelName, EventName, Since};

const ACCEPTED: [Parameter; 3] =
    [Parameter::repeated("channel", 4), Parameter::once("since"), Parameter::once("event")];

fuzz_target!(|text: &str| {
    let query = match Query::read(text, &ACCEPTED) {
        Ok(query) => query,
        Err(error) => {
            let told = error.to_string();
            assert!(!told.contains(char::is_control) && told.len() < 1_000, "{told:?}");
            return;
        }
    };
    assert!(query.all("channel").count() <= 4 && query.all("since").count() <= 1);
    assert_eq!(query.get("other"), None);
    let escaped = |value: &str| value.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>();
    let again: Vec<_> = ["channel", "since", "event"]
        .iter()
        .flat_map(|name| query.all(name).map(move |value| format!("{name}={}", escaped(value))))
        .collect();
    let again = again.join("&");
    let again = Query::read(&again, &ACCEPTED).expect("what was read can be written");
    for name in ["channel", "since", "event"] {
        assert!(again.all(name).eq(query.all(name)), "{name}");
    }
    for channel in query.all("channel") {
        if let Ok(name) = channel.parse::<ChannelName>() {
            assert_eq!(name.as_str(), channel);
        }
    }
    if let Some(Ok(name)) = query.get("event").map(str::parse::<EventName>) {
        assert!(!name.contains(['\r', '\n', '\0', '\u{202e}', '\u{feff}']) && &*name != "gap");
    }
    let _ = query.get("since").map(str::parse::<Since>);
});
