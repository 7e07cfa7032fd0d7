//! Records in Redis: a hash, by name, of the end of each in milliseconds and its value.
//!
//! They are read before the process is ready, on each connection, since others may have stored some while there was none, and once an hour.

use std::{convert::Infallible, sync::atomic::Ordering, time::Duration};

use redis::{RedisResult, cmd};
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};

use super::{
    Connection, Shared,
    error::{LinkError, PATIENCE},
    scripts::{self, RECORDS},
};
use crate::live::bus::{BusError, Record, Stored};

/// How often the records are read again. Whoever stores one notifies the others, unless they cannot be reached.
const REFRESH: Duration = Duration::from_secs(3600);
/// A record is removed this long after its end: it was written by the clock of another host.
const SKEW_MS: u64 = 24 * 3600 * 1000;
/// The approximate number of records in one answer.
const PAGE: usize = 500;

/// Stores records.
///
/// # Errors
/// When Redis does not confirm it.
pub(super) async fn store(records: &[Record], shared: &Shared) -> Result<(), BusError> {
    if records.is_empty() {
        return Ok(());
    }
    let Connection { mut connection, scripts } = shared.connection()?;
    let mut call = scripts::call(&scripts.record, &[RECORDS]);
    for Record { name, value, expires_ms, is_monotone } in records {
        call.arg(name).arg(expires_ms).arg(value).arg(u8::from(*is_monotone));
    }
    let stored: RedisResult<i64> = scripts::run(&mut connection, &call).await;
    stored.map(drop).map_err(|error| BusError::Unavailable(error.to_string()))
}

/// Passes all records on, and waits until they apply.
pub(super) async fn load(connection: &mut Connection, shared: &Shared) -> Result<(), LinkError> {
    let now_ms = shared.now().time_ms;
    let mut at = "0".to_owned();
    let mut all = Vec::new();
    loop {
        let mut call = cmd("HSCAN");
        call.arg(RECORDS).arg(&at).arg("COUNT").arg(PAGE);
        let page: RedisResult<(String, Vec<(String, String)>)> = call.query_async(&mut connection.connection).await;
        let (next, page) = match page {
            Ok(page) => page,
            // The pulse reports it.
            Err(error) if error.code() == Some("NOPERM") => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        // What does not parse is of a later version.
        let (records, expired): (Vec<_>, Vec<_>) = page.into_iter().partition(|(_, text)| {
            read(text).is_none_or(|(expires_ms, _)| expires_ms.saturating_add(SKEW_MS) > now_ms)
        });
        if !expired.is_empty() {
            let mut call = scripts::call(&connection.scripts.forget, &[RECORDS]);
            call.arg(expired);
            // It is tried again in an hour.
            let _: RedisResult<i64> = scripts::run(&mut connection.connection, &call).await;
        }
        all.extend(records.into_iter().filter_map(|(name, text)| {
            let (expires_ms, value) = read(&text)?;
            Some(Record { name, value, expires_ms, is_monotone: false })
        }));
        if next == "0" {
            break;
        }
        at = next;
    }
    let (applied, mut is_applied) = mpsc::channel(1);
    // Nobody takes them: the bus is used without the HTTP layer. Together: connections are visited once.
    let _ = shared.stored.send(Stored::new(all, Some(applied)));
    if shared.is_stored_taken.load(Ordering::Acquire) {
        let _ = timeout(PATIENCE, is_applied.recv()).await;
    }
    Ok(())
}

/// Reads the records again from time to time.
pub(super) async fn refresh(connection: &Connection, shared: &Shared) -> Result<Infallible, LinkError> {
    let mut connection = connection.clone();
    loop {
        sleep(REFRESH).await;
        // A failure of the connection is noticed elsewhere.
        if let Err(error) = load(&mut connection, shared).await {
            log::warn!("the records of revoked tokens were not read again: {error}");
        }
    }
}

fn read(text: &str) -> Option<(u64, u64)> {
    let (expires_ms, value) = text.split_once(' ')?;
    Some((expires_ms.parse().ok()?, value.parse().ok()?))
}
