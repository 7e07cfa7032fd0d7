//! Many parked connections, and several workers.

use std::{sync::Barrier, thread};

use super::*;

/// Readers on two workers get everything from a third thread, in order, whatever the three do at the same time.
#[test]
fn two_workers_serve_their_members_of_one_log() {
    const READERS: usize = 20;
    const MESSAGES: usize = 3_000;
    let log = Stage::log(Retention::default());
    let ready = Arc::new(Barrier::new(3));
    let worker = |ready: Arc<Barrier>, log: Arc<Log>| {
        thread::spawn(move || {
            rt::System::new().block_on(async {
                let stage = Stage::of(log, TIMES).await;
                let mut clients = stage.open_all("a", READERS).await;
                clients.extend(stage.open_all("a&beat=30", READERS).await);
                stage.until("all to be parked", |stage| stage.parked().0 == 2 * READERS).await;
                ready.wait();
                for client in &mut clients {
                    let body = client.read_to(&format!("\"{}\"\n", MESSAGES - 1)).await;
                    let numbers = body.lines().skip(1).filter(|line| *line != "K").map(|line| line.trim_matches('"'));
                    let numbers: Vec<usize> = numbers.map(|number| number.parse().unwrap()).collect();
                    assert_eq!(numbers, (0..MESSAGES).collect::<Vec<_>>());
                }
            });
        })
    };
    let workers = [worker(ready.clone(), log.clone()), worker(ready.clone(), log.clone())];
    ready.wait();
    for number in 0..MESSAGES {
        log.append(vec![Draft::new(channel("a"), Payload::from_text(&number.to_string()))], START + 1);
    }
    workers.into_iter().for_each(|worker| worker.join().unwrap());
}

/// Looking for those that were ended takes a turn for each part of the members, and finds all of them.
#[actix_web::test]
async fn ends_from_outside_are_found_in_parts() {
    const COUNT: usize = 150;
    let stage = Stage::new(Retention::default()).await;
    let mut clients = stage.open_all("a", COUNT).await;
    stage.until("all to be parked", |stage| stage.parked() == (COUNT, 1)).await;
    {
        let mut table = stage.cohorts.table.borrow_mut();
        table.visit_all();
        let before = table.to_visit;
        table.visit();
        assert!(table.to_visit > 0 && table.to_visit < before, "{before}, then {}", table.to_visit);
    }
    // In the middle of a message to all of them.
    stage.publish("a", &["one"]);
    let registry = stage.edge.limits.registry().clone();
    assert_eq!(registry.end_all(End::Revoked, |_| true).await, COUNT);
    for client in &mut clients {
        let body = client.read_to_end().await;
        assert!(body.ends_with("C\n"), "{body}");
    }
    stage.until("all to leave", |stage| stage.parked() == (0, 0)).await;
}

/// A shutdown with many parked connections: each gets the last message and its end, and the host waits for all of them.
#[actix_web::test]
async fn many_parked_streams_end_at_a_shutdown() {
    const COUNT: usize = 2_000;
    let stage = Stage::new(Retention::default()).await;
    crate::open_files::raise(&stage.edge.settings);
    let clients = stage.open_all("a", COUNT).await;
    stage.until("all to be parked", |stage| stage.parked() == (COUNT, 1)).await;
    stage.publish("a", &["last"]);
    stage.log.close();
    let mut served = Vec::new();
    for client in clients {
        let mut client = client;
        assert!(client.read_to_end().await.ends_with("\"last\"\nC\n"));
        served.push(client.served);
    }
    for future in served {
        timeout(PATIENCE, future).await.unwrap().unwrap();
    }
    assert_eq!((stage.parked(), stage.edge.limits.connections(), stage.edge.drain.in_flight()), ((0, 0), 0, 0));
}

/// The members that stopped reading kept the bytes of a long message, each of another one, and nothing counted them.
#[actix_web::test]
async fn each_member_sends_a_long_message_by_itself() {
    let stage = Stage::new(Retention::default()).await;
    let mut clients = stage.open_all("a", 3).await;
    stage.until("all to be parked", |stage| stage.parked() == (3, 1)).await;
    let long = "x".repeat(1 << 20);
    stage.publish("a", &["one", &long, "two"]);
    for client in &mut clients {
        let wait = async {
            while !client.text.ends_with(b"\"two\"\n\r\n") {
                assert_ne!(client.socket.read_buf(&mut client.text).await.unwrap(), 0);
            }
        };
        timeout(PATIENCE, wait).await.unwrap();
        let (body, _) = client.body();
        let (_, body) = body.split_once('\n').unwrap();
        assert!(body == format!("\"one\"\n\"{long}\"\n\"two\"\n"), "{} bytes", body.len());
    }
    assert_eq!(stage.edge.metrics.parking.unparked(Unparked::Behind).get(), 3);
    stage.until("all to be parked again", |stage| stage.parked() == (3, 1)).await;
}
