//! What happens between the steps of a request.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use edge::{service::Service, testing::Site};
use shared::{
    live::{
        bus::{Answer, Bus, BusError, IdempotencyKey, Lease, Publication, Published},
        log::Log,
    },
    pure::{
        ChannelName, Cursor, Draft, Payload,
        stream::{StreamInfo, StreamOp, StreamReply},
    },
};

use super::{JSON, create};

/// A bus on which somebody publishes `1` to a stream after a request has read its messages, and before the request looks at its end.
#[derive(Debug)]
struct PublishesInBetween {
    bus: Arc<dyn Bus>,
    is_armed: AtomicBool,
}

impl Bus for PublishesInBetween {
    fn stream_info(&self, channel: &ChannelName, renews: bool) -> Result<StreamInfo, BusError> {
        if !renews && self.is_armed.swap(false, Relaxed) {
            let draft = Draft::new(channel.clone(), Payload::from_json(b"1").unwrap());
            drop(self.bus.publish(Publication::new(vec![draft])));
        }
        self.bus.stream_info(channel, renews)
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

    fn stream(&self, op: StreamOp) -> Answer<'_, Result<StreamReply, BusError>> {
        self.bus.stream(op)
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

/// An answer without messages named the end after the append as the next offset: its client never received the message.
#[actix_web::test]
async fn an_empty_answer_does_not_pass_over_an_append_in_between() {
    for query in
        ["offset=-1", "offset=now", "offset=-1&live=long-poll&timeout=0", "offset=now&live=long-poll&timeout=0"]
    {
        let site = Site::start(
            &streams_svc::DEFAULTS,
            &[("TRIDENT_STREAMS_ANONYMOUS", "on")],
            |service| {
                let bus = PublishesInBetween { bus: service.bus.clone(), is_armed: AtomicBool::new(true) };
                streams_svc::routes(&Service { bus: Arc::new(bus), ..service.clone() })
            },
            |_| (),
        );
        create(&site, "s", JSON, "").await;
        let empty = site.get(&format!("/streams/s?{query}")).send().await;
        assert!(matches!(empty.text(), "" | "[]"), "{query}: {empty:?}");
        assert_eq!(site.held("s").len(), 1, "{query}: somebody has published");
        assert_eq!(empty.header("Stream-Up-To-Date"), "", "{query}: {empty:?}");
        let next = empty.header("Stream-Next-Offset");
        let read = site.get(&format!("/streams/s?offset={next}")).send().await;
        assert_eq!(read.text(), "[1]", "{query}");
        site.stop().await;
    }
}
