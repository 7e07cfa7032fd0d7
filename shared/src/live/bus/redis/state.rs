//! What the holder of a lease has stored: a key in Redis, and a hash of entries, which only the holder changes.

use std::time::Duration;

use bytes::Bytes;
use redis::RedisResult;
use tokio::time::timeout;

use super::{PUBLISH_TIMEOUT, Shared, scripts};
use crate::live::bus::{BusError, Entry, EntryChange};

/// The approximate number of entries in one answer.
const PAGE: usize = 500;

fn unavailable(why: impl ToString) -> BusError {
    BusError::Unavailable(why.to_string())
}

async fn within<T>(command: impl Future<Output = RedisResult<T>>) -> Result<T, BusError> {
    const LIMIT: Duration = PUBLISH_TIMEOUT;
    let answer = timeout(LIMIT, command).await.map_err(|_| unavailable("Redis did not answer in time"))?;
    answer.map_err(unavailable)
}

/// See [`Bus::read_state`](crate::live::bus::Bus::read_state).
pub(super) async fn read(shared: &Shared, name: &str) -> Result<Option<Bytes>, BusError> {
    let mut connection = shared.connection()?.connection;
    let key = scripts::state_key(name);
    let state: Option<Vec<u8>> =
        within(async { redis::cmd("GET").arg(key).query_async(&mut connection).await }).await?;
    Ok(state.map(Bytes::from))
}

/// See [`Bus::write_state`](crate::live::bus::Bus::write_state); `owner` identifies this process as a holder of leases.
pub(super) async fn write(shared: &Shared, owner: &str, name: &str, state: &[u8]) -> Result<(), BusError> {
    let connection = shared.connection()?;
    let (mut to, scripts) = (connection.connection, connection.scripts);
    let mut call = scripts::call(&scripts.keep, &[&scripts::lease_key(name), &scripts::state_key(name)]);
    call.arg(owner).arg(state);
    match within(scripts::run::<i64>(&mut to, &call)).await? {
        1 => Ok(()),
        _ => Err(unavailable("another process has the lease")),
    }
}

/// A field of a hash, and its value.
type Pair = (Vec<u8>, Vec<u8>);

/// See [`Bus::read_entries`](crate::live::bus::Bus::read_entries).
pub(super) async fn read_entries(shared: &Shared, name: &str) -> Result<Vec<Entry>, BusError> {
    let mut connection = shared.connection()?.connection;
    let (key, mut at, mut entries) = (scripts::entries_key(name), "0".to_owned(), Vec::new());
    loop {
        let mut call = redis::cmd("HSCAN");
        call.arg(&key).arg(&at).arg("COUNT").arg(PAGE);
        let (next, page): (String, Vec<Pair>) = within(call.query_async(&mut connection)).await?;
        entries.extend(page.into_iter().map(|(key, value)| (key, value.into())));
        if next == "0" {
            return Ok(entries);
        }
        at = next;
    }
}

/// See [`Bus::write_entries`](crate::live::bus::Bus::write_entries); `owner` as for [`write`].
pub(super) async fn write_entries(
    shared: &Shared,
    owner: &str,
    name: &str,
    changes: Vec<EntryChange>,
) -> Result<(), BusError> {
    let connection = shared.connection()?;
    let (mut to, scripts) = (connection.connection, connection.scripts);
    let mut call = scripts::call(&scripts.entries, &[&scripts::lease_key(name), &scripts::entries_key(name)]);
    call.arg(owner);
    for (key, value) in changes {
        call.arg(key).arg(if value.is_some() { "set" } else { "remove" }).arg(value.unwrap_or_default().as_ref());
    }
    match within(scripts::run::<i64>(&mut to, &call)).await? {
        1 => Ok(()),
        _ => Err(unavailable("another process has the lease")),
    }
}
