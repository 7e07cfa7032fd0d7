//! The journal of a fork, before the fork is created: what it inherits. If it is not created, the journal expires.

use redis::{Cmd, RedisError, aio::MultiplexedConnection, pipe};

use crate::{
    live::bus::redis::{entry, publisher::MAX_SCRIPT_BYTES},
    pure::History,
};

/// Within this time a journal has to become one of a stream.
const TTL_MS: u64 = 10 * 60 * 1_000;

/// Writes `messages` to the journal `key`, which does not exist yet, in slices: between them, Redis serves others.
pub(super) async fn begin(
    connection: &mut MultiplexedConnection,
    key: &str,
    messages: &History,
) -> Result<(), RedisError> {
    let mut messages = messages.iter().peekable();
    while messages.peek().is_some() {
        let (mut pipeline, mut bytes) = (pipe(), 0);
        while bytes < MAX_SCRIPT_BYTES
            && let Some(message) = messages.next()
        {
            let mut add = Cmd::new();
            add.arg("XADD").arg(key).arg(message.id.to_string());
            entry::fields(&mut add, &message.draft);
            pipeline.add_command(add).ignore();
            bytes += message.footprint();
        }
        pipeline.cmd("PEXPIRE").arg(key).arg(TTL_MS).ignore();
        pipeline.query_async::<()>(connection).await?;
    }
    Ok(())
}
