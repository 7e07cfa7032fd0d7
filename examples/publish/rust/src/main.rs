//! Publishes one message: `TRIDENT_TOKEN=… cargo run -p publish-example CHANNEL JSON`.

use std::{
    env,
    process::ExitCode,
    time::{Duration, Instant},
};

use awc::Client;
use rand::RngExt as _;
use serde::Deserialize;
use serde_json::Value;
use tokio::time::sleep;

/// For how long it is tried.
const PATIENCE: Duration = Duration::from_secs(30);
/// These pass; whatever else is refused would be refused again.
const PASSING: [u16; 4] = [429, 502, 503, 504];

/// Why a message is not published.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("{status}: {body}")]
    Refused { status: u16, body: String },
    #[error("not published after {} s: {reason}", PATIENCE.as_secs())]
    TooLong { reason: String },
    #[error("published, but the answer is odd: {0}")]
    Odd(#[from] serde_json::Error),
}

#[derive(Deserialize)]
struct Published {
    id: String,
}

/// Publishes `data` to `channel`, and gives the message's id.
///
/// The idempotency key is the same each time, so the message is published once, also when an answer got lost.
async fn publish(base: &str, token: &str, channel: &str, data: &Value) -> Result<String, Error> {
    let client = Client::builder().timeout(Duration::from_secs(10)).bearer_auth(token).finish();
    // Of names of channels nothing has to be escaped in a URL.
    let url = format!("{base}/events?channel={channel}");
    let key = format!("{:032x}", rand::rng().random::<u128>());
    let (begun, mut wait) = (Instant::now(), Duration::from_millis(500));
    loop {
        let sent = client.post(&url).insert_header(("Idempotency-Key", key.as_str())).send_json(data).await;
        let (reason, asked) = match sent {
            // No connection, a cut one, or no answer in time.
            Err(error) => (error.to_string(), Duration::ZERO),
            Ok(mut answer) => {
                let status = answer.status().as_u16();
                // In seconds; Trident never sends a date.
                let asked = answer.headers().get("Retry-After").and_then(|value| value.to_str().ok()?.parse().ok());
                match (status, answer.body().await) {
                    (201, Ok(body)) => return Ok(serde_json::from_slice::<Published>(&body)?.id),
                    (_, body) => {
                        let body = String::from_utf8_lossy(&body.unwrap_or_default()).into_owned();
                        if status != 201 && !PASSING.contains(&status) {
                            return Err(Error::Refused { status, body });
                        }
                        (format!("{status}: {body}"), Duration::from_secs(asked.unwrap_or_default()))
                    }
                }
            }
        };
        let pause = asked + wait.mul_f64(rand::rng().random_range(0.5..=1.0));
        if begun.elapsed() + pause > PATIENCE {
            return Err(Error::TooLong { reason });
        }
        sleep(pause).await;
        wait = (wait * 2).min(Duration::from_secs(8));
    }
}

#[actix_web::main]
async fn main() -> ExitCode {
    let base = env::var("TRIDENT_URL").unwrap_or_else(|_| "http://localhost:8080".to_owned());
    let mut args = env::args().skip(1);
    let (Ok(token), Some(channel), Some(json)) = (env::var("TRIDENT_TOKEN"), args.next(), args.next()) else {
        eprintln!("usage: TRIDENT_TOKEN=… publish-example CHANNEL JSON");
        return ExitCode::from(2);
    };
    let data: Value = match serde_json::from_str(&json) {
        Ok(data) => data,
        Err(error) => {
            eprintln!("invalid JSON: {error}");
            return ExitCode::from(2);
        }
    };
    match publish(&base, &token, &channel, &data).await {
        Ok(id) => {
            println!("{id}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
