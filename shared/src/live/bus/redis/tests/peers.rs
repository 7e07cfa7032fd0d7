//! What one process asks the others, and what it stores for those that start later.

use super::*;
use crate::live::bus::ANSWER_WITHIN;

/// Answers every question with the name of the process and the question.
fn answer_all(bus: &RedisBus) {
    let name = bus.process().unwrap().to_owned();
    let mut questions = bus.questions().unwrap();
    tokio::spawn(async move {
        while let Some(question) = questions.recv().await {
            let text = String::from_utf8_lossy(question.text()).into_owned();
            question.answer(format!("{name} {text}").into());
        }
    });
}

async fn connect_as(server: &Server, service: &str) -> RedisBus {
    let bus = open(&server.url()).with_service(service);
    ready(&bus).await;
    bus
}

/// Waits until `bus` gets the answers of `count` others.
async fn asked(bus: &RedisBus, count: usize) -> Replies {
    let began = Instant::now();
    loop {
        let mut replies = bus.ask("why\nnow".into()).await;
        if replies.answers.len() == count && replies.missing.is_empty() {
            replies.answers.sort();
            return replies;
        }
        assert!(began.elapsed() < PATIENCE, "{replies:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn every_other_process_answers() {
    let server = Server::start().await;
    let one = connect_as(&server, "a").await;
    answer_all(&one);
    assert_eq!(asked(&one, 0).await, Replies::default());
    let (other, third) = (connect_as(&server, "b").await, connect_as(&server, "c").await);
    for bus in [&other, &third] {
        answer_all(bus);
    }
    let (b, c) = (other.process().unwrap().to_owned(), third.process().unwrap().to_owned());
    assert!(b.starts_with("b-") && c.starts_with("c-"), "{b} {c}");
    let expected: Vec<_> = [&b, &c].map(|name| (name.clone(), bytes::Bytes::from(format!("{name} why\nnow")))).into();
    assert_eq!(asked(&one, 2).await.answers, expected);
    // One that ends says so: nobody waits for it.
    other.close().await;
    assert_eq!(asked(&one, 1).await.answers, expected[1..]);
}

/// One that ended without a word is missing, and then forgotten and reported.
#[tokio::test]
async fn a_process_that_does_not_answer_is_missing() {
    let server = Server::start().await;
    let (one, other) = (connect_as(&server, "a").await, connect_as(&server, "b").await);
    answer_all(&one);
    answer_all(&other);
    asked(&one, 1).await;
    let name = other.process().unwrap().to_owned();
    let mut gone = one.gone().unwrap();
    drop(other);
    let began = Instant::now();
    assert_eq!(one.ask("why".into()).await, Replies { answers: Vec::new(), missing: vec![name.clone()] });
    while one.ask("why".into()).await != Replies::default() {
        assert!(began.elapsed() < Duration::from_secs(10), "it is still expected");
    }
    assert_eq!(tokio::time::timeout(PATIENCE, gone.recv()).await.unwrap(), Some(name));
}

/// Who looks for the process that has something does not wait for those that do not answer.
#[tokio::test]
async fn one_answer_can_be_enough() {
    let server = Server::start().await;
    let (one, other) = (connect_as(&server, "a").await, connect_as(&server, "b").await);
    for bus in [&one, &other] {
        answer_all(bus);
    }
    asked(&one, 1).await;
    let silent = connect_as(&server, "c").await;
    // Open, and not read.
    let _questions = silent.questions().unwrap();
    let silent = silent.process().unwrap();
    tokio::time::timeout(ANSWER_WITHIN * 10, async {
        while one.ask_until("why".into(), |_| true).await.missing != [silent] {}
    })
    .await
    .expect("its answer is expected soon");
    let replies = tokio::select! {
        replies = one.ask_until("who".into(), |answer| answer.ends_with(b"who")) => replies,
        () = tokio::time::sleep(ANSWER_WITHIN) => panic!("it waits for the one that is silent"),
    };
    assert_eq!(replies.answers.len(), 1);
    assert_eq!(replies.missing, [silent]);
}

/// Without a connection nobody can be asked, and a process does not seem to be alone.
#[tokio::test]
async fn all_are_missing_while_redis_is_unavailable() {
    let mut server = Server::start().await;
    let (one, other) = (connect_as(&server, "a").await, connect_as(&server, "b").await);
    answer_all(&one);
    answer_all(&other);
    asked(&one, 1).await;
    server.kill();
    until("the connection is lost", || one.ready().is_err()).await;
    assert_eq!(one.ask("why".into()).await.missing, [other.process().unwrap()]);
    assert_eq!(open(&server.url()).ask("why".into()).await.missing, ["unknown"]);
    server.run().await;
    asked(&one, 1).await;
}

fn record(name: &str, value: u64, expires_ms: u64) -> Record {
    Record { name: name.into(), value, expires_ms, is_monotone: false }
}

/// They are known before a process is ready, and again after it was disconnected. Those that have ended are removed.
#[tokio::test]
async fn records_outlive_a_process() {
    let server = Server::start().await;
    let bus = connect_as(&server, "a").await;
    let later = wall_clock() + 60_000;
    let many: Vec<_> = (0..1_200).map(|n| record(&format!("n{n}"), n, later)).collect();
    bus.store(many).await.unwrap();
    bus.store(vec![record("n1", u64::MAX, later + 1), record("past", 1, 1_000)]).await.unwrap();
    // Of two, the one with the greater value applies with its end, in whatever order they are stored.
    for (value, expires_ms) in [(10, later + 9), (u64::MAX - 1, later), (9, later + 99), (u64::MAX - 1, later - 1)] {
        bus.store(vec![record("newest", value, expires_ms)]).await.unwrap();
    }
    // A monotone one does not get smaller, whatever a process knows of it that stores it.
    let grown = |value, expires_ms| Record { is_monotone: true, ..record("grown", value, expires_ms) };
    for (value, expires_ms) in [(10, later), (9, later + 9), (u64::MAX, later - 1), (99, later)] {
        bus.store(vec![grown(value, expires_ms)]).await.unwrap();
    }
    drop(bus);
    let bus = open(&server.url());
    let mut stored = bus.stored().unwrap();
    assert!(bus.stored().is_none());
    let mut all = HashMap::new();
    let mut hold = Vec::new();
    while all.len() < 1_202 {
        let batch = timeout(PATIENCE, stored.recv()).await.unwrap().unwrap();
        all.extend(batch.records.iter().map(|record| (record.name.clone(), record.clone())));
        hold.push(batch);
    }
    assert!(bus.ready().is_err(), "not before they apply");
    drop(hold);
    ready(&bus).await;
    assert_eq!((&all["n1"], &all["n7"]), (&record("n1", u64::MAX, later + 1), &record("n7", 7, later)));
    assert_eq!(all["newest"], record("newest", u64::MAX - 1, later));
    assert_eq!(all["grown"], record("grown", u64::MAX, later + 9));
    until_async("it is removed", async || server.count(&["HLEN", scripts::RECORDS]).await == 1_202).await;
    server.command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).await;
    assert!(timeout(PATIENCE, stored.recv()).await.unwrap().is_some(), "others may have stored some");
}

async fn until_async(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !is_so().await {
        assert!(began.elapsed() < PATIENCE, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
