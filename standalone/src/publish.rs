//! `standalone publish`: a message from the terminal, and its id on stdout.

use std::{
    io::Read as _,
    time::{Duration, Instant},
};

use clap::ArgMatches;
use rand::{TryRng as _, rngs::SysRng};
use serde::Deserialize;
use serde_json::value::RawValue;
use shared::pure::{ChannelName, EventName};
use tokio::time::{sleep, timeout};

use crate::client::{self, Backoff, BaseUrl, Refusal};

/// How long to retry.
const PATIENCE: Duration = Duration::from_secs(30);
/// Timeout of one attempt.
const ATTEMPT: Duration = Duration::from_secs(10);

/// Publishes the message in `matches` and prints the ids, one per line.
///
/// # Errors
/// Why it was not published, or the outcome is unknown.
pub async fn run(matches: &ArgMatches) -> Result<(), String> {
    let Some(base) = matches.get_one::<BaseUrl>("url") else { return Err("no URL".to_owned()) };
    let (kind, body) = body(matches)?;
    let key = match matches.get_one::<String>("key") {
        Some(key) => key.clone(),
        None => fresh_key()?,
    };
    let channels =
        matches.get_many::<ChannelName>("channel").into_iter().flatten().map(|channel| ("channel", &**channel));
    let event = matches.get_one::<EventName>("event").map(|event| ("event", &**event));
    let url = base.with("/events", channels.chain(event));
    let client = client::open(base, matches.get_one::<String>("token").map(String::as_str))?;

    let (begun, mut backoff) = (Instant::now(), Backoff::default());
    loop {
        let request =
            client.post(&url).insert_header(("Content-Type", kind)).insert_header(("Idempotency-Key", key.as_str()));
        let answered = timeout(ATTEMPT, request.send_body(body.clone())).await;
        let (why, asked) = match answered {
            Err(_) => (format!("no answer from {base}"), Duration::ZERO),
            Ok(Err(error)) => (format!("cannot connect to {base}: {error}"), Duration::ZERO),
            Ok(Ok(mut response)) => {
                let body = timeout(ATTEMPT, response.body()).await.ok().and_then(Result::ok).unwrap_or_default();
                if response.status() == 201 {
                    return print_ids(&body);
                }
                let refusal = Refusal::of(response.status(), response.headers(), &body);
                match refusal.worth_another() {
                    Some(asked) => (refusal.to_string(), asked),
                    None => return Err(refusal.to_string()),
                }
            }
        };
        let wait = backoff.next(asked);
        if begun.elapsed() + wait > PATIENCE {
            return Err(why);
        }
        eprintln!("{why}; retrying in {:.1} s", wait.as_secs_f64());
        sleep(wait).await;
    }
}

fn print_ids(body: &[u8]) -> Result<(), String> {
    #[derive(Deserialize)]
    struct Stored {
        id: Option<String>,
        #[serde(default)]
        ids: Vec<String>,
    }
    let stored: Stored =
        serde_json::from_slice(body).map_err(|error| format!("published, but the answer is invalid: {error}"))?;
    for id in stored.id.into_iter().chain(stored.ids) {
        println!("{id}");
    }
    Ok(())
}

/// The kind of the body, and the body.
fn body(matches: &ArgMatches) -> Result<(&'static str, String), String> {
    let given = |name| matches.get_one::<String>(name).map(|text| if text == "-" { stdin() } else { Ok(text.clone()) });
    if let Some(text) = given("text") {
        return Ok(("text/plain; charset=utf-8", text?));
    }
    let json = given("data").unwrap_or_else(|| Ok(String::new()))?;
    match serde_json::from_str::<&RawValue>(&json) {
        Ok(_) => Ok(("application/json", json)),
        Err(error) => Err(format!("--data is not valid JSON ({error}); use --text for plain text")),
    }
}

fn stdin() -> Result<String, String> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).map_err(|error| format!("cannot read stdin: {error}"))?;
    Ok(text)
}

/// A key that has not been used.
fn fresh_key() -> Result<String, String> {
    let mut bytes = [0_u8; 16];
    SysRng.try_fill_bytes(&mut bytes).map_err(|error| error.to_string())?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
