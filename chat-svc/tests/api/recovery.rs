//! Connection state recovery of the chat.

use edge::testing::soon;
use serde_json::json;

use super::*;

/// Case 2.1: a client that is cut off before any message gets its session back, and what it missed.
#[actix_web::test]
async fn a_client_disconnected_before_any_message_is_recovered() {
    let site = site(&[]);
    let mut client = Client::connect(&site).await;
    for event in [r#""join","tea""#, r#""name","Mei""#, r#""subscribe",{"channels":["public.news"]}"#] {
        assert_eq!(client.asks(event).await["ok"], true, "{event}");
    }
    let (sid, pid) = (client.sid.clone(), client.pid.clone());
    assert_eq!(client.offset, None);
    // Twice, since a second connection may break, too.
    let mut client = client.reconnect(&site).await;
    for round in 0..2 {
        site.publish_as("chat.tea", "chat message", json!(round).to_string()).await;
        site.publish("public.news", json!(round).to_string()).await;
        client.offset = None;
        client = client.reconnect(&site).await;
        assert_eq!((&client.sid, &client.pid), (&sid, &pid));
        for expected in 0..=round {
            assert_eq!(client.hears("chat message").await[0], json!(expected));
            assert_eq!(client.hears("message").await[0], json!(expected));
        }
    }
    assert_eq!(client.asks(r#""chat message","me""#).await["ok"], true);
    let message = client.hears("chat message").await;
    assert_eq!((&message[1]["from"], &message[1]["room"]), (&json!("Mei"), &json!("tea")));
}

/// Case 10.1: a recovered session opens its channels again within its client's share, and otherwise the client gets a new session.
#[actix_web::test]
async fn a_recovered_session_counts_for_the_share_of_its_client() {
    let site = site(&[("TRIDENT_MAX_CHANNELS_PER_CLIENT", "150")]);
    let subscribe = |name: &str| {
        let channels: Vec<String> = (0..100).map(|n| format!("public.{name}.{n}")).collect();
        format!(r#""subscribe",{}"#, json!({ "channels": channels }))
    };
    let end = async |client: Client, sessions: &str| {
        drop(client);
        let line = format!("\ntrident_sessions {sessions}\n");
        soon("the end of the session", async {
            while !site.get("/metrics").send().await.text().contains(&line) {
                tokio::time::sleep(std::time::Duration::from_millis(2)).await;
            }
        })
        .await;
    };
    let mut first = Client::connect(&site).await;
    assert_eq!(first.asks(&subscribe("first")).await["ok"], true);
    let (sid, auth) = (first.sid.clone(), json!({ "pid": first.pid }));
    end(first, "1").await;
    let mut second = Client::connect(&site).await;
    assert_eq!(second.asks(&subscribe("second")).await["ok"], true);
    let third = Client::with_auth(&site, &auth).await.unwrap();
    assert_ne!(third.sid, sid, "the other client has taken the share");
    end(second, "2").await;
    // The session was left as it was.
    let mut first = Client::with_auth(&site, &auth).await.unwrap();
    assert_eq!(first.sid, sid);
    let mut fourth = Client::connect(&site).await;
    assert_eq!(fourth.refused(&subscribe("fourth")).await, "too_many_requests");
    site.publish("public.first.99", "1").await;
    assert_eq!(first.hears("message").await[0], json!(1));
}

/// Case 1.5: a missed message of 1.5 MB comes after the reconnect.
#[actix_web::test]
async fn a_large_message_is_recovered() {
    let site = site(&[("TRIDENT_MAX_BODY", "4MiB")]);
    let mut client = Client::connect(&site).await;
    client.asks(r#""subscribe",{"channels":["public.news"]}"#).await;
    site.publish("public.news", "1").await;
    client.hears("message").await;
    let sid = client.sid.clone();
    let text = "x".repeat(1_500_000);
    site.publish("public.news", json!(text).to_string()).await;
    let mut client = client.reconnect(&site).await;
    assert_eq!(client.sid, sid);
    assert_eq!(client.hears("message").await[0], json!(text));
}

/// Case 1.5: the socket takes as large messages as the other doors do.
#[actix_web::test]
async fn a_client_says_as_much_as_the_setting_allows() {
    let site = site(&[("TRIDENT_MAX_BODY", "2MiB")]);
    let mut client = Client::connect(&site).await;
    let text = json!("x".repeat(1_500_000)).to_string();
    assert_eq!(client.asks(&format!(r#""chat message",{text}"#)).await["ok"], true);
    let too_large = json!("x".repeat(2 * 1024 * 1024)).to_string();
    assert_eq!(client.refused(&format!(r#""chat message",{too_large}"#)).await, "too_large");
}

/// A pattern is part of the session, and what was published to channels that it selects is recovered.
#[actix_web::test]
async fn a_backend_that_reads_a_pattern_is_recovered() {
    let site = site(&[]);
    let token = site.backend_token(shared::pure::access::ApiRight::Read);
    let mut client = Client::with_auth(&site, &json!({ "token": token })).await.unwrap();
    let first = site.publish("orders.1", "1").await;
    let subscribe = r#""subscribe",{"channels":["orders.*"],"since":"earliest"}"#;
    assert_eq!(client.asks(subscribe).await["ok"], true);
    let message = client.hears("message").await;
    assert_eq!((&message[0], &message[1]["id"]), (&json!(1), &json!(first.to_string())));
    site.publish("orders.2", "2").await;
    assert_eq!(client.hears("message").await[0], 2);
    let (sid, auth) = (client.sid.clone(), json!({ "token": token, "pid": client.pid, "offset": client.offset }));
    drop(client);
    site.publish("orders.3", "3").await;
    let mut client = Client::with_auth(&site, &auth).await.unwrap();
    assert_eq!(client.sid, sid);
    assert_eq!(client.hears("message").await[0], 3);
    site.publish("orders.4", "4").await;
    assert_eq!(client.hears("message").await[0], 4);
    // Without the right, the session is not restored.
    let mut other = Client::connect(&site).await;
    assert_eq!(other.refused(r#""subscribe",{"channels":["public.*"]}"#).await, "bad_channel");
}
