//! What a client may leave with the server.

use edge::testing::soon;
use serde_json::json;

use super::*;

/// Case 5.4: `auth` is bounded.
#[actix_web::test]
async fn a_large_auth_is_refused() {
    let site = site(&[]);
    let auth = |bytes: usize| json!({ "x": "x".repeat(bytes) });
    assert!(Client::with_auth(&site, &auth(16_000)).await.is_ok());
    for bytes in [17_000, 900_000] {
        let Err(refused) = Client::with_auth(&site, &auth(bytes)).await else { panic!("{bytes} bytes were taken") };
        assert_eq!(refused["data"]["code"], "auth_too_large");
        assert_eq!(refused["message"], "`auth` is larger than 16384 bytes");
    }
}

/// Case 5.4: what is accepted of it is not kept for as long as the connection lasts.
#[actix_web::test]
async fn auth_is_freed_after_admission() {
    let mut io = None;
    let site = Site::start_with(&chat_svc::DEFAULTS, &[], |service| {
        let chat = Chat::new(service).unwrap();
        io = Some(chat.io().clone());
        let polls = chat.clone();
        (move |_: &Service| polls.routes(), move |config: &mut actix_web::web::ServiceConfig| chat.application(config))
    });
    let client = Client::with_auth(&site, &json!({ "x": "x".repeat(16_000) })).await.unwrap();
    let socket = io.unwrap().of("/").socket(&client.sid).unwrap();
    assert_eq!(socket.auth::<serde_json::Value>().unwrap(), json!({}));
}

/// The same for what a connection keeps of its first request.
#[actix_web::test]
async fn a_large_first_request_is_refused() {
    let site = site(&[]);
    for (bytes, status) in [(15_000, 200), (17_000, 403)] {
        let cookie = format!("other={}", "x".repeat(bytes));
        let mut connection = site.connect().await;
        connection.request("GET", "/socket.io/?EIO=4&transport=polling", &[("Cookie", &cookie)]).await;
        let head = connection.head().await;
        assert!(head.starts_with(&format!("http/1.1 {status}")), "{bytes}: {head}");
    }
}

/// Case 5.3: clients that subscribe to many channels and go leave no more than the budget.
#[actix_web::test]
async fn sessions_stay_within_their_budget() {
    let site = site(&[("TRIDENT_SESSIONS_TOTAL", "256KiB")]);
    let figure = async |name: &str| -> usize {
        let answer = site.get("/metrics").send().await;
        let line = answer.text().lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap().parse().unwrap()
    };
    let channels: Vec<String> = (0..120).map(|n| format!("public.{:x>100}", n)).collect();
    let event = format!(r#""subscribe",{}"#, json!({ "channels": channels }));
    for gone in 1..=40 {
        let mut client = Client::connect(&site).await;
        assert_eq!(client.asks(&event).await["ok"], true);
        drop(client);
        soon("the end of the session", async {
            while figure("trident_sessions").await + figure("trident_sessions_dropped_total").await < gone {
                tokio::time::sleep(std::time::Duration::from_millis(2)).await;
            }
        })
        .await;
        assert!(figure("trident_session_bytes").await <= 256 * 1024);
    }
    assert!(figure("trident_sessions").await >= 5 && figure("trident_sessions_dropped_total").await > 0);
    // The last sessions can still be resumed: the oldest were evicted.
    let mut client = Client::connect(&site).await;
    client.asks(&event).await;
    let sid = client.sid.clone();
    assert_eq!(client.reconnect(&site).await.sid, sid);
}
