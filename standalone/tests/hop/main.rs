//! One client that goes from transport to transport with nothing but its cursor, while messages are published and its
//! connections are cut at any byte.

#![allow(clippy::unwrap_used, reason = "tests say what they expect by failing")]

mod client;
mod cursors;

use client::{Client, Got};
use edge::{settings::ServiceDefaults, testing::Site};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

const MESSAGES: usize = 2_000;
const CHANNELS: [&str; 2] = ["public.a", "public.b"];

/// Comet and SSE on one server.
fn site(settings: &[(&str, &str)]) -> Site {
    const DEFAULTS: ServiceDefaults = ServiceDefaults { name: "hop", about: "", version: "0", listen: "127.0.0.1:0" };
    Site::start(&DEFAULTS, settings, |service| comet_svc::routes(service).and(sse_svc::routes(service)), |_| ())
}

/// The channel of the message with this number.
fn channel_of(n: usize) -> usize {
    n * 3 % 5 % 2
}

/// Posts this many messages in batches of random sizes; returns their ids.
async fn publish(site: &Site, rng: &mut StdRng, largest: usize) -> Vec<String> {
    let token = site.token("public.*", "");
    let mut ids: Vec<String> = Vec::new();
    while ids.len() < MESSAGES {
        let size = rng.random_range(1..=largest).min(MESSAGES - ids.len());
        let line = |n: usize| {
            let text = "时间\r\n".repeat(n % 7);
            format!("{}\n", serde_json::json!({"channel": CHANNELS[channel_of(n)], "data": {"n": n, "text": text}}))
        };
        let body: String = (ids.len()..ids.len() + size).map(line).collect();
        let path = if rng.random() { "/data" } else { "/events" };
        let answer = site.ask("POST".parse().unwrap(), path).token(&token).body("application/x-ndjson", body).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        ids.extend(answer.json()["ids"].as_array().unwrap().iter().map(|id| id.as_str().unwrap().to_owned()));
    }
    ids
}

#[actix_web::test]
async fn each_message_comes_once_and_in_order() {
    let (seed, site) = (rand::random::<u64>(), site(&[("TRIDENT_HISTORY_COUNT", "2000")]));
    println!("seed {seed}");
    let mut client = Client::new(&site, seed);
    let mut rng = StdRng::seed_from_u64(!seed);
    let (sent, ()) = tokio::join!(publish(&site, &mut rng, 4), client.hop_to(MESSAGES - 1));
    let expected: Vec<_> = sent.into_iter().enumerate().map(|(n, id)| Got::Message { id, n }).collect();
    if let Some(at) = (0..MESSAGES).find(|at| client.got.get(*at) != Some(&expected[*at])) {
        panic!("seed {seed}: at {at} {:?} instead of {:?}", client.got.get(at), expected[at]);
    }
    assert_eq!(client.got.len(), MESSAGES);
    assert!(
        client.hops.iter().all(|(cut, whole)| cut + whole > 20),
        "every transport had its share: {:?}",
        client.hops
    );
    assert!(client.hops.iter().map(|(cut, _)| cut).sum::<usize>() > 100, "{:?}", client.hops);
}

#[actix_web::test]
async fn every_loss_is_announced_and_nothing_else_is() {
    let (seed, site) = (rand::random::<u64>(), site(&[("TRIDENT_HISTORY_COUNT", "20")]));
    println!("seed {seed}");
    let mut client = Client::new(&site, seed);
    let mut rng = StdRng::seed_from_u64(!seed);
    let (sent, ()) = tokio::join!(publish(&site, &mut rng, 120), client.hop_to(MESSAGES - 1));
    let numbers: Vec<_> = client.got.iter().filter_map(Got::number).collect();
    assert!(numbers.is_sorted_by(|a, b| a < b), "seed {seed}: each once and in order");
    assert!(client.got.iter().all(|got| got.id().is_none_or(|(id, n)| id == sent[n])), "seed {seed}");
    assert_eq!(numbers.last(), Some(&(MESSAGES - 1)), "seed {seed}");

    // A gap precedes the first message after it, of any channel; so each channel is checked separately.
    let mut is_explained = vec![false; client.got.len()];
    let mut losses = 0;
    for channel in 0..CHANNELS.len() {
        let mut due = (0..MESSAGES).filter(|n| channel_of(*n) == channel).peekable();
        let mut told = Vec::new();
        for (at, got) in client.got.iter().enumerate() {
            let Some(n) = got.number() else {
                told.push(at);
                continue;
            };
            if channel_of(n) != channel {
                continue;
            }
            let mut is_lost = false;
            while due.next_if(|due| *due < n).is_some() {
                is_lost = true;
            }
            assert_eq!(due.next(), Some(n));
            assert!(!is_lost || !told.is_empty(), "seed {seed}: something before {n} is lost and nobody said so");
            losses += usize::from(is_lost);
            told.drain(..).for_each(|gap| is_explained[gap] |= is_lost);
        }
        // What came too late for a message of this channel after it explains nothing, unless that was the end.
        told.into_iter().for_each(|gap| is_explained[gap] |= due.peek().is_some());
    }
    for (at, got) in client.got.iter().enumerate() {
        assert!(*got != Got::Gap || is_explained[at], "seed {seed}: a gap where nothing was lost, at {at}");
    }
    assert!(losses > 3, "the retention was too small to hold them: {losses} losses");
}
