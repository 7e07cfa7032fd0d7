//! Deletes the entries of purged messages, in the background.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;

use super::{
    Connection, Shared,
    scripts::{self, STREAM},
};
use crate::pure::{ChannelName, Cursor};

/// The number of entries that one script looks at, and reads whole.
const SLICE: usize = 25;
/// How often a slice is tried again while Redis is unavailable, and the pause in between.
const MAX_TRIES: usize = 30;
const PAUSE: Duration = Duration::from_secs(2);

/// Deletes the messages of `channel` up to `up_to` from the stream in the background, when the record is in it.
pub(super) fn later(shared: Arc<Shared>, channel: ChannelName, up_to: Cursor) {
    tokio::spawn(erase(shared, channel, up_to));
}

/// Deletes the messages of `channel` up to `up_to` from the stream, in slices: between them, Redis serves others.
async fn erase(shared: Arc<Shared>, channel: ChannelName, up_to: Cursor) {
    let (mut from, mut tries) = ("-".to_owned(), 0);
    loop {
        match erase_slice(&shared, &channel, &from, up_to).await {
            Ok(last) if last.is_empty() => return,
            Ok(last) => (from, tries) = (format!("({last}"), 0),
            Err(why) if tries == MAX_TRIES => {
                let reason = "purged messages are still in Redis, until they are trimmed";
                shared.warn(reason, format_args!("{channel}: {why}"));
                return;
            }
            Err(_) => {
                tries += 1;
                sleep(PAUSE).await;
            }
        }
    }
}

async fn erase_slice(shared: &Shared, channel: &ChannelName, from: &str, up_to: Cursor) -> Result<String, String> {
    let Connection { mut connection, scripts } = shared.connection().map_err(|error| error.to_string())?;
    let mut call = scripts::call(&scripts.erase, &[STREAM]);
    call.arg(channel.as_str()).arg(from).arg(up_to.to_string()).arg(SLICE);
    scripts::run(&mut connection, &call).await.map_err(|error| error.to_string())
}
