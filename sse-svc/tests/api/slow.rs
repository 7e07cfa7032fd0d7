//! A client that does not read costs a cursor, and delays nobody.

use edge::{
    connections::End,
    testing::{Events, until},
};

use crate::site;

/// Bytes of memory that this process has in use (Linux: the second field of statm, in pages).
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[cfg(target_os = "linux")]
#[actix_web::test]
async fn a_client_that_does_not_read_costs_no_memory_and_gets_a_gap() {
    const MIB: usize = 1024 * 1024;
    let site = site(&[("TRIDENT_HISTORY_BYTES", "1MiB")]);
    let stalled = site.get("/events?channel=public.a").open().await;
    let mut reading = site.connect().await;
    reading.request("GET", "/events?channel=public.a", &[]).await;
    reading.head().await;
    reading.chunk().await;
    let text = format!("\"{}\"", "x".repeat(50_000));
    let (mut last, mut before, mut unread) = (String::new(), 0, 0);
    // 60 MB, of which the first fifth fills the log and every buffer there is.
    for n in 0..1_200 {
        last = site.publish("public.a", &text).await.to_string();
        unread += format!("id: {last}\ndata: {}\n\n", &text[2..]).len();
        // No other reader is behind: all of it has been delivered before much more is published.
        while n % 8 == 7 && unread > 0 {
            unread -= reading.chunk().await.len();
        }
        if n == 256 {
            before = resident();
        }
    }
    let grown = resident().saturating_sub(before);
    assert!(grown < 24 * MIB, "{} MiB more after 47 MB", grown / MIB);

    let mut stalled = Events::of(stalled);
    let mut gaps = 0;
    loop {
        let message = stalled.message().await.expect("the stream goes on");
        gaps += usize::from(message.event.as_deref() == Some("gap"));
        if message.id.as_deref() == Some(&*last) {
            break;
        }
    }
    assert!(gaps > 0, "what it missed is told");
}

/// A connection that is ended by a backend ends also if its client does not read what it was sent before.
#[actix_web::test]
async fn a_client_that_does_not_read_is_ended() {
    let site = site(&[]);
    let registry = site.service.edge.limits.registry().clone();
    let _stalled = site.get("/events?channel=public.a").open().await;
    until("it is registered", || registry.count() == 1).await;
    let text = format!("\"{}\"", "x".repeat(50_000));
    for _ in 0..600 {
        site.publish("public.a", &text).await;
    }
    assert_eq!(registry.end_all(End::Disconnected, |_| true).await, 1);
    // Less than the time that a client has which reads nothing.
    until("its connection has ended", || site.service.edge.limits.connections() == 0).await;
}
