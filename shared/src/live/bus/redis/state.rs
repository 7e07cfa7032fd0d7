//! What the holder of a lease has stored: a key in Redis, which only the holder changes.

use std::time::Duration;

use bytes::Bytes;
use redis::RedisResult;
use tokio::time::timeout;

use super::{PUBLISH_TIMEOUT, Shared, scripts};
use crate::live::bus::BusError;

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
