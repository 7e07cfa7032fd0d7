//! What the bus has stored about clients: revoked tokens, and users whose connections are refused.
//!
//! ```text
//! the bus connects, or reads its records again ─▶ they apply here ─▶ what it has lost is stored again
//! ```

use std::{
    mem,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use actix_web::rt::{self, task::JoinHandle};
use shared::live::bus::{Bus, BusError, Record};

use super::Service;
use crate::Edge;

/// How often, and after about which pauses, what the bus has lost is stored again.
const STORE_ATTEMPTS: u32 = 120;
const STORE_PAUSE: Duration = Duration::from_millis(500);
/// The number of records that are stored at once: Redis limits the arguments of a command, and serves nobody else meanwhile.
const STORED_AT_ONCE: usize = 1_000;

impl Service {
    /// Applies what the bus has stored about clients: at once what it has already, and later what it gets.
    pub(super) fn restore(&self) {
        let Some(mut stored) = self.bus.stored() else { return };
        let (edge, bus) = (self.edge.clone(), self.bus.clone());
        while let Ok(all) = stored.try_recv() {
            edge.restore(&all.records, bus.time());
        }
        rt::spawn(async move {
            let mut storing: Option<JoinHandle<()>> = None;
            while let Some(mut all) = stored.recv().await {
                let now = bus.time();
                let records = mem::take(&mut all.records);
                let has_ended = |record: &Record| UNIX_EPOCH + Duration::from_millis(record.expires_ms) <= now;
                let (ended, valid): (Vec<_>, Vec<_>) = records.iter().cloned().partition(has_ended);
                let rejected = edge.restrict(&valid, now).await.rejected;
                edge.replace(&ended);
                if rejected > 0 {
                    log::error!(
                        "{rejected} stored revocations and disconnected users exceed the memory limit and are not applied"
                    );
                }
                // They apply: the bus does not wait for the rest.
                drop(all);
                let missing = edge.unstored(&records, now).await;
                // This is newer than what is being stored.
                storing.take().inspect(JoinHandle::abort);
                if !missing.is_empty() {
                    storing = Some(rt::spawn(restored(bus.clone(), edge.clone(), missing)));
                }
            }
        });
    }
}

/// Stores what the bus has lost. It may not be ready yet.
async fn restored(bus: Arc<dyn Bus>, edge: Edge, names: Vec<String>) {
    log::warn!("the bus has lost {} revocations and disconnected users: they are stored again", names.len());
    let is_stored = store_again(&edge, &names, || bus.time(), async |records| bus.store(records).await).await;
    if let Err(error) = is_stored {
        log::error!(
            "revocations and disconnected users that the bus has lost could not be stored again; a process that starts now does not know them: {error}"
        );
    }
}

/// Stores the records of these names, a few at a time, as they are known when they are stored.
async fn store_again(
    edge: &Edge,
    names: &[String],
    time: impl Fn() -> SystemTime,
    store: impl AsyncFn(Vec<Record>) -> Result<(), BusError>,
) -> Result<(), BusError> {
    let mut attempts = 0;
    for names in names.chunks(STORED_AT_ONCE) {
        loop {
            let now = time();
            // Meanwhile, something else may be decided.
            let known = names.iter().filter_map(|name| edge.record(name, now)).collect();
            match store(known).await {
                Ok(()) => break,
                Err(error) if attempts == STORE_ATTEMPTS => return Err(error),
                Err(error) => log::debug!("they cannot be stored yet: {error}"),
            }
            attempts += 1;
            // All processes have lost the same.
            rt::time::sleep(STORE_PAUSE.mul_f64(0.5 + rand::random::<f64>())).await;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use super::*;
    use crate::{
        Settings,
        auth::{Revocation, Revoked},
        settings::ServiceDefaults,
    };

    /// Redis accepts about a million arguments of a command: more than 262,000 records at once would never be stored.
    #[actix_web::test]
    async fn what_is_lost_is_stored_in_parts_and_as_it_is_known() {
        let service = ServiceDefaults { name: "test", about: "", version: "0", listen: "127.0.0.1:0" };
        let edge = Edge::new(Settings::from_sources(&service, [""; 0], []).unwrap(), &service);
        let (now, hour) = (SystemTime::now(), Duration::from_secs(3_600));
        let revoked = (0..2_500).map(|n| Revocation {
            tokens: Revoked::Jti(n.to_string()),
            issued_before: None,
            expires: now + hour,
        });
        let mut records: Vec<_> = revoked.map(|revocation| revocation.record()).collect();
        records.push(edge.refuse_user("ann", now, 24 * hour)[0].clone());
        edge.restrict(&records, now).await;
        let names = edge.unstored(&[], now).await;
        assert_eq!(names.len(), records.len());
        let (is_away, stored) = (Cell::new(true), RefCell::new(Vec::new()));
        let store = async |part: Vec<Record>| {
            if is_away.replace(false) {
                // Meanwhile, a backend decides otherwise.
                edge.restrict(&edge.refuse_user("ann", now, hour), now).await;
                return Err(BusError::Unavailable("away".to_owned()));
            }
            stored.borrow_mut().push(part);
            Ok(())
        };
        store_again(&edge, &names, || now, store).await.unwrap();
        let parts = stored.into_inner();
        assert!(parts.iter().all(|part| part.len() <= STORED_AT_ONCE), "{:?}", parts.iter().map(Vec::len));
        let all = parts.concat();
        assert_eq!(all.len(), records.len());
        let ann = all.iter().find(|record| record.name == "refused:ann").unwrap();
        let until = UNIX_EPOCH + Duration::from_millis(ann.expires_ms);
        assert!(until <= now + hour, "the shorter time");
    }
}
