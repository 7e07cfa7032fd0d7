use std::net::{Ipv4Addr, TcpListener};

use shared::{
    live::{
        bus::{Publication, Record},
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
async fn on_disk_a_restart_loses_nothing_and_a_second_process_is_refused() {
    let directory = std::env::temp_dir().join(format!("trident-service-{:016x}", rand::random::<u64>()));
    let address = format!("file:{}", directory.display());
    let open = || Service::open(settings(&address), &SERVICE);
    let channel = "a".parse().unwrap();
    let service = open().unwrap();
    assert!(service.edge.readiness.is_ready());
    let publication = Publication::new(vec![Draft::new(channel, Payload::from_text("x"))]);
    let published = service.bus.publish(publication).await.unwrap();
    let refused = open().unwrap_err().to_string();
    assert!(refused.contains(&format!("in use by process {}", std::process::id())), "{refused}");
    let record = Record { name: "r".into(), value: 1, expires_ms: u64::MAX, is_monotone: false };
    service.bus.store(vec![record]).await.unwrap();
    let metrics = service.edge.metrics.encode().unwrap();
    for part in [
        "trident_disk_bytes ",
        "trident_disk_segments 1",
        "trident_disk_state_bytes{table=\"record\"} 105",
        "trident_disk_sync_seconds_bucket{le=\"0.001\"}",
    ] {
        assert!(metrics.contains(part), "{part} in {metrics}");
    }
    service.bus.close().await;

    let service = open().unwrap();
    let mut reader = Reader::open(service.log(), &["a".parse().unwrap()], Since::Earliest);
    let batch = reader.stored(Limit::default()).await.unwrap();
    assert_eq!(batch.messages.iter().map(|message| message.id).collect::<Vec<_>>(), published.ids);
    service.bus.close().await;
    std::fs::remove_dir_all(directory).unwrap();
}

#[actix_web::test]
async fn in_memory_a_service_is_ready_at_once() {
    let service = Service::open(settings("memory"), &SERVICE).unwrap();
    assert!(service.edge.readiness.is_ready());
}
