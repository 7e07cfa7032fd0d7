//! Publishing again with the same `Idempotency-Key`.

use std::time::Duration;

use futures_util::future::join_all;

use super::{Route, id, ids};

const JSON: &str = "application/json";
const KEY: &str = "Idempotency-Key";
const HOUR: Duration = Duration::from_secs(3600);

/// The first answer again, to the byte.
pub async fn a_key_adds_once(route: Route) {
    let site = route.site();
    let token = site.token("*", "");
    let post = |query: &str| route.anonymous(&site, query).token(&token);
    let first = post("?channel=a").header(KEY, "k 1").body(JSON, "1").await;
    id(&first);
    for body in ["1", " 1\n"] {
        let again = post("?channel=a").header(KEY, "k 1").body(JSON, body).await;
        assert_eq!((again.status, &again.body), (201, &first.body), "also when it is only spaced otherwise");
    }
    let batch = "{\"channel\":\"a\",\"data\":2}\n{\"channel\":\"b\",\"data\":3}";
    let [one, two] = [
        post("").header(KEY, "k 2").body("application/x-ndjson", batch).await,
        post("").header(KEY, "k 2").body("application/x-ndjson", batch).await,
    ];
    assert_eq!(ids(&one), ids(&two));
    let longest = "k".repeat(128);
    id(&post("?channel=a").header(KEY, &longest).body(JSON, "4").await);
    id(&post("?channel=a").header(KEY, &longest).body(JSON, "4").await);
    assert_eq!((site.held("a").len(), site.held("b").len()), (3, 1));
    // A key that was refused is not used up: nothing was added under it.
    assert_eq!(post("?channel=a").header(KEY, "k 3").body(JSON, "{").await.status, 400);
    id(&post("?channel=a").header(KEY, "k 3").body(JSON, "{}").await);
    assert_eq!(site.held("a").len(), 4);
}

/// 422 for a key that was used for something else, and nothing is added; the first request is still answered.
pub async fn a_key_of_another_request_is_refused(route: Route) {
    let site = route.site();
    let token = site.token("*", "");
    let post = |query: &str| route.anonymous(&site, query).token(&token).header(KEY, "k");
    let first = post("?channel=a").body(JSON, "1").await;
    let batch = "{\"channel\":\"a\",\"data\":1}\n{\"channel\":\"a\",\"data\":1}";
    for answer in [
        post("?channel=a").body(JSON, "2").await,
        post("?channel=b").body(JSON, "1").await,
        post("?channel=a&event=x").body(JSON, "1").await,
        post("?channel=a&channel=b").body(JSON, "1").await,
        post("?channel=a").body("text/plain", "1").await,
        post("").body("application/x-ndjson", batch).await,
    ] {
        assert_eq!(answer.error(), (422, "idempotency_key_reused".into()));
    }
    assert_eq!(post("?channel=a").body(JSON, "1").await.body, first.body);
    assert_eq!((site.held("a").len(), site.held("b").len()), (1, 0));
}

/// Of many simultaneous requests one publishes, and all get its answer.
pub async fn a_key_at_once_adds_once(route: Route) {
    let site = route.site();
    let token = site.token("*", "");
    let posts = (0..16).map(|_| {
        let ask = route.anonymous(&site, "?channel=a&channel=b").token(&token).header(KEY, "k");
        ask.body(JSON, "1")
    });
    let answers = join_all(posts).await;
    let first = ids(&answers[0]);
    assert!(answers.iter().all(|answer| ids(answer) == first));
    assert_eq!((site.held("a").len(), site.held("b").len()), (1, 1));
    let metrics = &site.service.edge.metrics;
    assert_eq!(
        (metrics.publishes.get(), metrics.repeats.get()),
        (2, 15),
        "messages that are in the log; answers again"
    );
}

/// Two publishers who chose the same key do not get each other's answers; one with a new token keeps theirs.
pub async fn a_key_is_its_publishers_own(route: Route) {
    let site = route.site();
    let post = |subject: Option<&str>, publish: &str| {
        let token = site.token_for(subject, publish, "", HOUR);
        route.anonymous(&site, "?channel=a").token(&token).header(KEY, "k").body(JSON, "1")
    };
    let ann = id(&post(Some("ann"), "*").await);
    let bob = id(&post(Some("bob"), "*").await);
    let nameless = id(&post(None, "*").await);
    assert!(ann != bob && bob != nameless && ann != nameless);
    assert_eq!(id(&post(Some("ann"), "a").await), ann, "the same publisher with another token");
    assert_eq!(site.held("a").len(), 3);
}

/// 1 to 128 characters, once.
pub async fn keys_that_are_none(route: Route) {
    let site = route.site();
    let longer = "k".repeat(129);
    let bad = (400, "bad_idempotency_key".to_owned());
    for key in ["", &longer, "schlüssel"] {
        let answer = route.post(&site, "?channel=a").header(KEY, key).body(JSON, "1").await;
        assert_eq!(answer.error(), bad, "{key}");
    }
    let twice = route.post(&site, "?channel=a").header(KEY, "k").header(KEY, "l").body(JSON, "1").await;
    assert_eq!(twice.error(), bad);
    assert!(site.held("a").is_empty());
}
