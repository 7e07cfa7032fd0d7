//! A client that does not read costs a cursor, and delays nobody.

use shared::testing::Events;

use crate::site;

/// Bytes of memory that this process has in use (Linux: the second field of statm, in pages).
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[cfg(target_os = "linux")]
#[actix_web::test]
async fn who_does_not_read_costs_no_memory_and_gets_a_gap() {
    const MIB: usize = 1024 * 1024;
    let site = site(&[("TRIDENT_HISTORY_BYTES", "1MiB")]);
    let stalled = site.get("/events?channel=public.a").open().await;
    let mut reading = site.get("/events?channel=public.a").events().await;
    let text = format!("\"{}\"", "x".repeat(50_000));
    let mut last = String::new();
    let mut before = 0;
    // 64 MB, of which the first fifth fills the log and every buffer there is.
    for n in 0..1_280 {
        last = site.publish("public.a", &text).await.to_string();
        if n % 8 == 7 {
            let came = reading.take(8).await;
            assert_eq!(came[7].0, last, "nobody else is behind");
        }
        if n == 256 {
            before = resident();
        }
    }
    let grown = resident().saturating_sub(before);
    assert!(grown < 24 * MIB, "{} MiB more after 51 MB", grown / MIB);

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
