//! The processes on one Redis: who is there, and what one asks all others, over channels of Redis.
//!
//! Every process publishes its name once a second. A name that is not heard for [`ABSENT_AFTER`] is one of a process that ended without a word.
//! A question goes to all processes, and each answers on the asker's own channel:
//!
//! ```text
//! Bus::ask ─▶ PUBLISH all ─▶ Peers::receive ─▶ Question ─▶ PUBLISH <asker> ─▶ Peers::receive ─▶ Replies
//! ```
//!
//! This has a connection of its own, which subscribes. When it breaks, messages are still published and read.

mod asking;
mod notice;

use std::{
    collections::{HashMap, HashSet},
    convert::Infallible,
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use futures_util::StreamExt as _;
use parking_lot::Mutex;
use redis::aio::{MultiplexedConnection, PubSub};
use tokio::{
    sync::{Notify, mpsc, oneshot},
    time::{Instant, interval, sleep_until, timeout},
};

use self::{
    asking::{Asking, Open},
    notice::Notice,
};
use super::{
    Connection, Shared,
    connector::Connector,
    error::{LinkError, PATIENCE},
    pauses::Pauses,
    records,
};
use crate::live::bus::{ANSWER_WITHIN, Question, Replies};

/// The prefix of all channels. Databases share channels, so the number of the database follows.
const CHANNELS: &str = "trident:log:processes";
/// How often each process publishes its name.
const PERIOD: Duration = Duration::from_secs(1);
/// A process that was not heard for this time has ended.
const ABSENT_AFTER: Duration = Duration::from_secs(5);
/// How long a process that has just connected waits for the names of the others.
const SETTLE: Duration = Duration::from_millis(200);
/// Maximum number of questions that wait for this process.
const MAX_QUESTIONS: usize = 256;
/// What is reported missing while this process cannot know the others.
const UNKNOWN: &str = "unknown";

/// What this process knows of the others.
pub(super) struct Peers {
    name: OnceLock<String>,
    /// The channel of all processes.
    channel: OnceLock<String>,
    table: Mutex<Table>,
    questions: mpsc::Sender<Question>,
    incoming: Mutex<Option<mpsc::Receiver<Question>>>,
    /// Notified when somebody takes the questions.
    is_served: Notify,
    gone: mpsc::UnboundedSender<String>,
    of_gone: Mutex<Option<mpsc::UnboundedReceiver<String>>>,
}

#[derive(Default)]
struct Table {
    /// Publishes; `None` while this process cannot be heard or hear.
    connection: Option<MultiplexedConnection>,
    /// Since when.
    joined: Option<Instant>,
    /// Why not, if Redis rejects a command.
    refused: Option<String>,
    /// When each of the others was heard last, and when this process heard itself.
    known: HashMap<String, Instant>,
    own: Option<Instant>,
    open: HashMap<u64, Open>,
    last_question: u64,
}

impl Peers {
    /// The number of the database on which they are. Only before it is used.
    pub(super) fn set_database(&self, database: i64) {
        let _ = self.channel.set(format!("{CHANNELS}:{database}"));
    }

    fn channel(&self) -> &str {
        self.channel.get_or_init(|| format!("{CHANNELS}:0"))
    }

    /// The name of this process begins with `service`. Only before it is used.
    pub(super) fn set_service(&self, service: &str) {
        let _ = self.name.set(unique(service));
    }

    pub(super) fn name(&self) -> &str {
        self.name.get_or_init(|| unique("process"))
    }

    fn channel_of(&self, name: &str) -> String {
        format!("{}:{name}", self.channel())
    }

    pub(super) fn questions(&self) -> Option<mpsc::Receiver<Question>> {
        let taken = self.incoming.lock().take();
        self.is_served.notify_one();
        taken
    }

    /// See [`Bus::gone`](crate::live::bus::Bus::gone).
    pub(super) fn gone(&self) -> Option<mpsc::UnboundedReceiver<String>> {
        self.of_gone.lock().take()
    }

    /// The command that Redis rejects, with the reason.
    pub(super) fn refused(&self) -> Option<String> {
        self.table.lock().refused.clone()
    }

    /// Asks all others; waits until each has answered, one answer is enough, or [`ANSWER_WITHIN`] has passed.
    pub(super) async fn ask(&self, text: &[u8], is_enough: fn(&[u8]) -> bool) -> Replies {
        let joined = self.table.lock().joined;
        if let Some(joined) = joined {
            // The others say that they are here when they hear of this process.
            sleep_until(joined + SETTLE).await;
        }
        let (number, connection, done, is_alone) = {
            let mut table = self.table.lock();
            let Some(connection) = table.connection.clone() else {
                let mut missing: Vec<_> = table.known.keys().cloned().collect();
                missing.sort_unstable();
                if missing.is_empty() {
                    missing.push(UNKNOWN.to_owned());
                }
                return Replies { answers: Vec::new(), missing };
            };
            let waiting: HashSet<_> = table.present().cloned().collect();
            let is_alone = waiting.is_empty();
            table.last_question += 1;
            let number = table.last_question;
            let (done, is_done) = oneshot::channel();
            table.open.insert(number, Open { waiting, answers: Vec::new(), is_enough, done: Some(done) });
            (number, connection, is_done, is_alone)
        };
        let asking = Asking { peers: self, number };
        let line = format!("ask {} {number}", self.name());
        let answered = async {
            // Also if nobody is known: a process may have just connected, and not be heard yet.
            let is_sent = publish(connection, self.channel(), &line, text).await.is_ok();
            if is_sent && !is_alone {
                // It ends when all have answered.
                let _ = done.await;
            }
        };
        // Whoever has not answered by then is missing.
        let _ = timeout(ANSWER_WITHIN, answered).await;
        asking.end()
    }

    /// Says that this process ends, so that nobody waits for it.
    pub(super) async fn leave(&self) {
        let connection = self.table.lock().connection.take();
        if let Some(connection) = connection {
            // It is noticed soon otherwise, too.
            let _ = self.say("bye", connection).await;
        }
    }

    /// Handles a message on a channel of processes.
    fn receive(self: &Arc<Self>, payload: &[u8]) {
        let end = payload.iter().position(|byte| *byte == b'\n').unwrap_or(payload.len());
        let (line, text) = (payload.get(..end).unwrap_or_default(), payload.get(end + 1..).unwrap_or_default());
        let Some(notice) = std::str::from_utf8(line).ok().and_then(Notice::read) else { return };
        let name = match notice {
            Notice::Hello(name)
            | Notice::Here(name)
            | Notice::Bye(name)
            | Notice::Ask(name, _)
            | Notice::Answer(name, _) => name,
        };
        let mut table = self.table.lock();
        if name == self.name() {
            table.own = Some(Instant::now());
            return;
        }
        if matches!(notice, Notice::Bye(_)) {
            table.known.remove(name);
            for open in table.open.values_mut() {
                open.waiting.remove(name);
                open.end_if_complete();
            }
            return;
        }
        table.known.insert(name.to_owned(), Instant::now());
        match notice {
            Notice::Answer(_, number) => {
                let Some(open) = table.open.get_mut(&number) else { return };
                open.waiting.remove(name);
                // Once from each.
                if open.answers.iter().all(|(known, _)| known != name) {
                    open.answers.push((name.to_owned(), Bytes::copy_from_slice(text)));
                }
                open.end_if_complete();
            }
            Notice::Hello(_) => {
                let Some(connection) = table.connection.clone() else { return };
                let peers = self.clone();
                tokio::spawn(async move { peers.say("here", connection).await });
            }
            Notice::Ask(_, number) => {
                let Some(connection) = table.connection.clone() else { return };
                let (question, answer) = Question::new(Bytes::copy_from_slice(text));
                // Too many wait already: the asker reports that this process did not answer.
                if self.questions.try_send(question).is_err() {
                    return;
                }
                let (peers, channel) = (self.clone(), self.channel_of(name));
                tokio::spawn(async move {
                    let Ok(answer) = answer.await else { return };
                    let line = format!("answer {} {number}", peers.name());
                    if let Err(error) = publish(connection, &channel, &line, &answer).await {
                        log::debug!("an answer was not sent: {error}");
                    }
                });
            }
            Notice::Here(_) | Notice::Bye(_) => {}
        }
    }

    async fn say(&self, verb: &str, connection: MultiplexedConnection) -> Result<(), LinkError> {
        publish(connection, self.channel(), &format!("{verb} {}", self.name()), &[]).await
    }
}

impl Default for Peers {
    fn default() -> Self {
        let (questions, incoming) = mpsc::channel(MAX_QUESTIONS);
        let (gone, of_gone) = mpsc::unbounded_channel();
        Self {
            name: OnceLock::new(),
            channel: OnceLock::new(),
            table: Mutex::default(),
            questions,
            incoming: Mutex::new(Some(incoming)),
            is_served: Notify::new(),
            gone,
            of_gone: Mutex::new(Some(of_gone)),
        }
    }
}

impl fmt::Debug for Peers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peers").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Table {
    /// The others that were heard lately.
    fn present(&self) -> impl Iterator<Item = &String> {
        self.known.iter().filter(|(_, heard)| heard.elapsed() < ABSENT_AFTER).map(|(name, _)| name)
    }

    /// Forgets the others that have ended without a word. While this process does not hear itself, it may have been suspended, and says nothing of
    /// others.
    fn take_absent(&mut self) -> Vec<String> {
        if self.own.is_none_or(|heard| heard.elapsed() >= 2 * PERIOD) {
            return Vec::new();
        }
        self.known.extract_if(|_, heard| heard.elapsed() >= ABSENT_AFTER).map(|(name, _)| name).collect()
    }
}

/// This process hears the others until this is dropped.
struct Membership<'a>(&'a Peers);

impl Drop for Membership<'_> {
    fn drop(&mut self) {
        let mut table = self.0.table.lock();
        (table.connection, table.joined) = (None, None);
    }
}

fn unique(service: &str) -> String {
    format!("{service}-{:08x}", rand::random::<u32>())
}

async fn publish(
    mut connection: MultiplexedConnection,
    channel: &str,
    line: &str,
    text: &[u8],
) -> Result<(), LinkError> {
    let mut payload = Vec::with_capacity(line.len() + 1 + text.len());
    payload.extend_from_slice(line.as_bytes());
    payload.push(b'\n');
    payload.extend_from_slice(text);
    redis::cmd("PUBLISH").arg(channel).arg(payload).query_async::<()>(&mut connection).await?;
    Ok(())
}

/// Takes part for as long as it is polled, once somebody answers the questions. `commands` is the connection that publishes.
pub(super) async fn run(shared: &Shared, connector: &Connector, commands: &Connection) -> Infallible {
    let peers = &shared.peers;
    while peers.incoming.lock().is_some() {
        peers.is_served.notified().await;
    }
    let mut pauses = Pauses::default();
    loop {
        let begun = Instant::now();
        let Err(error) = take_part(shared, connector, commands).await;
        // Others do not reach this process: it cannot answer for all, and may miss what backends decide.
        peers.table.lock().refused = Some(format!("SUBSCRIBE or PUBLISH {error}"));
        log::debug!("cannot receive from other processes: {error}");
        pauses.after(begun.elapsed()).await;
    }
}

async fn take_part(shared: &Shared, connector: &Connector, own: &Connection) -> Result<Infallible, LinkError> {
    let (peers, commands) = (&shared.peers, own.connection.clone());
    let mut own = own.clone();
    let mut listening: PubSub = connector.subscriber().await?;
    let answers = peers.channel_of(peers.name());
    let channels = [peers.channel(), &answers];
    timeout(PATIENCE, listening.subscribe(&channels[..])).await.map_err(|_| LinkError::Connecting)??;
    {
        let mut table = peers.table.lock();
        // They have not been heard since the connection broke, which is not their fault.
        table.known.values_mut().for_each(|heard| *heard = Instant::now());
        (table.connection, table.joined) = (Some(commands.clone()), Some(Instant::now()));
    }
    let _membership = Membership(peers);
    // Whoever stores a record asks afterwards: what was asked before this process subscribed has been stored by now.
    records::load(&mut own, shared).await?;
    peers.say("hello", commands.clone()).await?;
    peers.table.lock().refused = None;
    let mut messages = listening.into_on_message();
    let listen = async {
        // This process hears itself as well, so silence means that the connection is broken.
        while let Ok(Some(message)) = timeout(ABSENT_AFTER, messages.next()).await {
            peers.receive(message.get_payload_bytes());
        }
        LinkError::Answer("SUBSCRIBE")
    };
    let beat = async {
        let mut clock = interval(PERIOD);
        loop {
            clock.tick().await;
            let connection = {
                let mut table = peers.table.lock();
                // Nobody takes them if there is no event feed.
                table.take_absent().into_iter().for_each(|name| drop(peers.gone.send(name)));
                table.connection.clone()
            };
            // It has said that it ends.
            let Some(connection) = connection else { std::future::pending().await };
            if let Err(error) = peers.say("here", connection).await {
                return error;
            }
        }
    };
    Err(tokio::select! {
        error = listen => error,
        error = beat => error,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_process_that_is_not_heard_is_absent_if_this_one_hears_itself() {
        let peers = Arc::<Peers>::default();
        let hear = |name: &str| peers.receive(format!("here {name}").as_bytes());
        let absent = || peers.table.lock().take_absent();
        for name in ["a", "b", "c"] {
            hear(name);
        }
        tokio::time::advance(ABSENT_AFTER).await;
        assert!(absent().is_empty(), "this process has heard nothing at all");
        hear(peers.name());
        hear("b");
        peers.receive(b"bye c");
        assert_eq!(absent(), ["a"], "one that ends says so");
        assert_eq!(peers.table.lock().present().collect::<Vec<_>>(), ["b"]);
        assert!(absent().is_empty(), "once");
    }
}
