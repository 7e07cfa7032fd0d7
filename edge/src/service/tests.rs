use std::net::{Ipv4Addr, TcpListener};

use shared::{
    live::{
        bus::Publication,
        reader::{Limit, Reader},
    },
    pure::{Draft, Payload, Since},
};

use super::*;

const SERVICE: ServiceDefaults = ServiceDefaults { name: "test", about: "", version: "0", listen: "127.0.0.1:0" };

fn settings(bus: &str) -> Settings {
    Settings::from_sources(&SERVICE, [], [("TRIDENT_BUS", bus)]).unwrap()
}

#[actix_web::test]
async fn without_redis_a_service_accepts_readers_and_is_not_ready() {
    // Held, so that nobody else listens there; it never accepts, as a Redis behind a firewall would not.
    let nobody = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = format!("redis://:secret@{}", nobody.local_addr().unwrap());
    let service = Service::open(settings(&address), &SERVICE).unwrap();
    let error = service.edge.readiness.check().unwrap_err();
    assert!(!error.to_string().contains("secret"), "{error}");
    let channel = "a".parse().unwrap();
    let mut reader = Reader::open(service.log(), std::slice::from_ref(&channel), Since::Now);
    assert!(reader.read(Limit::default()).is_none());
    let publication = Publication::new(vec![Draft::new(channel, Payload::from_text("x"))]);
    assert!(matches!(service.bus.publish(publication).await, Err(BusError::Unavailable(_))));
}

#[actix_web::test]
async fn in_memory_a_service_is_ready_at_once() {
    let service = Service::open(settings("memory"), &SERVICE).unwrap();
    assert!(service.edge.readiness.is_ready());
}
