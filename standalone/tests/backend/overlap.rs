//! What another process decides while a request is in progress.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::{Duration, UNIX_EPOCH},
};

use bytes::Bytes;
use edge::{Edge, service::Service, testing::Site};
use shared::{
    live::{
        bus::{Answer, Bus, BusError, IdempotencyKey, Lease, Publication, Published, Record},
        log::Log,
    },
    pure::{ChannelName, Cursor, Draft},
};

use crate::{
    connections::{ask, get, registered},
    site, token,
};

/// The records of a bus, by name.
type Records = Arc<Mutex<BTreeMap<String, Record>>>;

/// A bus on which another process stores a record after the first one of this process, and then has this process apply it.
#[derive(Debug)]
struct DecidesMeanwhile {
    bus: Arc<dyn Bus>,
    edge: Edge,
    other: Mutex<Option<Record>>,
    records: Records,
}

impl DecidesMeanwhile {
    /// Of two records of a name, the one with the greater value applies, and of equal ones the later end.
    fn keep(&self, record: Record) {
        let mut records = self.records.lock().unwrap();
        let rank = |record: &Record| (record.value, record.expires_ms);
        if records.get(&record.name).is_none_or(|known| rank(known) < rank(&record)) {
            records.insert(record.name.clone(), record);
        }
    }
}

impl Bus for DecidesMeanwhile {
    fn store(&self, records: Vec<Record>) -> Answer<'_, Result<(), BusError>> {
        records.into_iter().for_each(|record| self.keep(record));
        let other = self.other.lock().unwrap().take();
        Box::pin(async move {
            if let Some(other) = other {
                self.keep(other.clone());
                self.edge.restrict(&[other], self.time()).await;
            }
            Ok(())
        })
    }

    fn log(&self) -> &Arc<Log> {
        self.bus.log()
    }

    fn publish(&self, publication: Publication) -> Answer<'_, Result<Published, BusError>> {
        self.bus.publish(publication)
    }

    fn find<'a>(
        &'a self,
        key: &'a IdempotencyKey,
        drafts: &'a [Draft],
    ) -> Answer<'a, Result<Option<Published>, BusError>> {
        self.bus.find(key, drafts)
    }

    fn wait_for(&self, cursor: Cursor) -> Answer<'_, ()> {
        self.bus.wait_for(cursor)
    }

    fn filled(&self) -> Answer<'_, ()> {
        self.bus.filled()
    }

    fn ready(&self) -> Result<(), BusError> {
        self.bus.ready()
    }

    fn purge(&self, channel: ChannelName) -> Answer<'_, Result<Cursor, BusError>> {
        self.bus.purge(channel)
    }

    fn lease(&self, name: &'static str, ttl: Duration) -> Answer<'_, Option<Lease>> {
        self.bus.lease(name, ttl)
    }

    fn read_state(&self, name: &'static str) -> Answer<'_, Result<Option<Bytes>, BusError>> {
        self.bus.read_state(name)
    }

    fn write_state(&self, name: &'static str, state: Bytes) -> Answer<'_, Result<(), BusError>> {
        self.bus.write_state(name, state)
    }

    fn release(&self, name: &'static str, at: Cursor) -> Answer<'_, ()> {
        self.bus.release(name, at)
    }
}

/// The bus had the newer one of the two decisions alone, which may end earlier: a process that started then admitted the user too early.
#[actix_web::test]
async fn of_two_decisions_about_connections_of_a_user_the_later_end_is_stored() {
    let records = Records::default();
    let of_bus = records.clone();
    let site = Site::start_with(&standalone::DEFAULTS, &[], move |service| {
        let (bus, edge) = (service.bus.clone(), service.edge.clone());
        let elsewhere =
            site(&[]).service.edge.refuse_at_least("ann", bus.time() + Duration::from_secs(1), Duration::from_secs(60));
        let bus = DecidesMeanwhile { bus, edge, other: Mutex::new(Some(elsewhere)), records: of_bus };
        let service = Service { bus: Arc::new(bus), ..service.clone() };
        let chat = chat_svc::Chat::new(&service).unwrap();
        let routes = standalone::routes(&chat);
        (move |_: &Service| routes(&service), standalone::application(&chat))
    });
    let _events = site.get("/events?channel=public.a").token(&token(&site, "ann", "", "")).events().await;
    registered(&site, 1).await;
    let list = get(&site, "/v1/connections").await;
    let id = list["connections"][0]["id"].as_str().unwrap();
    let before = UNIX_EPOCH.elapsed().unwrap();
    assert_eq!(ask(&site, "DELETE", &format!("/v1/connections/{id}?for=1h")).send().await.status, 200);
    let records = records.lock().unwrap();
    let left = Duration::from_millis(records["refused_at_least:ann"].expires_ms).saturating_sub(before);
    // One hour, of which a millisecond may be cut off, and not one minute.
    assert!(left > Duration::from_secs(3_000), "{left:?}: {records:?}");
}
