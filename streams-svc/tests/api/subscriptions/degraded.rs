//! What `/readyz` says of subscriptions that cannot be stored or read.

use std::sync::{
    Arc,
    atomic::{AtomicU8, Ordering::Relaxed},
};

use bytes::Bytes;
use edge::service::Service;
use shared::{
    live::{
        bus::{self, Bus, BusError, Entry, EntryChange, IdempotencyKey, Lease, Publication, Published},
        log::Log,
    },
    pure::{
        ChannelName, Cursor, Draft,
        stream::{StreamInfo, StreamOp, StreamReply},
    },
};

use super::*;

const WELL: u8 = 0;
/// Nothing more is stored.
const FULL: u8 = 1;
/// Nothing is stored or read.
const AWAY: u8 = 2;

/// A bus whose entries do not work as long as a test says so.
#[derive(Debug)]
struct Faulty {
    bus: Arc<dyn Bus>,
    fault: Arc<AtomicU8>,
}

impl Bus for Faulty {
    fn read_entries(&self, name: &'static str) -> bus::Answer<'_, Result<Vec<Entry>, BusError>> {
        match self.fault.load(Relaxed) {
            AWAY => Box::pin(async { Err(BusError::Unavailable("away".to_owned())) }),
            _ => self.bus.read_entries(name),
        }
    }

    fn write_entries(&self, name: &'static str, changes: Vec<EntryChange>) -> bus::Answer<'_, Result<(), BusError>> {
        match self.fault.load(Relaxed) {
            AWAY => Box::pin(async { Err(BusError::Unavailable("away".to_owned())) }),
            FULL if changes.iter().any(|(_, value)| value.is_some()) => {
                Box::pin(async { Err(BusError::StatesFull("full".to_owned())) })
            }
            _ => self.bus.write_entries(name, changes),
        }
    }

    fn log(&self) -> &Arc<Log> {
        self.bus.log()
    }

    fn publish(&self, publication: Publication) -> bus::Answer<'_, Result<Published, BusError>> {
        self.bus.publish(publication)
    }

    fn find<'a>(
        &'a self,
        key: &'a IdempotencyKey,
        drafts: &'a [Draft],
    ) -> bus::Answer<'a, Result<Option<Published>, BusError>> {
        self.bus.find(key, drafts)
    }

    fn wait_for(&self, cursor: Cursor) -> bus::Answer<'_, ()> {
        self.bus.wait_for(cursor)
    }

    fn filled(&self) -> bus::Answer<'_, ()> {
        self.bus.filled()
    }

    fn ready(&self) -> Result<(), BusError> {
        self.bus.ready()
    }

    fn purge(&self, channel: ChannelName) -> bus::Answer<'_, Result<Cursor, BusError>> {
        self.bus.purge(channel)
    }

    fn stream(&self, op: StreamOp) -> bus::Answer<'_, Result<StreamReply, BusError>> {
        self.bus.stream(op)
    }

    fn stream_info(&self, channel: &ChannelName, renews: bool) -> Result<StreamInfo, BusError> {
        self.bus.stream_info(channel, renews)
    }

    fn lease(&self, name: &'static str, ttl: Duration) -> bus::Answer<'_, Option<Lease>> {
        self.bus.lease(name, ttl)
    }

    fn read_state(&self, name: &'static str) -> bus::Answer<'_, Result<Option<Bytes>, BusError>> {
        self.bus.read_state(name)
    }

    fn write_state(&self, name: &'static str, state: Bytes) -> bus::Answer<'_, Result<(), BusError>> {
        self.bus.write_state(name, state)
    }

    fn release(&self, name: &'static str, at: Cursor) -> bus::Answer<'_, ()> {
        self.bus.release(name, at)
    }
}

#[actix_web::test]
async fn what_does_not_work_is_reported_until_it_does() {
    let site = crate::closed_site(&[("TRIDENT_HOOK_ALLOW", "127.0.0.1")]);
    let entries = vec![(b"subscription/old".to_vec(), Some("of another version".into()))];
    site.service.bus.write_entries("subscriptions", entries).await.unwrap();
    let fault = Arc::new(AtomicU8::new(WELL));
    let bus = Arc::new(Faulty { bus: site.service.bus.clone(), fault: fault.clone() });
    streams_svc::subscriptions::start(&Service { bus, ..site.service.clone() });
    let degraded = |text: &str| {
        let problems = site.service.edge.readiness.degraded();
        let is_named = problems.iter().any(|one| one.reason == "subscriptions" && one.message.contains(text));
        if text.is_empty() { problems.is_empty() } else { is_named }
    };
    let token = token(&site, "ann", "*");
    let body = webhook("a/*", "http://127.0.0.1:1/");
    until("one cannot be read", || degraded("1 stored subscriptions cannot be read")).await;
    assert_eq!(subscribe(&site, "old", &token, &body).await.status, 201);
    until("it was replaced", || degraded("")).await;
    fault.store(FULL, Relaxed);
    assert_eq!(subscribe(&site, "more", &token, &body).await.error(), (429, "TOO_MANY_SUBSCRIPTIONS".into()));
    until("they are full", || degraded("are full")).await;
    assert_eq!(ask(&site, Method::DELETE, "old", &token, &Value::Null).await.status, 204);
    until("there is space again", || degraded("")).await;
    fault.store(AWAY, Relaxed);
    assert_eq!(subscribe(&site, "more", &token, &body).await.error(), (503, "bus_unavailable".into()));
    until("they are away", || degraded("cannot be read: ")).await;
    fault.store(WELL, Relaxed);
    until("all is well again", || degraded("")).await;
    assert_eq!(subscribe(&site, "more", &token, &body).await.status, 201);
}
