//! Commands of WebSocket clients: nothing panics, an error is short and names no more than the client sent, and a command is within its
//! limits.

#![no_main]

use comet_svc::ws::{Action, Command};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Command { id, action } = match Command::read(text) {
        Ok(command) => command,
        Err(error) => {
            let told = error.error.to_string();
            assert!(told.len() < 1_000, "{told:?}");
            assert!(!error.is_unreadable || error.id.is_none());
            return;
        }
    };
    assert!(id.is_none_or(|id| id.get().len() <= 128 && text.contains(id.get())));
    match action {
        Action::Subscribe { channels, .. } | Action::Unsubscribe { channels } => {
            assert!((1..=128).contains(&channels.len()));
            assert!(channels.iter().enumerate().all(|(at, channel)| !channels[..at].contains(channel)));
        }
        Action::Publish { draft, .. } => assert!(draft.event.check_for(&draft.channel).is_ok()),
    }
});
