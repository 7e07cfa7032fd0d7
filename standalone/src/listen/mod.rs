//! `standalone listen`: prints published messages in a terminal.
//!
//! [`Listener::connect`] opens one connection after another, each with the cursor after the last printed message; [`wire`] decodes them,
//! and [`show`] prints. Only the cursor is carried from one connection to the next, so no message is printed twice, and none is missed
//! except those that the server reports as lost.

mod show;
mod wire;

use std::{
    fmt,
    io::{self, IsTerminal as _, Write as _},
    str::FromStr,
    time::Duration,
};

use awc::{Client, ClientResponse};
use clap::ArgMatches;
use futures_util::StreamExt as _;
use shared::pure::{ChannelName, Cursor, Since};
use show::Show;
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{sleep, timeout},
};
use wire::{Batch, Decode, EventStream, Item, JsonLines, Lines};

use crate::{
    client::{self, Backoff, BaseUrl, Refusal},
    program,
};

/// Timeout of the head of a response.
const HEAD: Duration = Duration::from_secs(15);
/// How long a long poll waits, in seconds, for the query.
const WAIT: &str = "25";
/// Timeout of a long poll's response: the wait, and time for the network.
const POLL: Duration = Duration::from_secs(40);
/// A stream without data for this long is dead: four keep-alive intervals of the server.
const SILENCE: Duration = Duration::from_secs(60);
/// Maximum size of the answer to a long poll.
const MAX_BATCH_BYTES: usize = 64 * 1024 * 1024;

/// The transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// `/events`.
    Sse,
    /// `/data?mode=stream`.
    Stream,
    /// `/data`, requested repeatedly.
    LongPoll,
}

impl FromStr for Transport {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "sse" => Ok(Self::Sse),
            "stream" => Ok(Self::Stream),
            "longpoll" => Ok(Self::LongPoll),
            _ => Err("expected sse, stream or longpoll".to_owned()),
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sse => "sse",
            Self::Stream => "stream",
            Self::LongPoll => "longpoll",
        })
    }
}

/// Why a connection ended.
enum End {
    /// The server ended it intentionally; it may have sent the time to reconnect.
    Clean(Duration),
    /// For any other reason.
    Broken(String),
    /// The response is not a stream.
    Refused(Refusal),
    /// Everything requested has been printed, or stdout is closed.
    Done,
}

impl From<wire::Foreign> for End {
    fn from(error: wire::Foreign) -> Self {
        Self::Broken(error.to_string())
    }
}

struct Listener {
    client: Client,
    base: BaseUrl,
    channels: Vec<ChannelName>,
    transport: Transport,
    /// The cursor for the next connection.
    since: Since,
    show: Show,
    /// The number of messages still to be printed.
    left: Option<u64>,
    /// Whether the connection has been reported.
    is_announced: bool,
    backoff: Backoff,
}

/// Prints published messages until a signal, until all channels are streams that have ended, or until the server rejects the request.
///
/// # Errors
/// Why the server rejects the request.
pub async fn run(matches: &ArgMatches) -> Result<(), String> {
    let Some(base) = matches.get_one::<BaseUrl>("url").cloned() else { return Err("no URL".to_owned()) };
    let is_json = matches.get_flag("json");
    let mut listener = Listener {
        client: client::open(&base, matches.get_one::<String>("token").map(String::as_str))?,
        base,
        channels: matches.get_many("channel").into_iter().flatten().cloned().collect(),
        transport: matches.get_one("transport").copied().unwrap_or(Transport::Sse),
        since: matches.get_one("since").copied().unwrap_or(Since::Now),
        show: if is_json { Show::Json } else { Show::Text { is_colored: is_colored(matches) } },
        left: matches.get_one("count").copied(),
        is_announced: false,
        backoff: Backoff::default(),
    };
    let stopped = |error: io::Error| format!("cannot wait for signals: {error}");
    let mut interrupted = signal(SignalKind::interrupt()).map_err(stopped)?;
    let mut terminated = signal(SignalKind::terminate()).map_err(stopped)?;
    let done = tokio::select! {
        done = listener.run() => done,
        _ = interrupted.recv() => Ok(()),
        _ = terminated.recv() => Ok(()),
    };
    listener.farewell();
    done
}

fn is_colored(matches: &ArgMatches) -> bool {
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    match matches.get_one::<String>("color").map(String::as_str) {
        Some("always") => true,
        Some("never") => false,
        // <https://no-color.org>.
        _ => {
            io::stdout().is_terminal()
                && !is_set("NO_COLOR")
                && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
        }
    }
}

impl Listener {
    async fn run(&mut self) -> Result<(), String> {
        loop {
            let end = self.connect().await.unwrap_or_else(|end| end);
            let (why, wait) = match end {
                End::Done => return Ok(()),
                // A long poll: the next one starts immediately.
                End::Clean(wait) if self.transport == Transport::LongPoll => {
                    sleep(wait).await;
                    continue;
                }
                // The end of a stream is normal and is not reported.
                End::Clean(asked) => {
                    sleep(self.backoff.next(asked)).await;
                    continue;
                }
                End::Broken(why) => (why, self.backoff.next(Duration::ZERO)),
                End::Refused(refusal) => match refusal.worth_another() {
                    Some(asked) => (refusal.to_string(), self.backoff.next(asked)),
                    None => return Err(refusal.to_string()),
                },
            };
            self.is_announced = false;
            self.note(&format!("{why}; retrying in {:.1} s", wait.as_secs_f64()));
            sleep(wait).await;
        }
    }

    fn url(&self) -> String {
        let mut query: Vec<(&str, &str)> = self.channels.iter().map(|channel| ("channel", &**channel)).collect();
        let since = match self.since {
            Since::Now => None,
            Since::Earliest => Some("earliest".to_owned()),
            Since::After(cursor) => Some(cursor.to_string()),
        };
        query.extend(since.as_deref().map(|since| ("since", since)));
        let path = match self.transport {
            Transport::Sse => {
                query.push(("format", "message"));
                "/events"
            }
            Transport::Stream => {
                query.push(("mode", "stream"));
                "/data"
            }
            Transport::LongPoll => {
                query.extend([("mode", "longpoll"), ("wait", WAIT)]);
                "/data"
            }
        };
        self.base.with(path, query)
    }

    /// One connection, from request to end.
    async fn connect(&mut self) -> Result<End, End> {
        let patience = if self.transport == Transport::LongPoll { POLL } else { HEAD };
        // Otherwise awc decompresses bodies and buffers the result.
        let request = self.client.get(self.url()).no_decompress().force_close();
        let sent = timeout(patience, request.send()).await;
        let sent = sent.map_err(|_| End::Broken(format!("no answer from {}", self.base)))?;
        let mut response = sent.map_err(|error| End::Broken(format!("cannot connect to {}: {error}", self.base)))?;
        // All channels are streams that have ended.
        if response.status() == 204 && response.headers().contains_key("Trident-End") {
            return Ok(End::Done);
        }
        if response.status() != 200 {
            let body = timeout(HEAD, response.body()).await.ok().and_then(Result::ok).unwrap_or_default();
            return Err(End::Refused(Refusal::of(response.status(), response.headers(), &body)));
        }
        if !std::mem::replace(&mut self.is_announced, true) {
            let channels: Vec<&str> = self.channels.iter().map(|channel| &**channel).collect();
            self.note(&format!("connected to {} ({}): {}", self.base, self.transport, channels.join(", ")));
        }
        match self.transport {
            Transport::Sse => self.stream(response, &mut EventStream::default()).await,
            Transport::Stream => {
                if let Some(place) = etag(&response) {
                    self.take(Item::Place(place));
                }
                self.stream(response, &mut JsonLines).await
            }
            Transport::LongPoll => self.batch(response).await,
        }
    }

    async fn stream<S>(&mut self, mut response: ClientResponse<S>, decode: &mut dyn Decode) -> Result<End, End>
    where
        S: futures_util::Stream<Item = Result<bytes::Bytes, awc::error::PayloadError>> + Unpin,
    {
        let (mut lines, mut asked) = (Lines::default(), Duration::ZERO);
        loop {
            let chunk = timeout(SILENCE, response.next()).await;
            let chunk = chunk.map_err(|_| End::Broken("the connection timed out".to_owned()))?;
            let Some(chunk) = chunk else { return Ok(End::Clean(asked)) };
            let chunk = chunk.map_err(|error| End::Broken(format!("the connection broke: {error}")))?;
            let goes_on = lines.feed(&chunk, decode, |item| match item {
                Item::Retry(ms) => {
                    asked = Duration::from_millis(ms.min(60_000));
                    true
                }
                item => self.take(item),
            })?;
            if !goes_on {
                return Ok(End::Done);
            }
        }
    }

    async fn batch<S>(&mut self, mut response: ClientResponse<S>) -> Result<End, End>
    where
        S: futures_util::Stream<Item = Result<bytes::Bytes, awc::error::PayloadError>> + Unpin,
    {
        let resumed = response.headers().get("Trident-Gap").and_then(|value| value.to_str().ok()?.parse().ok());
        let body = timeout(POLL, response.body().limit(MAX_BATCH_BYTES)).await;
        let body = body.map_err(|_| End::Broken("the answer is incomplete after the timeout".to_owned()))?;
        let body = body.map_err(|error| End::Broken(format!("the connection broke: {error}")))?;
        let batch: Batch = serde_json::from_slice(&body).map_err(wire::Foreign::from)?;
        let gap = resumed.map(|resumed| {
            let requested = if let Since::After(cursor) = self.since { cursor } else { Cursor::ZERO };
            Item::Gap(shared::pure::Gap { requested, resumed })
        });
        let messages = batch.messages.into_iter().map(Item::Message);
        let end = batch.end.map(Item::End);
        let items = gap.into_iter().chain(messages).chain(end).chain([Item::Place(batch.cursor)]);
        for item in items {
            if !self.take(item) {
                return Ok(End::Done);
            }
        }
        Ok(if batch.closed { End::Done } else { End::Clean(Duration::ZERO) })
    }

    /// Prints an item and advances the cursor; false when there is nothing more to do.
    fn take(&mut self, item: Item) -> bool {
        self.backoff.reset();
        let (shown, cursor) = match item {
            // A server that repeats the message of the cursor cannot be trusted.
            Item::Message(message) if matches!(self.since, Since::After(seen) if message.id <= seen) => return true,
            Item::Message(message) => {
                self.left = self.left.map(|left| left.saturating_sub(1));
                (self.show.message(&message), message.id)
            }
            Item::Gap(gap) => (self.show.gap(&gap), gap.resumed),
            // Also one before the cursor, of a stream that had ended already.
            Item::End(end) => {
                (self.show.end(&end), if let Since::After(seen) = self.since { seen.max(end.id) } else { end.id })
            }
            Item::Place(cursor) => (String::new(), cursor),
            Item::Retry(_) => return true,
        };
        let mut out = io::stdout().lock();
        // A closed stdout, as after `head`, is not an error.
        if out.write_all(shown.as_bytes()).and_then(|()| out.flush()).is_err() {
            return false;
        }
        self.since = Since::After(cursor);
        self.left != Some(0)
    }

    fn note(&self, text: &str) {
        // A closed stderr is not a reason to end.
        let _ = writeln!(io::stderr(), "{}", self.show.note(text));
    }

    /// Prints how to continue from here.
    fn farewell(&self) {
        if let Since::After(cursor) = self.since {
            let channels: String = self.channels.iter().map(|channel| format!(" --channel {channel}")).collect();
            self.note(&format!(
                "last cursor {cursor}; to resume from there: {} listen {}{channels} --since {cursor}",
                program::name(),
                self.base
            ));
        }
    }
}

/// The cursor in `ETag`.
fn etag<S>(response: &ClientResponse<S>) -> Option<Cursor> {
    let tag = response.headers().get("ETag")?.to_str().ok()?;
    tag.trim_start_matches("W/").trim_matches('"').parse().ok()
}
