//! A Redis that refuses commands: from the start, and while the process serves.

use super::*;
use crate::{
    live::degraded::reason,
    testing::{logged, redis::BUS_RIGHTS},
};

/// A server with a user of the sufficient rights, after which `changes` are made to them, and the user's URL.
async fn guarded(changes: &[&str]) -> (Server, String) {
    let users =
        ["--user", "default", "on", "nopass", "+@all", "~*", "&*", "--user", "trident", "on", ">let-me-in-please"];
    let options = [&users[..], BUS_RIGHTS].concat();
    let server = Server::with(&options, "redis://").await;
    change(&server, changes).await;
    let url = server.url().replace("redis://", "redis://trident:let-me-in-please@");
    (server, url)
}

async fn change(server: &Server, changes: &[&str]) {
    server.command(&[&["ACL", "SETUSER", "trident"], changes].concat()).await;
}

fn degraded(bus: &RedisBus, reason: &str) -> Option<String> {
    bus.degraded().into_iter().find(|one| one.reason == reason).map(|one| one.message)
}

/// Case 8.2: these rights are sufficient for everything that the bus does. A test of the crate `edge` compares them with the documentation.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rights_are_sufficient_for_the_contract() {
    let (server, url) = guarded(&[]).await;
    contract::suite(|| async { Arc::new(connect(&url).await) as Arc<dyn Bus> }).await;
    contract::streams(Arc::new(connect(&url).await)).await;
    let bus = connect(&url).await;
    assert!(bus.lease("tick", Duration::from_secs(1)).await.is_some());
    bus.release("tick", bus.log().head()).await;
    assert!(matches!(bus.lease("tick", Duration::from_secs(1)).await, Some(Lease::Got { .. })));
    let _questions = bus.questions();
    while bus.ask("why".into()).await.missing == ["unknown"] {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let record = |is_monotone| Record { name: "a".into(), value: 1, expires_ms: u64::MAX, is_monotone };
    bus.store(vec![record(false), record(true)]).await.unwrap();
    bus.publish(publication("a", 1)).await.unwrap();
    bus.purge(channel("a")).await.unwrap();
    until("all is well", || bus.degraded().is_empty()).await;
    assert_eq!(server.command(&["ACL", "LOG"]).await, redis::Value::Array(Vec::new()), "nothing was refused");
}

/// Case 8.2: all missing rights are named at once, while the process serves with the others.
#[tokio::test]
async fn missing_rights_are_named() {
    let (server, url) = guarded(&[]).await;
    // A stream is there, so none has to be begun.
    drop(connect(&url).await);
    change(&server, &["-xtrim", "-set", "-time"]).await;
    let bus = connect(&url).await;
    until("the rights are named", || degraded(&bus, reason::REDIS_RIGHTS).is_some_and(|why| why.contains("rejects ")))
        .await;
    let message = degraded(&bus, reason::REDIS_RIGHTS).unwrap();
    for command in ["XTRIM", "SET", "TIME"] {
        assert!(message.contains(&format!("{command} ")), "{command}: {message}");
    }
    assert!(!message.contains("XADD") && !message.contains("let-me-in"), "{message}");
    bus.publish(publication("a", 1)).await.unwrap();
    change(&server, &["+xtrim", "+set", "+time"]).await;
    until("all is well again", || bus.degraded().is_empty()).await;
}

/// Case 8.8: commands that are rejected while the process serves are reported as degraded, and recover without a restart.
#[tokio::test]
async fn revoked_permissions_are_reported_until_they_are_restored() {
    let (server, url) = guarded(&[]).await;
    let bus = connect(&url).await;
    for (right, command) in [("xadd", "XADD"), ("xtrim", "XTRIM"), ("get", "GET"), ("del", "DEL")] {
        change(&server, &[&format!("-{right}")]).await;
        if right != "get" {
            until(command, || degraded(&bus, reason::REDIS_RIGHTS).is_some_and(|why| why.contains(command))).await;
            assert!(bus.ready().is_ok(), "{command}");
        } else {
            // Reading needs it.
            until(command, || bus.ready().is_err_and(|error| error.to_string().contains("'get'"))).await;
        }
        change(&server, &[&format!("+{right}")]).await;
        until("all is well again", || bus.ready().is_ok() && bus.degraded().is_empty()).await;
    }
}

/// Case 8.7: a process that may not read any more tries again with growing pauses, and not 25 times a second. Without the right to trim, or to
/// ask for the time, it stays connected. Each reason is logged once.
#[tokio::test]
async fn tries_after_a_refusal_become_rare() {
    let (server, url) = guarded(&[]).await;
    logged::collect();
    let bus = connect(&url).await;
    bus.publish(publication("a", 1)).await.unwrap();
    let connections = async || {
        let info: String = redis::from_redis_value(server.command(&["INFO", "stats"]).await).unwrap();
        let line = info.lines().find_map(|line| line.strip_prefix("total_connections_received:"));
        // One is this question's own.
        line.unwrap().trim().parse::<usize>().unwrap()
    };
    change(&server, &["-xread"]).await;
    until("it is away", || bus.ready().is_err()).await;
    assert!(bus.ready().unwrap_err().to_string().contains("xread"), "the right is named: {:?}", bus.ready());
    let (started, before) = (Instant::now(), connections().await);
    let mut asked = 1;
    // Six tries of two connections each: the pauses between them are at least half of 50, 100, … 800 ms.
    while connections().await < before + asked + 12 {
        asked += 1;
        assert!(started.elapsed() < PATIENCE, "it tries again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(started.elapsed() > Duration::from_millis(350), "{:?}", started.elapsed());
    let lines = logged::take();
    let refused = lines.iter().filter(|line| line.contains("xread")).count();
    assert_eq!(refused, 1, "{lines:?}");
    change(&server, &["+xread"]).await;
    ready(&bus).await;
    for (right, command) in [("xtrim", "XTRIM"), ("time", "TIME")] {
        logged::collect();
        // Those of other processes are asked for on a connection that is opened afterwards.
        let mut before = connections().await;
        loop {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let known = std::mem::replace(&mut before, connections().await);
            if before == known + 1 {
                break;
            }
        }
        change(&server, &[&format!("-{right}")]).await;
        until(command, || degraded(&bus, reason::REDIS_RIGHTS).is_some_and(|why| why.contains(command))).await;
        for n in 0..20 {
            // Without the time, publications are rejected.
            let _ = bus.publish(publication("a", n)).await;
        }
        assert!(bus.ready().is_ok());
        // Of this test: the change, and this question.
        assert_eq!(connections().await, before + 2, "it stays connected without {command}");
        let lines = logged::take();
        assert!(lines.iter().filter(|line| line.to_uppercase().contains(command)).count() <= 1, "{lines:?}");
        change(&server, &[&format!("+{right}")]).await;
        until("all is well again", || bus.degraded().is_empty()).await;
    }
}

/// Case 8.9: trimming that is refused does not touch publications; what is refused was not added.
#[tokio::test]
async fn a_refused_publication_was_not_added() {
    let (server, url) = guarded(&[]).await;
    let bus = connect(&url).await;
    let mut reader = Reader::open(bus.log(), &[channel("a")], Since::Now);
    let keyed = |key: &str, data: &str| Publication {
        key: Some(IdempotencyKey { scope: "me".into(), key: key.into() }),
        ..publication("a", data)
    };
    change(&server, &["-xtrim"]).await;
    until("trimming is refused", || degraded(&bus, reason::REDIS_RIGHTS).is_some_and(|why| why.contains("XTRIM")))
        .await;
    let mut ids = Vec::new();
    for n in 0..50 {
        ids.extend(bus.publish(publication("a", n)).await.unwrap().ids);
    }
    for right in ["xadd", "set", "time"] {
        change(&server, &[&format!("-{right}")]).await;
        let refused = bus.publish(keyed(right, "refused")).await;
        assert!(matches!(&refused, Err(BusError::Unavailable(why)) if why.contains("rejects")), "{right}: {refused:?}");
        change(&server, &[&format!("+{right}")]).await;
        ids.extend(bus.publish(keyed(right, "taken")).await.unwrap().ids);
    }
    assert_eq!(take(&mut reader, ids.len()).await, (ids.clone(), false));
    let log = server.count(&["XLEN", scripts::STREAM]).await;
    // The stream begins with a break.
    assert_eq!(log, ids.len() + 1, "nothing that was refused is in the log");
}
