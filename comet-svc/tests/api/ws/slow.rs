//! Clients that do not read, and frames that never end.

use serde_json::json;

use super::{Client, masked};
use crate::site;

/// Bytes of memory that this process has in use (Linux: the second field of statm, in pages).
#[cfg(target_os = "linux")]
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

/// A client that does not read costs its cursor, delays nobody, and gets a gap when it reads on.
#[cfg(target_os = "linux")]
#[actix_web::test]
async fn a_client_that_does_not_read_costs_no_memory_and_gets_a_gap() {
    const MIB: usize = 1024 * 1024;
    let site = site(&[("TRIDENT_HISTORY_BYTES", "1MiB")]);
    let mut stalled = Client::open(&site, "?channel=public.a").await;
    let mut reading = Client::open(&site, "?channel=public.a").await;
    reading.ask(super::subscribe(&["public.b"], None)).await;
    let text = format!("\"{}\"", "x".repeat(50_000));
    let (mut last, mut before) = (String::new(), 0);
    for n in 0..1_000 {
        last = site.publish("public.a", &text).await.to_string();
        assert_eq!(reading.json().await["id"], json!(last));
        if n == 256 {
            before = resident();
        }
    }
    let grown = resident().saturating_sub(before);
    assert!(grown < 24 * MIB, "{} MiB more", grown / MIB);
    let mut gaps = 0;
    loop {
        let frame = stalled.json().await;
        gaps += usize::from(frame.get("gap").is_some());
        if frame["id"] == json!(last) {
            break;
        }
    }
    assert!(gaps > 0, "it is notified of what it missed");
}

/// What is announced takes no memory, and what arrives is counted: all incomplete messages share a budget.
#[actix_web::test]
async fn incomplete_messages_share_a_budget() {
    let site = site(&[("TRIDENT_RECEIVE_TOTAL", "100KiB")]);
    let large = masked(super::TEXT, &[b'x'; 60_000]);
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = Client::open(&site, "?channel=public.a").await;
        client.0.write(&large[..14]).await;
        clients.push(client);
    }
    assert_eq!(site.service.edge.receiving.bytes(), 0);
    for client in &mut clients {
        client.0.write(&large[14..50_000]).await;
    }
    edge::testing::until("a connection is closed", || site.service.edge.metrics.refusals.receive_total.get() > 0).await;
    let figures = site.service.edge.metrics.transport(edge::metrics::Transport::PlainWebSocket);
    edge::testing::until("its slot is free", || figures.connections.get() < 3).await;
    assert!(site.service.edge.receiving.bytes() <= 100 * 1024);
    drop(clients);
    edge::testing::until("all memory is free", || site.service.edge.receiving.bytes() == 0).await;
}
