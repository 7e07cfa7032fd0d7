//! One process on a Redis has the subscriptions, and all answer.

use edge::testing::redis::Server;

use super::*;

/// Whether a process has the subscriptions.
fn has_them(site: &Site) -> bool {
    figure(site, "subscriptions") > 0
}

/// Every process passes requests on to the one that has the subscriptions, and another takes over from it.
#[actix_web::test]
async fn another_process_takes_over_from_one_that_stops() {
    let server = Server::start().await;
    let replica = || {
        let site = site(&[("TRIDENT_BUS", &server.url())]);
        backend::serve(&site.service);
        site
    };
    let replicas = [replica(), replica()];
    until("both logs", || replicas.iter().all(|one| one.service.bus.ready().is_ok())).await;
    let receiver = Receiver::start(|_| done()).await;
    let client = token(&replicas[0], "ann", "*");
    let mut created = subscribe(&replicas[0], "s", &client, &webhook("a/*", &receiver.url())).await;
    while created.status == 503 {
        created = subscribe(&replicas[0], "s", &client, &webhook("a/*", &receiver.url())).await;
    }
    assert_eq!(created.status, 201, "{created:?}");
    for site in &replicas {
        let answer = ask(site, Method::GET, "s", &client, &Value::Null).await;
        assert_eq!((answer.status, &answer.json()["webhook"]), (200, &created.json()["webhook"]));
        let stale = site.ask(Method::POST, "/streams/__ds/subscriptions/s/callback").token("1.x");
        assert_eq!(stale.body(JSON, r#"{"wake_id":"w","generation":1}"#).await.error().1, "TOKEN_INVALID");
    }
    assert_eq!(replicas.iter().filter(|one| has_them(one)).count(), 1);
    let [one, other] = replicas;
    let (holder, next) = if has_them(&one) { (one, other) } else { (other, one) };
    write(&next, "a/1", &client).await;
    until("a wake", || receiver.wakes().len() == 1).await;
    settle(&next, &client, &receiver).await;
    holder.stop().await;
    until("another process", || has_them(&next)).await;
    write(&next, "a/1", &client).await;
    until("a wake", || receiver.wakes().len() == 2).await;
    let (before, after) = (&receiver.wakes()[0], &receiver.wakes()[1]);
    assert_eq!((&before["generation"], &after["generation"]), (&json!(1), &json!(2)));
    assert_eq!(after["streams"][0]["acked_offset"], before["streams"][0]["tail_offset"]);
}
